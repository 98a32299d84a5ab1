/** The fuzzer's own parts: the same seed says the same, valid conversations are valid, and files bring plans back. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Chance } from '../../lib/base/chance.js';
import { Scope } from '../../lib/bench/scope.js';
import { BHS_BYTES } from '../../lib/iscsi/wire/bhs.js';
import { Framer } from '../../lib/iscsi/wire/framer.js';
import { parseText } from '../../lib/iscsi/wire/text-keys.js';
import { COMMANDS, lookUp } from '../../lib/scsi/dispatch.js';
import { Answers } from '../../lib/proof/fuzz/answers.js';
import { drawCommand } from '../../lib/proof/fuzz/cdbs.js';
import { copyOf, lay, type Draft } from '../../lib/proof/fuzz/draft.js';
import { drawLogin } from '../../lib/proof/fuzz/logins.js';
import { GROWTH_KIB_MAX, MemoryWatch } from '../../lib/proof/fuzz/memory.js';
import { Mutator } from '../../lib/proof/fuzz/mutator.js';
import { hashOf, PLAIN_TERMS, planConnection, planFromJson, planToJson } from '../../lib/proof/fuzz/plan.js';
import { replay, Run, type FuzzOptions } from '../../lib/proof/fuzz/run.js';
import type { ServedTarget } from '../../lib/proof/fuzz/served.js';
import { Talk } from '../../lib/proof/fuzz/talk.js';
import { encodeNopIn } from '../../lib/iscsi/wire/nop.js';
import { RESERVED_TAG } from '../../lib/iscsi/wire/opcodes.js';
import { GateDevice } from '../support/gate-device.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import { RamDevice } from '../support/ram-device.js';
import { IDENTITY, NEXUS, said, SAID, scsiRunner } from '../support/scsi-runner.js';

const FOR = { iqn: 'iqn.2026-11.test:fuzz', blockBytes: 512, hasChap: true, chapName: 'fuzz' };
const DIGESTS = { headerDigest: true, dataDigest: true };

/** What a framer makes of it: the PDUs with right digests, or why it stopped. */
function frame(bytes: Buffer): { pdus: number; wrong: string[] } {
  const found = { pdus: 0, wrong: [] as string[] };
  const framer = new Framer(
    {
      header: () => null,
      payload: (_bhs, _data, digestOk) => {
        found.pdus += 1;
        if (!digestOk) found.wrong.push('a data digest');
      },
      framingError: (reason) => void found.wrong.push(reason),
    },
    262144,
  );
  framer.setDigests(true, true);
  framer.push(bytes);
  if (framer.insidePdu) found.wrong.push('the last PDU is cut');
  return found;
}

t.test('the same seed and number give the same bytes, others others', async (t) => {
  const hashes = new Set<number>();
  for (let number = 0; number < 60; number++) {
    const hash = hashOf(planConnection(3, number, 'chap', FOR));
    t.equal(hashOf(planConnection(3, number, 'chap', FOR)), hash, `connection ${number}`);
    hashes.add(hash);
    hashes.add(hashOf(planConnection(4, number, 'chap', FOR)));
  }
  t.equal(hashes.size, 120);
});

t.test('a plan comes back from its file', async (t) => {
  for (let number = 0; number < 12; number++) {
    const plan = planConnection(5, number, 'open', { ...FOR, hasChap: false });
    const back = planFromJson(JSON.parse(JSON.stringify(planToJson(plan))));
    t.equal(hashOf(back), hashOf(plan));
    t.same(back, plan);
  }
  t.throws(() => planFromJson({ number: 1 }));
});

t.test('unspoilt conversations are whole, and reach every command', async (t) => {
  const chance = new Chance(1);
  const talk = new Talk(chance, { ...PLAIN_TERMS, ...DIGESTS, immediateData: true }, 1);
  const drafts: Draft[] = [];
  while (drafts.length < 4000) drafts.push(...talk.next());
  t.same(frame(Buffer.concat(drafts.map((pdu) => lay(pdu, DIGESTS)))), { pdus: drafts.length, wrong: [] });
  const numbers = drafts.flatMap(({ cmdSN }) => (cmdSN === null ? [] : [cmdSN]));
  t.same(
    numbers,
    numbers.map((_, index) => index + 1),
    'CmdSN in a row',
  );
  const reached = new Set(Array.from({ length: 20_000 }, () => lookUp(drawCommand(chance, 512).cdb)?.name));
  t.same(
    COMMANDS.map(({ name }) => name).filter((name) => !reached.has(name)),
    [],
    'no command is left out',
  );
  for (const { data } of drawLogin(chance, FOR)) t.ok(parseText(data).length > 0);
});

t.test('what is spoilt is marked, differs, and leaves the original alone', async (t) => {
  const chance = new Chance(2);
  const talk = new Talk(chance, PLAIN_TERMS, 1);
  const mutator = new Mutator(chance, 1);
  let differing = 0;
  for (let n = 0; n < 500; n++) {
    const [original] = talk.next();
    if (original === undefined) throw new Error('nothing was said');
    const before = lay(original, DIGESTS);
    const spoilt = mutator.mutate(copyOf(original));
    t.ok(spoilt.isMutated);
    t.ok(lay(original, DIGESTS).equals(before));
    if (!lay(spoilt, DIGESTS).equals(before)) differing += 1;
  }
  t.ok(differing > 450, `${differing} of 500 differ`);
});

t.test('answers are judged', async (t) => {
  const nopIn = (statSN: number): Buffer => {
    const bhs = Buffer.alloc(BHS_BYTES);
    const sequence = { statSN, expCmdSN: 1, maxCmdSN: 9 };
    const tags = { initiatorTaskTag: 1, targetTransferTag: RESERVED_TAG };
    encodeNopIn(
      { totalAHSLength: 0, dataSegmentLength: 0, lunHigh: 0, lunLow: 0, ...tags, ...sequence },
      bhs,
    );
    return bhs;
  };
  const answers = new Answers(0, 512, () => undefined);
  answers.expect(7);
  answers.payload(nopIn(7), Buffer.alloc(0), true);
  t.same(answers.faults, []);
  t.equal(answers.maxCmdSN, 9);
  answers.payload(nopIn(9), Buffer.alloc(0), true);
  t.match(answers.faults, [/StatSN 9 where 8 is due/]);
  answers.payload(nopIn(10), Buffer.alloc(0), false);
  answers.header(nopIn(11), 513);
  answers.header(Buffer.alloc(BHS_BYTES), 0);
  t.match(answers.faults.slice(1), [/a wrong data digest/, /more data than the 512/, /no target sends this/]);
});

t.test('most parameter lists are carried out, each by a new unit', async (t) => {
  const taken = new Map<number, number>();
  const chance = new Chance(9);
  const drawn = new Map<number, number>();
  // The unit is new each time, its medium is not: to clear five hundred of them would take most of the time.
  const medium = new RamDevice(2 * 1024 * 1024, 512);
  for (let n = 0; n < 6000; n++) {
    const { cdb, dataOut } = drawCommand(chance, 512);
    const opcode = cdb[0] as number;
    if (![0x15, 0x42, 0x48, 0x55, 0x5f, 0x83].includes(opcode)) continue;
    const device = new GateDevice(medium);
    const server = new DiskServer({ device, identity: IDENTITY });
    server.nexusBegan(NEXUS);
    await scsiRunner(device, server).run('00 00 00 00 00 00'); // the unit attention of power on
    const outcome = said(await scsiRunner(device, server).run(cdb, dataOut));
    t.not(outcome, '5/1a/00', 'no list is shorter or longer than its parts');
    drawn.set(opcode, (drawn.get(opcode) ?? 0) + 1);
    if (outcome === SAID.GOOD) taken.set(opcode, (taken.get(opcode) ?? 0) + 1);
  }
  t.equal(drawn.size, 6);
  for (const [opcode, count] of drawn) {
    const share = (taken.get(opcode) ?? 0) / count;
    t.ok(share > 0.1, `${opcode.toString(16)}: ${Math.round(100 * share)} % of ${count}`);
  }
});

t.test('what is asked of copies are those that were begun', async (t) => {
  const chance = new Chance(4);
  const [begun, asked] = [new Set<number>(), new Set<number>()];
  for (let n = 0; n < 20_000; n++) {
    const { cdb, dataOut } = drawCommand(chance, 512);
    if (cdb[0] === 0x83 && (dataOut[1] as number) >> 3 !== 3) begun.add(dataOut[0] as number);
    if (cdb[0] === 0x84) asked.add(cdb[2] as number);
  }
  t.ok(begun.size > 1);
  t.same([...asked].sort(), [...begun].sort());
});

t.test('memory that stays flat is right, memory that grows is not', async (t) => {
  const warm = 80_000;
  const flat = new MemoryWatch();
  t.equal(flat.note(20_000, false), null, 'before the warm-up anything goes');
  for (let n = 0; n < 40; n++) t.equal(flat.note(warm + (n % 7) * 4000, true), null);
  const growing = new MemoryWatch();
  const faults = Array.from({ length: 40 }, (_, n) => growing.note(warm + n * 2048, true));
  t.equal(
    faults.findIndex((fault) => fault !== null),
    GROWTH_KIB_MAX / 2048 + 1,
    'at 2 MiB a batch',
  );
  t.match(faults.at(-1), /has grown by 78 MiB since the warm-up/);
});

function optionsIn(t: Test): FuzzOptions {
  const folder = mkdtempSync(join(tmpdir(), 'blockferry-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const few = { seed: 1, pdus: 1, jobs: 1, batchPdus: 1 };
  return { ...few, keep: folder, workFolder: folder, onProgress: () => undefined };
}

t.test('a target that dies after its last probe is found out', async (t) => {
  const died = 'the process ended: SIGSEGV';
  const dead = { name: 'open', death: () => died } as unknown as ServedTarget;
  const summary = await new Run([dead], optionsIn(t)).finish();
  t.same(summary.faults, [`open: ${died}`]);
  t.match(JSON.parse(readFileSync(summary.kept ?? '', 'utf8')), { faults: summary.faults }, 'and kept');
  const told = new Run([dead], optionsIn(t));
  told.faults.push('open: the process ended: SIG');
  t.equal((await told.finish()).faults.length, 1, 'once');
});

t.test('a run in which nothing was sent shows nothing', async (t) => {
  const options = optionsIn(t);
  const empty = join(options.keep, 'empty.json');
  writeFileSync(empty, JSON.stringify({ faults: [], plans: [] }));
  const scope = new Scope();
  t.teardown(() => scope.close());
  await t.rejects(replay(empty, options, scope), { code: 'INVALID', message: /holds no conversations$/ });
  const verdict = { ops: 9, errors: 0, wrongBlocks: 0, violations: 0, texts: [] };
  const well = { name: 'open', death: () => null, finish: () => Promise.resolve({ verdict, faults: [] }) };
  const { faults, kept } = await new Run([well as unknown as ServedTarget], options).finish();
  t.same(faults, ['open: no PDU was sent to it']);
  t.equal(kept, null, 'there is nothing to play again');
});
