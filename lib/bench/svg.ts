/** Results as a picture: a bar per ratio with its goal, and curves on logarithmic axes. Pure text, no dependencies. */
import { escapeXml } from '../base/xml.js';
import { isReached } from './stats.js';
import type { CaseResult, Curve, FigureResult } from './report.js';
import { formatCount, formatGoal, formatValue } from './text.js';

const WIDTH = 900;
const LABEL_WIDTH = 330;
const VALUE_WIDTH = 150;
const ROW_HEIGHT = 26;
const BAR_HEIGHT = 14;
const GREEN = '#2f8f4e';
const RED = '#c0392b';
const GREY = '#8a8f98';
const CHART_HEIGHT = 210;
const CHART_MARGIN = { left: 90, right: 110, top: 40, bottom: 40 };

interface Bar {
  readonly label: string;
  readonly figure: FigureResult;
}

/** Every ratio and every other figure with a goal, each bar as a share of its goal's scale. */
export function barsSvg(title: string, cases: readonly CaseResult[]): string {
  const bars: Bar[] = cases.flatMap((result) =>
    result.figures
      .filter((figure) => figure.goal !== null)
      .map((figure) => ({
        label: figure.name === 'ratio' ? result.title : `${result.title}: ${figure.name}`,
        figure,
      })),
  );
  const rows = bars.map((bar, index) => drawBar(bar, 50 + index * ROW_HEIGHT));
  return document(60 + bars.length * ROW_HEIGHT, title, rows);
}

/** The goal is a line at half of the width, so that every row reads the same: a bar beyond it is twice as much as asked. */
function drawBar({ label, figure }: Bar, y: number): string {
  const { goal, value, unit } = figure;
  if (goal === null) return '';
  const wanted = 'atLeast' in goal ? goal.atLeast : goal.atMost;
  const full = WIDTH - LABEL_WIDTH - VALUE_WIDTH;
  const x = (amount: number): number => LABEL_WIDTH + (Math.min(amount / wanted, 2) / 2) * full;
  const colour = isReached(value.median, goal) ? GREEN : RED;
  const middle = y + BAR_HEIGHT / 2;
  return [
    text(LABEL_WIDTH - 8, y + 11, label, 'end'),
    `<rect x="${LABEL_WIDTH}" y="${y}" width="${round(x(value.median) - LABEL_WIDTH)}" height="${BAR_HEIGHT}" fill="${colour}"/>`,
    line(x(value.lowest), middle, x(value.highest), middle, '#000'),
    line(x(wanted), y - 4, x(wanted), y + BAR_HEIGHT + 4, GREY),
    text(WIDTH - VALUE_WIDTH + 8, y + 11, `${formatValue(value.median, unit)} (${formatGoal(goal, unit)})`),
  ].join('\n');
}

/** A small chart per curve, both axes logarithmic: a cost that is flat is level, a linear one climbs at 45 degrees. */
export function curvesSvg(title: string, curves: readonly Curve[]): string {
  const charts = curves.map((curve, index) => drawCurve(curve, 40 + index * CHART_HEIGHT));
  return document(50 + curves.length * CHART_HEIGHT, title, charts);
}

function drawCurve(curve: Curve, top: number): string {
  const { points, unit, goal } = curve;
  const bottom = top + CHART_HEIGHT - CHART_MARGIN.bottom;
  const values = points.map((point) => point.value);
  const bound = goal === null ? [] : ['atMost' in goal ? goal.atMost : goal.atLeast];
  const x = logScale(
    points.map((point) => point.size),
    CHART_MARGIN.left,
    WIDTH - CHART_MARGIN.right,
  );
  const y = logScale([...values, ...bound], bottom, top + CHART_MARGIN.top);
  const path = points.map(
    (point, i) => `${i === 0 ? 'M' : 'L'}${round(x(point.size))} ${round(y(point.value))}`,
  );
  const colour = curve.reached === false ? RED : GREEN;
  return [
    text(CHART_MARGIN.left, top + 18, `${curve.title} (${unit}, by ${curve.sizeName})`),
    line(CHART_MARGIN.left, bottom, WIDTH - CHART_MARGIN.right, bottom, GREY),
    `<path d="${path.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`,
    ...points.flatMap((point) => [
      `<circle cx="${round(x(point.size))}" cy="${round(y(point.value))}" r="3" fill="${colour}"/>`,
      text(x(point.size), y(point.value) - 8, formatValue(point.value, unit), 'middle'),
      text(x(point.size), bottom + 16, formatCount(point.size), 'middle'),
    ]),
    ...bound.flatMap((value) => [
      line(CHART_MARGIN.left, y(value), WIDTH - CHART_MARGIN.right, y(value), GREY),
      text(WIDTH - CHART_MARGIN.right + 6, y(value) + 4, goal === null ? '' : formatGoal(goal, unit)),
    ]),
  ].join('\n');
}

/** Maps [min, max] of `values` to [from, to] by their logarithms; what is not positive stands at the start. */
export function logScale(values: readonly number[], from: number, to: number): (value: number) => number {
  const logs = values.filter((value) => value > 0).map(Math.log);
  const low = Math.min(...logs);
  const span = Math.max(...logs) - low;
  return (value) => {
    if (!(value > 0) || !(span > 0)) return value > 0 ? (from + to) / 2 : from;
    return from + ((Math.log(value) - low) / span) * (to - from);
  };
}

function document(height: number, title: string, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    `<text x="12" y="24" font-size="16">${escapeXml(title)}</text>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}

function line(x1: number, y1: number, x2: number, y2: number, colour: string): string {
  return `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" stroke="${colour}"/>`;
}

function text(x: number, y: number, content: string, anchor = 'start'): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${escapeXml(content)}</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
