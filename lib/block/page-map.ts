/**
 * Where a stretch of a device stands in this process's memory, for the kernel alone to read: a socket write takes the bytes
 * from there, and nobody copies them. Nothing here reads that memory: a page that the disk cannot deliver is then an error
 * of the write (EFAULT), and never a signal to the process (SIGBUS).
 */

/** A range has a digest where it is made of whole blocks of these. */
export const MAP_DIGEST_BYTES = 4096;

/** Good until the running turn of the event loop ends: until then nothing can have moved or cut the file under it. */
export interface PageMap {
  /** Where the device's first byte would stand; below 2^53, so a number holds it. */
  readonly address: number;
  /**
   * Fills `into` from the device, waiting for the disk where it must: for bytes that the socket did not take in time.
   * @throws IoError medium-read
   */
  copyOut(offsetBytes: number, into: Buffer): void;
  /**
   * CRC32C of a range as it stands now. It holds until the device is written to, which can be within the same turn.
   * −1 where the device cannot say without waiting, or the range begins or ends inside a block of MAP_DIGEST_BYTES.
   */
  digestOf(offsetBytes: number, lengthBytes: number): number;
}
