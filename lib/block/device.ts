/**
 * The contract of block I/O. A BlockIo is one request, owned by whoever submits it and reusable after completion;
 * a BlockDevice serves it and completes it exactly once, often before submit() returns. No promises, no closures:
 * this is the path of every READ and WRITE.
 */
import { NO_BYTES } from '../base/bytes.js';
import type { PageMap } from './page-map.js';

/**
 * read: fill `data`. write: store `data`. discard: the range reads as zeros afterwards and its space may be given back.
 * zero: the range reads as zeros, space kept or not. flush: everything completed before is durable afterwards
 * (offset and length are 0: the whole device; a length of more, as only who holds a file asks for it: of that range).
 */
export type BlockOp = 'read' | 'write' | 'discard' | 'zero' | 'flush';

/** Why an I/O failed, in terms that every layer can act on (scsi/ turns them into sense data). */
export type IoErrorCode =
  | 'medium-read'
  | 'medium-write'
  | 'no-space'
  | 'read-only'
  | 'out-of-range'
  | 'stale' // a peer's answer: the epoch is not current; the submitter resolves the route again
  | 'unavailable' // the holder cannot be reached
  | 'aborted'; // given up on purpose (task management, shutdown)

export class IoError extends Error {
  override readonly name = 'IoError';
  constructor(
    readonly code: IoErrorCode,
    detail: string,
  ) {
    super(`${code}: ${detail}`);
  }
}

/** Somebody who counts an I/O while it is in flight (I5); told once, just before it completes. */
export interface IoPin {
  unpin(io: BlockIo): void;
}

/** Somebody who counts the I/O of a whole unit while it is in flight, wherever it goes (claims.ts). */
export interface IoCounter {
  ended(io: BlockIo): void;
}

/** One request. Subclasses say what happens on completion. Fields must not change while it is in flight. */
export abstract class BlockIo {
  op: BlockOp = 'read';
  offsetBytes = 0;
  lengthBytes = 0;
  /** Exactly lengthBytes long for read and write, empty otherwise. */
  data: Buffer = NO_BYTES;
  /** The effect is durable before completion (write, discard, zero). */
  fua = false;
  /** Set and cleared by the layer that pins; one at a time. */
  pin: IoPin | null = null;
  /** The pin's own notes about this I/O: the generation it was counted in, and when, where it wants to know. */
  pinGeneration = 0;
  pinnedAtMs = 0;
  /** Set and cleared by the counter; one at a time. */
  counter: IoCounter | null = null;
  /** The counter's own note. */
  countedIn = 0;
  /** False once nobody waits for it any more: what has not begun need not. */
  get isWanted(): boolean {
    return true;
  }
  /** By Clock.nowMs(): since when it waits for a holder that is away, 0 when it does not. */
  waitingSinceMs = 0;

  /** Points this request at its work; clears what the last use left. */
  prepare(op: BlockOp, offsetBytes: number, lengthBytes: number, data: Buffer = NO_BYTES, fua = false): this {
    this.op = op;
    this.offsetBytes = offsetBytes;
    this.lengthBytes = lengthBytes;
    this.data = data;
    this.fua = fua;
    this.pin = null;
    this.waitingSinceMs = 0;
    return this;
  }

  /** Called by the device, exactly once per submit. */
  complete(error: IoError | null): void {
    const pin = this.pin;
    if (pin !== null) {
      this.pin = null;
      pin.unpin(this);
    }
    const { counter } = this;
    if (counter !== null) {
      this.counter = null;
      counter.ended(this);
    }
    this.completed(error);
  }

  /** The submitter's continuation. May run inside submit(). */
  protected abstract completed(error: IoError | null): void;
}

/** Whether a stretch takes space. */
export interface Provisioning {
  /** False: reads as zeros and takes none. */
  readonly mapped: boolean;
  /** How far that holds, at least one block; not necessarily as far as it could. */
  readonly lengthBytes: number;
}

/** What a device takes, and what is left for it. */
export interface Usage {
  readonly usedBytes: number;
  /** Others may take it, too. */
  readonly availableBytes: number;
}

/** Serves BlockIos. Never throws from submit for anything an I/O can ask. */
export interface BlockDevice {
  readonly sizeBytes: number;
  /** Logical block: 512 or 4096. */
  readonly blockBytes: number;
  readonly readOnly: boolean;
  submit(io: BlockIo): void;
  /**
   * Where the bytes of a range stand in memory, for somebody who can send them from there before the running turn of the
   * event loop ends; null when the device has to be asked by submit(). The read is done with that: nothing completes.
   * @param withDigest null, too, where the map could not say the range's digest now
   */
  mapped?(offsetBytes: number, lengthBytes: number, withDigest: boolean): PageMap | null;
  /**
   * What stands at a block-aligned offset, looking at most `lengthBytes` ahead; at once, without I/O. A device that
   * does not know its holes leaves it out: then all is mapped.
   */
  provisioning?(offsetBytes: number, lengthBytes: number): Provisioning;
  /**
   * The same of a device that has to ask others about some of its blocks: the truth there, where provisioning() says
   * "mapped". Rejects with IoError. Not for the hot path.
   */
  lookUp?(offsetBytes: number, lengthBytes: number): Promise<Provisioning>;
  /** An estimate. A device that cannot say leaves it out: it takes all of its size. Rejects with IoError. */
  usage?(): Promise<Usage>;
  /**
   * How often writes were lost that it had acknowledged and that no flush had covered, while whoever wrote them had no
   * cause to notice. Only grows, at the latest before the next flush is answered. Left out: that cannot be.
   */
  readonly losses?: number;
  /**
   * Somebody comes who was not here before.
   * @returns how many of `losses` cannot be his
   */
  admit?(): number;
}

/** A BlockIo that settles a promise, for control paths and tests. */
class PromisedIo extends BlockIo {
  constructor(
    private readonly resolve: () => void,
    private readonly reject: (error: IoError) => void,
  ) {
    super();
  }
  protected override completed(error: IoError | null): void {
    if (error === null) this.resolve();
    else this.reject(error);
  }
}

/** Submits one request and waits for it; rejects with IoError. Not for the hot path. */
export function submitAndWait(
  device: Pick<BlockDevice, 'submit'>,
  op: BlockOp,
  offsetBytes: number,
  lengthBytes: number,
  data?: Buffer,
  fua?: boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    device.submit(new PromisedIo(resolve, reject).prepare(op, offsetBytes, lengthBytes, data, fua));
  });
}
