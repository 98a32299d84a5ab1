/** Patterns, the ledger and the workloads: every kind of wrong block is named, and nothing right is called wrong. */
import fc from 'fast-check';
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import {
  Initiator,
  Ledger,
  allocPatternBuffer,
  describeContent,
  fillBlock,
  inspectBlock,
  runFill,
  runLoad,
  runVerify,
  wordsOf,
  type Progress,
} from '../../lib/iscsi/initiator/index.js';
import { ScriptedTarget } from '../support/scripted-target.js';
import { makeSharedFolder } from '../support/storage-doors.js';

const folder = makeSharedFolder();

async function rig(
  t: Test,
  sizeBytes = 1024 * 1024,
): Promise<{ target: ScriptedTarget; initiator: Initiator }> {
  const target = await new ScriptedTarget(sizeBytes).listen();
  const initiator = await Initiator.connect(target.url());
  t.teardown(async () => {
    await initiator.close();
    await target.close();
  });
  return { target, initiator };
}

t.test('a block says what it is, at 512 and 4096 bytes, and any change in it is seen', async (t) => {
  const seed = 97;
  t.comment(`seed ${seed}`);
  const uint32 = fc.integer({ min: 0, max: 0xffffffff });
  fc.assert(
    fc.property(
      fc.constantFrom(128, 1024),
      uint32,
      fc.integer({ min: 0, max: 2 ** 45 }),
      fc.integer({ min: 1, max: 0xffffffff }),
      fc.nat(),
      fc.integer({ min: 1, max: 0xffffffff }),
      (words, patternSeed, block, generation, where, change) => {
        const buffer = wordsOf(allocPatternBuffer((words + 2) * 4)).fill(0);
        fillBlock(buffer, 1, words, patternSeed, block, generation);
        t.strictSame(inspectBlock(buffer, 1, words), {
          kind: 'pattern',
          seed: patternSeed,
          block,
          generation,
        });
        t.strictSame([buffer[0], buffer[words + 1]], [0, 0], 'nothing beside it is touched');
        const at = 1 + (where % words);
        buffer[at] = (buffer[at] as number) ^ change;
        return inspectBlock(buffer, 1, words).kind !== 'pattern';
      },
    ),
    { seed, numRuns: 200 },
  );
  t.equal(inspectBlock(new Uint32Array(128), 0, 128).kind, 'zeros');
  const torn = new Uint32Array(128);
  fillBlock(torn, 0, 128, 1, 7, 3);
  torn[100] = 5;
  t.equal(describeContent(inspectBlock(torn, 0, 128)), 'torn at byte 400: begins as block 7, generation 3');
});

t.test('the ledger accepts exactly what a read may bring', async (t) => {
  const ledger = new Ledger({ seed: 5, blockBytes: 512, blocks: 10 });
  const words = new Uint32Array(128);
  const judge = (generation: number, floor: number, block = 3): string | undefined => {
    fillBlock(words, 0, 128, 5, block, generation);
    return ledger.check(words, 0, 3, floor, 8)?.kind;
  };
  t.equal(
    ledger.check(new Uint32Array(128).fill(9), 0, 3, 0),
    null,
    'before any write anything may stand there',
  );
  t.equal(ledger.issue(3), 1);
  ledger.acknowledge(3);
  ledger.issue(3);
  t.equal(judge(1, 1), undefined, 'a write in flight may not have landed');
  t.equal(ledger.floorOf(3), 1);
  t.equal(judge(2, 1), undefined, 'or it may');
  t.equal(judge(1, ledger.floorOf(3)), 'stale', 'but what was seen cannot go back');
  t.equal(judge(1, 1), undefined, 'unless the read was submitted before');
  t.equal(judge(3, 1), 'phantom');
  t.equal(judge(2, 1, 4), 'misplaced');
  t.match(ledger.check(new Uint32Array(128), 0, 3, 1, 8), {
    kind: 'lost',
    lba: 24,
    expected: [1, 2],
    found: 'zeros',
  });
  t.equal(ledger.check(new Uint32Array(128).fill(1), 0, 3, 1)?.kind, 'foreign');
  fillBlock(words, 0, 128, 5, 3, 2);
  words[127] = 0;
  t.equal(ledger.check(words, 0, 3, 1)?.kind, 'torn');
  fillBlock(words, 0, 128, 6, 3, 2);
  t.equal(ledger.check(words, 0, 3, 1)?.kind, 'foreign', 'another seed');
  fillBlock(words, 0, 128, 5, 7, 1);
  t.equal(ledger.check(words, 0, 8, 0)?.kind, 'misplaced', 'our pattern where nothing was written');
});

t.test('the ledger file', async (t) => {
  const path = join(folder, 'ledger');
  t.equal(await Ledger.load(path), undefined);
  const ledger = new Ledger({ seed: 0xfedcba98, blockBytes: 4096, blocks: 1000 });
  ledger.issue(999);
  ledger.acknowledge(999);
  ledger.issue(999);
  ledger.interrupted = true;
  await ledger.save(path);
  const loaded = await Ledger.load(path);
  t.strictSame(loaded, ledger);
  t.strictSame([loaded?.floorOf(999), loaded?.writtenBlocks], [1, 1]);
  t.equal(loaded?.issue(999), 3, 'what was issued without an answer counts');
  const whole = await readFile(path);
  for (const bytes of ['something else', whole.subarray(0, -1), Buffer.concat([whole, whole])]) {
    await writeFile(path, bytes);
    await t.rejects(Ledger.load(path), { code: 'INVALID' });
  }
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  // Neither has an end: one would fill the memory, the other wait for ever.
  for (const endless of ['/dev/zero', pipe]) await t.rejects(Ledger.load(endless), { code: 'INVALID' });
});

t.test('what a run has found is told although its ledger cannot be kept', async (t) => {
  const { initiator } = await rig(t);
  const ledgerFile = join(folder, 'unkept');
  t.match(await runFill(initiator, { ledgerFile, blockBytes: 65536 }), { ok: true });
  await mkdir(`${ledgerFile}.new`); // as with a folder that is read-only by now
  const text = /^the ledger .*unkept cannot be written: EISDIR.*; name one where files can be made$/;
  const report = await runVerify(initiator, { ledgerFile });
  t.match(report, { ok: false, ops: 4, reads: 4, wrongCount: 0, errors: 1, errorTexts: [text] });
  await t.rejects(
    runLoad(initiator, { ledgerFile, bytes: 4096 }),
    { code: 'IO' },
    'a run that writes does not begin',
  );
});

t.test('fill, load and verify agree, across processes by the file', async (t) => {
  const { initiator } = await rig(t);
  const ledgerFile = join(folder, 'agree');
  const fill = await runFill(initiator, { ledgerFile, blockBytes: 65536, seed: 11 });
  t.match(fill, { ok: true, ops: 16, writes: 16, reads: 0, bytes: 1024 * 1024 });
  const ticks: Progress[] = [];
  const load = await runLoad(initiator, {
    ledgerFile,
    bytes: 4096 * 3000,
    queueDepth: 16,
    readPercent: 50,
    onProgress: (progress) => ticks.push(progress),
    progressMs: 20,
  });
  t.match(load, { ok: true, ops: 3000, wrongCount: 0, violations: [] });
  t.ok(load.reads > 1300 && load.writes > 1300, `${load.reads} reads of 3000`);
  t.ok(load.latencyUs.p50 > 0 && load.latencyUs.max / 1000 >= load.latencyUs.p99 / 1000);
  t.ok(ticks.length > 0 && (ticks.at(-1)?.ops ?? 0) > 0);
  const verify = await runVerify(initiator, { ledgerFile, queueDepth: 4 });
  t.match(verify, { ok: true, reads: 4, bytes: 1024 * 1024 });
  await t.rejects(runVerify(initiator, { ledger: new Ledger({ seed: 1, blockBytes: 512, blocks: 7 }) }), {
    code: 'USAGE',
  });
});

t.test('a fill or a verify that was stopped says nothing of the rest', async (t) => {
  const { initiator } = await rig(t);
  const stopped = async (run: typeof runFill): Promise<unknown> => {
    const stop = new AbortController();
    const going = run(initiator, { blockBytes: 4096, seed: 5, opsPerSecondMax: 500, signal: stop.signal });
    setTimeout(() => stop.abort(), 50);
    const { ok, errors, errorTexts } = await going;
    return { ok, errors, text: errorTexts[0]?.replace(/\d+ of/, 'N of') };
  };
  const said = { ok: false, errors: 0, text: 'stopped after N of 256 commands' };
  t.strictSame(await stopped(runFill), said);
  t.strictSame(await stopped(runVerify), said);
});

t.test('lost, misdirected and torn writes are found and named', async (t) => {
  const { target, initiator } = await rig(t);
  const ledger = new Ledger({ seed: 3, blockBytes: 4096, blocks: 256 });
  t.ok((await runFill(initiator, { ledger })).ok);
  target.onWrite = (lba) => lba !== 80;
  t.ok((await runFill(initiator, { ledger, blockBytes: 4096 })).ok, 'a lie is not seen when it is told');
  target.disk.fill(0, 4096 * 20, 4096 * 21);
  target.disk.fill(1, 4096 * 30 + 512, 4096 * 30 + 1024);
  target.disk.copy(target.disk, 4096 * 40, 4096 * 41, 4096 * 42);
  target.disk.write('x', 4096 * 50);
  const verify = await runVerify(initiator, { ledger });
  t.equal(verify.ok, false);
  t.strictSame(
    verify.wrong.map(({ lba, kind, expected }) => [lba, kind, ...expected]),
    [
      [80, 'stale', 2, 2],
      [160, 'lost', 2, 2],
      [240, 'torn', 2, 2],
      [320, 'misplaced', 2, 2],
      [400, 'foreign', 2, 2],
    ],
  );
  t.equal(verify.wrong[2]?.found, 'torn at byte 512: begins as block 30, generation 2');
});

t.test('drops under load cost a stall, and no block', async (t) => {
  const { target, initiator } = await rig(t);
  const ledgerFile = join(folder, 'drops');
  const drops = setInterval(() => target.last.drop(), 60);
  const load = await runLoad(initiator, {
    ledgerFile,
    durationSeconds: 0.5,
    queueDepth: 16,
    readPercent: 50,
  });
  clearInterval(drops);
  t.match(load, { ok: true, errors: 0, wrongCount: 0 });
  t.ok(load.recoveries.length >= 3, `${load.recoveries.length} recoveries`);
  t.ok(load.recoveries.some((recovery) => recovery.resent > 0));
  t.ok((await runVerify(initiator, { ledgerFile })).ok);
});

t.test('failed commands are counted; a rate, a range and a signal are kept', async (t) => {
  const { target, initiator } = await rig(t);
  target.onCommand = (connection, command) => {
    if (command.cdb[0] !== 0x8a || command.cdb.readUInt32BE(6) !== 8) return false;
    connection.status(command.initiatorTaskTag, 8);
    return true;
  };
  const ledger = new Ledger({ seed: 3, blockBytes: 4096, blocks: 256 });
  const failing = await runFill(initiator, { ledger, blockBytes: 4096, lengthBytes: 16384 });
  t.match(failing, { ok: false, ops: 4, errors: 1, errorTexts: ['write at lba 8: BUSY'] });
  target.onCommand = null;
  t.ok((await runVerify(initiator, { ledger })).ok, 'a write that failed may have landed or not');

  const slow = await runLoad(initiator, { durationSeconds: 0.3, opsPerSecondMax: 100, order: 'sequential' });
  t.ok(slow.ops >= 25 && slow.ops <= 32, `${slow.ops} commands in 0.3 s at 100 a second`);

  const before = Buffer.from(target.disk);
  const range = await runFill(initiator, {
    offsetBytes: 8192,
    lengthBytes: 8192,
    blockBytes: 4096,
    seed: 77,
  });
  t.equal(range.ops, 2);
  t.ok(before.subarray(0, 8192).equals(target.disk.subarray(0, 8192)));
  t.ok(before.subarray(16384).equals(target.disk.subarray(16384)));
  await t.rejects(runFill(initiator, { blockBytes: 100 }), { code: 'USAGE' });
  await t.rejects(runFill(initiator, { lengthBytes: 100 }), { code: 'USAGE' });

  const abort = new AbortController();
  setTimeout(() => abort.abort(), 50);
  const stopped = await runLoad(initiator, { durationSeconds: 60, signal: abort.signal });
  t.ok(stopped.ok && stopped.seconds < 5);
});

t.test('runs without a ledger do not mistake each other', async (t) => {
  const { target, initiator } = await rig(t);
  for (let i = 0; i < 3; i++) t.ok((await runLoad(initiator, { bytes: 4096 * 300 })).ok);
  for (let i = 0; i < 3; i++)
    t.ok((await runLoad(initiator, { bytes: 4096 * 300, seed: 9 })).ok, 'nor with one seed');
  t.ok((await runFill(initiator, { seed: 9 })).ok);
  t.ok((await runVerify(initiator, { seed: 9 })).ok);
  target.disk.write('x', 4096 * 9 + 100);
  t.match((await runVerify(initiator, { seed: 9 })).wrong, [{ lba: 72, kind: 'torn' }]);
  await t.rejects(runVerify(initiator), { code: 'USAGE' });
  await t.rejects(
    runVerify(initiator, { seed: 10 }),
    { code: 'NOT_FOUND' },
    'the wrong seed is not "all well"',
  );
  target.onCommand = (connection, { cdb, initiatorTaskTag }) => {
    if (cdb[0] !== 0x88) return false;
    connection.status(initiatorTaskTag, 8);
    return true;
  };
  t.match(
    await runVerify(initiator, { seed: 9 }),
    { ok: false, ops: 4, errors: 4, errorTexts: [/^read at lba \d+: BUSY$/] },
    'what could not be read is not of another seed',
  );
  await t.rejects(runVerify(initiator, { ledgerFile: '/nowhere/ledger' }), { code: 'NOT_FOUND' });
});

t.test('a session that is lost for good ends the run', async (t) => {
  const target = await new ScriptedTarget().listen();
  const initiator = await Initiator.connect(target.url(), { recoveryDeadlineMs: 50 });
  const load = runLoad(initiator, { durationSeconds: 60 });
  setTimeout(() => void target.close(), 50);
  t.match(await load, { ok: false, errorTexts: [/no session again/] });
  await initiator.close();
});
