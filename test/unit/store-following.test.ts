/** What members know of the store by heart, when the history is gone, the store is away, or a record is. */
import t, { type Test } from 'tap';
import { silentLog } from '../../lib/base/log.js';
import { SeededRandom } from '../../lib/base/random.js';
import { Following } from '../../lib/group/following.js';
import { MemoryStore } from '../../lib/group/memory-store.js';
import type { GroupStore, StoreWatcher } from '../../lib/group/store.js';
import { FollowedRecords } from '../../lib/member/followed-records.js';
import { SteppedClock } from '../support/hand-clock.js';

/** A store whose watches can lose their history, and that can be away. */
class Forgetful {
  readonly clock = new SteppedClock();
  readonly store: MemoryStore;
  isAway = false;
  lists = 0;
  /** The watches that are open. */
  readonly watchers = new Set<StoreWatcher>();
  readonly seen: GroupStore;

  constructor(t: Test) {
    const { clock } = this;
    const store = new MemoryStore({ clock, random: new SeededRandom(1) });
    this.store = store;
    t.teardown(() => store.close());
    this.seen = Object.assign(Object.create(store) as GroupStore, {
      list: (prefix: string) => {
        this.lists += 1;
        return this.isAway ? Promise.reject(new Error('away')) : store.list(prefix);
      },
      watch: (prefix: string, from: number, watcher: StoreWatcher) => {
        const watch = store.watch(prefix, from, watcher);
        this.watchers.add(watcher);
        return {
          close: () => {
            this.watchers.delete(watcher);
            watch.close();
          },
        };
      },
    });
  }

  /** As after an outage: nothing is heard any more, but that. */
  compact(): void {
    for (const watcher of [...this.watchers]) watcher.compacted();
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);
  }
}

function follow(world: Forgetful, read: () => Promise<void> = () => Promise.resolve()): Promise<Following> {
  return Following.begin({
    ...{ store: world.seen, clock: world.clock, log: silentLog, what: 'everything' },
    read: async () => {
      const { revision } = await world.seen.list('a/');
      await read();
      return [{ prefix: 'a/', revision }];
    },
    events: () => undefined,
  });
}

t.test('two that lose the history at once read once', async (t) => {
  const world = new Forgetful(t);
  const following = await follow(world);
  t.equal(world.watchers.size, 1);
  world.compact();
  following.again();
  await world.settle();
  t.equal(world.lists, 3, 'what came in the midst of it is read after it');
  t.equal(world.watchers.size, 1, 'one watch, as before');
  following.close();
  t.equal(world.watchers.size, 0);
});

t.test('a store that is away is asked again, and no more after the end', async (t) => {
  const world = new Forgetful(t);
  const following = await follow(world);
  world.isAway = true;
  following.again();
  await world.settle();
  following.again();
  following.again();
  await world.settle();
  t.equal(world.lists, 2, 'not more often for being told');
  world.clock.pass(1_000);
  await world.settle();
  t.equal(world.lists, 3);
  following.close();
  world.isAway = false;
  world.clock.pass(10_000);
  await world.settle();
  t.equal(world.lists, 3);
  t.equal(world.watchers.size, 0);
});

t.test('who ends while it reads watches nothing', async (t) => {
  const world = new Forgetful(t);
  let goOn: () => void = () => undefined;
  let isHeld = false;
  const following = await follow(world, () =>
    isHeld ? new Promise((resolve) => (goOn = resolve)) : Promise.resolve(),
  );
  isHeld = true;
  following.again();
  await world.settle();
  following.close();
  goOn();
  await world.settle();
  t.equal(world.watchers.size, 0);
});

t.test('who cannot read at first says so', async (t) => {
  const world = new Forgetful(t);
  world.isAway = true;
  await t.rejects(follow(world), /away/);
  world.clock.pass(10_000);
  await world.settle();
  t.equal(world.lists, 1);
});

async function followRecords(world: Forgetful): Promise<FollowedRecords> {
  const { seen: store, clock } = world;
  return FollowedRecords.open({ store, clock, log: silentLog, prefix: 'a/', adopted: () => undefined });
}

t.test('a record that went while nothing was heard is forgotten', async (t) => {
  const world = new Forgetful(t);
  await world.store.txn([], [{ put: 'a/gone', value: 'of the volume before' }]);
  await world.store.txn([], [{ put: 'a/kept', value: 'x' }]);
  const records = await followRecords(world);
  const deaf = [...world.watchers];
  for (const watcher of deaf) watcher.events = () => undefined;
  await world.store.txn([], [{ delete: 'a/gone' }]);
  await world.settle();
  t.ok(records.get('gone'), 'not heard of');
  for (const watcher of deaf) watcher.compacted();
  await world.settle();
  t.equal(records.get('gone'), undefined, 'a volume of that name begins with none');
  t.equal(records.get('kept')?.value, 'x');
  records.close();
});

t.test('a record that is read and not there is forgotten, unless it was written meanwhile', async (t) => {
  const world = new Forgetful(t);
  await world.store.txn([], [{ put: 'a/v', value: 'old' }]);
  const records = await followRecords(world);
  for (const watcher of world.watchers) watcher.events = () => undefined;
  await world.store.txn([], [{ delete: 'a/v' }]);
  const reading = records.read('v');
  t.equal(await reading, undefined);
  t.equal(records.get('v'), undefined);
  const late = records.read('v');
  await records.write('v', 'new', 0);
  await late;
  t.equal(records.get('v')?.value, 'new');
  records.close();
});
