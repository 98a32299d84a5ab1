/** Sizes and rates as people write them: 512, 64K, 10G, 200M (powers of 1024). */
import { BlockferryError } from './errors.js';

const SUFFIXES = ['', 'K', 'M', 'G', 'T', 'P'];

/** "10G" in bytes; null for anything that is not a whole positive number of bytes below 2^53. */
export function sizeOf(text: string): number | null {
  const match = /^(\d{1,16}(?:\.\d{1,6})?)([KMGTP]?)(?:i?B)?$/i.exec(text.trim());
  const bytes =
    match === null ? NaN : Number(match[1]) * 1024 ** SUFFIXES.indexOf((match[2] ?? '').toUpperCase());
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : null;
}

/** The same of the option `name`. Throws USAGE, with that name, for anything else. */
export function parseSize(name: string, text: string): number {
  const bytes = sizeOf(text);
  if (bytes !== null) return bytes;
  throw new BlockferryError(
    'USAGE',
    `--${name} '${text}' is not a size`,
    'write a size like 512, 64K, 10G (powers of 1024)',
  );
}

/** Bytes as people read them: the largest unit that keeps at most four digits, one decimal where it matters. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < SUFFIXES.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = Number.isInteger(value) ? String(value) : value.toFixed(1);
  return `${digits}${SUFFIXES[unit]}`;
}

/** The same without rounding, to be typed: "1025M" where people read "1.0G". */
export function exactSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value > 0 && value % 1024 === 0 && unit < SUFFIXES.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value}${SUFFIXES[unit]}`;
}

const MILLISECONDS: Record<string, number> = { us: 0.001, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Parses "30s", "20ms", "300us", "10m", "1h" into milliseconds; null for anything else. */
export function parseDuration(text: string): number | null {
  const match = /^(\d{1,6}(?:\.\d{1,3})?)(us|ms|s|m|h)$/.exec(text.trim());
  const ms = Number(match?.[1]) * (MILLISECONDS[match?.[2] ?? ''] ?? 0);
  return match === null ? null : Math.round(ms * 1e6) / 1e6;
}

/** A count as an option of a command gives it. Throws USAGE, with the option's name, when it is none from `min` on. */
export function wholeOf(name: string, text: string, min = 1): number {
  const value = text.trim() === '' ? NaN : Number(text);
  if (Number.isSafeInteger(value) && value >= min) return value;
  throw new BlockferryError('USAGE', `--${name} '${text}' is no whole number from ${min} on`);
}
