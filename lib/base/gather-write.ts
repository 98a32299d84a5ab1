/**
 * writev(2) on a socket, from an array of addresses that is filled in place: one system call for any number of pieces, with
 * no object per piece and no callback. libuv's own queue is not touched, so nothing may wait in it at the time.
 */
import { loadLibc, type Libc } from './libc.js';

/** The pieces of one write in the kernel's own layout: struct iovec, { void *base; size_t length }, little-endian. */
export class GatherVector {
  count = 0;
  lengthBytes = 0;
  /** Four words a piece: the low and high half of either field. */
  words = new Uint32Array(4 * 64);

  add(address: number, lengthBytes: number): void {
    const at = this.count * 4;
    if (at === this.words.length) this.grow();
    const { words } = this;
    words[at] = address; // a typed array keeps the low 32 bits
    words[at + 1] = address / 2 ** 32;
    words[at + 2] = lengthBytes;
    this.count += 1;
    this.lengthBytes += lengthBytes;
  }

  /** Makes the last piece longer. */
  extend(lengthBytes: number): void {
    const at = (this.count - 1) * 4 + 2;
    this.words[at] = (this.words[at] as number) + lengthBytes;
    this.lengthBytes += lengthBytes;
  }

  /** Lets a piece, as long as it is, begin elsewhere. */
  move(index: number, address: number): void {
    this.words[index * 4] = address;
    this.words[index * 4 + 1] = address / 2 ** 32;
  }

  clear(): void {
    this.count = 0;
    this.lengthBytes = 0;
  }

  private grow(): void {
    const longer = new Uint32Array(this.words.length * 2);
    longer.set(this.words);
    this.words = longer;
  }
}

/** @returns how many bytes the socket took: 0 when it is full, or broken, which its next ordinary write will say */
export type GatherWrite = (vector: GatherVector) => number;

/** IOV_MAX: more pieces than this are refused by the kernel. */
const PIECES_MAX = 1024;

type Writev = (fd: number, vector: Uint32Array, count: number) => number;
let writev: Writev | undefined;

/** For this socket, which may still be dialling; null where koffi does not load or Node hides the descriptor. */
export function gatherWriteTo(socket: object): GatherWrite | null {
  const libc = loadLibc();
  if (libc === null || descriptorOf(socket) === undefined) return null;
  const write = (writev ??= makeWritev(libc));
  return (vector) => {
    // Asked for each time: the number of a closed socket may be another's by now.
    const fd = descriptorOf(socket);
    if (fd === undefined || fd < 0 || vector.count > PIECES_MAX) return 0;
    return Math.max(0, write(fd, vector.words, vector.count));
  };
}

function makeWritev({ library }: Libc): Writev {
  return library.func('int64_t writev(int fd, const void *iov, int count)') as Writev;
}

/** Node keeps it in the handle, which it does not document; −1 while there is none, undefined where there never is. */
function descriptorOf(socket: object): number | undefined {
  const { _handle: handle } = socket as { _handle?: { fd?: number } | null };
  return handle === null ? -1 : handle?.fd;
}
