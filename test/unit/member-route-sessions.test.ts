/** Who is told to leave when a route changes: by what has changed of it, and where. */
import t from 'tap';
import { silentLog } from '../../lib/base/log.js';
import { noWaypoints } from '../../lib/base/waypoints.js';
import { RouteSessions } from '../../lib/member/route-sessions.js';
import type { RoutedVolume } from '../../lib/routing/table.js';

const routed = (id: number, home: string): RoutedVolume =>
  ({ record: { id, name: 'v', iqn: 'iqn.v' }, route: { home } }) as unknown as RoutedVolume;

function toldBy(
  isEveryPath: boolean,
  now: RoutedVolume | undefined,
  before: RoutedVolume | undefined,
): string[] {
  const told: string[] = [];
  const sessions = new RouteSessions({
    self: 'm1',
    registry: { requestLogout: (iqn, _, mode) => told.push(`${iqn} ${mode}`) },
    runner: { handoverOf: () => 'drop', statsOf: () => undefined },
    isEveryPath,
    waypoints: noWaypoints,
    log: silentLog,
  });
  sessions.routeChanged(now, before);
  return told;
}

t.test('who is told to leave', async (t) => {
  const cases = [
    [false, routed(1, 'm2'), routed(1, 'm1'), ['iqn.v drop'], 'its home has gone'],
    [true, routed(1, 'm2'), routed(1, 'm1'), [], 'where every member serves it stays'],
    [false, routed(1, 'm3'), routed(1, 'm2'), [], 'it was home elsewhere'],
    [false, routed(1, 'm1'), routed(1, 'm1'), [], 'it is home still'],
    [false, undefined, routed(1, 'm1'), ['iqn.v ask'], 'its volume was deleted'],
    [true, undefined, routed(1, 'm1'), ['iqn.v ask'], 'its volume was deleted, served everywhere'],
    [true, undefined, routed(1, 'm2'), ['iqn.v ask'], 'at the other members, too'],
    [true, routed(2, 'm1'), routed(1, 'm1'), ['iqn.v ask'], 'another volume has its name now'],
    [false, routed(2, 'm1'), routed(1, 'm1'), ['iqn.v ask'], 'the same, served at its home'],
    [false, routed(1, 'm1'), undefined, [], 'a new volume'],
  ] as const;
  for (const [isEveryPath, now, before, told, what] of cases)
    t.strictSame(toldBy(isEveryPath, now, before), told, what);
});
