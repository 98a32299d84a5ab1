/** Attempts that are over, and a destination that is away: how long it is told of them. */
import t, { type Test } from 'tap';
import { SeededRandom } from '../../lib/base/random.js';
import { MemoryStore } from '../../lib/group/memory-store.js';
import { keys } from '../../lib/group/records.js';
import { sayAborted } from '../../lib/migration/abort-notice.js';
import { DestinationLink } from '../../lib/migration/destination-link.js';
import { PeerStatus } from '../../lib/peer/contract.js';
import { FakePeers } from '../support/fake-peers.js';
import { hurriedClock } from '../support/move-world.js';
import { until } from '../support/wait.js';

const ATTEMPTS = [
  { extent: 4, token: 1 },
  { extent: 5, token: 2 },
];

/** m2 is not in the group; what it is told gets the answer that `answerTo` chooses. */
function start(t: Test, answerTo: (extent: number) => number) {
  const random = new SeededRandom(8);
  const clock = hurriedClock(100_000);
  const store = new MemoryStore({ clock, random });
  t.teardown(() => store.close());
  const peers = new FakePeers(random);
  const told: number[] = [];
  peers.fate = (_member, { extent }) => {
    told.push(extent);
    return answerTo(extent);
  };
  peers.join('m2', { handle: () => t.fail('it hears of it') });
  const state = { isStopping: false, isOver: false };
  const destination = new DestinationLink(peers.hub('m1'), 'm2', 1);
  const begin = (): void => {
    const context = { destination, store, clock, isStopping: () => state.isStopping };
    void sayAborted(context, ATTEMPTS).then(() => (state.isOver = true));
  };
  return { store, told, state, begin };
}

t.test('one that has left for good is not told for ever', async (t) => {
  const { told, state, begin } = start(t, () => PeerStatus.LINK_LOST);
  begin();
  await until('it is given up', () => state.isOver);
  t.equal(told.length, 240);
});

t.test('one that is in the group is told until it answers, of what it was not told', async (t) => {
  let isAway = true;
  const { store, told, state, begin } = start(t, (extent) =>
    isAway && extent === 5 ? PeerStatus.UNAVAILABLE : PeerStatus.OK,
  );
  await store.txn([], [{ put: keys.member('m2'), value: 'whatever' }]);
  begin();
  await until('it was asked often', () => told.length > 150);
  t.equal(told.filter((extent) => extent === 4).length, 1);
  isAway = false;
  await until('it is over', () => state.isOver);
});

t.test(
  'a store that does not answer says nothing of it; a refusal ends it, and the stop of the member',
  async (t) => {
    const { store, told, state, begin } = start(t, () => PeerStatus.LINK_LOST);
    store.get = () => Promise.reject(new Error('the store is away'));
    begin();
    await until('it was asked often', () => told.length > 300);
    state.isStopping = true;
    await until('it is over', () => state.isOver);

    const refusing = start(t, () => PeerStatus.REFUSED);
    refusing.begin();
    await until('it is over at once', () => refusing.state.isOver);
    t.same(refusing.told, [4, 5]);
  },
);
