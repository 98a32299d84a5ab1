/**
 * When a member serves more than its share, for so long that it is no accident, and when it no longer does. A detector with
 * hysteresis and no clock: it is fed a window's figures and their time, and answers with what has changed.
 */
import type { BalanceSettings } from './settings.js';

/** One member over one window. */
export interface MemberShare {
  readonly name: string;
  readonly requestsPerSecond: number;
  /** What it can serve beside the others; of weight 0 no share is fair, and it is not watched. */
  readonly weight: number;
  /** Of its busiest resource. */
  readonly utilisation: number;
}

export interface ShareEvent {
  readonly kind: 'disproportionate' | 'proportionate';
  readonly atMs: number;
  readonly member: string;
  /** Its requests over its fair part of all: 1 is fair. */
  readonly share: number;
  /** shareHigh, or shareLow. */
  readonly limit: number;
  readonly requestsPerSecond: number;
  readonly fairRequestsPerSecond: number;
  readonly utilisation: number;
  /** Since it has been above shareHigh. */
  readonly sinceMs: number;
  /** One line for people. */
  readonly text: string;
}

type WatchSettings = Pick<BalanceSettings, 'shareHigh' | 'shareLow' | 'busyMin' | 'windowMs'>;

interface Watched {
  readonly sinceMs: number;
  readonly isOver: boolean;
}

export class ShareWatch {
  /** Those above shareHigh, and those that have been and are not down to shareLow yet. */
  private readonly watched = new Map<string, Watched>();

  constructor(private readonly settings: WatchSettings) {}

  /** Members that serve more than their share now, by name. */
  get over(): string[] {
    return [...this.watched]
      .filter(([, { isOver }]) => isOver)
      .map(([name]) => name)
      .sort();
  }

  /** @param atMs not before the last call's; a member that is left out is forgotten, without an event */
  feed(atMs: number, members: readonly MemberShare[]): ShareEvent[] {
    const weights = members.reduce((sum, { weight }) => sum + weight, 0);
    const requests = members.reduce((sum, { requestsPerSecond }) => sum + requestsPerSecond, 0);
    this.forgetOthers(members);
    return members
      .filter(({ weight }) => weight > 0)
      .map((member) => this.look(atMs, member, (requests * member.weight) / weights))
      .filter((event) => event !== null);
  }

  private look(atMs: number, member: MemberShare, fair: number): ShareEvent | null {
    const { shareHigh, shareLow, busyMin, windowMs } = this.settings;
    const share = fair === 0 ? 0 : member.requestsPerSecond / fair;
    const known = this.watched.get(member.name);
    if (known?.isOver === true) {
      // Down to half of busyMin, so that a member about as busy as that is not told of over and over.
      if (share > shareLow && member.utilisation >= busyMin / 2) return null;
      this.watched.delete(member.name);
      return eventOf('proportionate', atMs, member, share, fair, shareLow, known.sinceMs);
    }
    if (share <= shareHigh || member.utilisation < busyMin) {
      this.watched.delete(member.name);
      return null;
    }
    const sinceMs = known?.sinceMs ?? atMs;
    const isOver = atMs - sinceMs >= windowMs;
    this.watched.set(member.name, { sinceMs, isOver });
    return isOver ? eventOf('disproportionate', atMs, member, share, fair, shareHigh, sinceMs) : null;
  }

  private forgetOthers(members: readonly MemberShare[]): void {
    const names = new Set(members.map(({ name }) => name));
    for (const name of this.watched.keys()) if (!names.has(name)) this.watched.delete(name);
  }
}

function eventOf(
  kind: ShareEvent['kind'],
  atMs: number,
  { name, requestsPerSecond, utilisation }: MemberShare,
  share: number,
  fair: number,
  limit: number,
  sinceMs: number,
): ShareEvent {
  const side = kind === 'disproportionate' ? 'above' : 'down to';
  const text =
    `${name} serves ${Math.round(requestsPerSecond)} requests/s, ${share.toFixed(2)} times its fair ` +
    `${Math.round(fair)} (${side} ${limit}), and is ${Math.round(utilisation * 100)} % busy`;
  return {
    kind,
    atMs,
    member: name,
    share,
    limit,
    requestsPerSecond,
    fairRequestsPerSecond: fair,
    utilisation,
    sinceMs,
    text,
  };
}
