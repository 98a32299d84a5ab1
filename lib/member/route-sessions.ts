/**
 * What becomes of the sessions at this member when a route changes: who has lost its home follows it (I7), and who has lost
 * its volume leaves, wherever it is; a new volume of the same name is another unit. Ends none itself: the registry does.
 */
import { HANDOVER_DEADLINE_SECONDS } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import type { Waypoints } from '../base/waypoints.js';
import type { SessionRegistry } from '../iscsi/target/registry.js';
import type { MoveRunner } from '../migration/move-runner.js';
import type { RoutedVolume } from '../routing/table.js';

export interface RouteSessionsParts {
  readonly self: string;
  readonly registry: Pick<SessionRegistry, 'requestLogout'>;
  readonly runner: Pick<MoveRunner, 'handoverOf' | 'statsOf'>;
  /** Every member serves: sessions stay where they are, and hear of a new home by a unit attention. */
  readonly isEveryPath: boolean;
  readonly waypoints: Waypoints;
  readonly log: Logger;
}

export class RouteSessions {
  constructor(private readonly parts: RouteSessionsParts) {}

  routeChanged(now: RoutedVolume | undefined, before: RoutedVolume | undefined): void {
    if (before === undefined) return;
    if (now?.record.id !== before.record.id) this.volumeHasGone(before);
    else if (before.route.home === this.parts.self && now.route.home !== this.parts.self)
      this.homeHasGone(now);
  }

  private volumeHasGone({ record: { name: volume, iqn } }: RoutedVolume): void {
    const { registry, log } = this.parts;
    const sessions = registry.requestLogout(iqn, HANDOVER_DEADLINE_SECONDS, 'ask');
    if (sessions > 0) log.info({ volume, sessions }, 'sessions were told to leave: their volume was deleted');
  }

  private homeHasGone({ record: { name: volume, iqn }, route: { home } }: RoutedVolume): void {
    const { registry, runner, isEveryPath, waypoints, log } = this.parts;
    if (isEveryPath) return;
    const mode = runner.handoverOf(volume);
    const sessions = registry.requestLogout(iqn, HANDOVER_DEADLINE_SECONDS, mode);
    const stats = runner.statsOf(volume);
    if (stats !== undefined) stats.sessions += sessions;
    waypoints.reached('handover.asked');
    log.info({ volume, home, sessions }, 'sessions were told to follow their volume');
  }
}
