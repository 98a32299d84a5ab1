/** What a member answers to logins: who serves a volume by the store (I10), and whom it has fenced before (I8). */
import t from 'tap';
import { sleep, systemClock } from '../../lib/base/clock.js';
import { noWaypoints } from '../../lib/base/waypoints.js';
import type { MemberRecord } from '../../lib/group/records.js';
import { MemberDirectory } from '../../lib/member/directory.js';
import { Everywhere, type Present } from '../../lib/member/everywhere.js';
import { Fencer } from '../../lib/member/fencer.js';
import { PeerStatus, PeerType, type IncomingRequest } from '../../lib/peer/contract.js';
import { makeRig, type MemberRig } from '../support/member-rig.js';
import { until } from '../support/wait.js';

const IQN = 'iqn.2026-11.org.blockferry:v';
const LOGIN = { iqn: IQN, initiatorName: 'iqn.1993-08.org.debian:host', isid: '001122334455' };
const PORTAL = { host: '127.0.0.2', port: 3261 };

function other(name: string): MemberRecord {
  return { name, portal: PORTAL, peer: PORTAL, pid: 1, incarnation: `${name}-1`, startedAtMs: 0 };
}

/** A member beside others; `running` says whose process is there. */
function directoryOf(
  rig: MemberRig,
  others: MemberRecord[] = [],
  running: string[] = [],
  ended: string[] = [],
): MemberDirectory {
  const endAbsent = (present: readonly Present[]): Promise<void> => {
    ended.push(present.map(({ incarnation }) => incarnation).join());
    return Promise.resolve();
  };
  const everywhere = new Everywhere({
    hub: rig.peers.hub('m1'),
    clock: { ...systemClock, nowMs: () => systemClock.nowMs() * 100 },
    self: { name: 'm1', incarnation: 'm1-1' },
    endAbsent,
    others: () => others,
    mayBeRunning: ({ name }) => running.includes(name),
  });
  const fencer = new Fencer({
    everywhere,
    waypoints: noWaypoints,
    clock: systemClock,
    endAbsent,
    fenceHere: () => Promise.resolve({ fenced: 0, stallMs: 0 }),
    fenced: () => undefined,
    isVacant: () => true,
    catchUp: () => Promise.resolve(true),
  });
  const portalOf = (name: string) => (name === 'm2' ? PORTAL : undefined);
  return new MemberDirectory('m1', rig.table, rig.host, { portalOf }, fencer, systemClock);
}

t.test('the home serves, another redirects to it, nobody without a lease does', async (t) => {
  const rig = await makeRig(t);
  const directory = directoryOf(rig);
  await rig.create();
  t.match(await directory.resolve(IQN), { kind: 'serve' });
  rig.host.suspend();
  t.match(await directory.resolve(IQN), { kind: 'unavailable' });
  rig.host.resume();
  await rig.volume(1);
  await rig.table.commit(rig.routed, rig.routed.route.withHome('m2'));
  t.same(await directory.resolve(IQN), { kind: 'redirect', ...PORTAL });
  await rig.table.commit(rig.routed, rig.routed.route.withHome('m3'));
  t.match(await directory.resolve(IQN), { kind: 'unavailable' }, 'a home that is away is no address');
  t.match(await directory.resolve(`${IQN}x`), { kind: 'unknown' });
});

t.test('a home that has not heard of its office serves, and sends nobody back (I10)', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  await rig.volume(1);
  await rig.table.commit(rig.routed, rig.routed.route.withHome('m2'));
  rig.table.close(); // no news from here on
  const elsewhere = await rig.openTable();
  const routed = elsewhere.get('v');
  if (routed === undefined) throw new Error('no volume');
  await elsewhere.commit(routed, routed.route.withHome('m1'));
  elsewhere.close();
  t.equal(rig.routed.route.home, 'm2', 'it believes that m2 is');
  t.match(await directoryOf(rig).resolve(IQN), { kind: 'serve' });
});

t.test('nobody is let in while it is committed that another is home (I8)', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  await rig.volume(1);
  const directory = directoryOf(rig);
  rig.host.givingHome(1, true);
  t.match(await directory.resolve(IQN), { kind: 'serve' }, 'it may take long to be asked for');
  rig.host.committingHome(1, true);
  let answered = false;
  const early = directory.resolve(IQN).finally(() => (answered = true));
  await sleep(systemClock, 20);
  t.notOk(answered, 'it may be another that serves by then');
  await rig.table.commit(rig.routed, rig.routed.route.withHome('m2'));
  rig.host.committingHome(1, false);
  rig.host.givingHome(1, false);
  t.same(await early, { kind: 'redirect', ...PORTAL });
});

t.test('a member that cannot read where the home is fences nobody, and is not vacant', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  await rig.volume(1);
  const fencedAt: number[] = [];
  const fencer = new Fencer({
    everywhere: {} as Everywhere,
    waypoints: noWaypoints,
    clock: systemClock,
    endAbsent: () => Promise.resolve(),
    fenceHere: () => {
      fencedAt.push(rig.routed.route.epoch);
      return Promise.resolve({ fenced: 0, stallMs: 0 });
    },
    fenced: () => undefined,
    isVacant: () => true,
    catchUp: (volume, epoch) => rig.host.catchUp(volume, epoch),
  });
  const asks = async (fence: boolean, epoch: number): Promise<number> => {
    let status = -1;
    const answer = (given: number): void => void (status = given);
    const message = { volume: 'v', initiatorName: LOGIN.initiatorName, isid: LOGIN.isid, present: [] };
    const request = { epoch, payload: Buffer.from(JSON.stringify(message)), answer } as unknown;
    if (fence) await fencer.serve(request as IncomingRequest);
    else await fencer.serveVacate(request as IncomingRequest);
    return status;
  };
  const { get } = rig.store;
  rig.store.get = () => Promise.reject(new Error('the store is away'));
  const { epoch } = rig.routed.route;
  for (const fence of [true, false]) {
    t.equal(await asks(fence, epoch + 1), PeerStatus.UNAVAILABLE);
    t.equal(await asks(fence, epoch), PeerStatus.OK, 'what it knows is enough for who knows no more');
  }
  rig.store.get = get;
  rig.table.close(); // no news from here on
  const elsewhere = await rig.openTable();
  const routed = elsewhere.get('v');
  if (routed === undefined) throw new Error('no volume');
  await elsewhere.commit(routed, routed.route.withHome('m2'));
  elsewhere.close();
  t.equal(await asks(true, epoch + 1), PeerStatus.OK);
  t.same(fencedAt, [epoch, epoch + 1], 'by the route as it is');
});

t.test('a login waits until every running member has fenced the initiator (I8)', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  await rig.volume(1);
  const asked: IncomingRequest[] = [];
  rig.peers.join('m2', { handle: (request) => void asked.push(request) });
  const directory = directoryOf(rig, [other('m2'), other('gone')], ['m2']);
  let admitted = false;
  const admitting = directory.admit(LOGIN).then(() => (admitted = true));
  await until('it is asked', () => asked.length > 0);
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  t.notOk(admitted, 'm2 still drains');
  const [request] = asked;
  t.equal(request?.type, PeerType.FENCE);
  const { initiatorName, isid } = LOGIN;
  const present = [
    { name: 'm1', incarnation: 'm1-1' },
    { name: 'm2', incarnation: 'm2-1' },
  ];
  t.same(JSON.parse(String(request?.payload)), { volume: 'v', initiatorName, isid, present });
  request?.answer(PeerStatus.OK);
  await admitting;
  t.ok(admitted);
});

t.test('a running member that does not fence keeps the initiator out', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  await rig.volume(1);
  await t.rejects(directoryOf(rig, [other('m2')], ['m2']).admit(LOGIN), { code: 'UNAVAILABLE' });
});

t.test('one that goes during a fence is then absent for the others, too (I8)', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  await rig.volume(1);
  const others = [other('m2'), other('m3')];
  const running = ['m2', 'm3'];
  const told: string[] = [];
  rig.peers.join('m2', {
    handle: (request) => {
      const { present } = JSON.parse(String(request.payload)) as { present: { incarnation: string }[] };
      told.push(present.map(({ incarnation }) => incarnation).join());
      running.splice(1); // m3's process ends: it answers nothing, and what it had forwarded may be unread at m2
      request.answer(PeerStatus.OK);
    },
  });
  const ended: string[] = [];
  await directoryOf(rig, others, running, ended).admit(LOGIN);
  t.same(told, ['m1-1,m2-1,m3-1', 'm1-1,m2-1']);
  t.same(ended, told, 'and this member goes by the same');
});
