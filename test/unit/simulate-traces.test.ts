/** Recorded load: every form of trace on fixtures and on bad input; the command's options, JSON and report. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { formatOf, readerFor } from '../../lib/simulate/trace/formats.js';
import { readTrace } from '../../lib/simulate/trace/read.js';
import { run } from '../support/cli-door.js';
import { ROOT } from '../support/root.js';

const FIXTURES = join(ROOT, 'fixtures', 'simulate');
const MiB = 1024 * 1024;
const folder = mkdtempSync(join(tmpdir(), 'blockferry-trace-'));

function fixture(name: string): string {
  return join(FIXTURES, name);
}

function written(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

t.test('ours, as CSV and as JSONL, plain and gzipped', async (t) => {
  const zipped = written('small.csv.gz', gzipSync(readFileSync(fixture('small.csv'))));
  for (const path of [fixture('small.csv'), fixture('small.jsonl'), zipped]) {
    const { windows, volumes, rows } = await readTrace(path, 30_000, 4 * MiB);
    t.equal(rows, 5);
    t.strictSame(
      [...volumes],
      [
        ['db', 2],
        ['logs', 1],
      ],
    );
    const db = windows[0]?.get('db');
    t.match(db, { requests: 3, reads: 2, bytes: 16384, sequential: 1 });
    t.strictSame(
      [...(db?.extents ?? [])],
      [
        [0, 2],
        [1, 1],
      ],
    );
    t.equal(windows.length, 2);
    t.equal(windows[1]?.get('logs')?.bytes, 65536);
    t.equal(windows[1]?.get('db')?.sequential, 0);
  }
});

t.test('MSR Cambridge: ticks of 100 ns, host and disk', async (t) => {
  const { windows, volumes, rows } = await readTrace(fixture('msr.csv'), 30_000, 4 * MiB);
  t.equal(rows, 4);
  t.strictSame([...volumes.keys()], ['hm.1', 'src2.0']);
  t.equal(windows.length, 2, '32.3 s');
  t.match(windows[0]?.get('hm.1'), { requests: 3, reads: 2, bytes: 40960 });
  const row = readerFor('msr')('128166372003061629,hm,1,Read,383496192,32768,413');
  t.equal(row?.timeMs, 12816637200306 + 0.1629, 'to the tick, beyond 2^53');
});

t.test('blkparse: what goes to the driver, reads and writes alone, up to the sums', async (t) => {
  const { windows, rows } = await readTrace(fixture('blkparse.txt'), 30_000, 4 * MiB);
  t.equal(rows, 2);
  t.match(windows[0]?.get('disk-8-0'), { requests: 2, reads: 1, bytes: (16 + 256) * 512 });
  t.strictSame([...(windows[0]?.get('disk-8-0')?.extents.keys() ?? [])], [27, 1]);
});

t.test('each is known by its first line', async (t) => {
  t.equal(formatOf('time_ms,volume,op,offset,length'), 'csv');
  t.equal(formatOf('{"time_ms":1}'), 'jsonl');
  t.equal(formatOf('128166372003061629,hm,1,Read,383496192,32768,413'), 'msr');
  t.equal(formatOf('  8,0    3        1     0.000000000   697  G   W 223490 + 8 [k]'), 'blkparse');
  t.equal(formatOf('hello, world'), undefined);
});

t.test('bad input: the file, the line, and what is wrong', async (t) => {
  const heading = 'time_ms,volume,op,offset,length\n';
  const bad: readonly (readonly [string, string, RegExp])[] = [
    ['a.csv', `${heading}0,db,read,0,512\n0,db,peek,0,512\n`, /a\.csv:3: 'peek' is neither read nor write/],
    ['b.csv', `${heading}0,db,read,-1,512\n`, /b\.csv:2: the offset is no whole number/],
    ['c.csv', `${heading}0,db,read,0,1e9\n`, /c\.csv:2: the length is no whole number/],
    ['d.csv', `${heading}soon,db,read,0,512\n`, /d\.csv:2: the time is no number/],
    ['e.csv', `${heading}0,../etc,read,0,512\n`, /e\.csv:2: '..\/etc' is no volume name/],
    ['f.csv', `${heading}0,db,read,9007199254740991,512\n`, /f\.csv:2: offset and length are beyond/],
    ['g.csv', 'time_ms,volume,op\n', /g\.csv:1: the heading has no offset, length/],
    [
      'h.jsonl',
      '{"time_ms":0,"volume":"db","op":"read","offset":0,"length":1}\n{"time',
      /h\.jsonl:2: is no JSON/,
    ],
    ['i.csv', '128166372003061629,hm,1,Read,1,2,3\n12,hm,1,Read,1,2,3\n', /i\.csv:2: the time is no number/],
    ['j.txt', '  8,0 1 1 0.000000000 1 D R 8 + 8 [x]\nrubbish\n', /j\.txt:2: is no event in blkparse's/],
    ['k.txt', 'rubbish\n', /k\.txt:1: is none of csv, jsonl, msr, blkparse/],
    ['l.csv', heading, /l\.csv has no requests/],
    ['m.csv', 'x'.repeat(100_000), /m\.csv:1: has more than 4096 characters/],
  ];
  for (const [name, content, said] of bad)
    await t.rejects(
      readTrace(written(name, content), 30_000, 4 * MiB),
      { message: said, code: 'INVALID' },
      name,
    );
  await t.rejects(readTrace(join(folder, 'none.csv'), 30_000, 4 * MiB), { code: 'NOT_FOUND' });
  const far = `${heading}0,db,read,0,512\n1e9,db,read,0,512\n900000000000000,db,read,0,512\n`;
  await t.rejects(readTrace(written('far.csv', far), 30_000, 4 * MiB), /far\.csv:3: the time is no number/);
  const long = `${heading}0,db,read,0,512\n900000000000000,db,read,0,512\n`;
  await t.rejects(
    readTrace(written('long.csv', long), 30_000, 4 * MiB),
    /long\.csv:3: the trace is too long to keep/,
  );
});

t.test('the command: one document, the same every time; a report that needs nothing else', async (t) => {
  const report = join(folder, 'report.html');
  const args = ['simulate', '--load', 'zipf', '--seconds', '300', '--volumes', '8', '--json'];
  const first = await run([...args, '--report', report]);
  t.equal(first.code, 0, first.stderr);
  t.equal((await run(args)).stdout, first.stdout, 'the same seed, the same bytes');
  const { policies, ...rest } = JSON.parse(first.stdout) as { policies: { policy: string }[] };
  t.match(rest, { load: 'zipf', seed: 1, members: 4, volumes: 8, seconds: 300 });
  t.strictSame(
    policies.map(({ policy }) => policy),
    ['none', 'share', 'latency-gap', 'heat'],
  );
  const html = readFileSync(report, 'utf8');
  t.match(html, /^<!DOCTYPE html>/);
  t.equal(html.match(/<svg /g)?.length, 4, 'imbalance, latency, throughput, bytes moved');
  t.equal(html.match(/<polyline /g)?.length, 16, 'each with a line for every policy');
  t.notMatch(html, /(?:src|href)=|@import|url\(/, 'loads nothing');
  for (const tag of ['svg', 'table', 'tr', 'td', 'text', 'polyline', 'div', 'p'])
    t.equal(
      html.split(`<${tag}>`).length + html.split(`<${tag} `).length - 1,
      html.split(`</${tag}>`).length,
      tag,
    );
  t.notMatch(html, /NaN|undefined/);
});

t.test('the command: traces and drawn configurations', async (t) => {
  const trace = await run(['simulate', '--load', fixture('small.csv'), '--policy', 'share', '--json']);
  t.match(JSON.parse(trace.stdout), { volumes: 2, seconds: 60, policies: [{ policy: 'share', moves: 0 }] });
  const drawn = await run([
    'simulate',
    '--configurations',
    '1',
    '--seconds',
    '300',
    '--policy',
    'heat',
    '--json',
  ]);
  const { rows, ...judged } = JSON.parse(drawn.stdout) as { rows: { policy: string }[] };
  t.match(judged, {
    configurations: 1,
    improvedShare: Number,
    imbalanceMedian: Number,
    movedOverBoundMedian: Number,
  });
  t.strictSame(
    rows.map(({ policy }) => policy),
    ['none', 'heat'],
  );
  const people = await run(['simulate', '--seconds', '60', '--volumes', '4', '--policy', 'none']);
  t.match(people.stdout, /^zipf: 4 members, 4 volumes, 60 s.*\nPOLICY .*\nnone /);
});

t.test('the command: wrong usage', async (t) => {
  const rows = ['time_ms,volume,op,offset,length', '0,v,read,0,512', '2000000,v,read,0,512'];
  const long = written('long.csv', rows.join('\n'));
  const wrong: readonly (readonly [readonly string[], number, RegExp])[] = [
    [['--members', '1'], 2, /--members '1' is not between 2 and 1024/],
    [['--policy', 'hot'], 2, /--policy 'hot' is none of none, share/],
    [['--hours', '1', '--seconds', '1'], 2, /--hours and --seconds exclude each other/],
    [['--configurations', '2', '--scale'], 2, /--configurations and --scale exclude each other/],
    [
      ['--load', 'diurnal', '--window', '1', '--members', '1024'],
      2,
      /more than can be kept in memory; give a/,
    ],
    [['--configurations', '1', '--window', '1', '--hours', '8784'], 2, /more than can be kept in memory/],
    [['--load', long, '--window', '1', '--members', '1024'], 2, /more than can be kept in memory/],
    [['--format', 'xml'], 2, /--format 'xml' is none of csv/],
    [['--load', join(folder, 'nowhere')], 1, /nowhere: there is no such file/],
    [
      ['--seconds', '30', '--report', join(folder, 'no', 'where')],
      1,
      /the report cannot be written: .*; name/,
    ],
  ];
  for (const [args, code, said] of wrong) {
    const result = await run(['simulate', ...args]);
    t.equal(result.code, code, args.join(' '));
    t.equal(result.stdout, '');
    t.match(result.stderr, said);
    t.match(result.stderr, /^blockferry: [^\n]+\n$/);
  }
  // What is seen only when it is written costs nobody the result.
  const late = await run(['simulate', '--seconds', '30', '--policy', 'none', '--report', folder]);
  t.match(late, {
    code: 1,
    stdout: /^POLICY .*\nnone /m,
    stderr: /the report cannot be written: EISDIR.*; name/,
  });
});

t.test('a small file does not take a large memory', async (t) => {
  const far = 16 * 1024 ** 4 - 4096;
  const rows = Array.from({ length: 5 }, (_, i) => `${i},v${i},read,${far},512`);
  const file = join(t.testdir(), 'far.csv');
  writeFileSync(file, ['time_ms,volume,op,offset,length', ...rows].join('\n'));
  await t.rejects(readTrace(file, 1000, 4 * 1024 ** 2), {
    code: 'INVALID',
    message: /far\.csv:6: volumes of more than \d+ extents/,
  });
});
