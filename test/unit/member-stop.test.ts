/** A member stops while its store is away, and with it its lease: nothing that waits for either keeps it from ending. */
import t from 'tap';
import { BlockferryError } from '../../lib/base/errors.js';
import { LEASE_TTL_MS } from '../../lib/base/limits.js';
import type { GroupStore, StoreLease } from '../../lib/group/store.js';
import { cutShort } from '../support/hand-clock.js';
import { doorOf, makeGroup, type MemberGroup } from '../support/member-group.js';
import { makeRig } from '../support/member-rig.js';
import { sleepMs, until } from '../support/wait.js';

/** Moves that are called off, sessions that get their second to finish, and the slowness of a busy machine. */
const BOUND_MS = 8_000;

/** The store of one member, that the test takes away; the lease goes with it as if its time had passed. */
class FailingStore {
  readonly door: GroupStore;
  private isAway = false;
  private readonly leases: StoreLease[] = [];
  private refusedLeases = 0;

  constructor(inner: GroupStore) {
    const asked = <T>(ask: () => Promise<T>): Promise<T> =>
      this.isAway ? Promise.reject(new BlockferryError('UNAVAILABLE', 'the store is away')) : ask();
    this.door = {
      ...inner,
      get: (key) => asked(() => inner.get(key)),
      list: (prefix) => asked(() => inner.list(prefix)),
      txn: (...arguments_) => asked(() => inner.txn(...arguments_)),
      lease: (ttlMs) => {
        if (this.isAway) this.refusedLeases += 1;
        return asked(() => this.lease(inner, ttlMs));
      },
    };
  }

  private async lease(inner: GroupStore, ttlMs: number): Promise<StoreLease> {
    const lease = await inner.lease(ttlMs);
    this.leases.push(lease);
    return lease;
  }

  /** Resolves when the member has seen it, as it renews its lease. */
  async goAway(): Promise<void> {
    this.isAway = true;
    for (const lease of this.leases) await lease.revoke();
    await until('the member asks for another lease', () => this.refusedLeases > 0);
    await sleepMs(50);
  }
}

async function withFailingStore(group: MemberGroup): Promise<FailingStore> {
  const store = new FailingStore(doorOf(group.store));
  await group.start('m1', 'redirect', { openStore: () => Promise.resolve(store.door) });
  await group.create('m1');
  return store;
}

/** Rejects when it has not stopped in time; it may say that it could not give its lease back. */
async function stopInTime(group: MemberGroup): Promise<void> {
  let hasEnded = false;
  const ended = (): boolean => (hasEnded = true);
  group.stop('m1').then(ended, ended);
  await until('the member has stopped', () => hasEnded, BOUND_MS);
}

t.test('a member stops without its lease, while an initiator waits for I/O', async (t) => {
  const group = await makeGroup(t, [], 'redirect');
  group.clock = cutShort(LEASE_TTL_MS / 3, 100);
  const store = await withFailingStore(group);
  const initiator = await group.at('m1', { recoveryDeadlineMs: 0 });
  await initiator.write(0, Buffer.alloc(512, 1));
  await store.goAway();
  let outcome = 'waits';
  const writing = initiator.write(0, Buffer.alloc(512, 2)).then(
    () => (outcome = 'done'),
    (error: { code?: string }) => (outcome = error.code ?? String(error)),
  );
  await sleepMs(100);
  t.equal(outcome, 'waits', 'the lease may come back');
  await stopInTime(group);
  await writing;
  t.equal(outcome, 'UNAVAILABLE', 'its session ends, and no error is the answer (I7)');
  initiator.close().catch(() => undefined);
});

for (const when of ['before the stop', 'in its course']) {
  t.test(`a lease that is lost ${when} is not waited for, and changes nothing when it is back`, async (t) => {
    const rig = await makeRig(t);
    await rig.create();
    await rig.write(1, 7);
    if (when !== 'before the stop') {
      rig.host.stopWaiting();
      await rig.write(1, 8);
      t.same(rig.cutOff, [], 'with a lease it serves until its sessions have ended');
    }
    rig.host.suspend();
    const write = (): Promise<string> =>
      rig.write(1, 9).then(
        () => 'served',
        ({ code }: { code: string }) => code,
      );
    const late = write();
    if (when === 'before the stop') rig.host.stopWaiting();
    t.equal(await late, 'aborted');
    t.same([...new Set(rig.cutOff)], [rig.routed.record.iqn]);
    await rig.host.regain(rig.host.term, []);
    t.notOk(rig.host.serving);
    t.equal(await write(), 'aborted', 'no I/O begins in the midst of a stop (I4)');
    await rig.create({ name: 'w' });
    await t.rejects(rig.write(2, 9), { code: 'aborted' }, 'nor on a volume that comes then');
    await rig.stop();
    await rig.start();
    t.equal(await rig.read(1), when === 'before the stop' ? 7 : 8);
  });
}
