/** Where the group portal sends a login: by the records of the store, whoever started the member. */
import t from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { LOGIN_HOME_WAIT_MS } from '../../lib/base/limits.js';
import type { MemberRecord } from '../../lib/group/records.js';
import { GroupHomes, type WatchedMember } from '../../lib/supervisor/group-homes.js';
import { SteppedClock, passUntil } from '../support/hand-clock.js';

const PORTAL = { host: '127.0.0.1', port: 3261 };

function recordOf(name: string): MemberRecord {
  return { name, portal: PORTAL, peer: PORTAL, pid: 1, incarnation: 'i', startedAtMs: 0 };
}

class Records extends Map<string, MemberRecord> {
  constructor(...names: readonly string[]) {
    super(names.map((name) => [name, recordOf(name)]));
  }
}

const ours = (name: string, isReady: boolean): WatchedMember => ({
  name,
  whenReady: () => Promise.resolve(isReady),
});

t.test('whoever has a record is sent to', async (t) => {
  const homes = new GroupHomes(new Records('m1', 'm9'), systemClock, [ours('m1', true)]);
  t.same(await homes.whenServing('m1'), PORTAL, 'one of ours');
  t.same(await homes.whenServing('m9'), PORTAL, 'one that somebody else started');
});

t.test('one of ours that is not there is not, whatever its record still says', async (t) => {
  const homes = new GroupHomes(new Records('m1'), systemClock, [ours('m1', false)]);
  t.equal(await homes.whenServing('m1'), undefined);
});

t.test('a login waits for a record, and not for ever', async (t) => {
  const clock = new SteppedClock();
  const records = new Records();
  const homes = new GroupHomes(records, clock, []);
  const held = homes.whenServing('m9');
  clock.pass(1000);
  records.set('m9', recordOf('m9'));
  t.same(await passUntil(clock, 10, held), PORTAL);
  const sinceMs = clock.nowMs();
  t.equal(await passUntil(clock, 10, homes.whenServing('m8')), undefined);
  t.ok(clock.nowMs() - sinceMs < LOGIN_HOME_WAIT_MS + 500, 'a login has no more patience');
});
