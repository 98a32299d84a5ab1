/** What a member asks all others to end, and what it ends for them: who is present by then, and how long anybody waits. */
import t, { type Test } from 'tap';
import { systemClock, type Clock } from '../../lib/base/clock.js';
import { FENCE_DEADLINE_MS } from '../../lib/base/limits.js';
import { SeededRandom } from '../../lib/base/random.js';
import { noWaypoints } from '../../lib/base/waypoints.js';
import type { MemberRecord } from '../../lib/group/records.js';
import { EveryPath, type EveryPathOptions } from '../../lib/member/every-path.js';
import { Everywhere, type EverywhereOptions, type Present } from '../../lib/member/everywhere.js';
import { Fencer, type FencerOptions } from '../../lib/member/fencer.js';
import { PeerStatus, PeerType, type IncomingRequest } from '../../lib/peer/contract.js';
import { FakePeers } from '../support/fake-peers.js';
import { passUntil, SteppedClock } from '../support/hand-clock.js';
import { makeHub, write } from '../support/peer-rig.js';
import { turns, until } from '../support/wait.js';

const FENCE = { volume: 'v', initiatorName: 'iqn.1993-08.org.debian:host', isid: '001122334455' };
const NOTHING_LEFT = { fenced: 0, stallMs: 0 };
const never = (): Promise<never> => new Promise(() => undefined);

function makeFencer(options: Partial<FencerOptions>): Fencer {
  return new Fencer({
    everywhere: {} as Everywhere,
    waypoints: noWaypoints,
    clock: systemClock,
    endAbsent: () => Promise.resolve(),
    fenceHere: () => Promise.resolve(NOTHING_LEFT),
    fenced: () => undefined,
    isVacant: () => true,
    catchUp: () => Promise.resolve(true),
    ...options,
  });
}

/** A FENCE, or a VACATE, as it comes in; with the statuses that it was answered. */
function asked(present: readonly Present[] = []) {
  const statuses: number[] = [];
  const payload = Buffer.from(JSON.stringify({ ...FENCE, present }));
  const request = { epoch: 1, payload, answer: (status: number) => void statuses.push(status) } as unknown;
  return { request: request as IncomingRequest, statuses };
}

function recordOf(name: string): MemberRecord {
  const address = { host: '127.0.0.1', port: 1 };
  return { name, portal: address, peer: address, pid: 1, incarnation: `${name}-1`, startedAtMs: 0 };
}

function makeEverywhere(options: Pick<EverywhereOptions, 'hub' | 'clock' | 'others'>): Everywhere {
  const self = { name: 'm1', incarnation: 'm1-1' };
  return new Everywhere({ self, mayBeRunning: () => true, endAbsent: () => Promise.resolve(), ...options });
}

t.test('who is absent when a fence begins is ended then, not who is by its end', async (t) => {
  const ended: (readonly Present[])[] = [];
  let drained = (): void => undefined;
  const fencer = makeFencer({
    fenceHere: () => new Promise((resolve) => (drained = () => resolve(NOTHING_LEFT))),
    endAbsent: (present) => Promise.resolve(void ended.push(present)),
  });
  const present = [{ name: 'm1', incarnation: 'm1-1' }];
  const { request, statuses } = asked(present);
  const serving = fencer.serve(request);
  await turns();
  t.same(ended, [present], 'one that comes back while the old sessions drain is not on this list');
  t.same(statuses, []);
  drained();
  await serving;
  t.same(statuses, [PeerStatus.OK]);
  t.equal(ended.length, 1);
});

t.test('who comes while the others are asked again is asked, too, and is present', async (t) => {
  const peers = new FakePeers(new SeededRandom(3));
  const others = [recordOf('m2')];
  const told: string[] = [];
  const answerOf = (name: string, isReady: () => boolean) => ({
    handle: (request: IncomingRequest): void => {
      const { present } = JSON.parse(String(request.payload)) as { present: Present[] };
      told.push(`${name}: ${present.map(({ incarnation }) => incarnation).join()}`);
      if (others.length === 1) others.push(recordOf('m3'));
      request.answer(isReady() ? PeerStatus.OK : PeerStatus.UNAVAILABLE);
    },
  });
  peers.join(
    'm2',
    answerOf('m2', () => told.length > 1),
  );
  peers.join(
    'm3',
    answerOf('m3', () => true),
  );
  const everywhere = makeEverywhere({ hub: peers.hub('m1'), clock: systemClock, others: () => others });
  await everywhere.ask({ type: PeerType.FENCE }, (present) => ({ present }));
  t.same(told.sort(), ['m2: m1-1,m2-1', 'm2: m1-1,m2-1,m3-1', 'm3: m1-1,m2-1,m3-1']);
});

/** Hubs of m1 and m2 by one clock, and what m2 is asked besides fences. */
async function pair(t: Test, clock: Clock, fencer: Fencer) {
  const held: IncomingRequest[] = [];
  const m1 = makeHub('m1', () => undefined, { clock });
  const m2 = makeHub(
    'm2',
    (request) => {
      if (request.type === PeerType.FENCE) void fencer.serve(request);
      else if (request.type === PeerType.VACATE) void fencer.serveVacate(request);
      else held.push(request);
    },
    { clock },
  );
  t.teardown(() => Promise.all([m1.close(), m2.close()]));
  m1.setAddress('m2', await m2.listen('127.0.0.1', 0));
  const everywhere = makeEverywhere({ hub: m1, clock, others: () => [recordOf('m2')] });
  return { m1, held, everywhere };
}

for (const type of ['FENCE', 'VACATE'] as const) {
  t.test(`a ${type} that takes long breaks no link`, async (t) => {
    const clock = new SteppedClock();
    let drains = 0;
    const ends = (): Promise<never> => {
      drains += 1;
      return never();
    };
    const fencer = makeFencer(type === 'FENCE' ? { clock, fenceHere: ends } : { clock, endAbsent: ends });
    const { m1, held, everywhere } = await pair(t, clock, fencer);
    const beside = write(512);
    beside.deadlineMs = 10 * FENCE_DEADLINE_MS;
    const answered = beside.through(m1, 'm2');
    await until('the other request is there', () => held.length === 1);
    const asking = everywhere.ask({ type: PeerType[type] }, (present) => ({ ...FENCE, present }));
    await t.rejects(passUntil(clock, 100, asking), { code: 'UNAVAILABLE' });
    t.equal(beside.answers, 0);
    t.equal(drains, 1, 'what is under way is not begun again');
    held[0]?.answer(PeerStatus.OK);
    await answered;
    t.equal(beside.status, PeerStatus.OK);
  });
}

t.test('TASKS_END is answered in time, however long commands take', async (t) => {
  const clock = new SteppedClock();
  const atTheDevice = { groups: [] as { taskEnded(): void }[], markEnding: () => undefined, letGo: null };
  const session = {
    taskSet: { together: (run: () => void) => run() },
    tasks: { inOrder: () => [atTheDevice] },
  };
  const everyPath = new EveryPath({
    clock,
    self: { name: 'm2', incarnation: 'm2-1' },
    table: { getById: () => ({ record: { iqn: 'iqn.2026-11.test:v' } }) },
    registry: { everySessionOf: () => [session] },
  } as unknown as EveryPathOptions);
  const statuses: number[] = [];
  const payload = Buffer.from(JSON.stringify({ except: 'm1' }));
  const request = { payload, answer: (status: number) => void statuses.push(status) } as unknown;
  await passUntil(clock, 100, everyPath.end(request as IncomingRequest));
  const again = everyPath.end(request as IncomingRequest);
  for (const { taskEnded } of atTheDevice.groups) taskEnded();
  await again;
  t.same(statuses, [PeerStatus.UNAVAILABLE, PeerStatus.OK]);
});

t.test('a fence that is asked for again begins anew once the one before is over', async (t) => {
  const clock = new SteppedClock();
  const drained: (() => void)[] = [];
  const fencer = makeFencer({
    clock,
    fenceHere: () => new Promise((resolve) => drained.push(() => resolve(NOTHING_LEFT))),
  });
  const ask = async (): Promise<number | undefined> => {
    const { request, statuses } = asked();
    await passUntil(clock, 100, fencer.serve(request));
    return statuses[0];
  };
  t.equal(await ask(), PeerStatus.UNAVAILABLE);
  t.equal(await ask(), PeerStatus.UNAVAILABLE, 'at once');
  t.equal(drained.length, 1);
  drained[0]?.();
  await turns();
  const again = ask();
  await until('it begins', () => drained.length === 2);
  drained[1]?.();
  t.equal(await again, PeerStatus.OK);
});

t.test('a fence that fails is not under way any more', async (t) => {
  let drains = 0;
  const fencer = makeFencer({
    fenceHere: () => {
      drains += 1;
      return drains === 1 ? Promise.reject(new Error('it failed')) : Promise.resolve(NOTHING_LEFT);
    },
  });
  await t.rejects(fencer.serve(asked().request), { message: 'it failed' });
  const { request, statuses } = asked();
  await fencer.serve(request);
  t.same(statuses, [PeerStatus.OK]);
});
