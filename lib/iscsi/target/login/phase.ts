/**
 * The login phase of one connection (RFC 7143 6.3, 11.12, 11.13): requests in, responses out, until full feature phase
 * or a refusal. It speaks through its port and knows no socket; names are the directory's, keys are negotiation.ts's.
 *
 *   first request complete ─▶ identify: version, TSIH, names, redirect     (checks.ts)
 *   each request complete ──▶ negotiate its keys ─▶ answer, transit when asked
 *   transit to full feature ▶ admit: what this initiator left is drained (I8) ─▶ last response ─▶ established
 */
import { NO_BYTES } from '../../../base/bytes.js';
import { describeError } from '../../../base/errors.js';
import { sleep } from '../../../base/clock.js';
import {
  COMMAND_WINDOW,
  LOGIN_DATA_SEGMENT_BYTES,
  LOGIN_FAILURE_PAUSE_MS,
  LOGIN_PDUS_MAX,
} from '../../../base/limits.js';
import { serialAdd } from '../../../base/serial.js';
import { decodeLoginRequest, type LoginRequestPdu, type LoginResponsePdu } from '../../wire/login.js';
import {
  beginNegotiation,
  negotiate,
  type NegotiationOffer,
  type NegotiationResult,
  type NegotiationState,
} from '../../wire/negotiation.js';
import { LoginStage, LoginStatus } from '../../wire/opcodes.js';
import { formatText, parseText, TextAssembler, type TextPair } from '../../wire/text-keys.js';
import type { PortalContext } from '../context.js';
import {
  checkContinuity,
  checkFirstRequest,
  checkStages,
  identify,
  notServed,
  type LoginSubject,
  type Refusal,
} from './checks.js';
import { TARGET_OFFER } from './offer.js';
import type { SecurityConversation } from './security.js';

/** What a finished login hands over. */
export interface EstablishedLogin {
  readonly subject: LoginSubject;
  readonly values: NegotiationState['values'];
  readonly cid: number;
  readonly cmdSN: number;
  /** The next StatSN. */
  readonly statSN: number;
}

export interface LoginPort {
  respond(pdu: LoginResponsePdu, text: Buffer): void;
  /** Holds further requests back, or lets them come. */
  setPaused(paused: boolean): void;
  /** True once the connection is gone. */
  readonly closed: boolean;
  /** Where the initiator came. */
  readonly localHost: string;
  /** Makes the session and returns its TSIH, which the last response carries. */
  establish(login: EstablishedLogin): number;
  /** The last response is out. */
  established(): void;
  /**
   * The refusal is out: the connection ends.
   * @param initiatorName where it was declared
   */
  refused(refusal: Refusal, initiatorName: string | undefined): void;
  /** A mistake of ours: the connection ends, and it alone. */
  failed(error: unknown): void;
  /** The initiator has turned to another connection. */
  giveUp(): void;
}

export class LoginPhase {
  private readonly assembler = new TextAssembler();
  private readonly offer: NegotiationOffer;
  private negotiation: NegotiationState;
  private security: SecurityConversation | null = null;
  private subject: LoginSubject | null = null;
  private first: LoginRequestPdu | null = null;
  private stage: number = LoginStage.SECURITY;
  private statSN: number;
  private requests = 0;
  /** Waits under way; one may begin in what follows another. */
  private waits = 0;
  private tagSent = false;
  /** What did not fit into the last response. */
  private rest = NO_BYTES;

  constructor(
    private readonly context: PortalContext,
    private readonly port: LoginPort,
  ) {
    this.offer = { ...TARGET_OFFER, authMethod: context.authenticator.methods };
    this.negotiation = beginNegotiation(this.offer);
    this.statSN = context.random.uint32();
  }

  request(bhs: Buffer, data: Buffer): void {
    const pdu = decodeLoginRequest(bhs);
    const refusal = this.check(pdu);
    if (refusal !== null) return this.refuse(pdu, refusal);
    if (this.rest.length > 0) return this.respond(pdu, false);
    try {
      this.assembler.add(data);
      // C: the text goes on; the empty answer asks for it (6.2).
      if (pdu.continues) return this.respond(pdu, false);
      this.complete(pdu, parseText(this.assembler.take()));
    } catch (error) {
      this.refuse(pdu, { status: LoginStatus.INITIATOR_ERROR, reason: describeError(error) });
    }
  }

  /**
   * Something that is no Login Request came: "the target MUST send a Login reject" (6.3), once the login has begun.
   * @returns false before that: there is nothing to answer
   */
  refuseOther(): boolean {
    if (this.first === null) return false;
    const refusal = { status: LoginStatus.INVALID_DURING_LOGIN, reason: 'something else than a login came' };
    this.refuse({ ...this.first, csg: this.stage }, refusal);
    return true;
  }

  /** What is wrong with a request by its header alone, or null. */
  private check(pdu: LoginRequestPdu): Refusal | null {
    this.requests += 1;
    if (this.requests > LOGIN_PDUS_MAX)
      return { status: LoginStatus.INITIATOR_ERROR, reason: 'too many requests' };
    if (this.first !== null) return checkContinuity(pdu, this.first) ?? checkStages(pdu, this.stage);
    this.first = pdu;
    // The first request chooses where to begin (11.12.3).
    this.stage = pdu.csg;
    // By the ISID alone: whose it is comes with the text, which is for a session's first connection to bring.
    const named = this.context.registry.byTsih(pdu.tsih);
    const session = named?.identity.isid === pdu.isid ? named : undefined;
    return (
      checkFirstRequest(pdu, session?.link.cid, this.context.authenticator.required) ??
      checkStages(pdu, this.stage)
    );
  }

  /** A request whose text is all here. */
  private complete(pdu: LoginRequestPdu, pairs: readonly TextPair[]): void {
    const context = { stage: this.stage, leading: true };
    const result = negotiate(pairs, this.offer, context, this.negotiation);
    if (this.subject !== null) return this.proceed(pdu, pairs, result, this.subject);
    // Who it is and where it belongs comes before any quarrel about keys: a redirect answers the first request (I10).
    this.whilePaused(
      pdu,
      () => identify(pdu.isid, result.state.declared, this.context.directory, this.port.localHost),
      (identified) => {
        if ('status' in identified) return this.refuse(pdu, identified);
        this.subject = identified;
        this.proceed(pdu, pairs, result, identified);
      },
    );
  }

  /** Reads nothing while `work` goes on, then does `after`. A rejection is 0301h: the initiator tries again. */
  private whilePaused<T>(pdu: LoginRequestPdu, work: () => Promise<T>, after: (result: T) => void): void {
    this.waits += 1;
    this.port.setPaused(true);
    const settle = (step: () => void): void => {
      if (this.port.closed) return;
      try {
        step();
      } catch (error) {
        return this.port.failed(error);
      }
      this.waits -= 1;
      if (this.waits === 0) this.port.setPaused(false);
    };
    work().then(
      (result) => settle(() => after(result)),
      (error: unknown) => {
        const refusal = { status: LoginStatus.SERVICE_UNAVAILABLE, reason: describeError(error) };
        settle(() => this.refuse(pdu, refusal));
      },
    );
  }

  /** Answers the keys of a request, and takes the step that it asks for. */
  private proceed(
    pdu: LoginRequestPdu,
    pairs: readonly TextPair[],
    { answers, state, error }: NegotiationResult,
    subject: LoginSubject,
  ): void {
    if (error !== undefined) return this.refuse(pdu, error);
    this.negotiation = state;
    const all = [...answers];
    const mayTransit = this.stage !== LoginStage.SECURITY || this.authenticate(pdu, pairs, all);
    if (mayTransit === null) return;
    if (!this.tagSent && subject.target !== null) {
      all.push({ key: 'TargetPortalGroupTag', value: String(this.context.portalGroupTag()) });
      this.tagSent = true;
    }
    this.rest = formatText(all);
    const fits = this.rest.length <= LOGIN_DATA_SEGMENT_BYTES;
    const transit = pdu.transit && fits && mayTransit;
    if (transit && pdu.nsg === LoginStage.FULL_FEATURE) this.finish(pdu, subject);
    else this.respond(pdu, transit);
  }

  /** The security stage: whether it may be left now (11.13.1: T is answered only then); null when it ended the login. */
  private authenticate(
    pdu: LoginRequestPdu,
    pairs: readonly TextPair[],
    answers: TextPair[],
  ): boolean | null {
    const method = answers.find((pair) => pair.key === 'AuthMethod')?.value;
    // AuthMethod may be in a later request: nothing is decided until one comes that has it, or would go on without.
    if (method === undefined && this.security === null && !pdu.transit) return false;
    this.security ??= this.context.authenticator.begin(this.subject?.initiatorName ?? '');
    const step = this.security.step(method, pairs);
    answers.push(...step.answers);
    if (step.state !== 'failed') return step.state === 'done';
    this.refuseLater(pdu, { status: LoginStatus.AUTHENTICATION_FAILURE, reason: 'not authenticated' });
    return null;
  }

  /** Who guesses secrets gets one try a second on each of its connections. */
  private refuseLater(pdu: LoginRequestPdu, refusal: Refusal): void {
    this.whilePaused(
      pdu,
      () => sleep(this.context.clock, LOGIN_FAILURE_PAUSE_MS),
      () => this.refuse(pdu, refusal),
    );
  }

  /** Answers with what is to be said; T only where the initiator asked and all is said. */
  private respond(pdu: LoginRequestPdu, transit: boolean, tsih = 0): void {
    const part = this.rest.subarray(0, LOGIN_DATA_SEGMENT_BYTES);
    this.rest = this.rest.subarray(part.length);
    if (transit) this.stage = pdu.nsg;
    const continues = this.rest.length > 0;
    this.port.respond(
      this.header(pdu, part.length, { transit, continues, tsih, status: LoginStatus.SUCCESS }),
      part,
    );
  }

  private header(
    pdu: LoginRequestPdu,
    dataBytes: number,
    says: { transit: boolean; continues: boolean; tsih: number; status: number },
  ): LoginResponsePdu {
    const statSN = this.statSN;
    this.statSN = serialAdd(statSN, 1);
    return {
      ...says,
      csg: pdu.csg,
      nsg: says.transit ? pdu.nsg : 0,
      versionMax: 0,
      versionActive: 0,
      totalAHSLength: 0,
      dataSegmentLength: dataBytes,
      isid: pdu.isid,
      initiatorTaskTag: pdu.initiatorTaskTag,
      statSN,
      expCmdSN: pdu.cmdSN,
      maxCmdSN: serialAdd(pdu.cmdSN, COMMAND_WINDOW - 1),
    };
  }

  private refuse(pdu: LoginRequestPdu, refusal: Refusal): void {
    const text = formatText(refusal.keys ?? []);
    // The request's TSIH, but in the last response of a new session (11.13.4).
    const says = { transit: false, continues: false, tsih: pdu.tsih, status: refusal.status };
    this.port.respond(this.header(pdu, text.length, says), text);
    this.port.refused(refusal, this.subject?.initiatorName);
  }

  /** The step into full feature phase. */
  private finish(pdu: LoginRequestPdu, subject: LoginSubject): void {
    if (subject.target === null) return this.establish(pdu, subject);
    this.whilePaused(
      pdu,
      () => this.arrive(subject),
      (refusal) => {
        if (refusal !== null) this.refuse(pdu, refusal);
        // Another login of this nexus has waited for the same end: the later one takes over (6.3.5).
        else if (this.context.registry.has(subject)) this.finish(pdu, subject);
        else this.establish(pdu, subject);
      },
    );
  }

  private async arrive(subject: LoginSubject): Promise<Refusal | null> {
    const waitsNoMore = this.context.registry.arrives(subject, () => this.port.giveUp());
    try {
      return await this.admit(subject);
    } finally {
      waitsNoMore();
    }
  }

  /** Drains what this initiator left behind, here (6.3.5) and elsewhere (I8). Given up, it drains nothing here any more. */
  private async admit(subject: LoginSubject): Promise<Refusal | null> {
    const { registry, directory } = this.context;
    await directory.admit(subject);
    for (;;) {
      // Session reinstatement: two logins of one nexus may arrive together, and the later one takes over.
      while (registry.has(subject) && !this.port.closed) await registry.fence(subject);
      // The home may have changed while we waited, for whatever: a session made now would not be told to leave.
      const answer = await directory.resolve(subject.iqn);
      // Not every initiator tries again when it is told to: libiscsi follows a redirection, and nothing else.
      if (answer.kind !== 'serve') return notServed(answer, subject.iqn, this.port.localHost);
      if (!registry.has(subject) || this.port.closed) return null;
    }
  }

  private establish(pdu: LoginRequestPdu, subject: LoginSubject): void {
    const tsih = this.port.establish({
      subject,
      values: this.negotiation.values,
      cid: pdu.cid,
      cmdSN: pdu.cmdSN,
      statSN: serialAdd(this.statSN, 1), // the last response takes one
    });
    this.respond(pdu, true, tsih);
    this.port.established();
  }
}
