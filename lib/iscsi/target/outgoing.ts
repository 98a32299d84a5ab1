/**
 * What one connection has committed and not yet given to its socket, oldest first: stretches of pooled buffers and of mapped
 * devices (block/page-map.ts), and the same as a vector for the kernel. Neighbours in one buffer are one piece. It sends
 * nothing itself.
 */
import { GatherVector } from '../../base/gather-write.js';
import type { PageMap } from '../../block/page-map.js';
import type { PooledBuffer } from './buffer-pool.js';

/** One stretch; reused. Either `buffer` or `map` is set. */
export class Piece {
  buffer: PooledBuffer | null = null;
  map: PageMap | null = null;
  /** In the buffer, or on the device. */
  start = 0;
  end = 0;
}

export class Outgoing {
  readonly vector = new GatherVector();
  private readonly pieces: Piece[] = [];
  private last: Piece | null = null;

  get count(): number {
    return this.vector.count;
  }

  get lengthBytes(): number {
    return this.vector.lengthBytes;
  }

  /** Takes the caller's hold on the buffer over. */
  add(buffer: PooledBuffer, start: number, end: number): void {
    const { last } = this;
    if (last !== null && last.buffer === buffer && last.end === start) {
      last.end = end;
      this.vector.extend(end - start);
      buffer.letGo(); // the piece holds it already
    } else this.append(buffer, null, start, end, buffer.address);
  }

  addMapped(map: PageMap, start: number, end: number): void {
    this.append(null, map, start, end, map.address);
  }

  private append(
    buffer: PooledBuffer | null,
    map: PageMap | null,
    start: number,
    end: number,
    address: number,
  ): void {
    const { count } = this.vector;
    const piece = this.pieces[count] ?? new Piece();
    if (count === this.pieces.length) this.pieces.push(piece);
    piece.buffer = buffer;
    piece.map = map;
    piece.start = start;
    piece.end = end;
    this.last = piece;
    this.vector.add(address + start, end - start);
  }

  at(index: number): Piece {
    return this.pieces[index] as Piece;
  }

  /** Forgets everything, and gives up the holds on buffers. */
  letGo(): void {
    const { count } = this.vector;
    for (let i = 0; i < count; i++) {
      const piece = this.at(i);
      piece.buffer?.letGo();
      piece.buffer = null;
      piece.map = null;
    }
    this.last = null;
    this.vector.clear();
  }
}
