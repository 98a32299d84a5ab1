/** What `make bench` makes of its samples: medians, verdicts, tables and pictures. No time is measured here. */
import fc from 'fast-check';
import t from 'tap';
import { escapeXml } from '../../lib/base/xml.js';
import { alternately, ratio, type Figure, type Sample } from '../../lib/bench/case.js';
import { parseFio } from '../../lib/bench/cases/mirror.js';
import { parseIscsiPerf } from '../../lib/bench/iscsi-perf.js';
import { parsePerfStat, parseProcIo } from '../../lib/bench/counts.js';
import { parseQemuImgBench } from '../../lib/bench/qemu-img.js';
import { caseResult, curveResult, figureResult, isWhole, type CaseResult } from '../../lib/bench/report.js';
import { isReached, median, shortfall, spreadOf } from '../../lib/bench/stats.js';
import { barsSvg, curvesSvg, logScale } from '../../lib/bench/svg.js';
import { alignedTable, curveTable, formatCount, formatValue, resultTable } from '../../lib/bench/text.js';

const SEED = 20261123;

const RATIO: Figure = { name: 'ratio', unit: 'ratio', goal: { atLeast: 2 } };
const CASE = { id: 'read', title: '4 KiB <read>', against: 'tgtd', figures: [RATIO] };

/** Fails on a tag that is not closed in order, and on a bare '&' or '<'. */
function brokenXml(text: string): string | null {
  const open: string[] = [];
  for (const [tag = ''] of text.matchAll(/<[^>]*>?/g)) {
    if (!/^<\/?[a-z]+(?: [a-z0-9:-]+="[^"<]*")*\/?>$/.test(tag)) return tag;
    const name = /[a-z]+/.exec(tag)?.[0] ?? '';
    if (tag.startsWith('</')) {
      if (open.pop() !== name) return tag;
    } else if (!tag.endsWith('/>')) open.push(name);
  }
  const bare = /&(?!(?:amp|lt|gt|quot);)/.exec(text.replace(/<[^>]*>/g, ''));
  return open.length > 0 ? `<${open.join('> <')}> open at the end` : (bare?.[0] ?? null);
}

t.test('statistics', async (t) => {
  t.equal(median([3]), 3);
  t.equal(median([9, 1, 2]), 2, 'the middle one, whatever the order');
  t.equal(median([10, 1, 2, 4]), 3, 'the mean of the two in the middle');
  t.equal(median([10, 9, 100]), 10, 'by value, not by text');
  t.ok(Number.isNaN(median([])), 'no median of nothing');
  t.strictSame(spreadOf([2, 5, 1]), { median: 2, lowest: 1, highest: 5 });
  fc.assert(
    fc.property(fc.array(fc.double({ noNaN: true, min: -1e9, max: 1e9 }), { minLength: 1 }), (values) => {
      const middle = median(values);
      const below = values.filter((value) => value <= middle).length;
      const above = values.filter((value) => value >= middle).length;
      return below * 2 >= values.length && above * 2 >= values.length;
    }),
    { seed: SEED },
  );
});

t.test('goals', async (t) => {
  t.ok(isReached(2, { atLeast: 2 }), 'exactly as much as asked');
  t.notOk(isReached(1.99, { atLeast: 2 }));
  t.ok(isReached(25, { atMost: 25 }));
  t.notOk(isReached(25.1, { atMost: 25 }));
  t.notOk(isReached(NaN, { atLeast: 2 }), 'nothing measured is nothing reached');
  t.equal(shortfall(3, { atLeast: 2 }), 0);
  t.equal(shortfall(1.5, { atLeast: 2 }), 0.25, 'a quarter short');
  t.equal(shortfall(50, { atMost: 25 }), 1, 'twice what is allowed');
});

t.test('who begins changes with the round', async (t) => {
  for (const round of [0, 1, 2, 3]) {
    const order: string[] = [];
    const measure = (name: string) => async () => {
      order.push(name);
      return name;
    };
    t.strictSame(await alternately(round, measure('ours'), measure('theirs')), ['ours', 'theirs']);
    t.strictSame(order, round % 2 === 0 ? ['ours', 'theirs'] : ['theirs', 'ours'], `round ${round}`);
  }
});

t.test('beside nothing there is no ratio', async (t) => {
  t.equal(ratio(0, 100, 'IOPS').value, 0);
  t.throws(() => ratio(100, 0, 'IOPS'), { code: 'IO', message: 'what it is measured against did 0 IOPS' });
  t.throws(() => ratio(100, NaN, 'IOPS'), { code: 'IO' });
});

t.test('a run is whole when all its cases were come to and none has failed', async (t) => {
  const well = caseResult(CASE, [[{ value: 1 }]]);
  t.ok(isWhole([well, caseResult(CASE, [], { skipped: 'no tgtd' })], 2));
  t.notOk(isWhole([well], 2), 'it was interrupted between two');
  t.notOk(isWhole([well, caseResult(CASE, [], { failed: 'broken' })], 2));
});

t.test('from samples to a result', async (t) => {
  const samples: Sample[] = [
    ratio(300, 100, 'IOPS', 0.5),
    ratio(90, 100, 'IOPS', 0.9),
    ratio(250, 100, 'IOPS'),
  ];
  const result = figureResult(RATIO, samples);
  t.strictSame(result.value, { median: 2.5, lowest: 0.9, highest: 3 }, 'the median of ratios');
  t.strictSame(result.sides, { subject: 250, baseline: 100, unit: 'IOPS' });
  t.equal(result.clientBusy, 0.7, 'of the rounds that know it');
  t.equal(result.reached, true);
  t.equal(figureResult({ name: 'p99.9', unit: 'ms' }, [{ value: 9 }]).reached, null, 'no goal, no verdict');

  const two = { ...CASE, figures: [RATIO, { name: 'p99.9', unit: 'ms', goal: { atMost: 5 } } as const] };
  const both = caseResult(two, [
    [{ value: 1 }, { value: 7 }],
    [{ value: 3 }, { value: 9 }],
  ]);
  t.strictSame(
    both.figures.map((figure) => [figure.name, figure.value.median, figure.reached]),
    [
      ['ratio', 2, true],
      ['p99.9', 8, false],
    ],
    'each figure from its own samples',
  );
  t.strictSame(caseResult(CASE, [], { skipped: 'no tgtd' }).figures, [], 'a skipped case has no figures');
});

t.test('a curve is judged by its largest size', async (t) => {
  const curve = {
    ...({ id: 'commit', title: 'commit', unit: 'ms', sizeName: 'extents' } as const),
    points: [
      { size: 10, value: 20 },
      { size: 100, value: 8 },
    ],
  };
  t.equal(curveResult(curve, { atMost: 10 }).reached, true);
  t.equal(curveResult(curve, { atMost: 5 }).reached, false);
  t.equal(curveResult(curve).reached, null);
  t.match(curveTable([curveResult(curve, { atMost: 5 })]), /100 extents +8\.00 ms +≤ 5\.00 ms +MISSED$/);
});

t.test('values for people', async (t) => {
  t.equal(formatValue(2.714, 'ratio'), '2.71×');
  t.equal(formatValue(138166.4, 'IOPS'), '138,166 IOPS');
  t.equal(formatValue(0.123, 'ms'), '0.12 ms');
  t.equal(formatValue(83.21, 'ms'), '83.2 ms');
  t.equal(formatValue(NaN, 'ms'), '–');
  t.equal(formatCount(4194304), '4,194,304');
  t.equal(formatCount(100), '100');
  t.equal(alignedTable(['a', 'b'], [['long', 'x']]), 'A     B\nlong  x');
});

t.test('the table', async (t) => {
  const results: CaseResult[] = [
    caseResult(CASE, [[ratio(90, 60, 'IOPS', 0.97)]]),
    caseResult({ ...CASE, id: 'gone' }, [], { skipped: 'tgtd not installed' }),
    caseResult({ ...CASE, id: 'sick' }, [], { failed: 'it fell over' }),
  ];
  const lines = resultTable(results).split('\n');
  t.match(
    lines[1],
    /4 KiB <read> +tgtd +ratio +1\.50× +1\.50× to 1\.50× +≥ 2\.00× +MISSED by 25 % +90 IOPS +60 IOPS +97 % \(!\)/,
  );
  t.match(lines, [/./, /./, 'skipped gone: tgtd not installed', 'FAILED sick: it fell over']);
});

t.test('the pictures are well-formed', async (t) => {
  t.equal(escapeXml('a < b & "c"'), 'a &lt; b &amp; &quot;c&quot;');
  t.ok(brokenXml('<svg><g></svg>'), 'the check finds a tag left open');
  t.ok(brokenXml('<svg>a & b</svg>'), 'and a bare ampersand');

  const short = caseResult(CASE, [[{ value: 1 }]]);
  const far = caseResult({ ...CASE, title: 'far & away' }, [[{ value: 50 }]]);
  const bars = barsSvg('a "title"', [short, far, caseResult(CASE, [], { skipped: 'no' })]);
  t.equal(brokenXml(bars), null);
  const widths = [...bars.matchAll(/<rect x="330" y="[\d.]+" width="([\d.]+)"/g)].map((m) => Number(m[1]));
  t.strictSame(widths, [105, 420], 'half of the goal, and no further than twice the goal');
  t.ok(bars.includes('far &amp; away') && bars.includes('4 KiB &lt;read&gt;'));

  const curve = curveResult(
    {
      ...({ id: 'c', title: 'a < b', unit: 'MiB', sizeName: 'extents' } as const),
      points: [
        { size: 10, value: 0 },
        { size: 100, value: 3 },
        { size: 1000, value: 30 },
      ],
    },
    { atMost: 10 },
  );
  const curves = curvesSvg('curves', [curve]);
  t.equal(brokenXml(curves), null);
  t.notMatch(curves, /NaN|Infinity/, 'a value of zero has no logarithm, and a place all the same');
  t.equal(brokenXml(curvesSvg('none', [])), null);
});

t.test('logarithmic axes', async (t) => {
  const scale = logScale([1, 10, 100], 0, 200);
  t.equal(Math.round(scale(1)), 0);
  t.equal(Math.round(scale(10)), 100);
  t.equal(Math.round(scale(100)), 200);
  t.equal(scale(0), 0, 'what has no logarithm stands at the start');
  t.equal(logScale([5, 5], 0, 200)(5), 100, 'no span: in the middle');
});

t.test('what foreign programs print', async (t) => {
  const perf =
    '\riops current 100 (1 MB/s)   \riops current 7 (0 MB/s)\riops average 43336 (169 MB/s)   \n\nfinished.\n';
  t.equal(parseIscsiPerf(perf), 43336);
  t.equal(parseIscsiPerf(`iops average 5 (0 MB/s)${perf}`), 43336, 'the last one counts');
  t.throws(() => parseIscsiPerf('connect failed'), { code: 'PROTOCOL' });

  t.equal(parseQemuImgBench('Sending 9 read requests\nRun completed in 0.482 seconds.\n'), 0.482);
  t.throws(() => parseQemuImgBench('Run completed in 0.000 seconds.'), { code: 'PROTOCOL' });

  t.equal(parseProcIo('rchar: 5\nsyscr: 41\nsyscw: 2\nread_bytes: 0\n'), 43);
  t.equal(parsePerfStat('1234,,raw_syscalls:sys_enter,2000,100.00,,\n'), 1234);
  t.ok(Number.isNaN(parsePerfStat('<not counted>,,raw_syscalls:sys_enter,0,0.00,,\n')));

  const side = (iops: number, ns: number): object => ({ iops, clat_ns: { percentile: { '99.900000': ns } } });
  const fio = JSON.stringify({ jobs: [{ read: side(700, 2_000_000), write: side(300, 9_000_000) }] });
  t.strictSame(parseFio(`fio: terminating on signal 2\n${fio}\n`), { iops: 1000, p999Ms: 9 });
  t.throws(() => parseFio('{"jobs":[]}'));
});
