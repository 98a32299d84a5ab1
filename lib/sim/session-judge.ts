/**
 * Judges the sessions of one initiator by what it can see of them: who served it was home at the time and it was not sent
 * around (I10); when it is told that its connection goes, whatever was at the device has been answered (I7).
 */
import type { PortalAddress } from '../iscsi/initiator/url.js';

/** What the group has to say about it. */
export interface HomeHistory {
  readonly nowMs: number;
  /** The member whose portal that is. */
  memberAt(address: string): string | undefined;
  /** Whether a member has been home of the volume at any time since. */
  wasHome(member: string, sinceMs: number): boolean;
  /** Whether members can be expected to keep their deadlines: none is made to stand still. */
  readonly isPunctual: boolean;
  /** How often the home has changed since. */
  homesSince(sinceMs: number): number;
  wrong(what: string): void;
}

/** Redirects in a row that a login may take while the home stays where it is: from a member that is not home any more. */
const REDIRECTS_IN_A_ROW = 2;
/** What a session is given to finish before it is closed without a word, and how long packets take at the worst. */
const DROP_MS = 2_000 + 1_500;

export class SessionJudge {
  /** The last connection that was asked for. */
  private dialledAtMs = 0;
  private isLookedAt = true;
  private redirects = 0;
  private firstDialMs = 0;
  /** When the present session began, as far as that is seen. */
  private begunAtMs = Infinity;

  constructor(
    private readonly name: string,
    private readonly first: PortalAddress,
    private readonly group: HomeHistory,
  ) {}

  dialled({ host, port }: PortalAddress): void {
    const { group, first } = this;
    this.dialledAtMs = group.nowMs;
    this.isLookedAt = false;
    if (host === first.host && port === first.port) {
      this.redirects = 0;
      this.begunAtMs = Infinity;
      this.firstDialMs = group.nowMs;
      return;
    }
    this.redirects += 1;
    this.begunAtMs = Infinity;
    if (this.redirects > REDIRECTS_IN_A_ROW + group.homesSince(this.firstDialMs))
      group.wrong(`I10: ${this.name} was redirected ${this.redirects} times in a row`);
  }

  /** A login has ended elsewhere than it began. */
  redirected(): void {
    this.begunAtMs = this.group.nowMs;
  }

  /** @param portal who serves now, if anybody does */
  look(portal: string | undefined): void {
    if (this.isLookedAt || portal === undefined) return;
    this.isLookedAt = true;
    const member = this.group.memberAt(portal);
    if (member === undefined || !this.group.wasHome(member, this.dialledAtMs))
      this.group.wrong(`I10: ${this.name} is served by ${member ?? portal}, which is not home`);
  }

  /**
   * Asynchronous Message 2.
   * @param begunMs when the oldest command that is not answered was asked for
   */
  droppedWith(begunMs: number): void {
    const sentAtMs = Math.max(begunMs, this.begunAtMs);
    if (this.group.isPunctual && this.group.nowMs - sentAtMs > DROP_MS)
      this.group.wrong(
        `I7: ${this.name} was dropped with a command unanswered since ${Math.round(sentAtMs)} ms`,
      );
  }
}
