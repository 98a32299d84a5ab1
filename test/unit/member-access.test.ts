/**
 * A group in which every member serves every volume (implicit ALUA): what sessions at members see that are not the home,
 * when its home moves, and when it goes.
 */
import t from 'tap';
import { sleep, systemClock } from '../../lib/base/clock.js';
import { LEASE_TTL_MS } from '../../lib/base/limits.js';
import { SeededRandom } from '../../lib/base/random.js';
import { keys } from '../../lib/group/records.js';
import type { GroupStore, StoreLease } from '../../lib/group/store.js';
import {
  type Initiator,
  Ledger,
  parseSense,
  runFill,
  runLoad,
  runVerify,
} from '../../lib/iscsi/initiator/index.js';
import { cutShort } from '../support/hand-clock.js';
import { hex } from '../support/scsi-rig.js';
import { doorOf, makeGroup, type MemberGroup } from '../support/member-group.js';
import { until } from '../support/wait.js';

const CONFLICT = 'status 18';
const STATE_CHANGED = '6/2a/06';
const A = 'a'.repeat(16);
const B = 'b'.repeat(16);
const NONE = '0'.repeat(16);

interface Said {
  readonly said: string;
  readonly dataIn: Buffer;
}

async function ask(unit: Initiator, cdb: string, dataOut?: Buffer, dataInBytes?: number): Promise<Said> {
  const options = { ...(dataOut && { dataOut }), ...(dataInBytes !== undefined && { dataInBytes }) };
  const { status, sense, dataIn } = await unit.execute(Buffer.from(cdb.replaceAll(' ', ''), 'hex'), options);
  const summary = parseSense(sense);
  const two = (value: number): string => hex(value, 2);
  if (status === 0) return { said: 'GOOD', dataIn };
  if (summary === undefined) return { said: `status ${status.toString(16)}`, dataIn };
  return { said: `${summary.key.toString(16)}/${two(summary.asc)}/${two(summary.ascq)}`, dataIn };
}

const says = async (unit: Initiator, cdb: string, dataOut?: Buffer): Promise<string> =>
  (await ask(unit, cdb, dataOut)).said;
const READY = '00 00 00 00 00 00';
const groups = async (unit: Initiator): Promise<string> =>
  (await ask(unit, 'a3 0a 00000000 000000ff 00 00', undefined, 255)).dataIn.toString('hex');
const reserve = (unit: Initiator, action: number, key: string, to = NONE, type = 0): Promise<string> =>
  says(
    unit,
    `5f ${hex(action, 2)} ${hex(type, 2)} 0000 00000018 00`,
    Buffer.from(key + to + '00'.repeat(8), 'hex'),
  );

async function sessions(group: MemberGroup, ...members: string[]): Promise<Initiator[]> {
  const units = await Promise.all(members.map((member) => group.at(member)));
  return units;
}

t.test('every member serves: one unit, seen through three ports', async (t) => {
  const group = await makeGroup(t, ['m1', 'm2', 'm3']);
  await group.create('m1');
  const units = await sessions(group, 'm1', 'm2', 'm3');
  const [one, two, three] = units as [Initiator, Initiator, Initiator];
  t.equal(two.redirects, 0);
  const all = '0000002400030001000000010000000101030002000000010000000201030003000000010000000300'.slice(
    0,
    80,
  );
  for (const unit of units) t.equal(await groups(unit), all, 'the home is active/optimized');
  const pages = await Promise.all(units.map((unit) => unit.inquiry(0x83)));
  pages.forEach((page, i) => t.match(page.toString('hex'), `519500040000000${i + 1}`, 'its own group'));
  t.ok(pages[0]?.subarray(0, 60).equals(pages[1]?.subarray(0, 60) ?? Buffer.alloc(0)), 'of one unit');

  const data = Buffer.alloc(3 * 1024 * 1024); // more than goes to the home at once
  for (let at = 0; at < data.length; at++) data[at] = at % 251;
  await two.write(16, data, { fua: true });
  t.ok((await one.read(16, 6144)).equals(data), 'what one wrote the others read');
  t.ok((await three.read(16, 6144)).equals(data));
  await three.write(17, Buffer.alloc(512, 7));
  t.equal((await two.read(17, 1))[0], 7);
  const compare = Buffer.concat([Buffer.alloc(512, 7), Buffer.alloc(512, 8)]);
  const CAW = '89 00 0000000000000011 000000 01 00 00';
  t.equal(await says(two, CAW, compare), 'GOOD');
  t.equal(await says(three, CAW, compare), 'e/1d/00', 'somebody else was first');
  await three.unmap([{ lba: 16, blocks: 8 }]);
  t.equal((await one.read(17, 1))[0], 0);
  t.equal(await says(two, 'c7 00 00 00 00 00'), '5/20/00');
  t.equal(await says(two, '28 00 00002000 00 0001 00'), '5/21/00');
  t.equal(await says(two, '28 00 00000000 00 0000 00'), 'GOOD');
  t.equal((await two.readCapacity()).sizeBytes, 4 * 1024 * 1024);
  await two.flush();
  for (const unit of units) await unit.close();
});

t.test('the unit has one state, whoever asks where', async (t) => {
  const group = await makeGroup(t, ['m1', 'm2', 'm3']);
  await group.create('m1');
  const units = await sessions(group, 'm1', 'm2', 'm3');
  const [one, two, three] = units as [Initiator, Initiator, Initiator];
  const WRITE = '2a 00 00000000 00 0001 00';
  const block = Buffer.alloc(512, 1);
  t.equal(await reserve(two, 0, NONE, A), 'GOOD');
  t.equal(await reserve(two, 1, A, NONE, 1), 'GOOD');
  t.equal(await says(three, WRITE, block), CONFLICT);
  t.equal(await says(one, WRITE, block), CONFLICT);
  t.equal(await says(two, WRITE, block), 'GOOD');
  t.equal(await reserve(three, 0, NONE, B), 'GOOD');
  t.equal(await reserve(three, 5, B, A, 1), 'GOOD', 'PREEMPT AND ABORT');
  t.equal(await says(two, WRITE, block), '6/2a/05');
  t.equal(await says(two, WRITE, block), CONFLICT);
  t.equal(await reserve(three, 3, B), 'GOOD', 'CLEAR');
  t.equal(await says(two, READY), 'GOOD');

  // MODE SELECT (6) of the caching page: WCE off.
  const select = Buffer.from(`00000000 08 12 00 ${'00'.repeat(17)}`.replaceAll(' ', ''), 'hex');
  t.equal(await says(three, '15 10 00 00 18 00', select), 'GOOD');
  t.equal(await says(one, READY), '6/2a/01');
  t.equal(await says(two, READY), '6/2a/01');
  t.equal(await says(two, READY), 'GOOD', 'told once');
  t.equal(await says(three, READY), 'GOOD', 'not who did it');

  t.equal(await two.taskManagement(5), 0, 'LOGICAL UNIT RESET');
  for (const unit of units) t.equal(await says(unit, READY), '6/29/03');
  t.equal(await three.taskManagement(4), 0, 'CLEAR TASK SET');
  t.equal(await two.taskManagement(2), 0, 'ABORT TASK SET');
  for (const unit of units) t.equal(await says(unit, READY), 'GOOD');

  t.equal(await says(two, '16 00 00 00 00 00'), 'GOOD', 'RESERVE (6)');
  t.equal(await says(three, WRITE, block), CONFLICT);
  await two.close();
  await until('the reservation ends', async () => (await says(three, WRITE, block)) !== CONFLICT);
  t.equal(await says(three, WRITE, block), 'GOOD', 'it ends with its session');
  for (const unit of [one, three]) await unit.close();
});

t.test('a home that moves: sessions stay, and are told once', async (t) => {
  const group = await makeGroup(t, ['m1', 'm2', 'm3']);
  await group.create('m1');
  const units = await sessions(group, 'm1', 'm2', 'm3');
  await units[2]?.write(8, Buffer.alloc(4096, 9));
  const swap = Buffer.alloc(1024, 9);
  // MODE SELECT (6) of the control page: D_SENSE.
  const select = Buffer.from(`000000000a0a04100040${'00'.repeat(6)}`, 'hex');
  t.equal(await says(units[0] as Initiator, '15 10 00 00 10 00', select), 'GOOD');
  for (const unit of units.slice(1)) t.equal(await says(unit, READY), '6/2a/01');
  for (const to of ['m2', 'm3', 'm1']) {
    t.equal(await group.move(to), 'done');
    t.equal(await group.home(), to);
    for (const [i, unit] of units.entries()) {
      t.equal(await says(unit, READY), STATE_CHANGED, `at m${i + 1}`);
      t.equal(await says(unit, READY), 'GOOD');
      const groupOf = (await groups(unit)).slice(8 + 24 * (Number(to[1]) - 1));
      t.match(groupOf, /^0003/, `${to} is active/optimized`);
      t.equal((await unit.read(8, 1))[0], 9);
      t.equal(await says(unit, '89 00 0000000000000008 000000 01 00 00', swap), 'GOOD', 'COMPARE AND WRITE');
      const { sense } = await unit.execute(Buffer.from('c70000000000', 'hex'), {});
      t.equal((sense[0] ?? 0) & 0x7f, 0x72, 'its modes go with the home');
    }
  }
  for (const unit of units) {
    t.equal(unit.recoveries.length, 0, 'nobody had to leave');
    await unit.close();
  }
});

t.test('load through two members while the home moves there and back', async (t) => {
  const group = await makeGroup(t, ['m1', 'm2', 'm3']);
  await group.create('m1');
  const [one, two] = (await sessions(group, 'm1', 'm2')) as [Initiator, Initiator];
  const half = 2 * 1024 * 1024;
  const work = (unit: Initiator, offsetBytes: number) => {
    const ledger = new Ledger({ seed: 7, blockBytes: 4096, blocks: 1024 });
    const options = { ledger, offsetBytes, lengthBytes: half, queueDepth: 8, repeats: true };
    return { unit, options };
  };
  const works = [work(one, 0), work(two, half)];
  for (const { unit, options } of works) await runFill(unit, options);
  const abort = new AbortController();
  const loads = works.map(({ unit, options }) =>
    runLoad(unit, { ...options, signal: abort.signal, durationSeconds: 60, readPercent: 50 }),
  );
  for (const to of ['m2', 'm1', 'm3', 'm2']) t.equal(await group.move(to), 'done');
  abort.abort();
  for (const report of await Promise.all(loads)) {
    t.match(report, { ok: true, errors: 0, wrongCount: 0, recoveries: [], violations: [] });
    t.ok(report.ops > 50, `${report.ops} commands, ${report.repeated} again`);
  }
  for (const { options } of works) {
    const report = await runVerify(one, options);
    t.match(report, { ok: true, wrongCount: 0 }, 'also through the other member');
  }
  await one.close();
  await two.close();
});

t.test('a home that goes and comes back', async (t) => {
  const group = await makeGroup(t, ['m1', 'm2']);
  await group.create('m1');
  const two = await group.at('m2');
  await two.write(8, Buffer.alloc(512, 9), { fua: true });
  await group.stop('m1');
  const READ = '28 00 00000008 00 0001 00';
  const reading = ask(two, READ, undefined, 512);
  const pause = sleep(systemClock, 300).then(() => 'waits');
  t.equal(await Promise.race([reading.then(({ said }) => said), pause]), 'waits', 'a READ is tried again');
  await group.start('m1');
  const first = await reading;
  t.equal(first.said, '6/29/03', 'the state of the unit was lost with its home');
  t.equal((await ask(two, READ, undefined, 512)).dataIn[0], 9);
  await two.close();
});

t.test('an abort does not wait for a home that is away', async (t) => {
  const group = await makeGroup(t, ['m1', 'm2']);
  await group.create('m1');
  const two = await group.at('m2');
  await group.stop('m1');
  const reading = ask(two, '28 00 00000008 00 0001 00', undefined, 512);
  await sleep(systemClock, 50);
  const before = systemClock.nowMs();
  t.equal(await two.taskManagement(2), 0, 'ABORT TASK SET');
  t.ok(systemClock.nowMs() - before < 2_000);
  t.equal((await reading).said, 'status 40');
  await two.close();
});

t.test('a member in the group again serves nobody before it knows what it has missed (I8)', async (t) => {
  const group = await makeGroup(t, ['m1']);
  const door = doorOf(group.store);
  const leases: StoreLease[] = [];
  let reading = Promise.resolve();
  const store: GroupStore = {
    ...door,
    lease: async (ttlMs) => {
      const lease = await door.lease(ttlMs);
      leases.push(lease);
      return lease;
    },
    list: async (prefix) => {
      await reading;
      return door.list(prefix);
    },
  };
  group.clock = cutShort(LEASE_TTL_MS / 3, 200); // it sees sooner that its lease has gone
  await group.start('m2', 'alua', { openStore: () => Promise.resolve(store) });
  await group.create('m1');
  const old = await group.at('m2');
  const write = (byte: number): Promise<string> =>
    says(old, '2a 00 00000000 00 0001 00', Buffer.alloc(512, byte));
  t.equal(await write(1), 'GOOD');
  let read = (): void => undefined;
  reading = new Promise((resolve) => (read = resolve));
  await leases[0]?.revoke();
  t.equal(await write(2), 'status 8', 'no lease');
  await until(
    'm2 has a lease again',
    async () => leases.length >= 2 && (await group.store.get(keys.member('m2'))) !== undefined,
  );
  for (let i = 0; i < 5; i++) {
    t.equal(await write(3), 'status 8', 'others may have gone on without it');
    await sleep(systemClock, 10);
  }
  const one = await group.at('m1');
  t.equal((await one.read(0, 1))[0], 1);
  read();
  await one.close();
  old.close().catch(() => undefined);
});

t.test('one ISID at two target ports is two nexuses (RFC 7143 4.4.3)', async (t) => {
  const group = await makeGroup(t, ['m1', 'm2']);
  await group.create('m1');
  const same = () => ({ initiatorName: 'iqn.2026-11.test:same', random: new SeededRandom(4) });
  const [one, two] = [await group.at('m1', same()), await group.at('m2', same())];
  t.equal(await says(one, READY), 'GOOD');
  t.equal(await says(two, READY), 'GOOD');
  t.same([one.recoveries, two.recoveries], [[], []]);
  const other = await group.at('m2');
  t.equal(await says(one, '16 00 00 00 00 00'), 'GOOD', 'RESERVE (6)');
  const write = (): Promise<string> => says(other, '2a 00 00000000 00 0001 00', Buffer.alloc(512, 1));
  t.equal(await write(), CONFLICT);
  await two.close();
  await sleep(systemClock, 100);
  t.equal(await write(), CONFLICT, 'that of one does not end with the other');
  await one.close();
  await until('the reservation ends', async () => (await write()) !== CONFLICT);
  t.equal(await write(), 'GOOD');
  await other.close();
});

t.test('RESERVE stays when the home it came by has moved, and its process has gone', async (t) => {
  const group = await makeGroup(t, ['m1', 'm2', 'm3']);
  await group.create('m1');
  const [two, three] = (await sessions(group, 'm2', 'm3')) as [Initiator, Initiator];
  const write = (): Promise<string> => says(three, '2a 00 00000000 00 0001 00', Buffer.alloc(512, 1));
  t.equal(await says(two, '16 00 00 00 00 00'), 'GOOD');
  t.equal(await group.move('m3'), 'done');
  for (const unit of [two, three]) t.equal(await says(unit, READY), STATE_CHANGED);
  t.equal(await write(), CONFLICT);
  await group.stop('m1');
  await sleep(systemClock, 200);
  t.equal(await write(), CONFLICT);
  await two.close();
  await until('the reservation ends', async () => (await write()) !== CONFLICT);
  t.equal(await write(), 'GOOD');
  await three.close();
});

t.test(
  'what a session had asked for ends with its process, also where another one takes its name',
  async (t) => {
    const group = await makeGroup(t, ['m1', 'm2']);
    await group.create('m1', { removable: true });
    const [one, two] = (await sessions(group, 'm1', 'm2')) as [Initiator, Initiator];
    const eject = (): Promise<string> => says(one, '1b 00 00 00 02 00');
    t.equal(await says(two, '1e 00 00 00 01 00'), 'GOOD');
    t.equal(await says(two, '16 00 00 00 00 00'), 'GOOD');
    t.equal(await says(one, READY), CONFLICT);
    const entry = await group.store.get(keys.member('m2'));
    const record = JSON.parse(entry?.value ?? '') as object;
    const value = JSON.stringify({ ...record, incarnation: 'another' });
    await group.store.txn([], [{ put: keys.member('m2'), value }]);
    await until('the reservation ends', async () => (await says(one, READY)) !== CONFLICT);
    t.equal(await says(one, READY), 'GOOD');
    t.equal(await eject(), 'GOOD');
    for (const unit of [one, two]) await unit.close();
  },
);

t.test('members do not mix the ways in which they give access', async (t) => {
  const group = await makeGroup(t, ['m1']);
  await t.rejects(group.start('m2', 'redirect'), { code: 'BUSY', message: /--access alua/ });
});
