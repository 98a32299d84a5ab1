/** Results as lines for people. Pure: it draws tables into text and knows no terminal. */
import type { Unit } from './case.js';
import type { CaseResult, Curve, FigureResult } from './report.js';
import type { Goal } from './stats.js';

const HEADINGS = ['work', 'against', 'figure', 'median', 'spread', 'goal', '', 'ours', 'theirs', 'client'];
/** From here on the client may be what was measured. */
const CLIENT_BUSY = 0.95;

/** A row per figure; a case without figures says why. */
export function resultTable(cases: readonly CaseResult[]): string {
  const rows: string[][] = [];
  const notes: string[] = [];
  for (const result of cases) {
    if (result.skipped !== null) notes.push(`skipped ${result.id}: ${result.skipped}`);
    if (result.failed !== null) notes.push(`FAILED ${result.id}: ${result.failed}`);
    result.figures.forEach((figure, index) => {
      const head = index === 0 ? [result.title, result.against] : ['', ''];
      rows.push([...head, ...figureCells(figure)]);
    });
  }
  return [...(rows.length === 0 ? [] : [alignedTable(HEADINGS, rows)]), ...notes].join('\n');
}

function figureCells(figure: FigureResult): string[] {
  const { name, unit, value, goal, sides, clientBusy } = figure;
  return [
    name,
    formatValue(value.median, unit),
    `${formatValue(value.lowest, unit)} to ${formatValue(value.highest, unit)}`,
    goal === null ? '' : formatGoal(goal, unit),
    verdictOf(figure),
    sides === null ? '' : formatValue(sides.subject, sides.unit),
    sides === null ? '' : formatValue(sides.baseline, sides.unit),
    clientBusy === null ? '' : `${Math.round(clientBusy * 100)} %${clientBusy >= CLIENT_BUSY ? ' (!)' : ''}`,
  ];
}

/** '', 'reached', or how far away. */
export function verdictOf(figure: Pick<FigureResult, 'reached' | 'shortfall'>): string {
  if (figure.reached === null) return '';
  return figure.reached ? 'reached' : `MISSED by ${Math.round(figure.shortfall * 100)} %`;
}

/** A row per point of each curve. */
export function curveTable(curves: readonly Curve[]): string {
  const rows = curves.flatMap((curve) =>
    curve.points.map(({ size, value }, index) => {
      const isLast = index === curve.points.length - 1;
      const verdict = curve.reached === null ? '' : curve.reached ? 'reached' : 'MISSED';
      return [
        index === 0 ? curve.title : '',
        `${formatCount(size)} ${curve.sizeName}`,
        formatValue(value, curve.unit),
        isLast && curve.goal !== null ? formatGoal(curve.goal, curve.unit) : '',
        isLast ? verdict : '',
      ];
    }),
  );
  return alignedTable(['cost', 'at', 'value', 'goal', ''], rows);
}

export function formatGoal(goal: Goal, unit: Unit): string {
  return 'atLeast' in goal ? `≥ ${formatValue(goal.atLeast, unit)}` : `≤ ${formatValue(goal.atMost, unit)}`;
}

/** "2.71×", "83 ms", "138,166 IOPS". */
export function formatValue(value: number, unit: Unit): string {
  if (!Number.isFinite(value)) return '–';
  if (unit === 'ratio') return `${value.toFixed(2)}×`;
  if (unit === 'share') return `${(value * 100).toFixed(0)} %`;
  if (unit === 'IOPS') return `${formatCount(Math.round(value))} IOPS`;
  if (unit === 'each') return value.toFixed(3);
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${unit}`;
}

/** Digits in groups of three. */
export function formatCount(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** Columns as wide as their widest cell, two spaces between. */
export function alignedTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [headings.map((heading) => heading.toUpperCase()), ...rows];
  const widths = headings.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
