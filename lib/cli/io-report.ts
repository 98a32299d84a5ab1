/** A workload's report as a table for people. */
import type { WorkloadReport } from '../iscsi/initiator/report.js';
import { formatMs, plural, table } from './output.js';

/** Wrong blocks and errors that are named; all are counted, and --json has more of them. */
const NAMED_MAX = 20;

export function describeIoReport(report: WorkloadReport): string {
  const { latencyUs: us } = report;
  const ms = (microseconds: number): string => formatMs(microseconds / 1000);
  const rows: (readonly [string, string])[] = [
    [
      'commands',
      `${report.ops} (${report.reads} reads, ${report.writes} writes) in ${report.seconds.toFixed(1)} s`,
    ],
    ['rate', `${Math.round(report.iops)} IOPS, ${report.MBps.toFixed(1)} MB/s`],
    [
      'latency',
      `mean ${ms(us.mean)}, p50 ${ms(us.p50)}, p95 ${ms(us.p95)}, p99 ${ms(us.p99)}, p99.9 ${ms(us.p999)}`,
    ],
    ['longest stall', formatMs(report.longestStallMs)],
    [
      'sessions',
      `${plural(report.recoveries.length, 'recovery').replace(/ys$/, 'ies')}, ${plural(report.redirects, 'redirect')}`,
    ],
    ['errors', String(report.errors)],
    ['wrong blocks', String(report.wrongCount)],
  ];
  return [table(['result', report.ok ? 'all well' : 'NOT WELL'], rows), ...complaints(report)].join('\n');
}

function complaints(report: WorkloadReport): string[] {
  const wrong = report.wrong.map(
    (w) =>
      `block ${w.block} (lba ${w.lba}) is ${w.kind}: found ${w.found}, expected generation ${w.expected.join(' to ')}`,
  );
  const errors = report.errorTexts.map((text) => `error: ${text}`);
  const violations = report.violations.map((text) => `against the protocol: ${text}`);
  return [...wrong, ...errors, ...violations].slice(0, NAMED_MAX);
}
