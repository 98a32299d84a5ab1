/** What a member asks all others to end, and what it ends for them: who is present by then. */
import t from 'tap';
import { noWaypoints } from '../../lib/base/waypoints.js';
import type { Everywhere, Present } from '../../lib/member/everywhere.js';
import { Fencer, type FencerOptions } from '../../lib/member/fencer.js';
import { PeerStatus, type IncomingRequest } from '../../lib/peer/contract.js';
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
