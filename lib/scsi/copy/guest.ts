/**
 * A copy at a unit that it reads or writes. There it is its initiator, by a nexus that this has with the unit: what is
 * reserved from that is reserved from the copy, and what ends its commands (PREEMPT AND ABORT, the end of its session)
 * ends the copy, and waits for what of it is under way.
 */
import { BlockIo, type BlockOp, type IoError } from '../../block/device.js';
import { checkCondition } from '../refusal.js';
import { isBarred } from '../reservations/access.js';
import type { GuestNexus } from '../reservations/keeper.js';
import { RefusedIo, SENSE } from '../sense.js';
import { type Refusal, type ScsiNexus, ScsiStatus } from '../task.js';
import type { DiskUnit } from '../unit.js';

const ABORTED: Refusal = Object.freeze({ status: ScsiStatus.TASK_ABORTED, sense: null });
const CONFLICT: Refusal = Object.freeze({ status: ScsiStatus.RESERVATION_CONFLICT, sense: null });

export class Guest implements GuestNexus {
  readonly initiatorName: string;
  readonly initiatorPortName: string;
  /** Its commands have been ended, and so is the copy. */
  isAborted = false;
  private underWay = 0;
  private whenQuiet: (() => void)[] = [];

  constructor(
    private readonly unit: DiskUnit,
    { initiatorName, initiatorPortName }: ScsiNexus,
  ) {
    this.initiatorName = initiatorName;
    this.initiatorPortName = initiatorPortName;
  }

  /** Null: the initiator is not logged in there. */
  static enter(unit: DiskUnit, initiatorName: string): Guest | null {
    const { nexuses, reservations } = unit;
    const there = nexuses.of(initiatorName);
    const mayWrite = there.find(
      ({ initiatorPortName }) => !isBarred(reservations.state, initiatorPortName, 'write'),
    );
    const host = mayWrite ?? there[0];
    if (host === undefined) return null;
    const guest = new Guest(unit, host);
    nexuses.addGuest(guest, host);
    return guest;
  }

  /** It has ended, and nothing of it is under way. */
  leave(): void {
    this.unit.nexuses.deleteGuest(this);
  }

  get isAtWork(): boolean {
    return this.underWay > 0;
  }

  abortTasks(done: () => void): void {
    this.isAborted = true;
    if (this.isAtWork) this.whenQuiet.push(done);
    else done();
  }

  /** Why the unit does not let it read, or change anything, now. */
  refusalOf(op: BlockOp): Refusal | null {
    const { unit, initiatorPortName } = this;
    if (this.isAborted) return ABORTED;
    const access = op === 'read' ? 'read' : 'write';
    if (isBarred(unit.reservations.state, initiatorPortName, access)) return CONFLICT;
    const obstacle = unit.obstacleSince({ nexus: this });
    if (obstacle !== null) return checkCondition(obstacle);
    return access === 'write' && unit.readOnly ? checkCondition(SENSE.WRITE_PROTECTED) : null;
  }

  /** One piece of the copy; fails with RefusedIo where the unit does not let it be. */
  submit(io: BlockIo): void {
    const { unit } = this;
    const refusal = this.refusalOf(io.op);
    if (refusal !== null) return io.complete(new RefusedIo(refusal.status, refusal.sense));
    const { op, offsetBytes, lengthBytes, data } = io;
    const fua = op !== 'read' && unit.writesThrough;
    this.underWay += 1;
    const piece = new GuestIo(io, this, () => this.ended());
    unit.device.submit(piece.prepare(op, offsetBytes, lengthBytes, data, fua));
  }

  private ended(): void {
    this.underWay -= 1;
    if (this.isAtWork) return;
    for (const done of this.whenQuiet.splice(0)) done();
  }
}

class GuestIo extends BlockIo {
  constructor(
    private readonly io: BlockIo,
    private readonly guest: Guest,
    private readonly ended: () => void,
  ) {
    super();
  }

  override get isWanted(): boolean {
    return !this.guest.isAborted && this.io.isWanted;
  }

  protected override completed(error: IoError | null): void {
    this.ended();
    this.io.complete(error);
  }
}
