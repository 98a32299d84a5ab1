/**
 * The state of units that the members of a group share (I9): modes, medium and a sanitize operation go with the home, and
 * outlive every process.
 */
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { silentLog } from '../../lib/base/log.js';
import { SeededRandom } from '../../lib/base/random.js';
import { FaultDevice } from '../support/fault-device.js';
import { MemoryStore } from '../../lib/group/memory-store.js';
import { keys } from '../../lib/group/records.js';
import type { StoreCompare } from '../../lib/group/store.js';
import { SharedUnits } from '../../lib/member/shared-units.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import { KeptUnitState } from '../../lib/scsi/kept-state.js';
import { makeRig } from '../support/member-rig.js';
import { RamDevice } from '../support/ram-device.js';
import { cdb10 } from '../support/scsi-rig.js';
import { IDENTITY, nexusOf, SAID, said, scsiRunner } from '../support/scsi-runner.js';
import { until } from '../support/wait.js';

const BLOCK = 512;
const TEST_UNIT_READY = '00 00 00 00 00 00';
const WRITE = cdb10('2a', 0, 0, 1);
const BLOCK_ERASE = '48 02 0000000000 0000 00';
const IN_BACKGROUND = '48 82 0000000000 0000 00';
const BUSY = 'status 8';

/** The members of a group, by what matters here: a store, a disk that all of them reach, and who is home. */
class World {
  readonly store = new MemoryStore({ clock: systemClock, random: new SeededRandom(3) });
  readonly ram = new RamDevice(64 * BLOCK, BLOCK);
  readonly faults = new FaultDevice(this.ram, systemClock);
  home = 'm1';
  headRevision = 0;
  storeIsAway = false;

  constructor(t: Test) {
    t.teardown(() => this.store.close());
  }

  /** Commits the home, as a move does: if the condition of the home that gives it still holds. */
  async move(to: string, condition: StoreCompare | null): Promise<boolean> {
    if (condition === null) return false;
    const done = await this.store.txn([condition], [{ put: keys.routeHead('v'), value: to }]);
    if (!done.committed) return false;
    this.home = to;
    this.headRevision = done.revision;
    return true;
  }

  /** A life of a member, and the unit as it serves it. */
  async start(name: string, volumeId = 1) {
    const { store } = this;
    const units = await SharedUnits.open({
      store: Object.assign(Object.create(store) as MemoryStore, {
        txn: (...args: Parameters<MemoryStore['txn']>) =>
          this.storeIsAway ? Promise.reject(new Error('away')) : store.txn(...args),
        get: (key: string) => (this.storeIsAway ? Promise.reject(new Error('away')) : store.get(key)),
      }),
      clock: systemClock,
      log: silentLog,
      officeOf: () => (this.home === name ? { key: keys.routeHead('v'), revision: this.headRevision } : null),
      refreshRoute: () => Promise.resolve(),
    });
    const state = new KeptUnitState(units.keeperOf('v', volumeId));
    const server = new DiskServer({
      device: this.faults,
      identity: IDENTITY,
      options: { removable: true },
      state,
    });
    const nexus = nexusOf(`iqn.2026-11.test:at-${name}`);
    server.nexusBegan(nexus);
    const { run } = scsiRunner(this.faults, server);
    const says = async (cdb: string, data = Buffer.alloc(BLOCK)): Promise<string> =>
      said(await run(cdb, data, 0, nexus));
    /** MODE SELECT (6) of the control page, with SWP or without. */
    const protect = (isProtected: boolean): Promise<string> =>
      says(
        '15 10 00 00 10 00',
        Buffer.from(`000000000a0a0010${isProtected ? '08' : '00'}40${'00'.repeat(6)}`, 'hex'),
      );
    return { units, server, says, protect };
  }
}

t.test('modes and the medium go with the home, and outlive all processes', async (t) => {
  const world = new World(t);
  const [m1, m2] = [await world.start('m1'), await world.start('m2')];
  t.equal(await m1.protect(true), SAID.GOOD);
  t.equal(await m1.says(TEST_UNIT_READY), SAID.GOOD, 'who did it is not told');
  t.ok(await world.move('m2', m1.units.homeCondition('v')));
  await m2.units.catchUp('v');
  t.equal(await m2.says(TEST_UNIT_READY), SAID.MODE_PARAMETERS_CHANGED, 'a nexus there is told');
  t.equal(await m2.says(WRITE), SAID.WRITE_PROTECTED);
  t.equal(await m1.protect(false), BUSY, 'one that is not home changes nothing');
  t.equal(await m2.protect(false), SAID.GOOD);
  t.equal(await m2.says('1b 00 00 00 02 00'), SAID.GOOD, 'ejected');
  const again = await world.start('m2');
  t.equal(await again.says(WRITE), SAID.NO_MEDIUM);
  t.equal(await again.says('1b 00 00 00 03 00'), SAID.GOOD, 'loaded');
  t.equal(await again.says(WRITE), SAID.GOOD);
  const anew = await world.start('m2', 2);
  t.equal(await again.protect(true), SAID.GOOD);
  t.equal(await anew.says(WRITE), SAID.GOOD, 'a volume made anew under the name has none of it');
});

t.test('a reset is one for everybody', async (t) => {
  const world = new World(t);
  const m1 = await world.start('m1');
  await m1.protect(true);
  await new Promise((resolve) => m1.server.reset(resolve));
  t.equal(await m1.says(TEST_UNIT_READY), SAID.UNIT_WAS_RESET);
  t.equal(await m1.says(WRITE), SAID.GOOD);
  t.equal(await (await world.start('m1')).says(WRITE), SAID.GOOD, 'also for the next life');
});

t.test('a store that is away: not now, and nothing has changed', async (t) => {
  const world = new World(t);
  const m1 = await world.start('m1');
  world.storeIsAway = true;
  const protecting = m1.protect(true);
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.equal(await m1.says(WRITE), SAID.GOOD);
  world.storeIsAway = false;
  t.equal(await protecting, SAID.GOOD, 'its answer was lost; it was not done, so it is done now');
  t.equal(await m1.says(WRITE), SAID.WRITE_PROTECTED);
});

t.test('of a volume that was deleted nothing is kept', async (t) => {
  const world = new World(t);
  const m1 = await world.start('m1');
  world.faults.add({ ops: ['discard'], action: { kind: 'pause' } });
  t.equal(await m1.says(IN_BACKGROUND), SAID.GOOD);
  m1.units.forget('v', 2);
  t.equal(m1.units.homeCondition('v'), null, 'another of that name was');
  m1.units.forget('v', 1);
  t.ok(m1.units.homeCondition('v'), 'the next one of its name is not held up');
});

t.test('a sanitize operation is done to its end, whoever dies, and the home stays meanwhile', async (t) => {
  const world = new World(t);
  const m1 = await world.start('m1');
  world.ram.bytes.fill(7);
  const pause = world.faults.add({ ops: ['discard'], action: { kind: 'pause' } });
  const before = m1.units.homeCondition('v');
  t.equal(await m1.says(IN_BACKGROUND), SAID.GOOD);
  t.equal(m1.units.homeCondition('v'), null);
  t.notOk(await world.move('m2', before), 'nor by a commit that was under way');

  // The process dies here: its I/O never ends.
  const again = await world.start('m1');
  t.equal(await again.says(TEST_UNIT_READY), SAID.SANITIZE_IN_PROGRESS, 'before it is taken up');
  again.server.resume();
  again.server.resume();
  t.equal(await again.says(WRITE), SAID.SANITIZE_IN_PROGRESS);
  await until('two are held', () => pause.heldCount === 2);
  pause.remove();
  await until('the unit is erased', async () => (await again.says(TEST_UNIT_READY)) === SAID.GOOD);
  t.ok(world.ram.bytes.equals(Buffer.alloc(world.ram.bytes.length)), 'all of it is erased');
  t.equal(await again.says(WRITE, Buffer.alloc(BLOCK, 9)), SAID.GOOD);
  const last = await world.start('m1');
  last.server.resume();
  t.equal(await last.says(TEST_UNIT_READY), SAID.GOOD);
  t.equal(world.ram.bytes[0], 9, 'and not once more, over what was written since');
  t.ok(await world.move('m2', last.units.homeCondition('v')));
});

t.test('the end of an operation is kept before anything is served', async (t) => {
  const world = new World(t);
  const m1 = await world.start('m1');
  const pause = world.faults.add({ ops: ['flush'], action: { kind: 'pause' } });
  const erased = m1.says(BLOCK_ERASE);
  await until('one is held', () => pause.heldCount === 1);
  world.storeIsAway = true;
  pause.remove();
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(await m1.says(WRITE), SAID.SANITIZE_IN_PROGRESS, 'it would be done again after a crash');
  world.storeIsAway = false;
  t.equal(await erased, SAID.GOOD);
  t.equal(await m1.says(WRITE), SAID.GOOD);
});

t.test('a failure is known to the next life and the next home', async (t) => {
  const world = new World(t);
  const m1 = await world.start('m1');
  world.faults.add({ ops: ['discard'], times: 1, action: { kind: 'fail', code: 'medium-write' } });
  t.equal(await m1.says(BLOCK_ERASE), SAID.SANITIZE_FAILED);
  const again = await world.start('m1');
  again.server.resume();
  t.equal(await again.says(WRITE), SAID.SANITIZE_FAILED);
  t.ok(await world.move('m2', again.units.homeCondition('v')), 'the home may go');
  const m2 = await world.start('m2');
  t.equal(await m2.says(WRITE), SAID.SANITIZE_FAILED);
  t.equal(await m2.says(BLOCK_ERASE), SAID.GOOD);
  t.equal(await m2.says(WRITE), SAID.GOOD);
});

t.test('a record that nobody can read changes nothing', async (t) => {
  const world = new World(t);
  const m1 = await world.start('m1');
  await m1.protect(true);
  await world.store.txn([], [{ put: keys.unit('v'), value: '{"modes":7}' }]);
  await m1.units.catchUp('v');
  t.equal(await m1.says(WRITE), SAID.WRITE_PROTECTED);
  t.equal(await m1.protect(false), SAID.GOOD, 'and is written over');
  t.equal(await m1.says(WRITE), SAID.GOOD);
});

t.test('a member that is not home any more when it has caught up takes nothing up', async (t) => {
  const rig = await makeRig(t);
  await rig.create();
  await rig.volume(1);
  await rig.write(1, 7);
  const held = rig.host.get('v');
  let caughtUp = (): void => undefined;
  rig.catchingUp = new Promise((resolve) => (caughtUp = resolve));
  const catchingUp = held?.unit.catchUp();
  await rig.table.commit(rig.routed, rig.routed.route.withHome('m2'));
  const order = { overwrite: null, failure: 'restricted' } as const;
  rig.unitMemory.facts = { ...rig.unitMemory.facts, sanitize: order };
  caughtUp();
  await catchingUp;
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(await rig.read(1), 7, 'what the next home sanitizes is that one’s to erase');
});
