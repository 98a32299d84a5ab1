/**
 * Long operations in bounded pieces: a command describes its I/Os as a generator, one is in flight at a time, and
 * other tasks run between two. An abort ends it between two as well. Not for READ and WRITE, which the transport moves itself.
 */
import { type BlockDevice, BlockIo, type BlockOp, type IoError } from '../block/device.js';
import { accept, refuse } from './command.js';
import { type Sense, SENSE, senseOfIoError } from './sense.js';
import type { ScsiNexus, ScsiTask } from './task.js';
import type { DiskUnit } from './unit.js';

export interface Piece {
  readonly op: BlockOp;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly data?: Buffer;
  readonly fua?: boolean;
  /** Where it goes, if not to the unit of the command. */
  readonly device?: Pick<BlockDevice, 'submit'>;
  /** What its failure means to the command, if not what it would mean to a READ or WRITE. */
  readonly failed?: (error: IoError) => Sense;
}

/** Yields I/Os; is resumed when one has succeeded; returns the outcome, null for GOOD. */
export type Pieces = Iterator<Piece, Sense | null>;
type GeneratorOfPieces = Generator<Piece, Sense | null>;

class PiecesIo extends BlockIo {
  private piece: Piece | null = null;

  constructor(
    private readonly device: Pick<BlockDevice, 'submit'>,
    private readonly pieces: Pieces,
    private readonly done: (outcome: Sense | null) => void,
    private readonly isOver: () => boolean,
  ) {
    super();
  }

  override get isWanted(): boolean {
    return !this.isOver();
  }

  step(): void {
    if (this.isOver()) return this.done(SENSE.COMMAND_ABORTED);
    const { done, value } = this.pieces.next();
    if (done === true) {
      this.done(value);
      return;
    }
    this.piece = value;
    const { op, offsetBytes, lengthBytes, data, fua, device = this.device } = value;
    device.submit(this.prepare(op, offsetBytes, lengthBytes, data, fua));
  }

  protected override completed(error: IoError | null): void {
    if (error !== null) this.done(this.failure(error));
    // Through the loop, so that a device which completes inside submit() neither recurses nor starves other tasks.
    else setImmediate(() => this.step());
  }

  private failure(error: IoError): Sense {
    return this.piece?.failed?.(error) ?? senseOfIoError(error);
  }
}

/**
 * Runs `pieces` one after the other and reports how it ended.
 * @param isOver nobody waits for the rest of them any more: none of them is resumed, and what has not begun need not
 */
export function runPieces(
  device: Pick<BlockDevice, 'submit'>,
  pieces: Pieces,
  done: (outcome: Sense | null) => void,
  isOver = (): boolean => false,
): void {
  new PiecesIo(device, pieces, done, isOver).step();
}

export function finish(task: ScsiTask, outcome: Sense | null): void {
  if (outcome === null) accept(task);
  else refuse(task, outcome);
}

/** Whether it changes the unit of the command. Where a copy writes is judged there (copy/guest.ts). */
function isWrite({ op, device }: Piece): boolean {
  return device === undefined && op !== 'read' && op !== 'flush';
}

/** `pieces` until the task is to end, or something comes in its way that would have stopped it from the first. */
export function* whileWanted(
  unit: DiskUnit,
  task: ScsiTask,
  passes: number,
  pieces: Pieces,
): GeneratorOfPieces {
  for (;;) {
    if (task.isEnding) return SENSE.COMMAND_ABORTED;
    const obstacle = unit.obstacleSince(task, passes);
    if (obstacle !== null) return obstacle;
    const { done, value } = pieces.next();
    if (done === true) return value;
    // SWP may have been set since (SPC-4 7.5.8). What is read is still compared, and what is cached made durable.
    if (unit.readOnly && isWrite(value)) return SENSE.WRITE_PROTECTED;
    yield value;
  }
}

/**
 * Runs `pieces` and finishes `task` with their outcome.
 * @param passes of its command, where that is served when others are not (Command.passes)
 */
export function finishByPieces(unit: DiskUnit, task: ScsiTask, pieces: Pieces, passes = 0): void {
  const ended = (outcome: Sense | null): void => finish(task, outcome);
  runPieces(unit.device, whileWanted(unit, task, passes, pieces), ended, () => task.isEnding);
}

/**
 * Calls back when no other process serves the unit, nor will before office.leave(). A task that ends before that has
 * done nothing: it is let go, as that may be the very thing that is waited for.
 */
export function enterOffice({ office }: DiskUnit, task: ScsiTask, entered: () => void): void {
  let isLetGo = false;
  task.letGo = () => (isLetGo = true);
  office.enter(() => {
    if (isLetGo) return office.leave();
    task.letGo = null;
    entered();
  });
}

/** The same, while nobody else reads or writes `range`, in which the pieces have to stay. Its turn may come late. */
export function finishClaimed(
  unit: DiskUnit,
  task: ScsiTask,
  range: { readonly offsetBytes: number; readonly lengthBytes: number },
  pieces: Pieces,
): void {
  enterOffice(unit, task, () =>
    unit.device.claim(range.offsetBytes, range.lengthBytes, (claim) => {
      const ended = (outcome: Sense | null): void => {
        claim.release();
        unit.office.leave();
        finish(task, outcome);
      };
      runPieces(claim, whileWanted(unit, task, 0, pieces), ended, () => task.isEnding);
    }),
  );
}

/** Cuts [offsetBytes, offsetBytes + lengthBytes) into runs of at most `maxBytes`. */
export function* cut(
  offsetBytes: number,
  lengthBytes: number,
  maxBytes: number,
): Generator<{ offsetBytes: number; lengthBytes: number }> {
  const end = offsetBytes + lengthBytes;
  for (let at = offsetBytes; at < end; at += maxBytes) {
    yield { offsetBytes: at, lengthBytes: Math.min(maxBytes, end - at) };
  }
}

/** The one piece that makes everything completed so far durable. */
export function* flushPieces(): Generator<Piece, null> {
  yield { op: 'flush', offsetBytes: 0, lengthBytes: 0 };
  return null;
}

/**
 * The same, for somebody who is told that it is: not when writes of his that were acknowledged are gone (I1). He is told so
 * once, as a disk tells what it could not write: what he writes again can be made durable.
 */
export function* durablePieces({ nexuses, device }: DiskUnit, nexus: ScsiNexus): GeneratorOfPieces {
  const known = nexuses.lossesKnownTo(nexus) ?? device.losses; // before it: another flush may be told meanwhile
  yield* flushPieces();
  if (device.losses === known) return null;
  nexuses.knowsLosses(nexus, device.losses);
  return SENSE.WRITE_ERROR;
}

/**
 * Makes everything durable and finishes `task`. It changes nothing on the medium, so whoever waits for the task's end need
 * not wait for a disk, here or at another member: the task is let go.
 */
export function finishDurably(unit: DiskUnit, task: ScsiTask, passes = 0): void {
  let isLetGo = false;
  task.letGo = () => (isLetGo = true);
  const pieces = whileWanted(unit, task, passes, durablePieces(unit, task.nexus));
  const ended = (outcome: Sense | null): void => {
    if (isLetGo) return;
    task.letGo = null;
    finish(task, outcome);
  };
  // Once it is let go the task is another's, and what was lost stays to be told to somebody who hears it.
  runPieces(unit.device, pieces, ended, () => isLetGo);
}
