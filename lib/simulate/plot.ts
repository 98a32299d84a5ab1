/** Line charts as inline SVG: pure text, nothing to load. */
import { escapeXml } from '../base/xml.js';

const WIDTH = 460;
const HEIGHT = 240;
const MARGIN = { left: 64, right: 12, top: 30, bottom: 34 };
/** Points drawn of one line: more than there are pixels nobody sees. */
const POINTS_MAX = 400;
/** Told apart by people who see colours differently, too (Okabe and Ito, 2008). */
export const COLOURS = ['#999999', '#e69f00', '#56b4e9', '#009e73', '#cc79a7', '#0072b2'];

export interface Line {
  readonly name: string;
  readonly colour: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Chart {
  readonly title: string;
  readonly xName: string;
  readonly yName: string;
  readonly lines: readonly Line[];
  /** A level to be held against. */
  readonly goal?: number;
  readonly isLogarithmic?: boolean;
}

export function chartSvg({ title, xName, yName, lines, goal, isLogarithmic = false }: Chart): string {
  const points = lines
    .flatMap((line) => line.points)
    .filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));
  const xs = range(points.map(([x]) => x));
  const ys = range([...points.map(([, y]) => y), ...(goal === undefined ? [] : [goal])]);
  const low = isLogarithmic ? Math.max(ys.low, Number.MIN_VALUE) : Math.min(0, ys.low);
  const xAt = scale(xs.low, xs.high, MARGIN.left, WIDTH - MARGIN.right);
  const yAt = isLogarithmic
    ? compose(
        Math.log,
        scale(Math.log(low), Math.log(Math.max(ys.high, low)), HEIGHT - MARGIN.bottom, MARGIN.top),
      )
    : scale(low, ys.high, HEIGHT - MARGIN.bottom, MARGIN.top);
  const axis = [low, isLogarithmic ? Math.sqrt(low * ys.high) : (low + ys.high) / 2, ys.high];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" font-family="sans-serif" font-size="11">`,
    `<title>${escapeXml(title)}</title>`,
    text(MARGIN.left, 16, `${title} (${yName})`, 'start', 13),
    ...axis.flatMap((y) => [
      stroke(MARGIN.left, yAt(y), WIDTH - MARGIN.right, yAt(y), '#ddd'),
      text(MARGIN.left - 6, yAt(y) + 4, shortNumber(y), 'end'),
    ]),
    ...[xs.low, xs.high].map((x, i) =>
      text(xAt(x), HEIGHT - MARGIN.bottom + 16, shortNumber(x), i === 0 ? 'start' : 'end'),
    ),
    text((MARGIN.left + WIDTH - MARGIN.right) / 2, HEIGHT - 6, xName, 'middle'),
    ...(goal === undefined
      ? []
      : [stroke(MARGIN.left, yAt(goal), WIDTH - MARGIN.right, yAt(goal), '#c00', '4 3')]),
    ...lines.map((line) => polyline(line, xAt, yAt)),
    '</svg>',
  ].join('\n');
}

function polyline(
  { name, colour, points }: Line,
  xAt: (x: number) => number,
  yAt: (y: number) => number,
): string {
  const step = Math.max(1, Math.ceil(points.length / POINTS_MAX));
  const places = points
    .filter(([x, y], i) => i % step === 0 && Number.isFinite(x) && Number.isFinite(y))
    .map(([x, y]) => `${round(xAt(x))},${round(yAt(y))}`);
  return `<polyline points="${places.join(' ')}" fill="none" stroke="${colour}" stroke-width="1.6"><title>${escapeXml(name)}</title></polyline>`;
}

function range(values: readonly number[]): { low: number; high: number } {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return low <= high ? { low, high } : { low: 0, high: 1 };
}

function scale(low: number, high: number, from: number, to: number): (value: number) => number {
  return high > low ? (value) => from + ((value - low) / (high - low)) * (to - from) : () => from;
}

function compose(
  inner: (value: number) => number,
  outer: (value: number) => number,
): (value: number) => number {
  return (value) => outer(inner(value));
}

function stroke(x1: number, y1: number, x2: number, y2: number, colour: string, dashes = ''): string {
  const dashed = dashes === '' ? '' : ` stroke-dasharray="${dashes}"`;
  return `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" stroke="${colour}"${dashed}/>`;
}

function text(x: number, y: number, content: string, anchor: string, size = 11): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" font-size="${size}">${escapeXml(content)}</text>`;
}

/** '1.2M': three digits and a power of a thousand. */
function shortNumber(value: number): string {
  const suffixes = ['', 'k', 'M', 'G', 'T'];
  const power = Math.min(suffixes.length - 1, Math.max(0, Math.floor(Math.log10(Math.abs(value) || 1) / 3)));
  return `${Number((value / 1000 ** power).toPrecision(3))}${suffixes[power]}`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
