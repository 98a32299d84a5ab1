/**
 * The sessions at other members as the home of a unit sees them: each is a nexus like those of its own sessions, so that
 * reservations, unit attentions, modes and claims are in one place. Their commands are judged and carried out here.
 */
import { BlockIo, type IoError } from '../block/device.js';
import { CONNECTIONS_MAX, HOME_COMMAND_BYTES_MAX } from '../base/limits.js';
import { PeerStatus, PeerType, type IncomingRequest } from '../peer/contract.js';
import { isInRange } from '../peer/request-range.js';
import { byteAt, CDB_BYTES } from '../scsi/cdb.js';
import type { DiskServer } from '../scsi/disk-server.js';
import { OperationCode } from '../scsi/opcodes.js';
import { refusalOf } from '../scsi/refusal.js';
import { SENSE, type Sense } from '../scsi/sense.js';
import { ScsiStatus, ScsiTask, type Refusal, type ScsiNexus } from '../scsi/task.js';
import { formatNotGood, type NexusBegan, type Server } from './messages.js';
import { isSameSender, type Sender } from './sender.js';

/** What is under way here for a session elsewhere: a command, or what its end waits for. */
interface InService {
  readonly visitor: Visitor;
  /** Which session of which process, and the number of the command; 0: none. */
  readonly sender: Sender;
  readonly number: number;
  /** No fence waits for it: it waits for other members itself, or goes on without its command. */
  readonly isApart: boolean;
  /** What it changes is the group's, whoever is home: it may end here when the home has gone. */
  readonly isOfGroup: boolean;
  /** Nobody waits for its answer any more. */
  stop(): void;
}

/** Every member hears of them. */
const OF_GROUP: ReadonlySet<number> = new Set([
  OperationCode.RESERVE_6,
  OperationCode.RELEASE_6,
  OperationCode.RESERVE_10,
  OperationCode.RELEASE_10,
  OperationCode.PERSISTENT_RESERVE_OUT,
]);

/** One session at another member. */
class Visitor implements ScsiNexus {
  readonly initiatorName: string;
  readonly initiatorPortName: string;

  constructor(
    { initiatorName, initiatorPortName }: NexusBegan,
    readonly incarnation: string,
    private readonly visitors: Visitors,
  ) {
    this.initiatorName = initiatorName;
    this.initiatorPortName = initiatorPortName;
  }

  /** Their answers, if there are any, are its member's. */
  abortTasks(done: () => void): void {
    this.visitors.stop(({ visitor }) => visitor === this, done);
  }
}

/** The sessions at one process of a member, by their numbers. */
interface Party {
  readonly incarnation: string;
  readonly visitors: Map<number, Visitor>;
}

export class Visitors {
  private readonly parties = new Map<string, Party>();
  private readonly inService = new Set<InService>();
  /** Who waits, and what for. */
  private waiting: { readonly left: Set<InService>; readonly done: () => void }[] = [];

  constructor(
    private readonly disk: DiskServer,
    private readonly self: Server,
  ) {}

  find({ from, incarnation, token }: Sender): Visitor | undefined {
    const party = this.parties.get(from);
    return party?.incarnation === incarnation ? party.visitors.get(token) : undefined;
  }

  // ---- what is under way, also of sessions that are gone

  /**
   * Nothing that the next home must not meet. PREEMPT AND ABORT waits for the end of commands at other members, which this
   * home may be holding until it is known who is the next.
   */
  get isIdle(): boolean {
    for (const { isOfGroup } of this.inService) if (!isOfGroup) return false;
    return true;
  }

  began(command: InService): void {
    this.inService.add(command);
  }

  ended(command: InService): void {
    if (!this.inService.delete(command)) return;
    const { waiting } = this;
    this.waiting = waiting.filter(({ left }) => !left.delete(command) || left.size > 0);
    for (const { left, done } of waiting) if (left.size === 0) done();
  }

  /** Has these stop; calls back once what of them is under way now has ended. */
  stop(isOne: (command: InService) => boolean, done: () => void): void {
    const stopped = [...this.inService].filter(isOne);
    for (const command of stopped) command.stop();
    const left = new Set(stopped.filter((command) => !command.isApart && this.inService.has(command)));
    if (left.size === 0) done();
    else this.waiting.push({ left, done });
  }

  /** COMMAND_ENDS. */
  endCommand(request: IncomingRequest, done: () => void): void {
    this.stop(({ sender, number }) => number === request.extent && isSameSender(sender, request), done);
  }

  /** Resolves when nothing is under way of all that was sent until now; SANITIZE goes on. */
  endAll(): Promise<void> {
    return new Promise((resolve) => this.stop(() => true, resolve));
  }

  /** Resolves when nothing is under way that any other process than these has sent, or ever will be (I8). */
  endAbsent(present: readonly Server[]): Promise<void> {
    const incarnations = new Set(present.map(({ incarnation }) => incarnation));
    for (const [name, { incarnation }] of this.parties)
      if (!incarnations.has(incarnation)) this.gone({ name, incarnation });
    return new Promise((resolve) =>
      this.stop(({ sender }) => !incarnations.has(sender.incarnation), resolve),
    );
  }

  // ---- sessions

  /**
   * A session whose commands follow. It may have been here before. Answers REFUSED where its member would have more of them
   * than it can have connections.
   * @param done called once nothing can reach the medium in the name of those that are said to have ended
   */
  add(request: IncomingRequest, began: NexusBegan, done: () => void): void {
    const { visitors } = this.partyOf(request);
    const live = new Set(began.live);
    const newest = Math.max(request.token, ...live);
    // Later ones may have come by before it.
    const over = [...visitors.keys()].filter((number) => number < newest && !live.has(number));
    const isKnown = visitors.has(request.token);
    if (!isKnown && visitors.size - over.length >= CONNECTIONS_MAX)
      return request.answer(PeerStatus.REFUSED, Buffer.from('too many sessions'));
    let left = over.length + 1;
    const one = (): void => {
      left -= 1;
      if (left === 0) done();
    };
    const { from, incarnation } = request;
    for (const token of over) this.remove({ from, incarnation, token }, one);
    this.enter(request, began);
    one();
  }

  private enter(sender: Sender, began: NexusBegan): void {
    const { visitors } = this.partyOf(sender);
    if (visitors.has(sender.token)) return;
    const visitor = new Visitor(began, sender.incarnation, this);
    visitors.set(sender.token, visitor);
    this.disk.nexusBegan(visitor);
    const attention = attentionOf(began.before, this.self);
    if (attention !== null) this.disk.attend(visitor, attention);
  }

  private partyOf({ from, incarnation }: Sender): Party {
    const known = this.parties.get(from);
    if (known?.incarnation === incarnation) return known;
    if (known !== undefined) this.gone({ name: from, incarnation: known.incarnation });
    const party = { incarnation, visitors: new Map<number, Visitor>() };
    this.parties.set(from, party);
    return party;
  }

  /** I_T nexus loss. Calls back when nothing can reach the medium in its name. */
  remove(sender: Sender, done: () => void): void {
    const visitor = this.find(sender);
    this.parties.get(sender.from)?.visitors.delete(sender.token);
    if (visitor !== undefined) this.end(visitor, sender);
    this.stop((command) => isSameSender(command.sender, sender), done);
  }

  /** A process has left the group: its sessions are gone, and not those of another that has its name by now. */
  gone({ name: from, incarnation }: Server): void {
    const party = this.parties.get(from);
    if (party?.incarnation !== incarnation) return;
    this.parties.delete(from);
    for (const [token, visitor] of party.visitors) this.end(visitor, { from, incarnation, token });
  }

  private end(visitor: Visitor, sender: Sender): void {
    const ending = { visitor, sender, number: 0, isApart: false, isOfGroup: false, stop: () => undefined };
    this.began(ending);
    this.disk.nexusEnded(visitor, () => this.ended(ending));
  }

  /** The unit is served elsewhere from now on; the sessions go on. */
  leave(): void {
    for (const { visitors } of this.parties.values())
      for (const visitor of visitors.values()) this.disk.nexusLeft(visitor);
    this.parties.clear();
  }

  /** Carries out a command; NOT_FOUND where its session is not known, REFUSED where no member would send it. */
  serve(request: IncomingRequest): void {
    const visitor = this.find(request);
    if (visitor === undefined) return request.answer(PeerStatus.NOT_FOUND);
    if (request.type === PeerType.COMMAND_READ || request.type === PeerType.COMMAND_WRITE) {
      new VisitorIo(request, visitor, this, this.disk).begin();
    } else new VisitorTask(request, visitor, this, this.disk).begin();
  }
}

/** What a session is told that was served by `before`, and is by `self` now. */
export function attentionOf(before: Server, self: Server): Sense | null {
  if (before.name === '') return null;
  const isRestart = before.name === self.name && before.incarnation !== self.incarnation;
  return isRestart ? SENSE.UNIT_WAS_RESET : SENSE.ASYMMETRIC_ACCESS_STATE_CHANGED;
}

/** One READ or WRITE of a session elsewhere. */
class VisitorIo extends BlockIo implements InService {
  readonly isApart = false;
  readonly isOfGroup = false;
  private isStopped = false;

  constructor(
    private readonly request: IncomingRequest,
    readonly visitor: Visitor,
    private readonly visitors: Visitors,
    private readonly disk: DiskServer,
  ) {
    super();
  }

  override get isWanted(): boolean {
    return !this.isStopped;
  }

  get sender(): Sender {
    return this.request;
  }

  get number(): number {
    return this.request.extent;
  }

  /** What is at the device runs to its end there. */
  stop(): void {
    this.isStopped = true;
  }

  begin(): void {
    const { request, disk, visitor, visitors } = this;
    const op = request.type === PeerType.COMMAND_READ ? 'read' : 'write';
    if (!isInRange(request, disk.device, op, HOME_COMMAND_BYTES_MAX))
      return request.answer(PeerStatus.REFUSED, Buffer.from('no such range'));
    const refusal = disk.refusalOfTransfer(visitor, op);
    if (refusal !== null) return answerRefusal(request, disk, refusal);
    const data = op === 'read' ? request.allocateAnswer() : request.payload;
    visitors.began(this);
    const fua = request.fua || disk.writesThrough;
    disk.device.submit(this.prepare(op, request.offsetBytes, request.lengthBytes, data, fua));
  }

  protected override completed(error: IoError | null): void {
    const { request, disk } = this;
    if (error === null) request.answer(PeerStatus.OK, this.op === 'read' ? this.data : undefined);
    else answerRefusal(request, disk, refusalOf(error));
    this.visitors.ended(this);
  }
}

/** Any other command of a session elsewhere. */
class VisitorTask extends ScsiTask implements InService {
  isApart = false;
  isOfGroup = false;

  constructor(
    private readonly request: IncomingRequest,
    readonly visitor: Visitor,
    private readonly visitors: Visitors,
    private readonly disk: DiskServer,
  ) {
    super();
    this.nexus = visitor;
  }

  get sender(): Sender {
    return this.request;
  }

  get number(): number {
    return this.request.extent;
  }

  begin(): void {
    const { request, disk } = this;
    // A COMMAND begins with it.
    if (request.payload.length < CDB_BYTES) return request.answer(PeerStatus.REFUSED, Buffer.from('no CDB'));
    this.cdb = request.payload.subarray(0, CDB_BYTES);
    this.expectedDataOutBytes = request.lengthBytes;
    const opcode = byteAt(this.cdb, 0);
    this.isOfGroup = OF_GROUP.has(opcode);
    this.isApart = this.isOfGroup || opcode === OperationCode.SANITIZE; // takes hours
    this.visitors.began(this);
    const plan = disk.prepare(this);
    if (plan === 'finished') return;
    // What moves data comes as COMMAND_READ and COMMAND_WRITE.
    if (plan !== 'control') return this.finish(ScsiStatus.CHECK_CONDITION, SENSE.INTERNAL_TARGET_FAILURE);
    this.dataOut = request.payload.subarray(CDB_BYTES, CDB_BYTES + this.dataOutBytes);
    disk.execute(this);
  }

  /** As a transport ends a task (ScsiTask.letGo). */
  stop(): void {
    const { letGo } = this;
    this.markEnding();
    if (letGo === null) return;
    this.letGo = null;
    letGo();
    this.finish(ScsiStatus.TASK_ABORTED, null);
  }

  override finish(status: number, sense: Sense | null): void {
    const { request, disk } = this;
    if (status === ScsiStatus.GOOD) request.answer(PeerStatus.OK, this.dataIn);
    else answerRefusal(request, disk, { status, sense });
    this.visitors.ended(this);
  }
}

function answerRefusal(request: IncomingRequest, disk: DiskServer, refusal: Refusal): void {
  request.answer(PeerStatus.NOT_GOOD, formatNotGood(refusal, disk.saysDescriptors));
}
