/** Draining a member: where its volumes go, and that they have gone when it says so. */
import t, { type Test } from 'tap';
import { silentLog } from '../../lib/base/log.js';
import { BlockferryError } from '../../lib/base/errors.js';
import { systemClock } from '../../lib/base/clock.js';
import { setBalance } from '../../lib/group/admin.js';
import { keys } from '../../lib/group/records.js';
import type { CreateMove, MoveView, RouteView, VolumeView } from '../../lib/manage/api.js';
import { planDrain } from '../../lib/manage/drain-plan.js';
import { GroupDesk } from '../../lib/manage/group-desk.js';
import { ManageServer } from '../../lib/manage/server.js';
import { BalancerRig, MiB, random } from '../support/balancer-rig.js';
import { run, type CliRun } from '../support/cli-door.js';
import { FakePeers } from '../support/fake-peers.js';
import { MEMBERS, PlayedDesk, volumeView } from '../support/played-desk.js';

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

/** Moves happen when they are looked at; what others do, and what fails, is the test's. */
class MovingDesk extends PlayedDesk {
  readonly moving = new Map<string, MoveView>();
  /** Why a move fails; '': it does not. */
  fails: (wanted: CreateMove) => string = () => '';
  override held: VolumeView[] = [];

  private go(volume: string, to: string, error = ''): MoveView {
    const move = { ...this.view('active'), id: `${volume}-${this.moving.size}`, volume, to, error };
    const found = this.held.find(({ name }) => name === volume) as VolumeView;
    found.moving = move.id;
    this.moving.set(move.id, move);
    return move;
  }
  /** Somebody else moves it. */
  goesTo(volume: string, to: string): void {
    this.go(volume, to);
  }
  override async status() {
    const moves = [...this.moving.values()].filter(({ state }) => state === 'active');
    return { ...(await super.status()), volumes: structuredClone(this.held), moves };
  }
  override async route(volume: string): Promise<RouteView> {
    const { home, extents, holders } = await this.volume(volume);
    const runs = [{ first: 0, last: extents - 1, holder: Object.keys(holders)[0] as string }];
    return { volume, epoch: 1, home, extents, runs };
  }
  override async createMove(wanted: CreateMove): Promise<MoveView> {
    const { moving } = await this.volume(wanted.volume);
    if (moving !== null) throw new BlockferryError('BUSY', `a move of ${wanted.volume} is under way`);
    this.asked.push(wanted);
    return this.go(wanted.volume, wanted.to, this.fails(wanted));
  }
  override async move(id: string): Promise<MoveView> {
    const move = this.moving.get(id) as MoveView;
    if (move.state !== 'active') return move;
    const volume = this.held.find(({ name }) => name === move.volume) as VolumeView;
    volume.moving = null;
    const state = move.error === '' ? 'done' : 'failed';
    if (state === 'done') Object.assign(volume, { home: move.to, holders: { [move.to]: volume.extents } });
    const ended: MoveView = { ...move, state, finishedAtMs: 3500 };
    this.moving.set(id, ended);
    return ended;
  }
}

/** `drain m1` in a group whose volumes are all there. */
async function drain(t: Test, volumes: string[], prepare: (desk: MovingDesk) => void) {
  const desk = new MovingDesk();
  desk.held = volumes.map((name) => volumeView(name, 'm1', { m1: 16 }));
  const server = await ManageServer.start({ host: '127.0.0.1', port: 0, desk, log: silentLog });
  t.teardown(() => server.stop());
  prepare(desk);
  const ended: CliRun = await run(['drain', 'm1', '--manage', server.url]);
  const asked = desk.asked.map((wanted) => `${(wanted as CreateMove).volume} ${(wanted as CreateMove).to}`);
  return { ...ended, desk, asked };
}

t.test('drain plans until nothing is left', async (t) => {
  const { code, stdout, asked } = await drain(t, ['a', 'b', 'c'], () => undefined);
  t.equal(code, 0);
  t.strictSame(asked, ['a m2', 'b m3', 'c m2']);
  t.match(stdout, /a moved from[\s\S]*m1 is empty: 3 moves\n$/);
});

t.test('what somebody else moves is waited for, and not in the way of the rest', async (t) => {
  const elsewhere = await drain(t, ['a', 'b'], (desk) => desk.goesTo('a', 'm3'));
  t.match(elsewhere, { code: 0, asked: ['b m3'], stdout: /m1 is empty: 1 move\n$/ });
  const back = await drain(t, ['a', 'b'], (desk) => desk.goesTo('a', 'm1'));
  t.match(back, { code: 0, asked: ['b m3', 'a m2'] });
  const comes = await drain(t, ['a'], (desk) => {
    desk.held.push(volumeView('b', 'm2', { m2: 16 }));
    desk.goesTo('b', 'm1');
  });
  t.match(comes, { code: 0, asked: ['a m3', 'b m2'] }, 'what was on its way here goes as well');
});

t.test('where one move fails the others go, and it is tried elsewhere', async (t) => {
  const broken = await drain(t, ['a', 'b'], (desk) => (desk.fails = ({ to }) => (to === 'm2' ? 'no' : '')));
  t.match(broken, { code: 0, asked: ['a m2', 'b m3', 'a m3'], stdout: /m1 is empty: 2 moves\n$/ });
});

t.test('a drain that moves nothing more says what is left', async (t) => {
  const stuck = await drain(t, ['a', 'b', 'c'], (desk) => {
    desk.fails = ({ volume }) => (volume === 'b' ? 'its file cannot be read' : '');
  });
  t.equal(stuck.code, 1);
  t.match(stuck.desk.held, [{ home: /m[23]/ }, { home: 'm1' }, { home: /m[23]/ }], 'the rest has gone');
  t.match(
    stuck.stderr,
    /^blockferry: m1 is not empty, it still has b: the move of b to m[23] failed: its file cannot be read; mend that/,
  );
  t.notMatch(stuck.stdout, /is empty/);
});
