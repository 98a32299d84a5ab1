/**
 * What one connection has committed and not yet given to its socket, oldest first: stretches of pooled buffers and of mapped
 * devices (block/page-map.ts), and the same as a vector for the kernel. Neighbours in one buffer are one piece. What is
 * mapped gets its digest here, as late as can be. It sends nothing itself.
 */
import { assert } from '../../base/assert.js';
import { GatherVector } from '../../base/gather-write.js';
import type { PageMap } from '../../block/page-map.js';
import { dataCrc32c, writeDigest } from '../wire/digests.js';
import type { BufferPool, PooledBuffer, Span } from './buffer-pool.js';

/** One stretch; reused. Either `buffer` or `map` is set. */
export class Piece {
  buffer: PooledBuffer | null = null;
  map: PageMap | null = null;
  /** In the buffer, or on the device. */
  start = 0;
  end = 0;
  /** Of a map: the next stretch begins with room for its digest. */
  hasDigest = false;
}

export class Outgoing {
  readonly vector = new GatherVector();
  private readonly pieces: Piece[] = [];
  private last: Piece | null = null;
  /** Some stretch has a digest that is not put behind it yet. */
  hasDigests = false;

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

  /** @param digest room for its digest, right behind it; its hold is taken over */
  addMapped(map: PageMap, start: number, end: number, digest: Span | null): void {
    const piece = this.append(null, map, start, end, map.address);
    if (digest === null) return;
    assert(digest.buffer !== null, 'the digest of mapped bytes has no room');
    piece.hasDigest = this.hasDigests = true;
    this.add(digest.buffer, digest.start, digest.end);
  }

  /**
   * Puts the digests behind what is mapped as it stands now, at the last moment: a write of the same batch may have changed
   * it. What has no digest any more, since a write to it is under way, is copied, and what is copied has one; that may wait
   * for as long as the write has the file.
   * @throws IoError where it cannot be read
   */
  putDigests(pool: BufferPool): void {
    this.hasDigests = false;
    const { count } = this.vector;
    for (let i = 0; i < count; i++) {
      const piece = this.at(i);
      if (!piece.hasDigest) continue;
      const { map, start, end } = piece;
      const { buffer, start: digestAt } = this.at(i + 1);
      assert(map !== null && buffer !== null, 'only what is mapped has its digest put behind it');
      const digest = map.digestOf(start, end - start);
      writeDigest(buffer.bytes, digestAt, digest >= 0 ? digest : this.copied(i, piece, map, pool));
    }
  }

  /** Copies a mapped stretch to where nobody writes. @returns its digest */
  private copied(index: number, piece: Piece, map: PageMap, pool: BufferPool): number {
    const lengthBytes = piece.end - piece.start;
    const copy = pool.take(lengthBytes);
    const bytes = copy.bytes.subarray(0, lengthBytes);
    map.copyOut(piece.start, bytes);
    copy.hold();
    piece.buffer = copy;
    piece.map = null;
    piece.hasDigest = false;
    piece.start = 0;
    piece.end = lengthBytes;
    this.vector.move(index, copy.address);
    return dataCrc32c(bytes);
  }

  private append(
    buffer: PooledBuffer | null,
    map: PageMap | null,
    start: number,
    end: number,
    address: number,
  ): Piece {
    const { count } = this.vector;
    const piece = this.pieces[count] ?? new Piece();
    if (count === this.pieces.length) this.pieces.push(piece);
    piece.buffer = buffer;
    piece.map = map;
    piece.start = start;
    piece.end = end;
    piece.hasDigest = false;
    this.last = piece;
    this.vector.add(address + start, end - start);
    return piece;
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
    this.hasDigests = false;
    this.vector.clear();
  }
}
