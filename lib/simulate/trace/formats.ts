/** The forms that a trace can have, line by line: ours as CSV and as JSONL, MSR Cambridge's, blkparse's. README.md has them. */
import { BlockferryError } from '../../base/errors.js';
import { isReadOf, numberOf, traceRow, type RowReader, type TraceRow } from './row.js';

export const TRACE_FORMATS = ['csv', 'jsonl', 'msr', 'blkparse'] as const;
export type TraceFormat = (typeof TRACE_FORMATS)[number];

/** Of our CSV, in any order and among others: what `record` writes. */
export const CSV_COLUMNS = ['time_ms', 'volume', 'op', 'offset', 'length'];

export function readerFor(format: TraceFormat): RowReader {
  switch (format) {
    case 'csv':
      return csvReader();
    case 'jsonl':
      return readJsonl;
    case 'msr':
      return readMsr;
    case 'blkparse':
      return blkparseReader();
  }
}

/** By its first line that is not empty. Undefined: it looks like none of them. */
export function formatOf(line: string): TraceFormat | undefined {
  if (line.trimStart().startsWith('{')) return 'jsonl';
  if (/^\s*\d+,\d+\s+\d+\s+\d+\s/.test(line)) return 'blkparse';
  const columns = line.split(',').map((column) => column.trim());
  if (columns.includes('time_ms')) return 'csv';
  const isMsr = columns.length === 7 && /^(read|write)$/i.test(columns[3] ?? '');
  return isMsr || columns[0] === 'Timestamp' ? 'msr' : undefined;
}

function csvReader(): RowReader {
  let places: Record<string, number> | undefined;
  return (line) => {
    const fields = line.split(',').map((field) => field.trim());
    if (places === undefined) {
      const missing = CSV_COLUMNS.filter((column) => !fields.includes(column));
      if (missing.length > 0)
        throw new BlockferryError(
          'INVALID',
          `the heading has no ${missing.join(', ')}; it is ${CSV_COLUMNS.join(',')}`,
        );
      places = Object.fromEntries(fields.map((column, i) => [column, i]));
      return null;
    }
    const field = (column: string): string | undefined => fields[places?.[column] ?? -1];
    return traceRow(
      numberOf(field('time_ms')),
      field('volume') ?? '',
      isReadOf(field('op')),
      numberOf(field('offset')),
      numberOf(field('length')),
    );
  };
}

/** {"time_ms":…,"volume":…,"op":"read"|"write","offset":…,"length":…} */
function readJsonl(line: string): TraceRow {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new BlockferryError('INVALID', 'is no JSON');
  }
  if (typeof value !== 'object' || value === null) throw new BlockferryError('INVALID', 'is no JSON object');
  const field = (name: string): unknown => (value as Record<string, unknown>)[name];
  const numeric = (name: string): number => (typeof field(name) === 'number' ? (field(name) as number) : NaN);
  const word = (name: string): string => (typeof field(name) === 'string' ? (field(name) as string) : '');
  return traceRow(
    numeric('time_ms'),
    word('volume'),
    isReadOf(word('op')),
    numeric('offset'),
    numeric('length'),
  );
}

/**
 * Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime: the time in Windows' 100 ns since 1601, bytes, Read or Write
 * (Narayanan, Donnelly, Rowstron: Write Off-Loading, FAST '08; the README of SNIA's trace 388).
 */
function readMsr(line: string): TraceRow | null {
  const [time, host = '', disk = '', type, offset, size, ...rest] = line.split(',');
  if (time === 'Timestamp') return null;
  if (rest.length !== 1) throw new BlockferryError('INVALID', 'has not the seven fields of an MSR trace');
  if (!/^\d{1,3}$/.test(disk))
    throw new BlockferryError('INVALID', `'${disk.slice(0, 64)}' is no disk number`);
  // Beyond 2^53 by a factor of 14, so by its parts: the last four digits are less than a millisecond.
  const ticks = /^(\d{1,15})(\d{4})$/.exec(time ?? '');
  const timeMs = ticks === null ? NaN : Number(ticks[1]) + Number(ticks[2]) / 10_000;
  const volume = `${host.trim().toLowerCase()}.${disk}`;
  return traceRow(timeMs, volume, isReadOf(type), numberOf(offset), numberOf(size));
}

/** Major,minor cpu sequence seconds.nanoseconds pid action RWBS, and of requests: sector + sectors [process]. */
const BLKPARSE_LINE = /^\s*(\d+),(\d+)\s+\d+\s+\d+\s+(\d+\.\d+)\s+\d+\s+(\w{1,2})\s+(\S+)(?:\s+(.*))?$/;
/** Where the events end and the sums begin. */
const BLKPARSE_SUMMARY = /^(?:CPU\d+|Total) \(|^(?:Throughput|Events) \(|^Skips: /;
const SECTOR_BYTES = 512;

/**
 * blkparse(1), its default format. Of the events of a request only D counts, when it goes to the driver: what a target on
 * the other end of the wire would see. Discards, flushes and commands that carry no data are no reads or writes.
 */
function blkparseReader(): RowReader {
  let isOver = false;
  return (line) => {
    isOver ||= BLKPARSE_SUMMARY.test(line);
    if (isOver) return null;
    const match = BLKPARSE_LINE.exec(line);
    if (match === null) throw new BlockferryError('INVALID', "is no event in blkparse's default format");
    const [, major, minor, seconds, action, kinds = '', request = ''] = match;
    if (action !== 'D' || kinds.includes('D') || !/[RW]/.test(kinds)) return null;
    const place = /^(\d+) \+ (\d+)(?:\s|$)/.exec(request);
    if (place === null) throw new BlockferryError('INVALID', 'has no sector and count of sectors');
    return traceRow(
      Number(seconds) * 1000,
      `disk-${major}-${minor}`,
      kinds.includes('R'),
      Number(place[1]) * SECTOR_BYTES,
      Number(place[2]) * SECTOR_BYTES,
    );
  };
}
