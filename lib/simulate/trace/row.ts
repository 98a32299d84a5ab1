/** A row of a block trace, and what may stand in one, whatever the file's form. */
import { BlockferryError } from '../../base/errors.js';
import { VOLUME_NAME_PATTERN } from '../../base/limits.js';

export interface TraceRow {
  /** Since any beginning; what counts are differences. */
  readonly timeMs: number;
  readonly volume: string;
  readonly isRead: boolean;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** Reads one line: a row, or null for a line that is none (a heading, an event of another kind). Throws what is wrong. */
export type RowReader = (line: string) => TraceRow | null;

/** @param text as it stood in the file */
export function traceRow(
  timeMs: number,
  volume: string,
  isRead: boolean,
  offsetBytes: number,
  lengthBytes: number,
): TraceRow {
  const bad = (what: string): BlockferryError => new BlockferryError('INVALID', what);
  if (!Number.isFinite(timeMs)) throw bad('the time is no number');
  if (!VOLUME_NAME_PATTERN.test(volume)) throw bad(`'${volume.slice(0, 64)}' is no volume name`);
  if (!Number.isSafeInteger(offsetBytes) || offsetBytes < 0)
    throw bad('the offset is no whole number of bytes');
  if (!Number.isSafeInteger(lengthBytes) || lengthBytes < 0)
    throw bad('the length is no whole number of bytes');
  if (!Number.isSafeInteger(offsetBytes + lengthBytes)) throw bad('offset and length are beyond any volume');
  return { timeMs, volume, isRead, offsetBytes, lengthBytes };
}

/** A number as digits write it; NaN for anything else, an empty field included. */
export function numberOf(text: string | undefined): number {
  return text !== undefined && /^-?\d+(?:\.\d+)?$/.test(text.trim()) ? Number(text) : NaN;
}

/** 'read', 'Read', 'R', ... */
export function isReadOf(text: string | undefined): boolean {
  const word = (text ?? '').trim().toLowerCase();
  if (word === 'read' || word === 'r') return true;
  if (word === 'write' || word === 'w') return false;
  throw new BlockferryError('INVALID', `'${(text ?? '').slice(0, 64)}' is neither read nor write`);
}
