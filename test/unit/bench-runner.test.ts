/** How `make bench` runs its cases: rounds, skips, failures, and that what was started ends. Cases here measure nothing. */
import t from 'tap';
import { SkipCase, type BenchCase, type BenchSettings } from '../../lib/bench/case.js';
import { Probe } from '../../lib/bench/count-probe.js';
import { Running, freePort, runToEnd } from '../../lib/bench/process.js';
import { runCases } from '../../lib/bench/runner.js';
import { Scope } from '../../lib/bench/scope.js';
import { endOfMove, secondsOf } from '../../lib/bench/servers.js';
import { whatIsMissing } from '../../lib/bench/tools.js';
import { within } from '../../lib/bench/within.js';
import { MoveView } from '../../lib/manage/api.js';

const SETTINGS: BenchSettings = { rounds: 3, seconds: 1, workFolder: '/nowhere', imageBytes: 1024 };
const noSignal = new AbortController().signal;
const silent = { progress: (): void => undefined, finished: (): void => undefined };

function fakeCase(id: string, open: BenchCase['open']): BenchCase {
  return { id, title: id, against: 'nothing', needs: [], figures: [{ name: 'n', unit: 'IOPS' }], open };
}

/** Makes its case fail, which the test of the outcome sees. */
async function neverOpened(): Promise<never> {
  throw new Error('it was opened');
}

t.test('a scope ends everything, the last first', async (t) => {
  const scope = new Scope();
  const ended: string[] = [];
  scope.defer(() => ended.push('first'));
  scope.defer(async () => {
    throw new Error('stuck');
  });
  scope.defer(async () => ended.push('last'));
  t.strictSame(await scope.close(), ['stuck'], 'what went wrong is told');
  t.strictSame(ended, ['last', 'first'], 'and the rest is ended all the same');
  t.strictSame(await scope.close(), [], 'once');
});

t.test('rounds, in order, and the end', async (t) => {
  const log: string[] = [];
  const counted = fakeCase('counted', async (_, scope) => {
    scope.defer(() => log.push('ended'));
    return async (round) => {
      log.push(`round ${round}`);
      return [{ value: round * 10 }];
    };
  });
  const [result] = await runCases([counted], SETTINGS, noSignal, silent);
  t.strictSame(log, ['round 0', 'round 1', 'round 2', 'ended']);
  t.strictSame(result?.figures[0]?.value, { median: 10, lowest: 0, highest: 20 });
});

t.test('a case that cannot run, and one that breaks, do not stop the others', async (t) => {
  let ended = 0;
  const cases = [
    fakeCase('refuses', async (_, scope) => {
      scope.defer(() => (ended += 1));
      throw new SkipCase('no such kernel');
    }),
    fakeCase('breaks', async (_, scope) => {
      scope.defer(() => (ended += 1));
      return async (round) => {
        if (round === 1) throw new Error('it fell over');
        return [{ value: 7 }];
      };
    }),
    fakeCase('works', async () => async () => [{ value: 1 }]),
  ];
  const finished: string[] = [];
  const events = { ...silent, finished: ({ id }: { id: string }): void => void finished.push(id) };
  const [refused, broke, worked] = await runCases(cases, SETTINGS, noSignal, events);
  t.strictSame([refused?.skipped, refused?.failed], ['no such kernel', null]);
  t.strictSame(
    [broke?.failed, broke?.figures[0]?.rounds.length],
    ['it fell over', 1],
    'its first round is kept',
  );
  t.strictSame([worked?.failed, worked?.figures[0]?.rounds.length], [null, 3]);
  t.strictSame([ended, finished], [2, ['refuses', 'breaks', 'works']]);
});

t.test('missing tools are named with their package, and nothing is started', async (t) => {
  t.equal(whatIsMissing([]), undefined);
  const path = process.env['PATH'];
  t.teardown(() => (process.env['PATH'] = path));
  process.env['PATH'] = '';
  t.match(whatIsMissing(['fio']), /^fio not installed \(Debian: apt-get install fio\)$/);
  t.match(
    whatIsMissing(['qemu-img', 'block-iscsi.so']) ?? '',
    /^qemu-img(, block-iscsi.so)? not installed \(Debian: apt-get install qemu-utils/,
    "QEMU's driver is no program: it is looked for where modules are",
  );
  const needy = { ...fakeCase('needy', neverOpened), needs: ['fio'] as const } as BenchCase;
  const [result] = await runCases([needy], SETTINGS, noSignal, silent);
  t.match(result?.skipped, /fio not installed/);
});

t.test('an interrupt ends the run after its round', async (t) => {
  const stop = new AbortController();
  const first = fakeCase('first', async () => async () => {
    stop.abort();
    return [{ value: 1 }];
  });
  const results = await runCases([first, fakeCase('never', neverOpened)], SETTINGS, stop.signal, silent);
  t.strictSame(
    results.map((result) => [result.id, result.failed]),
    [['first', 'interrupted']],
  );
});

t.test('a probe counts heap bytes exactly, collections or not, and promises', async (t) => {
  const probe = new Probe();
  const nothing = probe.take();
  const rounds = 200_000;
  const kept: number[][] = [];
  for (let i = 0; i < rounds; i++) kept[i % 100] = new Array<number>(125).fill(i); // of 1 KiB each, with their headers
  const { heapBytes, collections, promises } = probe.take();
  t.ok(collections > 2, `${collections} collections in between`);
  const share = (heapBytes - nothing.heapBytes) / (rounds * 1032);
  t.ok(share > 0.95 && share < 1.1, `${share} of what was allocated`);
  t.equal(promises, 0);
  const made = Array.from({ length: 10 }, () => new Promise<void>((resolve) => resolve()));
  t.match(probe.take(), { promises: 10, jobs: 0 });
  for (const promise of made) void promise.then(() => undefined);
  await new Promise(setImmediate);
  t.ok(probe.take().jobs >= 10, 'a job for each');
});

t.test('processes are heard and ended', async (t) => {
  const node = process.execPath;
  t.equal(await runToEnd(node, ['-p', '6 * 7']), '42\n');
  await t.rejects(runToEnd(node, ['-e', 'console.error("no luck"); process.exit(3)']), {
    code: 'IO',
    message: /ended with 3: no luck/,
  });
  await t.rejects(runToEnd('/no/such/program', []), { code: 'IO' });
  const stays = Running.start(node, [
    '-e',
    'console.log(JSON.stringify({ready: 1})); setInterval(() => 0, 1e6)',
  ]);
  t.strictSame(await stays.readyJson(), { ready: 1 });
  t.equal(stays.hasEnded, false);
  await stays.stop();
  t.equal(stays.hasEnded, true);
  const ends = Running.start(node, ['-e', 'console.error("cannot")']);
  await t.rejects(ends.readyJson(), { message: /was not ready: cannot/ });
  t.ok((await freePort()) > 0);
});

t.test('a move that does not end is not waited for without an end', { timeout: 60_000 }, async (t) => {
  const begun = MoveView.parse({
    ...{
      id: '1',
      volume: 'stuck',
      from: 'm1',
      to: 'm2',
      range: null,
      decision: '',
      state: 'active',
      error: '',
    },
    ...{ createdAtMs: 0, finishedAtMs: null, extents: 8, extentsDone: 3, bytesCopied: 0, bytesRecopied: 0 },
    ...{ restarts: 0, sessions: 0, stallMsMax: 0, lastError: 'm2 is away' },
  });
  let looks = 0;
  const never = { move: () => Promise.resolve({ ...begun, looks: ++looks }) };
  await t.rejects(endOfMove(never, begun, { pollMs: 1, msMax: 20 }), {
    code: 'IO',
    message: 'the move of stuck does not end: 3 of 8 extents; m2 is away',
  });
  t.ok(looks > 0, 'it was looked at');
  const ends = { move: () => Promise.resolve({ ...begun, state: 'failed' as const }) };
  t.throws(() => secondsOf(begun), { code: 'INTERNAL' }, 'it has taken no time yet');
  t.equal(secondsOf({ ...begun, finishedAtMs: 1500 }), 1.5);
  t.match(
    await endOfMove(ends, begun, { pollMs: 1 }),
    { state: 'failed' },
    'how it ends is for others to judge',
  );
  await t.rejects(within(new Promise(() => undefined), 1, 'too late'), { code: 'IO', message: 'too late' });
  t.equal(await within(Promise.resolve(7), 1000, 'too late'), 7);
});
