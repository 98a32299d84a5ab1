/** Records of moves that cannot be read: each is in the way of its own volume, and of no other. */
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { silentLog } from '../../lib/base/log.js';
import { SeededRandom } from '../../lib/base/random.js';
import { noWaypoints } from '../../lib/base/waypoints.js';
import { createMove } from '../../lib/group/admin-moves.js';
import { formatRecord, keys } from '../../lib/group/records.js';
import { MoveRunner } from '../../lib/migration/move-runner.js';
import { PeerStatus, PeerType, type IncomingRequest } from '../../lib/peer/contract.js';
import { makeRig } from '../support/member-rig.js';
import { hurriedClock } from '../support/move-world.js';
import { until } from '../support/wait.js';

const clock = hurriedClock(100);
const doors = { clock, random: new SeededRandom(3), log: silentLog, waypoints: noWaypoints };
const WANTED = { volume: 'v', to: 'm2', range: null, rateBytesPerSecond: null, handover: 'ask' as const };

/** m1 has data to give to m2, who refuses all moves. */
async function makeGroup(t: Test) {
  const rig = await makeRig(t);
  const { store, table, peers, host } = rig;
  await rig.create();
  await rig.write(1, 7);
  await rig.join('m2');
  peers.join('m2', { handle: (request) => request.answer(PeerStatus.REFUSED) });
  const asked = { opens: 0 };
  peers.fate = (_member, { type }) => {
    if (type === PeerType.MOVE_OPEN) asked.opens += 1;
    return null;
  };
  const runner = new MoveRunner({
    ...{ self: 'm1', incarnation: 'i', store, table, hub: peers.hub('m1'), volumes: host },
    ...doors,
  });
  t.teardown(() => runner.stop());
  return { rig, store, runner, asked };
}

t.test('a member starts beside a record that it cannot read, and takes the others', async (t) => {
  const { store, runner, asked } = await makeGroup(t);
  const { id } = await createMove(store, doors, WANTED);
  const figures = { put: keys.progressOf(id, 'm1'), value: '{"extents":-1}' };
  await store.txn([], [{ put: keys.move('0'), value: '{' }, { put: keys.move('x'), value: '{}' }, figures]);
  await runner.start();
  await until('the other is taken', () => asked.opens > 0);
  t.not(runner.statsOf('v'), undefined, 'as one that is worked on');
});

t.test('a member goes on hearing of moves after one that it cannot read', async (t) => {
  const { store, runner, asked } = await makeGroup(t);
  await runner.start();
  await store.txn([], [{ put: keys.move('0'), value: '{}' }]);
  await new Promise((resolve) => setTimeout(resolve, 30)); // it is heard of
  await createMove(store, doors, WANTED);
  await until('the next one is taken', () => asked.opens > 0);
});

t.test('a move under way whose record cannot be read any more is as if it were gone', async (t) => {
  const { rig, store, runner } = await makeGroup(t);
  await rig.table.commit(rig.routed, rig.routed.route.withHolder([0, 1, 2], 'm2'));
  await runner.start();
  const { id } = await createMove(store, doors, { ...WANTED, to: 'm1' });
  await until('it is under way', () => runner.statsOf('v') !== undefined);
  await store.txn([], [{ put: keys.move(id), value: '{}' }]);
  await until('it is dropped', () => runner.statsOf('v') === undefined);
});

t.test('the same, and the record is read again before that is heard', async (t) => {
  const { rig, store, runner } = await makeGroup(t);
  await rig.table.commit(rig.routed, rig.routed.route.withHolder([0, 1, 2], 'm2'));
  const { txn } = store;
  let commits = 0;
  store.txn = async (compares, operations) => {
    const move = compares.find(({ key }) => key.startsWith(keys.moves));
    const isHome = operations.some((each) => 'put' in each && each.put === keys.routeHead('v'));
    if (isHome && move !== undefined) {
      commits += 1;
      await txn.call(store, [], [{ put: move.key, value: '{}' }]);
    }
    return txn.call(store, compares, operations);
  };
  await runner.start();
  await createMove(store, doors, WANTED);
  await until('the home was to be given', () => commits > 0);
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.equal(commits, 1, 'and nobody tries that for ever');
  t.equal(rig.table.get('v')?.route.home, 'm1');
});

t.test('the next move of a volume waits for the part of one whose record has gone', async (t) => {
  const { rig, store, runner } = await makeGroup(t);
  const held: IncomingRequest[] = [];
  rig.peers.join('m2', { handle: (request) => void held.push(request) });
  await runner.start();
  const { id } = await createMove(store, doors, WANTED);
  await until('its extents are being given', () => held.length > 0);
  await store.txn([], [{ delete: keys.move(id) }, { delete: keys.moving('v') }]);
  await createMove(store, doors, WANTED);
  await new Promise((resolve) => setTimeout(resolve, 30)); // both are heard of
  const askedBefore = held.length;
  await new Promise((resolve) => setTimeout(resolve, 30));
  t.equal(held.length, askedBefore, 'one part of a volume at a time');
  t.equal(runner.statsOf('v')?.extents, 3, 'and the first has not ended');
  for (const request of held.splice(0)) request.answer(PeerStatus.REFUSED);
  await until('the next one begins', () => held.some(({ type }) => type === PeerType.MOVE_OPEN));
  rig.peers.join('m2', { handle: (request) => request.answer(PeerStatus.REFUSED) });
  for (const request of held) request.answer(PeerStatus.REFUSED);
});

t.test('a move that nobody could read is not asked for', async (t) => {
  const { store } = await makeGroup(t);
  const odd = { ...WANTED, rateBytesPerSecond: 0.5 };
  await t.rejects(createMove(store, doors, odd), { code: 'INVALID', message: /rateBytesPerSecond/ });
  t.same((await store.list(keys.moves)).entries, []);
  t.equal(await store.get(keys.moving('v')), undefined, 'the volume is free');
  t.match(formatRecord(await createMove(store, { ...doors, clock: systemClock }, WANTED)), /"active"/);
});
