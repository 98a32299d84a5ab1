/**
 * A unit at one member of a group in which every member serves every volume (implicit asymmetric access, SPC-4 5.15). Its
 * commands are carried out at its home: here while this member is that, at another member otherwise. When the home moves,
 * sessions stay where they are, and hear of it by a unit attention.
 *
 *      here ◄──────────► held ──the commit──► elsewhere ──the commit──► held ──the unit is known as it was left──► here
 *           given away, or     quieten()
 *           not after all
 *
 * The home finishes what it has begun before it is given away, and begins nothing until it is known who is home: so at no
 * time are commands of a unit carried out at two members.
 */
import { sleep, type Clock, type Timer } from '../base/clock.js';
import {
  FORWARD_RETRY_MS,
  HOME_QUIET_LOOK_MS,
  HOME_QUIET_RETRY_MS,
  MOVE_HOLD_MS_MAX,
} from '../base/limits.js';
import type { BlockDevice } from '../block/device.js';
import { PeerType, type PeerHub } from '../peer/contract.js';
import { byteAt } from '../scsi/cdb.js';
import type { DiskServer } from '../scsi/disk-server.js';
import { OperationCode } from '../scsi/opcodes.js';
import { encodeSense, encodeSenseDescriptors, type Sense } from '../scsi/sense.js';
import { type DeviceServer, type Refusal, type ScsiNexus, ScsiTask, type TaskPlan } from '../scsi/task.js';
import { Errand, type Held, type Standing } from './errand.js';
import { NOBODY, type Server, type TaskSet } from './messages.js';
import { AccessNexus, type NexusPlace } from './nexus.js';
import { attentionOf, Visitors } from './visitors.js';

export interface AccessParts {
  /** The unit. */
  readonly disk: DiskServer;
  /** The same as nobody has touched it: what it says of a CDB holds wherever the unit is served. */
  readonly decoder: DiskServer;
  readonly volumeId: number;
  readonly hub: PeerHub;
  readonly clock: Clock;
  readonly self: Server;
  /** See UnitPlace. */
  home(): string;
  epoch(): number;
  mayServe(): boolean;
  refresh(epoch: number, done: () => void): void;
  timesLeftBehind(): number;
  /** Commands of sessions at this member that are carried out, or wait here to be. */
  busy(): number;
  /** Ends the commands of every session at this member, then calls back. */
  endTasksHere(done: () => void): void;
  /** The same at the other members, but for one. */
  endTasksElsewhere(except: string, done: (isDone: boolean) => void): void;
}

const NOTHING = Buffer.alloc(0);
/** The same from every port, but for what it says of that: no home is needed, and none could say it. */
const ANSWERED_ANYWHERE: ReadonlySet<number> = new Set([OperationCode.INQUIRY, OperationCode.REPORT_LUNS]);

/** What a CDB comes to. */
class DecodedTask extends ScsiTask {
  override finish(): void {} // its home says how it ends
}

/** Of the unit that decodes, which goes by nobody's state. */
const ANYBODY: ScsiNexus = {
  initiatorName: '',
  initiatorPortName: '',
  abortTasks: (done) => done(),
};

export class AccessServer implements DeviceServer, NexusPlace {
  standing: Standing = 'elsewhere';
  isClosed = false;
  readonly disk: DiskServer;
  readonly volumeId: number;
  readonly hub: PeerHub;
  readonly clock: Clock;
  readonly visitors: Visitors;
  private readonly nexuses = new Map<ScsiNexus, AccessNexus>();
  private readonly decoded = new DecodedTask();
  private lastNumber = 0;
  private held: Held[] = [];
  /** Looks whether all that is held is still wanted. */
  private look: Timer | null = null;
  /** It was served here last. */
  private isInOffice = false;
  private homeSaysDescriptors = false;
  /** When it may be tried again to hold it. */
  private quietenFromMs = 0;

  constructor(private readonly parts: AccessParts) {
    this.disk = parts.disk;
    this.volumeId = parts.volumeId;
    this.hub = parts.hub;
    this.clock = parts.clock;
    this.visitors = new Visitors(parts.disk, parts.self);
  }

  // ---- where the unit is served

  home(): string {
    return this.parts.home();
  }
  epoch(): number {
    return this.parts.epoch();
  }
  mayServe(): boolean {
    return this.parts.mayServe();
  }
  timesLeftBehind(): number {
    return this.parts.timesLeftBehind();
  }
  readonly refresh = (epoch: number, done: () => void): void => this.parts.refresh(epoch, done);

  /** What the route, and a commit that is under way, say. */
  stand(standing: Standing): void {
    if (standing === this.standing || this.isClosed) return;
    this.standing = standing;
    if (standing === 'elsewhere') this.leaveOffice();
    else if (standing === 'here' && !this.isInOffice) this.takeOffice();
    if (standing !== 'held') this.settle();
  }

  /** See UnitPlace. It will not be known any more who is home; whom this one serves has yet to leave. */
  close(): void {
    this.isClosed = true;
    if (this.standing !== 'held') return;
    this.standing = 'elsewhere';
    this.leaveOffice();
    this.settle();
  }

  private get heldCommands(): number {
    return this.held.filter(({ isCommand }) => isCommand).length;
  }

  /**
   * Resolves when nothing of the unit is carried out here, while it is held; false: not within the time for which commands
   * may be kept waiting.
   */
  async quieten(): Promise<boolean> {
    const { clock } = this;
    if (clock.nowMs() < this.quietenFromMs) return false;
    const deadlineMs = clock.nowMs() + MOVE_HOLD_MS_MAX;
    while (clock.nowMs() <= deadlineMs) {
      if (this.isQuiet) return true;
      await sleep(clock, HOME_QUIET_LOOK_MS);
    }
    this.quietenFromMs = clock.nowMs() + HOME_QUIET_RETRY_MS;
    return false;
  }

  /** Copies from other units come in as guests, and begin nothing while the unit is not served. */
  private get isQuiet(): boolean {
    const { disk, visitors, parts } = this;
    return visitors.isIdle && !disk.unit.nexuses.hasGuestsAtWork && parts.busy() === this.heldCommands;
  }

  hold(waiting: Held): void {
    this.held.push(waiting);
    this.look ??= this.clock.after(FORWARD_RETRY_MS, () => this.dropUnwanted());
  }

  /** An abort, or the end of a session, does not wait until it is known who is home. */
  private dropUnwanted(): void {
    this.look = null;
    const { held } = this;
    this.held = [];
    for (const waiting of held) {
      if (waiting.isWanted) this.hold(waiting);
      else waiting.go();
    }
  }

  private settle(): void {
    this.look?.cancel();
    this.look = null;
    const { held } = this;
    this.held = [];
    for (const waiting of held) waiting.go();
  }

  private leaveOffice(): void {
    this.isInOffice = false;
    for (const nexus of this.nexuses.values()) nexus.servedBy = this.parts.self;
    this.visitors.leave();
  }

  /** Who was served elsewhere is told; what the home before has left unfinished goes on. */
  private takeOffice(): void {
    const { self } = this.parts;
    this.isInOffice = true;
    this.disk.takenOver();
    for (const [nexus, here] of this.nexuses) {
      const attention = attentionOf(here.servedBy, self);
      if (attention !== null) this.disk.attend(nexus, attention);
      here.servedBy = self;
    }
    this.disk.resume();
  }

  // ---- DeviceServer

  prepare(task: ScsiTask): TaskPlan {
    const isHere = this.standing === 'here';
    task.isUnjudged = !isHere && task.lun === 0 && !ANSWERED_ANYWHERE.has(byteAt(task.cdb, 0));
    return task.isUnjudged ? this.decode(task) : this.disk.prepare(task);
  }

  execute(task: ScsiTask): void {
    const isJudgedHere = !task.isUnjudged && (this.standing === 'here' || task.lun !== 0);
    if (isJudgedHere || ANSWERED_ANYWHERE.has(byteAt(task.cdb, 0))) this.disk.execute(task);
    else this.nexusOf(task.nexus).command(task);
  }

  executeHere(task: ScsiTask): void {
    const { dataOut } = task;
    if (this.disk.prepare(task) !== 'control') return; // it has ended with that
    task.dataOut = dataOut;
    this.disk.execute(task);
  }

  refusalOf(task: ScsiTask, op: 'read' | 'write'): Refusal | null {
    if (this.standing !== 'here') return null; // the home says
    if (!task.isUnjudged) return this.disk.refusalOf(task, op);
    task.fua ||= this.disk.writesThrough;
    return this.disk.refusalOfTransfer(task.nexus, op);
  }

  nexusBegan(nexus: ScsiNexus): BlockDevice {
    this.lastNumber += 1;
    const here = new AccessNexus(this, nexus, this.lastNumber);
    this.nexuses.set(nexus, here);
    this.disk.nexusBegan(nexus);
    if (this.isInOffice) here.servedBy = this.parts.self;
    return here;
  }

  nexusEnded(nexus: ScsiNexus, done: () => void = () => undefined): void {
    const here = this.nexusOf(nexus);
    this.nexuses.delete(nexus);
    this.disk.nexusEnded(nexus, () => here.end(done));
  }

  reset(done: (isDone: boolean) => void): void {
    new TaskSetErrand(this, 'reset', done).go();
  }

  clearTaskSet(done: (isDone: boolean) => void): void {
    new TaskSetErrand(this, 'clear', done).go();
  }

  /**
   * As the home, for a session at `from`, which has ended the commands of the sessions there itself.
   * @param endsHere also those of the sessions here
   */
  endTaskSet(what: TaskSet['what'], from: string, endsHere: boolean, done: (isDone: boolean) => void): void {
    const { disk, parts } = this;
    let isDone = true;
    let left = 3;
    const one = (isOne = true): void => {
      isDone &&= isOne;
      left -= 1;
      if (left === 0) done(isDone);
    };
    if (what === 'reset') disk.reset(one);
    else one();
    parts.endTasksElsewhere(from, one);
    if (endsHere) parts.endTasksHere(one);
    else one();
  }

  /** In office it is the home that goes on; before that there is nothing to go on with. */
  resume(): void {
    if (this.isInOffice) this.disk.resume();
  }

  encodeSense(sense: Sense): Buffer {
    if (this.standing === 'here') return this.disk.encodeSense(sense);
    return this.homeSaysDescriptors ? encodeSenseDescriptors(sense) : encodeSense(sense);
  }

  saysDescriptors(isSo: boolean): void {
    this.homeSaysDescriptors = isSo;
  }

  /** Tells the home of an initiator's sessions here: copies come in the name of some that have sent it no command yet. */
  introduce(initiatorName: string): void {
    for (const [nexus, here] of this.nexuses)
      if (nexus.initiatorName === initiatorName) here.introduce(() => undefined);
  }

  /** There is a new home: it learns of the sessions here that one before has known. */
  introduceAll(): void {
    for (const here of this.nexuses.values()) if (here.servedBy !== NOBODY) here.introduce(() => undefined);
  }

  live(): number[] {
    return [...this.nexuses.values()].map(({ number }) => number);
  }

  /** What the CDB moves; whatever it says of an error, or an end, is the home's to judge. */
  private decode(task: ScsiTask): TaskPlan {
    const { decoded } = this;
    decoded.cdb = task.cdb;
    decoded.nexus = ANYBODY;
    decoded.expectedDataOutBytes = task.expectedDataOutBytes;
    const plan = this.parts.decoder.prepare(decoded);
    task.dataOutBytes = plan === 'finished' ? 0 : decoded.dataOutBytes;
    task.offsetBytes = decoded.offsetBytes;
    task.transferBytes = decoded.transferBytes;
    task.fua = decoded.fua;
    task.dataOut = NOTHING;
    task.dataIn = NOTHING;
    return plan === 'finished' ? 'control' : plan;
  }

  private nexusOf(nexus: ScsiNexus): AccessNexus {
    const here = this.nexuses.get(nexus);
    if (here === undefined) throw new Error('a command of a nexus that has not begun');
    return here;
  }
}

/** A task management function that concerns the sessions at every member. */
class TaskSetErrand extends Errand {
  protected readonly mayRepeat = true;
  readonly isWanted = true;

  constructor(
    private readonly server: AccessServer,
    private readonly what: TaskSet['what'],
    private readonly isOver: (isDone: boolean) => void,
  ) {
    super(server);
    this.type = PeerType.TASK_SET;
    const message: TaskSet = { what };
    this.payload = Buffer.from(JSON.stringify(message));
  }

  protected serveHere(): void {
    this.server.endTaskSet(this.what, '', false, this.isOver);
  }

  protected done(): void {
    this.isOver(true);
  }

  protected refused(): void {
    this.isOver(false);
  }
}
