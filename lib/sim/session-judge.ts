/**
 * Judges the sessions of one initiator by what it can see of them: who served it was home at the time and it was not sent
 * around (I10); when it is told that its connection goes, whatever was at the device has been answered (I7).
 */
import { serialLess } from '../base/serial.js';
import type { PortalAddress } from '../iscsi/initiator/url.js';

/** What the group has to say about it. */
export interface HomeHistory {
  readonly nowMs: number;
  /** Who serves: the home, or every member. */
  readonly access: 'redirect' | 'alua';
  /** The member whose portal that is. */
  memberAt(address: string): string | undefined;
  /** Whether a member has been home of the volume at any time since. */
  wasHome(member: string, sinceMs: number): boolean;
  /** How often the home has changed since. */
  homesSince(sinceMs: number): number;
  wrong(what: string): void;
}

/** Redirects in a row that a login may take while the home stays where it is: from a member that is not home any more. */
const REDIRECTS_IN_A_ROW = 2;

export class SessionJudge {
  /** Connections that were asked for. */
  dials = 0;
  /** The last of them. */
  private dialledAtMs = 0;
  private isLookedAt = true;
  private redirects = 0;
  private firstDialMs = 0;

  constructor(
    private readonly name: string,
    private readonly first: PortalAddress,
    private readonly group: HomeHistory,
  ) {}

  dialled({ host, port }: PortalAddress): void {
    const { group, first } = this;
    this.dialledAtMs = group.nowMs;
    this.isLookedAt = false;
    this.dials += 1;
    if (host === first.host && port === first.port) {
      this.redirects = 0;
      this.firstDialMs = group.nowMs;
      return;
    }
    this.redirects += 1;
    if (this.redirects > REDIRECTS_IN_A_ROW + group.homesSince(this.firstDialMs))
      group.wrong(`I10: ${this.name} was redirected ${this.redirects} times in a row`);
  }

  /** @param portal who serves now, if anybody does */
  look(portal: string | undefined): void {
    if (this.isLookedAt || portal === undefined) return;
    this.isLookedAt = true;
    if (this.group.access === 'alua') return;
    const member = this.group.memberAt(portal);
    if (member === undefined || !this.group.wasHome(member, this.dialledAtMs))
      this.group.wrong(`I10: ${this.name} is served by ${member ?? portal}, which is not home`);
  }

  /**
   * Asynchronous Message 2: what the target had received is finished and answered before (I7).
   * @param expCmdSN of the message: what came before has been received
   * @param unanswered CmdSN of commands whose data went along, so that nothing was missing
   */
  dropped(expCmdSN: number, unanswered: readonly number[]): void {
    const received = unanswered.filter((cmdSN) => serialLess(cmdSN, expCmdSN));
    if (received.length > 0)
      this.group.wrong(`I7: ${this.name} was dropped with ${received.length} commands at the device`);
  }
}
