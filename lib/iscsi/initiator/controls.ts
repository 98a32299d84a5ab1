/** The requests of a session that are no SCSI commands (NOP-Out, Logout, Text, task management), until they are answered. */
import { writeLengths } from '../wire/bhs.js';
import type { Outbox } from './outbox.js';
import { CONTROL_TAG } from './task-table.js';

/** An answer to a control request: its header and data. */
export type ControlAnswer = (bhs: Buffer, data: Buffer) => void;

/** Writes the header of a control request; the lengths are not its affair. */
export type ControlEncoder = (
  into: Buffer,
  at: number,
  tag: number,
  cmdSN: number,
  expStatSN: number,
) => void;

const TAG_MASK = 0xffffff;

export class Controls {
  private readonly waiting = new Map<number, ControlAnswer>();
  private tags = 0;

  constructor(private readonly outbox: Outbox) {}

  /** Sends one; always immediate, so that CmdSN is not consumed (RFC 7143 4.2.2.1). */
  send(
    encode: ControlEncoder,
    data: Buffer | null,
    cmdSN: number,
    expStatSN: number,
    answer: ControlAnswer,
  ): void {
    const tag = (CONTROL_TAG | (this.tags++ & TAG_MASK)) >>> 0;
    this.waiting.set(tag, answer);
    const at = this.outbox.headerAt();
    encode(this.outbox.buffer, at, tag, cmdSN, expStatSN);
    writeLengths(this.outbox.buffer, at, 0, data?.length ?? 0);
    this.outbox.addPdu(data);
  }

  /** Tells whoever asked; false when nobody did. */
  answered(tag: number, bhs: Buffer, data: Buffer): boolean {
    const answer = this.waiting.get(tag);
    if (answer === undefined) return false;
    this.waiting.delete(tag);
    // The header stands in the connection's one buffer: whoever is told later needs its own.
    answer(Buffer.from(bhs), data);
    return true;
  }

  /** No answer will come any more. */
  clear(): void {
    this.waiting.clear();
  }
}
