/** The pure parts of make handover, make crash and make demo: distributions, verdicts, the table of cases, and orders at waypoints. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { WAYPOINTS } from '../../lib/base/waypoints.js';
import { inWorkFolder } from '../../lib/bench/frame.js';
import { MEMBER_OF, PLACES, ROLES, allCases } from '../../lib/proof/crash/cases.js';
import { runCrashProof, summaryTable } from '../../lib/proof/crash/main.js';
import { OrderDesk, OrderedWaypoints } from '../../lib/proof/crash/orders.js';
import { judgeDemo } from '../../lib/proof/demo.js';
import { describeLine, distributionOf } from '../../lib/proof/figures.js';
import { summarize, summaryTable as handoverTable } from '../../lib/proof/handover/report.js';
import type { Handover } from '../../lib/proof/handover/run.js';

t.test('a distribution is made of measured values', async (t) => {
  t.same(distributionOf([]), { p50: 0, p99: 0, max: 0 });
  t.same(distributionOf([9, 1, 5]), { p50: 5, p99: 9, max: 9 });
  const hundred = Array.from({ length: 200 }, (_, i) => 200 - i);
  t.same(distributionOf(hundred), { p50: 100, p99: 198, max: 200 });
});

t.test('the demonstration says each limit, and whether it holds', async (t) => {
  const well = { ok: true, errors: 0, wrongCount: 0 };
  const space = new Map([
    ['m1', 4096],
    ['m2', 0],
  ]);
  const good = {
    ...{ route: ['m2', 'm1'], moved: 2, filled: well, verified: well, space },
    loaded: { ...well, longestStallMs: 36.4 },
  };
  const said = (more: Partial<typeof good>): string[] => judgeDemo({ ...good, ...more }).map(describeLine);
  t.same(said({}), [
    'holds   all of 2 moves are committed: 2 are',
    'holds   the fill: no error, no wrong block: 0 errors, 0 wrong blocks',
    'holds   the load: no error, no wrong block: 0 errors, 0 wrong blocks',
    'holds   every block read once more: no error, no wrong block: 0 errors, 0 wrong blocks',
    'holds   the longest stall is below 1000 ms: 36 ms',
    'holds   only m1 keeps space on disk: m1 4K, m2 0',
  ]);
  const bad = { ok: false, errors: 3, wrongCount: 0 };
  for (const [more, missed] of [
    [{ moved: 1 }, /^MISSED {2}all of 2 moves .*: 1 are$/],
    [{ filled: bad }, /^MISSED {2}the fill: .*: 3 errors, 0 wrong blocks$/],
    [{ verified: bad }, /^MISSED {2}every block read once more: .*: 3 errors/],
    [{ loaded: { ...bad, longestStallMs: 1 } }, /^MISSED {2}the load: .*: 3 errors/],
    [{ loaded: { ...well, longestStallMs: 1204.6 } }, /^MISSED {2}.* below 1000 ms: 1205 ms$/],
    [{ space: new Map([...space, ['m2', 512]]) }, /^MISSED {2}only m1 keeps space .*: m1 4K, m2 512$/],
    [{ space: new Map([['m1', 0]]) }, /^MISSED {2}only m1 keeps space on disk/],
  ] as const) {
    const lines = said(more).filter((line) => line.startsWith('MISSED'));
    t.match(lines, [missed], 'one line alone is missed');
    t.equal(lines.length, 1);
  }
});

t.test('the lines of hand-overs hold, or are missed', async (t) => {
  const good: Handover = {
    ...{ to: 'm2', moveSeconds: 0.4, sessions: 1, longestMs: 20, downMs: 9 },
    ...{ redirects: 1, recoveries: 1, ops: 500, errors: 0 },
  };
  const verdict = { ops: 1000, errors: 0, wrongBlocks: 0, violations: 0, texts: [] };
  const missed = (handover: Partial<Handover>, more: Partial<typeof verdict> = {}): number => {
    const handovers = [good, { ...good, ...handover }];
    const { lines } = summarize({ by: 'harness', handovers, verdict: { ...verdict, ...more }, dead: [] });
    return lines.filter((line) => !line.holds).length;
  };
  t.equal(missed({}), 0);
  t.equal(missed({ longestMs: 501 }), 1, 'the slowest of a few is their p99');
  t.equal(missed({ redirects: 3 }), 1);
  const unseen = [{ ...good, redirects: 0, longestMs: 0 }];
  const { lines } = summarize({ by: 'harness', handovers: unseen, verdict, dead: [] });
  t.same(
    lines.filter(({ holds }) => !holds).map(({ text }) => text),
    ['harness: stall p50 < 100 ms', 'harness: nobody is redirected more than 2 times, and somebody is'],
    'what nobody has measured',
  );
  t.equal(missed({ recoveries: 2 }), 1, 'a session that came and went again');
  t.equal(missed({}, { errors: 1 }), 1);
  t.equal(missed({}, { wrongBlocks: 1 }), 1);
  t.equal(missed({}, { violations: 1 }), 1);
  const summary = summarize({ by: 'harness', handovers: [good], verdict, dead: [] });
  t.match(handoverTable([summary]), /harness +1 +20 \/ 20 \/ 20 +9 \/ 9 \/ 9 +400 \/ 400 \/ 400/);
  t.equal(describeLine({ text: 'x', holds: false }), 'MISSED  x');
});

t.test('every point, role and blow is tried, or left out for a reason', async (t) => {
  const { cases, leftOut } = allCases();
  t.equal(new Set(cases.map(({ id }) => id)).size, cases.length, 'each once');
  t.ok(leftOut.every(({ why }) => why !== ''));
  for (const point of WAYPOINTS) {
    const of = cases.filter((crash) => crash.point === point);
    const places = PLACES[point].length;
    const single = of.filter(({ victims }) => victims.length === 1).length;
    const omitted = leftOut.filter(({ what }) => what.includes(`/${point}/`)).length;
    t.equal(single + omitted, places * ROLES.length * 2, `${point}: all of them are accounted for`);
    t.ok(single > 0, `${point} is tried`);
  }
  const pairs = new Set(
    cases.map(({ victims }) => [...victims].sort().join()).filter((id) => id.includes(',')),
  );
  t.ok(pairs.size >= 5, `${pairs.size} of 6 pairs come up`);
  const table = summaryTable([
    { id: cases[0]?.id ?? '', recoveryMs: 12, stallMs: NaN, said: [], faults: ['x'] },
  ]);
  t.match(table, /kill +one +1 +1 +12 \/ 12/);
});

t.test('crash refuses an order that would try nothing', async (t) => {
  const refused = { code: 'USAGE' };
  await t.rejects(runCrashProof(['--jobs', 'x']), refused);
  await t.rejects(runCrashProof(['--jobs', '0']), refused);
  await t.rejects(runCrashProof(['--cases', 'x']), refused);
  await t.rejects(runCrashProof(['--points', 'commit.done,nowhere']), {
    ...refused,
    message: /like nowhere$/,
  });
});

t.test('a work folder is gone with its work, however that ended', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'blockferry-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const working = inWorkFolder(join(folder, 'new'), 'work', async (workFolder) => {
    t.ok(existsSync(workFolder), 'it is there meanwhile');
    throw new Error('it failed');
  });
  await t.rejects(working, { message: 'it failed' });
  t.same(readdirSync(join(folder, 'new')), []);
});

t.test('an order is carried out once, at its point and time', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'blockferry-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const desk = new OrderDesk(folder);
  const victim = spawn('sleep', ['60']);
  const died = new Promise<string | null>((resolve) =>
    victim.once('exit', (_code, signal) => resolve(signal)),
  );
  const member = new OrderedWaypoints(folder, MEMBER_OF.source);
  member.reached('commit.done');
  desk.give('m2', { point: 'commit.done', nth: 2, victims: [{ pid: victim.pid ?? -1, signal: 'SIGKILL' }] });
  member.reached('commit.done');
  member.reached('commit.asked');
  t.equal(desk.carriedAtMs('m2'), undefined, 'counted from when it was given; another point is no matter');
  member.reached('commit.done');
  t.ok(Date.now() - (desk.carriedAtMs('m2') ?? 0) < 60_000);
  t.equal(await died, 'SIGKILL');
  t.notOk(existsSync(join(folder, 'm2.order')), 'the next life passes unharmed');
  member.reached('commit.done');
  t.equal(desk.passed('m2', 'commit.done'), 4, 'every pass is noted');
  t.equal(desk.passed('m3', 'commit.done'), 0);
});
