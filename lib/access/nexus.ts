/**
 * A session at this member whose unit may be served elsewhere: where its data goes, and its commands on their way. While
 * the unit is served here, READ and WRITE pass on after one look.
 */
import { HOME_COMMAND_BYTES_MAX } from '../base/limits.js';
import { BlockIo, type BlockDevice, type IoError } from '../block/device.js';
import type { PageMap } from '../block/page-map.js';
import { PeerType } from '../peer/contract.js';
import { CDB_BYTES } from '../scsi/cdb.js';
import type { DiskServer } from '../scsi/disk-server.js';
import { RefusedIo } from '../scsi/sense.js';
import { ScsiStatus, type Refusal, type ScsiNexus, type ScsiTask } from '../scsi/task.js';
import { BUSY, Errand, type UnitPlace } from './errand.js';
import { NOBODY, type NexusBegan, type Server } from './messages.js';

/** What a nexus needs of its unit at this member. */
export interface NexusPlace extends UnitPlace {
  readonly disk: DiskServer;
  /** How often this member was left behind by its group. */
  timesLeftBehind(): number;
  /** The numbers of all nexuses of the unit here. */
  live(): number[];
  /** Carries out a command of which only the CDB was looked at. */
  executeHere(task: ScsiTask): void;
}

export class AccessNexus implements BlockDevice {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly readOnly: boolean;
  /** Who has served it last. */
  servedBy: Server = NOBODY;
  private readonly timesLeftBehind: number;
  /** Of one of its commands it could not be learned whether it is over. */
  isInDoubt = false;
  private introducing: ((isDone: boolean) => void)[] | null = null;
  /** Its session is over: it is not introduced any more. */
  isEnding = false;
  /** A home was told of it, whether or not that has answered. */
  mayBeKnown = false;
  private lastCommand = 0;

  /** @param number names it to the home: one of this process for the unit, never used again */
  constructor(
    readonly place: NexusPlace,
    readonly nexus: ScsiNexus,
    readonly number: number,
  ) {
    const { sizeBytes, blockBytes, readOnly } = place.disk.device;
    this.sizeBytes = sizeBytes;
    this.blockBytes = blockBytes;
    this.readOnly = readOnly;
    this.timesLeftBehind = place.timesLeftBehind();
  }

  submit(io: BlockIo): void {
    const { place } = this;
    if (place.standing === 'here') place.disk.device.submit(io);
    else if (io.lengthBytes <= HOME_COMMAND_BYTES_MAX) new IoErrand(this, io).go();
    else new LongIo(this, io).next();
  }

  mapped(offsetBytes: number, lengthBytes: number, withDigest: boolean): PageMap | null {
    const { standing, disk } = this.place;
    if (standing !== 'here') return null;
    return disk.device.mapped?.(offsetBytes, lengthBytes, withDigest) ?? null;
  }

  command(task: ScsiTask): void {
    new CommandErrand(this, task).go();
  }

  /** The number of its next command on its way. */
  nextCommand(): number {
    this.lastCommand = this.lastCommand === 0xffffffff ? 1 : this.lastCommand + 1;
    return this.lastCommand;
  }

  /** Its session was there before this member was left behind: others may have gone on without it (I8). */
  get isLeftBehind(): boolean {
    return this.timesLeftBehind !== this.place.timesLeftBehind();
  }

  /** Tells the home who it is; once for all who ask meanwhile. */
  introduce(then: (isDone: boolean) => void): void {
    if (this.introducing !== null) return void this.introducing.push(then);
    this.introducing = [then];
    new Introduction(this).go();
  }

  introduced(isDone: boolean): void {
    const waiting = this.introducing ?? [];
    this.introducing = null;
    for (const then of waiting) then(isDone);
  }

  /** It is over. Calls back when nothing can reach the medium in its name, at the home either. */
  end(done: () => void): void {
    this.isEnding = true;
    // Or it would be known to the home for ever.
    if (this.introducing !== null) return void this.introducing.push(() => this.end(done));
    if (this.place.standing === 'here' || !(this.mayBeKnown || this.servedBy !== NOBODY)) done();
    else new Farewell(this, done).go();
  }
}

abstract class NexusErrand extends Errand {
  constructor(protected readonly owner: AccessNexus) {
    super(owner.place);
    this.token = owner.number;
  }

  protected override obstacle(): Refusal | null {
    return this.owner.isLeftBehind ? BUSY : super.obstacle();
  }

  protected override unknownThere(): void {
    this.owner.introduce((isDone) => (isDone ? this.go() : this.refused(BUSY)));
  }
}

/** A command, which is not answered before it is sure that it does nothing any more. */
abstract class SessionErrand extends NexusErrand {
  override readonly isCommand = true;

  constructor(owner: AccessNexus) {
    super(owner);
    this.extent = owner.nextCommand();
  }

  /**
   * What was unread of the broken link is dropped when another is made (peer/association.ts), and the home knows what it
   * had read; another home, or process, has nothing of it. One that is silent for longer than a lease lasts drops it by
   * itself (member.ts).
   */
  protected override inDoubt(): void {
    new Ending(this.owner, this.extent, () => this.refused(BUSY)).go();
  }
}

/** One READ or WRITE, or a part of it. */
class IoErrand extends SessionErrand {
  protected readonly mayRepeat: boolean;

  constructor(
    owner: AccessNexus,
    private readonly io: BlockIo,
  ) {
    super(owner);
    const isRead = io.op === 'read';
    this.mayRepeat = isRead;
    this.type = isRead ? PeerType.COMMAND_READ : PeerType.COMMAND_WRITE;
    this.offsetBytes = io.offsetBytes;
    this.lengthBytes = io.lengthBytes;
    this.fua = io.fua;
    if (isRead) this.into = io.data;
    else this.payload = io.data;
  }

  get isWanted(): boolean {
    return this.io.isWanted;
  }

  protected serveHere(): void {
    const { io } = this;
    const { disk } = this.owner.place;
    const refusal = disk.refusalOfTransfer(this.owner.nexus, io.op === 'read' ? 'read' : 'write');
    if (refusal !== null) return this.refused(refusal);
    io.fua ||= disk.writesThrough;
    disk.device.submit(io);
  }

  protected done(): void {
    this.io.complete(null);
  }

  protected refused({ status, sense }: Refusal): void {
    const error: IoError = new RefusedIo(status, sense);
    this.io.complete(error);
  }
}

/**
 * A READ or WRITE that is longer than a request, in pieces, each judged as a command is. One is under way at a time: so it
 * waits as one where its unit is held (access-server.ts), what stops the first stops all before anything is done, and when
 * one has failed, which it says only when it is over (I8), nothing of it is under way any more.
 */
class LongIo extends BlockIo {
  private doneBytes = 0;

  constructor(
    private readonly owner: AccessNexus,
    private readonly whole: BlockIo,
  ) {
    super();
  }

  override get isWanted(): boolean {
    return this.whole.isWanted;
  }

  next(): void {
    const { whole, doneBytes } = this;
    const lengthBytes = Math.min(whole.lengthBytes - doneBytes, HOME_COMMAND_BYTES_MAX);
    const data = whole.data.subarray(doneBytes, doneBytes + lengthBytes);
    this.prepare(whole.op, whole.offsetBytes + doneBytes, lengthBytes, data, whole.fua);
    new IoErrand(this.owner, this).go();
  }

  /** Those that are served here may be as many levels of the stack: sixteen at most. */
  protected override completed(error: IoError | null): void {
    this.doneBytes += this.lengthBytes;
    if (error !== null || this.doneBytes === this.whole.lengthBytes) this.whole.complete(error);
    else this.next();
  }
}

class CommandErrand extends SessionErrand {
  // INQUIRY and its kin would bear it, but COMPARE AND WRITE, or PERSISTENT RESERVE OUT, finds its own traces.
  protected readonly mayRepeat = false;

  constructor(
    owner: AccessNexus,
    private readonly task: ScsiTask,
  ) {
    super(owner);
    this.type = PeerType.COMMAND;
    this.lengthBytes = task.expectedDataOutBytes;
    this.payload = Buffer.concat([task.cdb.subarray(0, CDB_BYTES), task.dataOut]);
    task.whenEnding = () => new Ending(owner, this.extent, () => undefined).go();
  }

  get isWanted(): boolean {
    return this.task.isWanted;
  }

  protected serveHere(): void {
    this.task.whenEnding = null;
    this.owner.place.executeHere(this.task);
  }

  protected done(payload: Buffer): void {
    this.task.dataIn = Buffer.from(payload);
    this.task.finish(ScsiStatus.GOOD, null);
  }

  protected refused({ status, sense }: Refusal): void {
    this.task.finish(status, sense);
  }
}

class Introduction extends NexusErrand {
  protected readonly mayRepeat = true;
  private to = '';

  constructor(owner: AccessNexus) {
    super(owner);
    this.type = PeerType.NEXUS_BEGAN;
  }

  get isWanted(): boolean {
    return !this.owner.isEnding;
  }

  override go(): void {
    const { nexus, servedBy, place } = this.owner;
    const { initiatorName, initiatorPortName } = nexus;
    const began: NexusBegan = { initiatorName, initiatorPortName, before: servedBy, live: place.live() };
    this.payload = Buffer.from(JSON.stringify(began));
    this.to = place.home();
    this.owner.mayBeKnown ||= place.standing === 'elsewhere';
    super.go();
  }

  protected serveHere(): void {
    this.owner.introduced(true);
  }

  protected done(payload: Buffer): void {
    this.owner.servedBy = { name: this.to, incarnation: payload.toString('utf8') };
    this.owner.introduced(true);
  }

  protected refused(): void {
    this.owner.introduced(false);
  }

  protected override unknownThere(): void {
    this.retryLater();
  }
}

/** What the home is told, and has done when it answers. Where it cannot be told, or knows nothing of it, that is over, too. */
abstract class LastWord extends NexusErrand {
  protected readonly mayRepeat = true;
  readonly isWanted = true;

  constructor(
    owner: AccessNexus,
    protected readonly over: () => void,
  ) {
    super(owner);
  }

  /** It does nothing but end what is under way: that is as good without a lease, and of a session that was left behind. */
  protected override obstacle(): null {
    return null;
  }

  protected serveHere(): void {
    this.over();
  }

  protected done(): void {
    this.over();
  }

  protected refused(): void {
    this.over();
  }

  protected override unknownThere(): void {
    this.over();
  }
}

/** A command of which nobody hears any more. */
class Ending extends LastWord {
  constructor(owner: AccessNexus, command: number, over: () => void) {
    super(owner, over);
    this.type = PeerType.COMMAND_ENDS;
    this.extent = command;
  }

  protected override refused(): void {
    this.owner.isInDoubt = true;
    this.over();
  }
}

/** The session is over. A home that is out of reach is told later, and waited for if a command may be under way there. */
class Farewell extends LastWord {
  constructor(owner: AccessNexus, done: () => void) {
    let isOver = false;
    super(owner, () => {
      if (!isOver) done();
      isOver = true;
    });
    this.type = PeerType.NEXUS_ENDED;
  }

  protected override retryLater(): void {
    if (!this.owner.isInDoubt) this.over();
    super.retryLater();
  }
}
