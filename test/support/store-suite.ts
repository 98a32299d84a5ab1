/** What every engine of the group store must do (lib/group/store.ts), told to two handles on one store. */
import fc from 'fast-check';
import type t from 'tap';
import { sleep, systemClock } from '../../lib/base/clock.js';
import { STORE_VALUE_BYTES_MAX } from '../../lib/base/limits.js';
import type { GroupStore, StoreEvent, StoreOperation } from '../../lib/group/store.js';
import { until } from './wait.js';

type Test = typeof t;

/** Two handles on one new store, as two processes would have; closed by the suite. */
export interface StorePair {
  readonly a: GroupStore;
  readonly b: GroupStore;
}

/** Collects what a watch is given. */
export class Collector {
  readonly calls: StoreEvent[][] = [];
  compactions = 0;
  events(events: readonly StoreEvent[]): void {
    this.calls.push([...events]);
  }
  compacted(): void {
    this.compactions += 1;
  }
  /** "key=value" or "key gone", in the order they came. */
  get lines(): string[] {
    return this.calls
      .flat()
      .map(({ key, entry }) => (entry === null ? `${key} gone` : `${key}=${entry.value}`));
  }
}

const put = (key: string, value: string): StoreOperation => ({ put: key, value });

/** Runs the contract. `open` makes a new, empty store. */
export function storeSuite(t: Test, open: (t: Test) => Promise<StorePair>): void {
  const withStore = (name: string, body: (t: Test, pair: StorePair) => Promise<void>): void => {
    void t.test(name, async (child) => {
      const pair = await open(child as unknown as Test);
      try {
        await body(child as unknown as Test, pair);
      } finally {
        await pair.a.close();
        await pair.b.close();
      }
    });
  };

  withStore('puts, gets, lists in key order, deletes', async (t, { a, b }) => {
    t.equal(await a.get('x'), undefined);
    const first = await a.txn([], [put('b/2', 'two'), put('b/10', 'ten'), put('b', 'B'), put('c', 'C')]);
    t.match(first, { committed: true });
    t.same(await b.get('b/2'), { key: 'b/2', value: 'two', revision: first.revision });
    const listing = await b.list('b/');
    t.same(
      listing.entries.map((entry) => entry.key),
      ['b/10', 'b/2'],
    );
    t.equal(listing.revision, first.revision);
    const second = await b.txn([], [{ delete: 'b/2' }, put('b/3', 'drei → 3')]);
    t.equal(second.revision, first.revision + 1);
    t.same(
      (await a.list('')).entries.map((entry) => `${entry.key}@${entry.revision - first.revision}`),
      ['b@0', 'b/10@0', 'b/3@1', 'c@0'],
    );
    t.equal((await a.get('b/3'))?.value, 'drei → 3');
  });

  withStore('a transaction that writes nothing raises no revision', async (t, { a }) => {
    const { revision } = await a.txn([], [put('k', '1')]);
    t.same(await a.txn([{ key: 'k', revision }], []), { committed: true, revision });
    t.same(await a.txn([], [{ delete: 'absent' }]), { committed: true, revision });
    t.same(await a.txn([{ key: 'k', revision: revision + 1 }], [put('k', '2')]), {
      committed: false,
      revision,
    });
    t.equal((await a.get('k'))?.value, '1');
  });

  withStore('compare-and-swap: absent, present, all or nothing', async (t, { a, b }) => {
    const made = await a.txn([{ key: 'k', revision: 0 }], [put('k', 'a')]);
    t.ok(made.committed);
    t.notOk((await b.txn([{ key: 'k', revision: 0 }], [put('k', 'b')])).committed, 'no longer absent');
    const mixed = await b.txn(
      [
        { key: 'k', revision: made.revision },
        { key: 'm', revision: 5 },
      ],
      [put('k', 'b'), put('n', 'b')],
    );
    t.notOk(mixed.committed, 'one of two compares fails');
    t.same(
      (await a.list('')).entries.map((entry) => entry.value),
      ['a'],
    );
    t.ok((await b.txn([{ key: 'k', revision: made.revision }], [{ delete: 'k' }])).committed);
    t.ok((await a.txn([{ key: 'k', revision: 0 }], [put('k', 'again')])).committed, 'absent again');
  });

  withStore('of racing swaps of one revision exactly one wins', async (t, { a, b }) => {
    const increment = async (store: GroupStore): Promise<void> => {
      for (;;) {
        const entry = await store.get('n');
        const compares = [{ key: 'n', revision: entry?.revision ?? 0 }];
        if ((await store.txn(compares, [put('n', String(Number(entry?.value ?? 0) + 1))])).committed) return;
      }
    };
    await Promise.all(Array.from({ length: 40 }, (_, i) => increment(i % 2 ? a : b)));
    t.equal((await a.get('n'))?.value, '40');
  });

  withStore('refuses what no record may be', async (t, { a }) => {
    await t.rejects(a.txn([], [put('k', 'x'.repeat(STORE_VALUE_BYTES_MAX + 1))]), { code: 'INVALID' });
    await t.rejects(a.txn([], [put('', 'x')]), { code: 'INVALID' });
    await t.rejects(a.txn([], [put('k', 'x'), { delete: 'k' }]), { code: 'INVALID' });
    const large = 'x'.repeat(STORE_VALUE_BYTES_MAX);
    await a.txn([], [put('k', large)]);
    t.ok((await a.get('k'))?.value === large);
  });

  withStore('a watch gives each revision once, in order, whoever writes', async (t, { a, b }) => {
    const { revision } = await a.txn([], [put('w/old', '0')]);
    const collector = new Collector();
    const watch = b.watch('w/', revision, collector);
    const writes = Array.from({ length: 60 }, (_, i) =>
      (i % 2 ? a : b).txn([], [put(`w/${i % 5}`, String(i)), put(`other/${i}`, 'x')]),
    );
    const revisions = (await Promise.all(writes)).map((done) => done.revision);
    await a.txn([], [{ delete: 'w/0' }, { delete: 'w/1' }]);
    await until('all events', () => collector.calls.length >= 61);
    await sleep(systemClock, 20);
    t.equal(collector.calls.length, 61);
    const seen = collector.calls.map((call) => call[0]?.revision ?? 0);
    t.same(
      seen,
      [...seen].sort((x, y) => x - y),
    );
    t.same(new Set(seen.slice(0, 60)), new Set(revisions));
    t.same(collector.lines.slice(-2), ['w/0 gone', 'w/1 gone']);
    watch.close();
    await a.txn([], [put('w/after', '1')]);
    await sleep(systemClock, 20);
    t.equal(collector.calls.length, 61, 'closed');
  });

  withStore('a watch from an old revision catches up, and from the newest is silent', async (t, { a, b }) => {
    const { revision } = await a.txn([], [put('w/1', '1')]);
    await a.txn([], [put('w/1', '2')]);
    await a.txn([], [put('w/1', '3')]);
    const [old, fresh] = [new Collector(), new Collector()];
    const current = (await b.list('w/')).revision;
    b.watch('w/', revision, old);
    b.watch('w/', current, fresh);
    t.equal(old.calls.length, 0, 'never inside watch()');
    await until('the past', () => old.calls.length === 2);
    t.same(old.lines, ['w/1=2', 'w/1=3']);
    t.equal(fresh.calls.length, 0);
  });

  withStore(
    'a lease keeps its keys while it is renewed, and takes them when it ends',
    async (t, { a, b }) => {
      const startMs = systemClock.nowMs();
      const lease = await a.lease(1200);
      const grantedMs = systemClock.nowMs();
      t.ok(
        lease.validUntilMs > startMs && lease.validUntilMs <= grantedMs + 1200,
        'believed for no more than its time',
      );
      await a.txn([], [{ put: 'm/a', value: '1', lease }, put('m/b', '2')]);
      const collector = new Collector();
      b.watch('m/', (await b.list('m/')).revision, collector);
      for (let i = 0; i < 3; i++) {
        await sleep(systemClock, 500);
        t.ok(await lease.renew());
      }
      t.ok(await b.get('m/a'), 'alive after more than its time');
      await until('expiry', () => collector.calls.length > 0);
      t.same(collector.lines, ['m/a gone']);
      t.equal(await b.get('m/a'), undefined);
      t.ok(systemClock.nowMs() >= lease.validUntilMs, 'I4: its keys outlive the belief');
      t.equal(await lease.renew(), false);
      t.equal(lease.validUntilMs, 0);
      await t.rejects(a.txn([], [{ put: 'm/c', value: '1', lease }]), { code: 'CONFLICT' });
      t.equal(await a.get('m/c'), undefined);
    },
  );

  withStore('revoking ends a lease at once; a key put again without it stays', async (t, { a, b }) => {
    const lease = await a.lease(60_000);
    await a.txn(
      [],
      [
        { put: 'm/1', value: '1', lease },
        { put: 'm/2', value: '2', lease },
      ],
    );
    await b.txn([], [put('m/2', 'mine now')]);
    await lease.revoke();
    t.same(
      (await b.list('m/')).entries.map((entry) => entry.key),
      ['m/2'],
    );
    t.equal(await lease.renew(), false);
  });

  withStore('agrees with a plain map over any history', async (t, { a, b }) => {
    const key = fc.constantFrom('p/a', 'p/b', 'q/a');
    const step = fc.record({
      key,
      value: fc.option(fc.string({ maxLength: 4 })),
      useB: fc.boolean(),
      isStale: fc.boolean(),
    });
    const collector = new Collector();
    a.watch('p/', 0, collector);
    const model = new Map<string, string>();
    const seed = 4711;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
        for (const { key, value, useB, isStale } of steps) {
          const store = useB ? b : a;
          const revision = ((await store.get(key))?.revision ?? 0) + (isStale ? 1 : 0);
          const done = await store.txn(
            [{ key, revision }],
            [value === null ? { delete: key } : put(key, value)],
          );
          if (done.committed === isStale) return false;
          if (isStale) continue;
          if (value === null) model.delete(key);
          else model.set(key, value);
        }
        const { entries } = await a.list('');
        return JSON.stringify(entries.map((e) => [e.key, e.value])) === JSON.stringify([...model].sort());
      }),
      { seed, numRuns: 25 },
    );
    const target = (await a.list('p/')).revision;
    await a.txn([], [put('p/end', 'end')]);
    await until('the end of the history', () => collector.lines.at(-1) === 'p/end=end');
    const replayed = new Map<string, string>();
    for (const { key, entry } of collector.calls.flat()) {
      if (entry === null) replayed.delete(key);
      else replayed.set(key, entry.value);
    }
    replayed.delete('p/end');
    t.same(
      [...replayed].sort(),
      [...model].filter(([key]) => key.startsWith('p/')).sort(),
      `seed ${seed}, revision ${target}`,
    );
  });

  withStore('a closed store says so', async (t, { a }) => {
    await a.close();
    await t.rejects(a.get('x'), { code: 'UNAVAILABLE' });
    await t.rejects(a.txn([], [put('x', '1')]), { code: 'UNAVAILABLE' });
  });
}
