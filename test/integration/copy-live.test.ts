/**
 * EXTENDED COPY between volumes of a group of real processes, whose homes are different members, move and are killed: what
 * was answered GOOD is copied, and what was not is said to have been aborted.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { parseSense } from '../../lib/iscsi/initiator/cdb.js';
import { Initiator } from '../../lib/iscsi/initiator/index.js';
import { killMember, startGroup, type TestGroup } from '../support/group.js';
import { again, copyCdb, copyList, cscd, segment } from '../support/copy-rig.js';

const BLOCK = 512;
/** 8 MiB, in each of two segments. */
const BLOCKS = 16 * 1024;
/** As much as one command may carry where every member serves. */
const RUN = 1024;

async function connect(group: TestGroup, volume: string, member = 0): Promise<Initiator> {
  const portal = group.ready.members[member]?.portal ?? '';
  const url = `iscsi://${portal}/iqn.2026-11.org.blockferry:${volume}/0`;
  return Initiator.connect(url, { initiatorName: 'iqn.2026-11.test:host' });
}

/** Copies two runs of blocks of one volume to the other, and says how that ended. */
async function copyPart([from, to]: readonly [Initiator, Initiator], asked: Initiator): Promise<string> {
  const naa = async (unit: Initiator): Promise<string> => (await unit.inquiry(0x83)).toString('hex', 8, 16);
  const segments = [0, BLOCKS].map((lba) =>
    segment({ source: 0, destination: 1, from: lba, to: lba + 5, blocks: BLOCKS }),
  );
  const list = copyList([cscd(await naa(from)), cscd(await naa(to))], segments);
  for (;;) {
    const cdb = Buffer.from(copyCdb(list.length).replaceAll(' ', ''), 'hex');
    const { status, sense } = await asked.execute(cdb, { dataOut: list });
    if (status === 0) return 'GOOD';
    const { key = 0, asc = 0, ascq = 0 } = parseSense(sense) ?? {};
    if (key !== 6) return [key, asc, ascq].map((byte) => byte.toString(16)).join('/');
  }
}

/** Each run is written with a byte of its own. */
async function fill(unit: Initiator, first: number): Promise<void> {
  for (let lba = 0; lba < 2 * BLOCKS; lba += RUN)
    await again(() => unit.write(lba, Buffer.alloc(RUN * BLOCK, first + lba / RUN)));
}

/** Runs that are not so, `shift` blocks on. */
async function wrong(unit: Initiator, first: number, shift: number): Promise<number[]> {
  const found: number[] = [];
  for (let lba = 0; lba < 2 * BLOCKS; lba += RUN) {
    const byte = first + lba / RUN;
    const data = await again(() => unit.read(lba + shift, RUN));
    if (!data.equals(Buffer.alloc(data.length, byte))) found.push(lba / RUN);
  }
  return found;
}

async function twoVolumes(t: Test, access: string) {
  const group = await startGroup(t, { args: ['--access', access] });
  await group.json('volume', 'create', 'a', '--size', '64M', '--home', 'm1');
  await group.json('volume', 'create', 'b', '--size', '64M', '--home', 'm2');
  return { group, a: await connect(group, 'a'), b: await connect(group, 'b', 1) };
}

for (const access of ['redirect', 'alua']) {
  t.test(`there and back, at rest and while the other home moves (--access ${access})`, async (t) => {
    const { group, a, b } = await twoVolumes(t, access);
    await fill(a, 1);
    t.equal(await copyPart([a, b], a), 'GOOD');
    t.same(await wrong(b, 1, 5), []);
    await fill(b, 101);
    t.equal(await copyPart([b, a], a), 'GOOD', 'from the other');
    t.same(await wrong(a, 101, 5), []);
    await fill(a, 51);
    let isMoving = true;
    const moves = (async () => {
      for (const to of ['m3', 'm1']) await group.json('move', 'b', '--to', to);
      isMoving = false;
    })();
    let copies = 0;
    for (; isMoving || copies < 2; copies++) t.equal(await copyPart([a, b], a), 'GOOD');
    await moves;
    t.same(await wrong(b, 51, 5), [], `${copies} copies`);
    await a.close();
    await b.close();
  });
}

t.test('the other home is killed in the midst', async (t) => {
  const { group, a, b } = await twoVolumes(t, 'redirect');
  await fill(a, 1);
  const outcomes = new Map<string, number>();
  for (let round = 0; round < 3; round++) {
    let isBack = false;
    const kill = sleep(20 * round)
      .then(() => killMember(group, 'm2'))
      .then(() => (isBack = true));
    do {
      const outcome = await copyPart([a, b], a);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      // A later write is over an earlier copy, however that ended.
      await b.write(6, Buffer.alloc(BLOCK, 200 + round));
      t.equal((await b.read(6, 1))[0], 200 + round);
      await sleep(50);
      t.equal((await b.read(6, 1))[0], 200 + round, 'nothing of the copy comes late');
    } while (!isBack);
    await kill;
  }
  t.comment(JSON.stringify([...outcomes]));
  for (const outcome of outcomes.keys()) t.match(outcome, /^(GOOD|a\/d\/2)$/);
  t.equal(await copyPart([a, b], a), 'GOOD');
  t.same(await wrong(b, 1, 5), []);
  await a.close();
  await b.close();
});
