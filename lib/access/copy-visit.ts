/**
 * A copy that this home makes at a unit which may be served elsewhere. Each piece goes to the unit's home, which lets the
 * copy in as a guest first (copy-guests.ts). When that home moves the copy takes its leave there, and is let in at the next:
 *
 *   the home says that it is none, or cannot serve now      the piece was not done: it goes again
 *   the link breaks under a READ                            it goes again
 *   the link breaks under anything else                     in doubt: the process that may be at it is asked, as long as it
 *                                                           is in the group, until it says that nothing of the copy is under
 *                                                           way. Then the piece goes again; where that process has left,
 *                                                           the copy is aborted
 *
 * So no copy is answered, and no piece sent again, while a piece of it could still land (I8).
 */
import { assert } from '../base/assert.js';
import { FORWARD_RETRY_MS, HOME_COMMAND_MS_MAX } from '../base/limits.js';
import type { BlockIo, BlockOp, Provisioning } from '../block/device.js';
import { PeerRequest, PeerStatus, PeerType } from '../peer/contract.js';
import { type Copying, NotReachable, type Visit } from '../scsi/copy/visit.js';
import { provisioningFor } from '../scsi/copy/visits.js';
import { RefusedIo } from '../scsi/sense.js';
import { type Refusal, ScsiStatus } from '../scsi/task.js';
import type { DiskUnit } from '../scsi/unit.js';
import type { CopyGuests } from './copy-guests.js';
import type { CopyLanes } from './copy-lanes.js';
import { BUSY, Errand, type UnitPlace } from './errand.js';
import { type CopyOf, GuestEnded, NOBODY, parseMessage, type Server } from './messages.js';
import type { Sender } from './sender.js';

/** What a visit needs to know of its unit. */
export interface CopyPlace extends UnitPlace {
  readonly self: Server;
  /** As this member has it, wherever it is served. */
  readonly disk: DiskUnit;
  readonly guests: CopyGuests;
  /** Of this member. */
  readonly lanes: CopyLanes;
  /** How often this member was left behind by its group. */
  timesLeftBehind(): number;
  /** See GuestPlace, and the same below. */
  readonly isNewHome: boolean;
  introduce(initiatorName: string): void;
  /** Whether that process of a member is not in the group any more, by the store. */
  hasLeft(member: string, incarnation: string): Promise<boolean>;
}

/** What a home that is left says of the copy. */
type Parting =
  /** Nothing of it is under way there. */
  | 'over'
  /** The same, and it had been told to end. */
  | 'aborted'
  /** Nothing: that process is not in the group any more. */
  | 'gone'
  /** It was not heard. */
  | 'unheard';

const TASK_ABORTED: Refusal = Object.freeze({ status: ScsiStatus.TASK_ABORTED, sense: null });

const TYPE_OF_OP: Partial<Record<BlockOp, number>> = {
  read: PeerType.GUEST_READ,
  write: PeerType.GUEST_WRITE,
  discard: PeerType.GUEST_CLEAR,
};

export class CopyVisit implements Visit {
  /** The process that has let it in, and that it has not left. */
  letInBy: Server = NOBODY;
  /** It was let in before. */
  private wasLetIn = false;
  private readonly timesLeftBehind: number;

  /** @param number names it to the home: one of this process for the unit */
  constructor(
    readonly place: CopyPlace,
    readonly copying: Copying,
    readonly number: number,
  ) {
    this.timesLeftBehind = place.timesLeftBehind();
  }

  get knowsHoles(): boolean {
    return this.place.standing === 'here';
  }

  provisioning(offsetBytes: number, lengthBytes: number): Provisioning {
    const { guests, disk } = this.place;
    const guest = this.knowsHoles ? (guests.find(this.id) ?? null) : null;
    return provisioningFor(guest, disk, offsetBytes, lengthBytes);
  }

  submit(io: BlockIo): void {
    if (io.lengthBytes > 0) return new PieceErrand(this, io).go();
    if (this.letInBy !== NOBODY) return io.complete(null);
    this.beLetIn((refusal) => io.complete(refusal && errorOf(refusal)));
  }

  end(): void {
    if (this.letInBy !== NOBODY) this.leave(true, () => undefined);
  }

  get id(): Sender {
    const { name: from, incarnation } = this.place.self;
    return { from, incarnation, token: this.number };
  }

  /** This member was left behind since it began: others may have gone on without it (I8). */
  get isLeftBehind(): boolean {
    return this.timesLeftBehind !== this.place.timesLeftBehind();
  }

  beLetIn(then: (refusal: Refusal | null) => void): void {
    new LetInErrand(this, then).go();
  }

  letIn(by: Server): void {
    this.letInBy = by;
    this.wasLetIn = true;
  }

  /**
   * Who was let in before, or has a session at this member, is waited for at the home: it follows when that moves, or has
   * not sent it a command yet. Where this is the home, so is whoever may be on the way to it.
   */
  get isExpected(): boolean {
    return this.wasLetIn || this.isLoggedIn || (this.place.standing !== 'elsewhere' && this.place.isNewHome);
  }

  /** By a session at this member, or one that its home knows where this is that. */
  get isLoggedIn(): boolean {
    return this.place.guests.isLoggedIn(this.copying.initiatorName);
  }

  /** @param mustHear asks until the process answers, or has left the group */
  leave(mustHear: boolean, then: (word: Parting) => void): void {
    const { place, id, letInBy } = this;
    const left = (word: Parting): void => {
      if (word !== 'unheard' && this.letInBy === letInBy) this.letInBy = NOBODY;
      then(word);
    };
    if (letInBy.incarnation !== place.self.incarnation) new Leaving(this, mustHear, left).go();
    else place.guests.end(id, (wasAborted) => left(wasAborted ? 'aborted' : 'over'));
  }
}

/** What an initiator is told of its copy. */
function errorOf(refusal: Refusal): RefusedIo | NotReachable {
  const { status, sense } = refusal;
  return status === ScsiStatus.BUSY ? new NotReachable() : new RefusedIo(status, sense);
}

function formatCopy({ copying: { initiatorName } }: CopyVisit): Buffer {
  const copy: CopyOf = { initiatorName };
  return Buffer.from(JSON.stringify(copy));
}

abstract class VisitErrand extends Errand {
  constructor(protected readonly visit: CopyVisit) {
    super(visit.place);
    this.token = visit.number;
  }

  get isWanted(): boolean {
    return this.visit.copying.isWanted;
  }

  protected override obstacle(): Refusal | null {
    const { place, isLeftBehind } = this.visit;
    if (isLeftBehind || place.isClosed) return BUSY;
    return place.standing === 'here' ? null : super.obstacle();
  }
}

class PieceErrand extends VisitErrand {
  protected readonly mayRepeat: boolean;
  private to = '';

  constructor(
    visit: CopyVisit,
    private readonly io: BlockIo,
  ) {
    super(visit);
    const { op } = io;
    const type = TYPE_OF_OP[op];
    assert(type !== undefined, `a copy that asks for '${op}'`);
    this.type = type;
    this.mayRepeat = op === 'read';
    this.offsetBytes = io.offsetBytes;
    this.lengthBytes = io.lengthBytes;
    if (op === 'read') this.into = io.data;
    else this.payload = io.data;
  }

  protected override sendTo(home: string): void {
    this.to = home;
    if (this.visit.place.lanes.enter(home, this)) super.sendTo(home);
  }

  override answered(status: number, payload: Buffer, epoch: number): void {
    this.visit.place.lanes.leave(this.to);
    super.answered(status, payload, epoch);
  }

  protected serveHere(): void {
    const { place, id } = this.visit;
    const guest = place.guests.find(id);
    if (guest === undefined) this.unknownThere();
    else guest.submit(this.io);
  }

  protected override unknownThere(): void {
    this.visit.beLetIn((refusal) => (refusal === null ? this.retryLater() : this.refused(refusal)));
  }

  protected override inDoubt(): void {
    if (this.visit.letInBy === NOBODY) return this.retryLater(); // nobody would have done it
    this.visit.leave(true, (word) => {
      if (word === 'over') this.retryLater();
      else this.refused(word === 'aborted' ? TASK_ABORTED : BUSY);
    });
  }

  protected done(): void {
    this.io.complete(null);
  }

  protected refused(refusal: Refusal): void {
    this.io.complete(errorOf(refusal));
  }
}

/** Asks the home to let the copy in, after the last one has been left. */
class LetInErrand extends VisitErrand {
  protected readonly mayRepeat = true;
  private to = '';
  /** The home that was told of the initiator's sessions here. */
  private introducedTo = '';

  constructor(
    visit: CopyVisit,
    private readonly then: (refusal: Refusal | null) => void,
  ) {
    super(visit);
    this.type = PeerType.GUEST_BEGAN;
    this.payload = formatCopy(visit);
  }

  override go(): void {
    const { visit } = this;
    const { place, letInBy } = visit;
    this.to = place.home();
    if (letInBy !== NOBODY && letInBy.name !== this.to) return this.leaveFirst();
    // As the home itself would say.
    if (place.standing === 'held' && !visit.isLoggedIn) this.unknownThere();
    else super.go();
  }

  private leaveFirst(): void {
    this.visit.leave(false, (word) => {
      if (word === 'aborted') this.refused(TASK_ABORTED);
      else if (word === 'unheard') this.retryLater();
      else this.go();
    });
  }

  protected serveHere(): void {
    const { visit } = this;
    const { place, copying } = visit;
    if (!place.guests.letIn(visit.id, copying.initiatorName)) return this.unknownThere();
    visit.letIn(place.self);
    this.then(null);
  }

  protected done(payload: Buffer): void {
    this.visit.letIn({ name: this.to, incarnation: payload.toString('utf8') });
    this.then(null);
  }

  protected refused(refusal: Refusal): void {
    this.then(refusal);
  }

  /** The initiator is not logged in there. */
  protected override unknownThere(): void {
    if (!this.visit.isExpected) return this.refused(BUSY);
    this.introducedTo = '';
    this.retryLater();
  }

  /** The home may only wait for who is on the way to it: so it is told who is here already. */
  protected override retryLater(): void {
    const { place, copying } = this.visit;
    const home = place.home();
    if (home !== this.introducedTo) place.introduce(copying.initiatorName);
    this.introducedTo = home;
    super.retryLater();
  }
}

/** GUEST_ENDED, to the process that has let the copy in, wherever the home is by now. */
class Leaving extends PeerRequest {
  private readonly place: CopyPlace;
  private readonly to: Server;

  constructor(
    visit: CopyVisit,
    private readonly mustHear: boolean,
    private readonly then: (word: Parting) => void,
  ) {
    super();
    this.place = visit.place;
    this.to = visit.letInBy;
    this.type = PeerType.GUEST_ENDED;
    this.volumeId = this.place.volumeId;
    this.token = visit.number;
    this.payload = formatCopy(visit);
    this.deadlineMs = HOME_COMMAND_MS_MAX;
  }

  go(): void {
    this.place.hub.send(this.to.name, this);
  }

  answered(status: number, payload: Buffer): void {
    const ended = status === PeerStatus.OK ? parseMessage(GuestEnded, payload) : null;
    if (ended === null) return void this.unheard();
    if (ended.incarnation !== this.to.incarnation) this.then('gone');
    else this.then(ended.wasAborted ? 'aborted' : 'over');
  }

  private async unheard(): Promise<void> {
    const { place, to } = this;
    // A store that does not answer says nothing of it.
    const hasLeft = await place.hasLeft(to.name, to.incarnation).catch(() => false);
    if (hasLeft || place.isClosed) this.then('gone');
    else if (this.mustHear) place.clock.after(FORWARD_RETRY_MS, () => this.go());
    else this.then('unheard');
  }
}
