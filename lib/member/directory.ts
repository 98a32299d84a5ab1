/**
 * What a member answers about names: it serves the volumes it is home of, redirects to the home of the others (I10) unless
 * every member serves every volume, and before a session begins has the initiator's old ones fenced everywhere (I8) and
 * knows the unit as it was left (I9).
 */
import { sleep, type Clock } from '../base/clock.js';
import { HOME_QUIET_LOOK_MS, LOGIN_HOME_WAIT_MS } from '../base/limits.js';
import type {
  DirectoryEntry,
  LoginIdentity,
  TargetAnswer,
  TargetDirectory,
} from '../iscsi/target/directory.js';
import { listTargets, redirectToHome, type HomePortals, type TargetPortal } from '../routing/redirect.js';
import type { RoutingTable } from '../routing/table.js';
import type { Fencer } from './fencer.js';
import type { HeldVolume } from './held-volume.js';
import type { VolumeHost } from './host.js';

export class MemberDirectory implements TargetDirectory {
  constructor(
    private readonly self: string,
    private readonly table: RoutingTable,
    private readonly host: VolumeHost,
    private readonly portals: HomePortals,
    private readonly fencer: Fencer,
    private readonly clock: Clock,
    /** Where every member serves every volume: the portals of all. */
    private readonly everyPortal: (() => readonly TargetPortal[]) | null = null,
  ) {}

  list(localHost: string, localPort: number): DirectoryEntry[] {
    return listTargets(this.table, this.everyPortal, { host: localHost, port: localPort });
  }

  /**
   * Only the home gives its office away, so a table that says "here" is right. One that says otherwise may be late: the
   * store is asked before an initiator is sent elsewhere, so that no two members send it to each other (I10).
   */
  async resolve(iqn: string): Promise<TargetAnswer> {
    const { host, table } = this;
    if (!host.serving) return { kind: 'unavailable' };
    const known = table.getByIqn(iqn);
    const isEnough = known !== undefined && (known.route.home === this.self || this.everyPortal !== null);
    const routed = isEnough ? known : await table.refreshIqn(iqn);
    if (routed === undefined) return { kind: 'unknown' };
    const isServedHere = routed.route.home === this.self || this.everyPortal !== null;
    if (!isServedHere) return redirectToHome(this.portals, routed.route.home);
    const held = host.get(routed.record.name);
    if (held === undefined) return { kind: 'unavailable' };
    if (this.everyPortal !== null || !held.unit.isHomeInDoubt) return { kind: 'serve', target: held.target };
    return (await this.isDecided(held)) ? this.resolve(iqn) : { kind: 'unavailable' };
  }

  /** While it is committed that another is home nobody is let in: that one may have heard already that nobody is left (I8). */
  private async isDecided(held: HeldVolume): Promise<boolean> {
    const { clock } = this;
    const deadlineMs = clock.nowMs() + LOGIN_HOME_WAIT_MS;
    while (held.unit.isHomeInDoubt) {
      if (clock.nowMs() > deadlineMs) return false;
      await sleep(clock, HOME_QUIET_LOOK_MS);
    }
    return true;
  }

  /** Where each member is a target port of its own, the same ISID elsewhere is another nexus (RFC 7143 4.4.3): it stays. */
  async admit(login: LoginIdentity): Promise<void> {
    const routed = this.table.getByIqn(login.iqn);
    if (routed === undefined) return;
    await this.fencer.fenceEverywhere(routed, login, this.everyPortal === null ? login.isid : null);
    await this.host.get(routed.record.name)?.unit.catchUp();
  }
}
