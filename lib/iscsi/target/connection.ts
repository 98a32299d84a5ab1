/**
 * One TCP connection: socket and framer below, the login phase or a session above. It sees to pace (back-pressure,
 * batches, signs of life) and to the end; what PDUs mean is not its business. All writing is in its Output.
 */
import { describeError } from '../../base/errors.js';
import type { Timer } from '../../base/clock.js';
import {
  LOGIN_DATA_SEGMENT_BYTES,
  LOGIN_DEADLINE_MS,
  NOP_DEADLINE_MS,
  NOP_INTERVAL_MS,
  OVERDUE_LOOK_MS,
  RECV_DATA_SEGMENT_BYTES,
  TURN_BYTES_MAX,
  TURN_REST_BYTES_MAX,
} from '../../base/limits.js';
import { formatAddress, type NetSocket } from '../../base/net.js';
import { opcodeOf } from '../wire/bhs.js';
import { Framer, type FramerSink } from '../wire/framer.js';
import { encodeLoginResponse, type LoginResponsePdu } from '../wire/login.js';
import { LoginStatus, Opcode } from '../wire/opcodes.js';
import { abortTasks } from './abort.js';
import { Span } from './buffer-pool.js';
import type { PortalContext } from './context.js';
import { drop } from './departure.js';
import { placeData, receivePdu } from './handlers/index.js';
import type { Refusal } from './login/checks.js';
import { type EstablishedLogin, LoginPhase, type LoginPort } from './login/phase.js';
import { putPing } from './nop-in.js';
import { hasTaken, Output, type Waited } from './output.js';
import { overdueIn } from './overdue.js';
import { bytesOf, PduWriter } from './pdu-writer.js';
import { Session } from './session.js';
import { SessionMemory } from './session-memory.js';
import type { SessionLink } from './session-parts.js';
import { afterActivity, taskOwner } from './transfers.js';

/** Sent, but the other side does not close, or takes nothing of what is left: then we do. */
const LINGER_MS = 1_000;

export class Connection implements FramerSink, SessionLink, LoginPort {
  readonly writer: PduWriter;
  readonly peer: string;
  readonly localHost: string;
  readonly localPort: number;
  cid = 0;
  session: Session | null = null;
  private readonly output: Output;
  private readonly framer: Framer;
  private readonly login: LoginPhase;
  private deadline: Timer;
  private overdueLook: Timer | null = null;
  private lingering: Timer | null = null;
  private chunks = 0;
  private finishing = false;
  private establishedAtMs = -Infinity;
  private departed = false;
  private closed_ = false;
  /** Nothing is read: the session is out of memory, or it is the others' turn. */
  private paused = false;
  private heldBySession = false;
  private yielding = false;
  /** What the session had moved when its turn began. */
  private turnFromBytes = 0;
  private drainScheduled = false;
  private readonly onDrained = (): void => {
    this.drainScheduled = false;
    this.run(() => this.drained());
  };
  private readonly goOn = (): void => {
    this.yielding = false;
    this.applyPace();
  };

  /** @param onClosed called once, when the socket is gone (its session may still be draining) */
  constructor(
    private readonly socket: NetSocket,
    private readonly context: PortalContext,
    private readonly onClosed: (connection: Connection) => void,
  ) {
    this.peer = formatAddress({ host: plainHost(socket.remoteAddress), port: socket.remotePort ?? 0 });
    this.localHost = plainHost(socket.localAddress);
    this.localPort = socket.localPort ?? 0;
    this.output = new Output(socket, context, () => this.drained());
    this.writer = new PduWriter(this.output);
    this.framer = new Framer(this, LOGIN_DATA_SEGMENT_BYTES);
    this.login = new LoginPhase(context, this);
    this.deadline = context.clock.after(LOGIN_DEADLINE_MS, () => this.destroy('login took too long'));
    socket.setNoDelay(true);
    socket.on('end', () => this.destroy('the initiator closed the connection'));
    socket.on('error', (error) => this.destroy(describeError(error)));
    socket.on('close', () => this.destroy('closed'));
  }

  get closed(): boolean {
    return this.closed_;
  }

  // ---- bytes in

  /** Takes what the socket brought; the bytes are the caller's again when this returns. */
  receive(chunk: Buffer): void {
    this.chunks += 1;
    this.context.poll.activity();
    this.run(() => this.framer.push(chunk));
    if (this.session !== null) this.yieldIfDue(this.session);
  }

  private run(work: () => void): void {
    this.output.beginBatch();
    try {
      work();
    } catch (error) {
      this.failed(error);
    } finally {
      this.output.endBatch();
      this.batchEnded();
    }
  }

  failed(error: unknown): void {
    this.context.log.error({ err: error, peer: this.peer }, 'connection failed');
    this.destroy('internal error');
    this.session?.dropUnbegun();
  }

  /** The socket may have taken all there was, at once: who waited for room goes on, in another turn of the loop. */
  private batchEnded(): void {
    const { session } = this;
    if (session === null || !this.output.takeSentAtOnce()) return;
    session.memory.settle();
    if (!session.waitsForSocket || this.drainScheduled) return;
    this.drainScheduled = true;
    setImmediate(this.onDrained);
  }

  header(bhs: Buffer, dataSegmentLength: number): Buffer | null {
    return this.session === null ? null : placeData(this.session, bhs, dataSegmentLength);
  }

  payload(bhs: Buffer, data: Buffer, digestOk: boolean): void {
    if (this.session !== null) {
      receivePdu(this.session, bhs, data, digestOk, this.context);
      return this.yieldIfDue(this.session);
    }
    if (opcodeOf(bhs) === Opcode.LOGIN_REQUEST) this.login.request(bhs, data);
    else if (!this.login.refuseOther()) this.destroy('not a login');
  }

  framingError(reason: string): void {
    this.destroy(reason);
  }

  // ---- pace

  setPaused(paused: boolean): void {
    this.heldBySession = paused;
    this.applyPace();
  }

  private applyPace(): void {
    const paused = this.heldBySession || this.yielding;
    if (paused === this.paused || this.closed_ || this.framer.stopped) return;
    this.paused = paused;
    if (paused) {
      this.framer.pause();
      this.socket.pause();
    } else {
      this.socket.resume();
      this.run(() => this.framer.resume());
    }
  }

  /** Others get their turn once this session has moved so much: a greedy one would keep the loop for itself. */
  private yieldIfDue(session: Session): void {
    const movedBytes = session.bytesRead + session.bytesWritten;
    if (movedBytes - this.turnFromBytes < TURN_BYTES_MAX || this.yielding) return;
    // The rest of a chunk is copied. A few KiB can ask for any number of reads; more is data, and ends with the chunk.
    if (this.framer.retainedBytes > TURN_REST_BYTES_MAX) return;
    this.turnFromBytes = movedBytes;
    this.yielding = true;
    this.applyPace();
    setImmediate(this.goOn);
  }

  stopReading(): void {
    this.framer.stop();
    // Read on, so that the end of the stream is seen; what comes is dropped.
    this.socket.resume();
  }

  private drained(): void {
    if (this.session !== null) afterActivity(this.session);
  }

  /**
   * A connection that says nothing gets a NOP-In, and is closed when even that brings nothing. Who is not listened to is not
   * silent, nor who goes on taking what is before it in the queue.
   */
  private watchSilence(): void {
    const { chunks } = this;
    const { waited } = this.output;
    const isSilent = (): boolean =>
      this.chunks === chunks && this.session?.isUnheard !== true && !hasTaken(this.output.waited, waited);
    this.deadline = this.context.clock.after(NOP_INTERVAL_MS, () => {
      if (!isSilent() || this.session === null || !this.session.answering) return this.watchSilence();
      putPing(this.session);
      this.awaitAnswer(this.session, isSilent);
    });
  }

  private awaitAnswer(session: Session, isSilent: () => boolean): void {
    this.deadline = this.context.clock.after(NOP_DEADLINE_MS, () => {
      if (!isSilent()) this.watchSilence();
      else if (this.mayBeDeaf(session)) this.leaveToTcp(session, isSilent);
      else this.destroy('the initiator does not answer');
    });
  }

  /**
   * iPXE leaves NOP-Ins unanswered, and EDK2 reads nothing between two commands: who wants nothing and has never sent a
   * NOP-Out is not gone for that.
   */
  private mayBeDeaf(session: Session): boolean {
    const isAtRest = session.target !== null && session.tasks.size === 0 && this.output.heldBytes === 0;
    return isAtRest && !session.sendsNops;
  }

  /** Its host answers TCP's own question, and the end of the socket says when it does not any more. */
  private leaveToTcp(session: Session, isSilent: () => boolean): void {
    this.socket.setKeepAlive(true, NOP_INTERVAL_MS);
    this.awaitAnswer(session, isSilent);
  }

  private watchOverdue(session: Session): void {
    this.overdueLook = this.context.clock.after(OVERDUE_LOOK_MS, () => {
      const overdue = overdueIn(session);
      if (overdue === null) this.watchOverdue(session);
      else this.run(() => this.dropFor(session, overdue));
    });
  }

  private dropFor(session: Session, reason: string): void {
    const { iqn, initiatorName } = session.identity;
    this.context.log.warn({ peer: this.peer, iqn, initiatorName, reason }, 'session dropped');
    drop(session);
    session.memory.settle();
  }

  // ---- login

  respond(pdu: LoginResponsePdu, text: Buffer): void {
    const span = new Span();
    this.writer.reserve(span, text.length);
    const bytes = bytesOf(span);
    encodeLoginResponse(pdu, bytes, span.start);
    text.copy(bytes, this.writer.dataStart(span));
    this.writer.send(span, text.length);
  }

  establish(login: EstablishedLogin): number {
    const { registry, pool, memory, clock } = this.context;
    const { subject, values, cmdSN, statSN } = login;
    this.cid = login.cid;
    const session = new Session({
      identity: { iqn: subject.iqn, initiatorName: subject.initiatorName, isid: subject.isid },
      tsih: registry.nextTsih(),
      target: subject.target,
      parameters: values,
      link: this,
      pool,
      memory: new SessionMemory(memory, this.output, () => this.run(() => this.drained())),
      taskOwner,
      abortTasks,
      cmdSN,
      statSN,
      wallMs: clock.wallMs(),
    });
    this.session = session;
    if (session.target !== null) registry.add(session);
    return session.tsih;
  }

  established(): void {
    const { session } = this;
    if (session === null) return;
    const { headerDigest, dataDigest } = session.parameters;
    this.writer.setDigests(headerDigest, dataDigest);
    this.framer.setDigests(headerDigest, dataDigest);
    this.framer.setMaxDataSegmentBytes(RECV_DATA_SEGMENT_BYTES);
    this.establishedAtMs = this.context.clock.nowMs();
    this.deadline.cancel();
    this.watchSilence();
    this.watchOverdue(session);
    const { iqn, initiatorName } = session.identity;
    this.context.log.info({ peer: this.peer, iqn, initiatorName, tsih: session.tsih }, 'logged in');
  }

  refused({ status, reason }: Refusal, initiatorName: string | undefined): void {
    const { log, failedLogins } = this.context;
    log.debug({ peer: this.peer, initiatorName, reason }, 'login refused');
    if (status === LoginStatus.AUTHENTICATION_FAILURE) failedLogins.add(this.peer, initiatorName);
    this.stopReading();
    this.finish();
  }

  giveUp(): void {
    this.destroy('the initiator logs in anew');
  }

  // ---- the end

  finish(ageMs = 0): void {
    if (this.closed_ || this.finishing) return;
    this.finishing = true;
    this.noteDeparture();
    this.stopReading();
    this.output.flush();
    const { clock } = this.context;
    const tooYoungMs = this.establishedAtMs + ageMs - clock.nowMs();
    if (tooYoungMs > 0) this.lingering = clock.after(tooYoungMs, () => this.endSending());
    else this.endSending();
  }

  private endSending(): void {
    this.socket.end();
    this.linger({ takenBytes: -1, leftBytes: Infinity }); // the first look only begins
  }

  /** As long as it goes on taking what is queued for it, the other side gets that, and the FIN behind it (I7). */
  private linger(before: Waited): void {
    this.lingering = this.context.clock.after(LINGER_MS, () => {
      const { waited, heldBytes } = this.output;
      if (heldBytes > 0 && hasTaken(waited, before)) this.linger(waited);
      else this.destroy('lingered');
    });
  }

  /** From here on the initiator is without this session; how long is what people see of a hand-over. */
  private noteDeparture(): void {
    const { session } = this;
    if (this.departed || session === null || session.target === null) return;
    this.departed = true;
    this.context.registry.departed(session);
  }

  destroy(reason: string): void {
    if (this.closed_) return;
    this.closed_ = true;
    this.deadline.cancel();
    this.overdueLook?.cancel();
    this.lingering?.cancel();
    this.framer.stop();
    this.output.abandon();
    this.socket.destroy();
    if (this.session !== null) {
      this.noteDeparture();
      const { iqn, initiatorName } = this.session.identity;
      this.context.log.info({ peer: this.peer, iqn, initiatorName, reason }, 'session ended');
      this.session.close();
      this.session.memory.settle();
    }
    this.onClosed(this);
  }
}

/** An IPv4 address without the prefix it has on a dual-stack socket. */
function plainHost(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:(?=\d+\.)/, '');
}
