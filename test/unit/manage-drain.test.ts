/** Draining a member: where its volumes go, and that they have gone when it says so. */
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { setBalance } from '../../lib/group/admin.js';
import { keys } from '../../lib/group/records.js';
import type { RouteView } from '../../lib/manage/api.js';
import { planDrain } from '../../lib/manage/drain-plan.js';
import { GroupDesk } from '../../lib/manage/group-desk.js';
import { BalancerRig, MiB, random } from '../support/balancer-rig.js';
import { FakePeers } from '../support/fake-peers.js';
import { MEMBERS, volumeView } from '../support/played-desk.js';

const nobody = (): boolean => false;

t.test('what a drain moves where', async (t) => {
  const volumes = [
    volumeView('home-here', 'm1', { m1: 10, m2: 6 }),
    volumeView('part-here', 'm2', { m1: 4, m2: 12 }),
    volumeView('elsewhere', 'm3', { m3: 16 }),
    volumeView('another-here', 'm1', { m1: 16 }),
  ];
  const part: RouteView = {
    volume: 'part-here',
    epoch: 1,
    home: 'm2',
    extents: 16,
    runs: [
      { first: 0, last: 3, holder: 'm2' },
      { first: 4, last: 7, holder: 'm1' },
      { first: 8, last: 15, holder: 'm2' },
    ],
  };
  const routes = new Map([['part-here', part]]);
  t.strictSame(planDrain('m1', MEMBERS, volumes, routes, nobody), [
    { volume: 'home-here', to: 'm3', extents: null },
    { volume: 'part-here', to: 'm2', extents: { first: 4, last: 7 } },
    { volume: 'another-here', to: 'm2', extents: null },
  ]);
  const alone = MEMBERS.map((member) => ({ ...member, alive: member.name === 'm1' }));
  t.throws(() => planDrain('m1', alone, volumes, routes, nobody), { code: 'UNAVAILABLE', hint: /start one/ });

  const planned = (...toBeEmpty: string[]) =>
    planDrain('m1', MEMBERS, volumes, routes, (name) => toBeEmpty.includes(name)).map(({ to }) => to);
  t.strictSame(planned('m2'), ['m3', 'm3', 'm3'], 'nothing goes where all is to leave, not even home');
  t.strictSame(planned('m2', 'm3'), ['m3', 'm2', 'm2'], 'unless there is nobody else');
});

/** The management API's desk over a group of three, whose volumes a and b are at m1. */
async function makeDesk(t: Test): Promise<{ rig: BalancerRig; desk: GroupDesk }> {
  const rig = await BalancerRig.make(t);
  const desk = new GroupDesk({
    ...{ store: rig.store, table: rig.table, clock: systemClock, random, group: 'g', portal: 'p:1' },
    ...{ hub: new FakePeers(random).hub(''), manageUrl: () => '', watched: () => MEMBERS },
  });
  return { rig, desk };
}

t.test('a volume is made where the least is, and not at a member that is to be empty', async (t) => {
  const { rig, desk } = await makeDesk(t);
  const madeAt = async (name: string): Promise<string> =>
    (await desk.createVolume({ name, size: 32 * MiB, extentSize: MiB })).home;
  await setBalance(rig.store, { members: { m2: { weight: 0 } } });
  t.strictSame([await madeAt('c'), await madeAt('d')], ['m3', 'm1'], 'm2 has the least');
  await setBalance(rig.store, { members: { m1: { weight: 0 }, m3: { weight: 0 } } });
  t.equal(await madeAt('e'), 'm2', 'nobody else is up');
  await rig.store.txn([], [{ put: keys.balance, value: '{' }]);
  t.equal(await madeAt('f'), 'm2', 'of settings that cannot be read nothing is believed');
});

t.test('a member that hangs is not up: nothing is sent there', async (t) => {
  const { rig, desk } = await makeDesk(t);
  const aliveNow = async (): Promise<string[]> =>
    (await desk.members()).filter(({ alive }) => alive).map(({ name }) => name);
  t.strictSame(await aliveNow(), ['m1', 'm2', 'm3']);
  await rig.store.txn([], [{ delete: keys.member('m2') }]); // as its lease ends
  t.strictSame(await aliveNow(), ['m1', 'm3'], 'its process is there');
  t.match(await desk.members(), [{}, { name: 'm2', pid: 101 }, {}]);
  t.equal((await desk.createVolume({ name: 'c', size: 32 * MiB })).home, 'm3');
  const drained = planDrain('m1', await desk.members(), await desk.volumes(), new Map(), nobody);
  t.strictSame(drained, [
    { volume: 'a', to: 'm3', extents: null },
    { volume: 'b', to: 'm3', extents: null },
  ]);
});
