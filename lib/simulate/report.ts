/** The report as one HTML file: tables and charts, policies side by side. Loads nothing from anywhere. */
import { formatSize } from '../base/units.js';
import { escapeXml } from '../base/xml.js';
import { BALANCED_AT } from './bound.js';
import type { PolicyResult } from './compare.js';
import type { Judgement } from './judge.js';
import { chartSvg, COLOURS, type Chart, type Line } from './plot.js';
import type { WindowFigures } from './run.js';
import type { ScalePoint } from './scale.js';

const STYLE = `body{font-family:sans-serif;margin:2em auto;max-width:1000px;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .8em;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}.charts{display:grid;grid-template-columns:1fr 1fr;gap:1em}
svg{width:100%;height:auto}.key span{margin-right:1.2em}.key i{display:inline-block;width:1.2em;height:.6em;margin-right:.4em}`;

/** One load: what happened over time under each policy. */
export function runReport(title: string, results: readonly PolicyResult[]): string {
  const chart = (
    name: string,
    yName: string,
    pick: (window: WindowFigures) => number,
    goal?: number,
  ): Chart => ({
    ...{ title: name, xName: 'minutes', yName, ...(goal === undefined ? {} : { goal }) },
    lines: results.map(({ policy, run }, i) => ({
      ...{ name: policy, colour: colourOf(i) },
      points: run.windows.map((window) => [window.atMs / 60_000, pick(window)] as const),
    })),
  });
  return page(title, [
    key(results.map(({ policy }) => policy)),
    htmlTable(
      ['policy', 'requests/s', 'latency, ms', 'imbalance', 'moves', 'moved'],
      results.map(({ policy, requestsPerSecond, latencyMs, imbalance, moves, bytesMoved }) => [
        ...[policy, requestsPerSecond.toFixed(0), latencyMs.toFixed(2), imbalance.toFixed(2)],
        ...[String(moves), formatSize(Math.round(bytesMoved))],
      ]),
    ),
    charts([
      chart('Imbalance', 'busiest / mean, by speed', (window) => window.imbalance, BALANCED_AT),
      chart('Latency', 'ms, mean of all requests', (window) => window.latencyMs),
      chart('Throughput', 'requests/s', (window) => window.requestsPerSecond),
      chart('Bytes moved', 'MiB, so far', (window) => window.bytesMoved / 1024 ** 2),
    ]),
    '<p>The table is of the last quarter of the time, but for what moved.</p>',
  ]);
}

/** Many configurations: how each policy did over all of them, sorted from the worst to the best. */
export function judgementReport(judgement: Judgement): string {
  const { configurations, seed, policies, rows } = judgement;
  const distribution = (
    title: string,
    yName: string,
    pick: (row: Judgement['rows'][number]) => number,
  ): Chart => ({
    ...{ title, xName: 'configurations, sorted', yName },
    lines: policies.map(({ policy }, i): Line => {
      const values = rows.filter((row) => row.policy === policy).map(pick);
      values.sort((a, b) => a - b);
      return { name: policy, colour: colourOf(i), points: values.map((value, n) => [n + 1, value] as const) };
    }),
  });
  return page(`${configurations} configurations of seed ${seed}`, [
    key(policies.map(({ policy }) => policy)),
    htmlTable(
      ['policy', 'improved', 'imbalance', 'latency', 'throughput', 'moved / bound', 'moves'],
      policies.map((summary) => [
        ...[
          summary.policy,
          `${(summary.improvedShare * 100).toFixed(1)} %`,
          summary.imbalanceMedian.toFixed(3),
        ],
        ...[`× ${summary.latencyRatioMedian.toFixed(2)}`, `× ${summary.throughputRatioMedian.toFixed(2)}`],
        ...[summary.movedOverBoundMedian.toFixed(2), String(summary.movesMedian)],
      ]),
    ),
    '<p>Medians over the configurations; improved: by a quarter in latency and in throughput.</p>',
    charts([
      { ...distribution('Imbalance', 'busiest / mean, by speed', (row) => row.imbalance), goal: BALANCED_AT },
      { ...distribution('Latency', 'over that of none', (row) => row.latencyRatio), goal: 0.75 },
      { ...distribution('Throughput', 'over that of none', (row) => row.throughputRatio), goal: 1.25 },
      { ...distribution('Bytes moved', 'over the lower bound', (row) => row.movedOverBound), goal: 1.5 },
    ]),
  ]);
}

/** How planning grows. */
export function scaleReport(points: readonly ScalePoint[]): string {
  const curve = (title: string, yName: string, pick: (point: ScalePoint) => number, goal: number): Chart => ({
    ...{ title, xName: 'volumes (thousands)', yName, goal, isLogarithmic: true },
    lines: [
      {
        ...{ name: title, colour: COLOURS[5] as string },
        points: points.map((point) => [point.volumes / 1000, pick(point)] as const),
      },
    ],
  });
  return page('How planning grows', [
    htmlTable(
      ['members', 'volumes', 'plan, ms', 'longest, ms', 'heap', 'process at most'],
      points.map((point) => [
        ...[
          String(point.members),
          String(point.volumes),
          point.planMs.toFixed(1),
          point.planMsMax.toFixed(1),
        ],
        ...[formatSize(point.heapBytes), formatSize(point.residentBytesMax)],
      ]),
    ),
    charts([
      curve('One plan', 'ms', (point) => point.planMs, 1000),
      curve('Heap', 'MiB', (point) => point.heapBytes / 1024 ** 2, 1024),
    ]),
  ]);
}

function colourOf(index: number): string {
  return COLOURS[index % COLOURS.length] as string;
}

function key(names: readonly string[]): string {
  const spans = names.map(
    (name, i) => `<span><i style="background:${colourOf(i)}"></i>${escapeXml(name)}</span>`,
  );
  return `<p class="key">${spans.join('')}</p>`;
}

function charts(all: readonly Chart[]): string {
  return `<div class="charts">\n${all.map(chartSvg).join('\n')}\n</div>`;
}

function htmlTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[], tag: string): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeXml(cell)}</${tag}>`).join('')}</tr>`;
  return `<table>\n${row(headings, 'th')}\n${rows.map((cells) => row(cells, 'td')).join('\n')}\n</table>`;
}

function page(title: string, parts: readonly string[]): string {
  return `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"/><title>Blockferry: ${escapeXml(title)}</title><style>${STYLE}</style></head>
<body>
<h1>${escapeXml(title)}</h1>
${parts.join('\n')}
</body>
</html>
`;
}
