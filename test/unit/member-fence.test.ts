/** What a member asks all others to end, and what it ends for them: who is present by then. */
import t from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { SeededRandom } from '../../lib/base/random.js';
import { noWaypoints } from '../../lib/base/waypoints.js';
import type { MemberRecord } from '../../lib/group/records.js';
import { Everywhere, type EverywhereOptions, type Present } from '../../lib/member/everywhere.js';
import { Fencer, type FencerOptions } from '../../lib/member/fencer.js';
import { PeerStatus, PeerType, type IncomingRequest } from '../../lib/peer/contract.js';
import { FakePeers } from '../support/fake-peers.js';
import { turns } from '../support/wait.js';

const FENCE = { volume: 'v', initiatorName: 'iqn.1993-08.org.debian:host', isid: '001122334455' };
const NOTHING_LEFT = { fenced: 0, stallMs: 0 };

function makeFencer(options: Partial<FencerOptions>): Fencer {
  return new Fencer({
    everywhere: {} as Everywhere,
    waypoints: noWaypoints,
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
