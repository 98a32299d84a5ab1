/**
 * Every normal session of this process, and what has to be remembered of those that left: who is to be told to leave,
 * who has to be drained before somebody logs in again (I7, I8). It moves no data and knows no PDUs.
 */
import { assert } from '../../base/assert.js';
import type { Clock } from '../../base/clock.js';
import { askToLeave, drop, leavesForGood, retire } from './departure.js';
import type { LoginIdentity } from './directory.js';
import type { Session, SessionState } from './session.js';

/** How long a departure is remembered, for the stall that people see. */
const DEPARTURE_MS = 60_000;
const DEPARTURES_MAX = 4096;
/** A dropped session whose I/O does not end by then is closed without its last answers. */
const DROP_DRAIN_MS = 2_000;

/** One session as status shows it. */
export interface SessionInfo extends LoginIdentity {
  readonly tsih: number;
  readonly state: SessionState;
  /** host:port of the initiator. */
  readonly peer: string;
  /** Milliseconds since 1970. */
  readonly sinceMs: number;
  readonly commands: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly inFlight: number;
}

export type HandoverMode = 'ask' | 'drop';

export interface FenceResult {
  /** Sessions that were still there, or still draining, and are gone now. */
  readonly fenced: number;
  /** The longest an initiator was without a session so far, 0 if it had one until now. */
  readonly stallMs: number;
}

/** What the sessions of this process come to. */
export interface SessionCounts {
  readonly sessions: number;
  /** Write data from initiators and read data to them, since the start of the process. */
  readonly bytesIn: number;
  readonly bytesOut: number;
}

interface Departure extends LoginIdentity {
  readonly told: boolean;
  readonly leftAtMs: number;
}

export class SessionRegistry {
  private readonly sessions = new Set<Session>();
  private readonly onEnded = new Map<Session, (() => void)[]>();
  /** By nexus: gives the login up that waits for what its initiator left behind. */
  private readonly arriving = new Map<string, () => void>();
  /** Oldest first. */
  private departures: Departure[] = [];
  private lastTsih = 0;
  /** Of sessions that have ended. */
  private bytesInBefore = 0;
  private bytesOutBefore = 0;

  constructor(private readonly clock: Clock) {}

  list(): SessionInfo[] {
    return [...this.sessions].map((session) => ({
      ...session.identity,
      tsih: session.tsih,
      state: session.state,
      peer: session.link.peer,
      sinceMs: session.sinceMs,
      commands: session.commands,
      bytesRead: session.bytesRead,
      bytesWritten: session.bytesWritten,
      inFlight: session.tasks.size,
    }));
  }

  get counts(): SessionCounts {
    let bytesIn = this.bytesInBefore;
    let bytesOut = this.bytesOutBefore;
    for (const session of this.sessions) {
      bytesIn += session.bytesWritten;
      bytesOut += session.bytesRead;
    }
    return { sessions: this.sessions.size, bytesIn, bytesOut };
  }

  /** How many initiators have a session of each target. */
  initiators(): Map<string, number> {
    const nodes = new Set<string>();
    const counts = new Map<string, number>();
    for (const { identity } of this.sessions) {
      const { iqn, initiatorName } = identity;
      const node = `${iqn} ${initiatorName}`; // neither has blanks (RFC 7143 4.2.7.1)
      if (!nodes.has(node)) counts.set(iqn, (counts.get(iqn) ?? 0) + 1);
      nodes.add(node);
    }
    return counts;
  }

  /** The sessions that serve `iqn` and still answer. */
  sessionsOf(iqn: string): Session[] {
    return [...this.sessions].filter((session) => session.identity.iqn === iqn && session.answering);
  }

  /** Those that are closed and drain included. */
  everySessionOf(iqn: string): Session[] {
    return [...this.sessions].filter((session) => session.identity.iqn === iqn);
  }

  /** No session of `iqn` is here, and nothing of one that was can land any more. */
  isVacant(iqn: string): boolean {
    return this.everySessionOf(iqn).length === 0;
  }

  /** Commands of `iqn` at the device or the device server: also of sessions that are closed, and drain. */
  busyOf(iqn: string): number {
    let busy = 0;
    for (const session of this.sessions) if (session.identity.iqn === iqn) busy += session.busy;
    return busy;
  }

  /** A TSIH that no session has; never 0 (RFC 7143 11.12.6). */
  nextTsih(): number {
    const taken = new Set([...this.sessions].map((session) => session.tsih));
    assert(taken.size < 0xffff, 'every TSIH is taken');
    do this.lastTsih = (this.lastTsih % 0xffff) + 1;
    while (taken.has(this.lastTsih));
    return this.lastTsih;
  }

  byTsih(tsih: number): Session | undefined {
    for (const session of this.sessions) if (session.tsih === tsih) return session;
    return undefined;
  }

  /** Enters a session that has just logged in; it leaves by itself once it is gone. */
  add(session: Session): void {
    const { nexus, target } = session;
    this.sessions.add(session);
    session.device = target?.server.nexusBegan(nexus) ?? null;
    session.whenGone(() => {
      if (target === null) this.sessions.delete(session);
      else target.server.nexusEnded(nexus, () => this.ended(session));
    });
  }

  private ended(session: Session): void {
    if (this.sessions.delete(session)) {
      this.bytesInBefore += session.bytesWritten;
      this.bytesOutBefore += session.bytesRead;
    }
    for (const ended of this.onEnded.get(session) ?? []) ended();
    this.onEnded.delete(session);
  }

  /** Calls back when nothing of a session can land any more, its copies to other units included. */
  private whenEnded(session: Session, callback: () => void): void {
    if (!this.sessions.has(session)) callback();
    else this.onEnded.set(session, [...(this.onEnded.get(session) ?? []), callback]);
  }

  private async haveEnded(sessions: readonly Session[]): Promise<void> {
    const ended = (session: Session): Promise<void> =>
      new Promise((resolve) => this.whenEnded(session, resolve));
    await Promise.all(sessions.map(ended));
  }

  /** Notes the moment at which an initiator was left without this session. */
  departed(session: Session): void {
    const now = this.clock.nowMs();
    const recent = (departure: Departure): boolean => now - departure.leftAtMs < DEPARTURE_MS;
    this.departures = this.departures.filter(recent).slice(-DEPARTURES_MAX + 1);
    this.departures.push({ ...session.identity, told: session.wasTold, leftAtMs: now });
  }

  /**
   * Asks every session of `iqn` to leave (I7): 'ask' sends Asynchronous Message event 1, goes on serving, and drops who is
   * still there after `deadlineSeconds`; 'drop' drops at once (event 2, Time2Wait 0), as is done to who would leave for good.
   * @returns how many sessions there were
   */
  requestLogout(iqn: string, deadlineSeconds: number, mode: HandoverMode): number {
    const leaving = this.sessionsOf(iqn);
    for (const session of leaving) {
      session.markTold();
      if (mode === 'drop' || leavesForGood(session.identity.initiatorName)) this.dropSession(session);
      else this.askSession(session, deadlineSeconds);
    }
    return leaving.length;
  }

  /**
   * Ends every session of `iqn` without a word: their initiators may be served elsewhere already (I8). Resolves when no I/O
   * of any that is here is at the device.
   */
  async cutOff(iqn: string): Promise<void> {
    for (const session of this.sessionsOf(iqn))
      session.link.destroy('its volume went on without this member');
    await this.haveEnded(this.everySessionOf(iqn));
  }

  private askSession(session: Session, deadlineSeconds: number): void {
    askToLeave(session, deadlineSeconds);
    const timer = this.clock.after(deadlineSeconds * 1000, () => this.dropSession(session));
    session.whenGone(() => timer.cancel());
  }

  private dropSession(session: Session): void {
    drop(session);
    this.closeAfter(session, DROP_DRAIN_MS);
  }

  private closeAfter(session: Session, delayMs: number): void {
    if (!session.answering) return;
    const timer = this.clock.after(delayMs, () => session.link.destroy('its I/O did not end in time'));
    session.whenGone(() => timer.cancel());
  }

  /**
   * Ends what this initiator left here before it is served elsewhere or anew (I8): sessions of the same
   * (InitiatorName, ISID), and every one of that InitiatorName that was told to leave, or is closed and still drains: what
   * it had not answered is sent again, perhaps under a new ISID. Resolves when no I/O of any of them is at the device.
   */
  async fence(login: LoginIdentity): Promise<FenceResult> {
    const left = [...this.sessions].filter(({ identity, wasTold, answering }) =>
      isSuperseded(identity, wasTold || !answering, login),
    );
    const stallMs = this.takeStall(login);
    for (const session of left) {
      retire(session);
      this.closeAfter(session, DROP_DRAIN_MS);
    }
    await this.haveEnded(left);
    return { fenced: left.length, stallMs };
  }

  /**
   * A login waits to be let in. An earlier one of its nexus is given up: its initiator has turned away from it, perhaps
   * unheard, and it would end the session of the later one.
   * @returns to be called when it waits no more
   */
  arrives(login: LoginIdentity, giveUp: () => void): () => void {
    const nexus = `${login.iqn} ${login.initiatorName} ${login.isid}`; // none has blanks
    this.arriving.get(nexus)?.();
    this.arriving.set(nexus, giveUp);
    return () => {
      if (this.arriving.get(nexus) === giveUp) this.arriving.delete(nexus);
    };
  }

  /** Is a session of exactly this nexus still here, or a closed one of this initiator that drains? */
  has(login: LoginIdentity): boolean {
    for (const { identity, answering } of this.sessions)
      if (isSuperseded(identity, !answering, login)) return true;
    return false;
  }

  /** The longest time since a departure that this login ends; each counts once. */
  private takeStall(login: LoginIdentity): number {
    const now = this.clock.nowMs();
    let stallMs = 0;
    this.departures = this.departures.filter((departure) => {
      if (!isSuperseded(departure, departure.told, login)) return true;
      const sinceMs = now - departure.leftAtMs;
      if (sinceMs < DEPARTURE_MS) stallMs = Math.max(stallMs, sinceMs);
      return false;
    });
    return stallMs;
  }
}

function isSuperseded(identity: LoginIdentity, isLeaving: boolean, login: LoginIdentity): boolean {
  if (identity.iqn !== login.iqn || identity.initiatorName !== login.initiatorName) return false;
  return isLeaving || identity.isid === login.isid;
}
