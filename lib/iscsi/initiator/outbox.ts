/**
 * What goes out on a connection: PDUs are laid into one buffer as they are made and leave in one write per turn of the
 * event loop. Small data is copied in; large data is sent from where it is, so it must not change until answered.
 */
import { INITIATOR_COPY_BYTES_MAX, INITIATOR_SEND_BUFFER_BYTES } from '../../base/limits.js';
import type { NetSocket } from '../../base/net.js';
import { BHS_BYTES, DIGEST_BYTES, paddedLength } from '../wire/bhs.js';
import { dataCrc32c, headerCrc32c, writeDigest } from '../wire/digests.js';

const PADDING = Buffer.alloc(3);

export class Outbox {
  /** Where the header of the next PDU is to be encoded, at headerAt. */
  buffer: Buffer;
  private used = 0;
  /** Start of what is in `buffer` and not yet in `parts`. */
  private runStart = 0;
  private parts: Buffer[] = [];
  private writesUnderway = 0;
  private flushScheduled = false;
  private headerDigest = false;
  private dataDigest = false;
  private readonly written = (): void => this.onWritten();
  private readonly flushLater = (): void => this.flush();

  constructor(
    private readonly socket: Pick<NetSocket, 'destroyed' | 'write' | 'cork' | 'uncork'>,
    private readonly bufferBytes = INITIATOR_SEND_BUFFER_BYTES,
  ) {
    this.buffer = Buffer.allocUnsafeSlow(bufferBytes);
  }

  /** From the next PDU on. */
  setDigests(header: boolean, data: boolean): void {
    this.headerDigest = header;
    this.dataDigest = data;
  }

  /** Makes room for a header and returns where to encode it in `buffer`; addPdu() must follow. */
  headerAt(): number {
    this.reserve(BHS_BYTES + DIGEST_BYTES);
    return this.used;
  }

  /** Completes the PDU whose header was encoded at headerAt(), and sees to it that it leaves in this turn. */
  addPdu(data: Buffer | null): void {
    const at = this.used;
    this.used += BHS_BYTES;
    if (this.headerDigest) {
      writeDigest(this.buffer, this.used, headerCrc32c(this.buffer, at, at + BHS_BYTES));
      this.used += DIGEST_BYTES;
    }
    if (data !== null && data.length > 0) this.addData(data);
    this.scheduleFlush();
  }

  private addData(data: Buffer): void {
    const padding = paddedLength(data.length) - data.length;
    if (data.length <= INITIATOR_COPY_BYTES_MAX) {
      this.reserve(data.length + padding + DIGEST_BYTES);
      data.copy(this.buffer, this.used);
      this.used += data.length;
    } else {
      this.closeRun();
      this.parts.push(data);
      this.reserve(padding + DIGEST_BYTES);
    }
    if (padding > 0) {
      PADDING.copy(this.buffer, this.used, 0, padding);
      this.used += padding;
    }
    if (!this.dataDigest) return;
    let crc = dataCrc32c(data);
    if (padding > 0) crc = dataCrc32c(PADDING.subarray(0, padding), crc);
    writeDigest(this.buffer, this.used, crc);
    this.used += DIGEST_BYTES;
  }

  private reserve(bytes: number): void {
    if (this.used + bytes <= this.buffer.length) return;
    this.closeRun();
    this.buffer = Buffer.allocUnsafeSlow(this.bufferBytes);
    this.used = this.runStart = 0;
  }

  private closeRun(): void {
    if (this.used > this.runStart) this.parts.push(this.buffer.subarray(this.runStart, this.used));
    this.runStart = this.used;
  }

  private scheduleFlush(): void {
    if (this.flushScheduled) return;
    this.flushScheduled = true;
    process.nextTick(this.flushLater);
  }

  private flush(): void {
    this.flushScheduled = false;
    this.closeRun();
    if (this.socket.destroyed || this.parts.length === 0) return;
    const parts = this.parts;
    this.parts = [];
    this.writesUnderway += parts.length;
    if (parts.length > 1) this.socket.cork();
    for (const part of parts) this.socket.write(part, this.written);
    if (parts.length > 1) this.socket.uncork();
  }

  /** Once the kernel has everything, the buffer can be filled from its start again. */
  private onWritten(): void {
    this.writesUnderway -= 1;
    if (this.writesUnderway > 0 || this.parts.length > 0 || this.used !== this.runStart) return;
    this.used = this.runStart = 0;
  }
}
