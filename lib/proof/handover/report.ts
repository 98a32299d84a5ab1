/** What hand-overs showed: the lines that must hold, a table for people, a document for programs. Pure. */
import { alignedTable } from '../../bench/text.js';
import { distributionOf, survivalLine, type Distribution, type Line } from '../figures.js';
import type { HandoverRun } from './run.js';

const STALL_P50_MS = 100;
const STALL_P99_MS = 500;
/** One redirect is the rule; a second, when the volume moves on meanwhile. */
const REDIRECTS_MAX = 2;

export interface HandoverSummary {
  readonly by: string;
  readonly handovers: number;
  /** Of the slowest command of each hand-over. */
  readonly stallMs: Distribution;
  /** Of the time without a session. */
  readonly downMs: Distribution;
  readonly moveMs: Distribution;
  readonly sessions: number;
  readonly redirects: number;
  /** The most of one hand-over. */
  readonly redirectsMax: number;
  readonly commands: number;
  readonly errors: number;
  readonly wrongBlocks: number;
  readonly texts: readonly string[];
  readonly lines: readonly Line[];
}

export function summarize({ by, handovers, verdict, dead }: HandoverRun): HandoverSummary {
  const each = (value: (handover: HandoverRun['handovers'][number]) => number): number[] =>
    handovers.map(value);
  const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);
  const stallMs = distributionOf(each((handover) => handover.longestMs));
  const redirectsMax = Math.max(0, ...each((handover) => handover.redirects));
  const errors = verdict.errors + verdict.violations;
  const sessions = total(each((handover) => handover.recoveries));
  const lines: Line[] = [
    { text: `${by}: no error, no wrong block`, holds: errors + verdict.wrongBlocks === 0 },
    // No command takes no time: that none did was measured by nobody.
    { text: `${by}: stall p50 < ${STALL_P50_MS} ms`, holds: stallMs.p50 > 0 && stallMs.p50 < STALL_P50_MS },
    { text: `${by}: stall p99 < ${STALL_P99_MS} ms`, holds: stallMs.p99 < STALL_P99_MS },
    {
      text: `${by}: nobody is redirected more than ${REDIRECTS_MAX} times, and somebody is`,
      holds: redirectsMax > 0 && redirectsMax <= REDIRECTS_MAX,
    },
    { text: `${by}: every session followed, once a hand-over`, holds: sessions === handovers.length },
    survivalLine(by, dead),
  ];
  return {
    ...{ by, handovers: handovers.length, stallMs, sessions, redirectsMax, errors, lines },
    downMs: distributionOf(each((handover) => handover.downMs)),
    moveMs: distributionOf(each((handover) => handover.moveSeconds * 1000)),
    redirects: total(each((handover) => handover.redirects)),
    commands: verdict.ops,
    wrongBlocks: verdict.wrongBlocks,
    texts: verdict.texts,
  };
}

export function summaryTable(summaries: readonly HandoverSummary[]): string {
  const figures = ({ p50, p99, max }: Distribution): string =>
    [p50, p99, max].map((ms) => ms.toFixed(0)).join(' / ');
  const headings = [
    'initiator',
    'hand-overs',
    'stall ms',
    'down ms',
    'move ms',
    'sessions',
    'redirects',
    'commands',
    'errors',
    'wrong',
  ];
  const rows = summaries.map((summary) => [
    summary.by,
    String(summary.handovers),
    figures(summary.stallMs),
    figures(summary.downMs),
    figures(summary.moveMs),
    String(summary.sessions),
    `${summary.redirects} (most ${summary.redirectsMax})`,
    String(summary.commands),
    String(summary.errors),
    String(summary.wrongBlocks),
  ]);
  return `${alignedTable(headings, rows)}\n(p50 / p99 / max over hand-overs; stall: the slowest command of each)`;
}
