/** A trace file as the load of windows: how often each volume and extent was asked in each. Reads line by line. */
import { BlockferryError, describeError } from '../../base/errors.js';
import { EXTENTS_MAX, TRACE_CELLS_MAX, TRACE_EXTENTS_MAX, TRACE_VOLUMES_MAX } from '../../base/limits.js';
import { formatOf, readerFor, TRACE_FORMATS, type TraceFormat } from './formats.js';
import { linesOf } from './lines.js';
import type { RowReader, TraceRow } from './row.js';

/** What one volume was asked in one window. */
export interface TraceCell {
  requests: number;
  reads: number;
  bytes: number;
  /** Requests that began where the one before it ended. */
  sequential: number;
  /** Extent → requests. */
  readonly extents: Map<number, number>;
}

export interface Trace {
  /** One map for each window: volume → what it was asked. */
  readonly windows: readonly ReadonlyMap<string, TraceCell>[];
  /** Volume → extents up to the last that was asked. */
  readonly volumes: ReadonlyMap<string, number>;
  readonly rows: number;
}

/** @throws INVALID with "file:line: what" for a bad line, a trace of nothing, or one of more than fits into memory */
export async function readTrace(
  path: string,
  windowMs: number,
  extentBytes: number,
  format?: TraceFormat,
): Promise<Trace> {
  const windows: Map<string, TraceCell>[] = [];
  const counted = new Counting(windows, windowMs, extentBytes);
  let read: RowReader | undefined = format === undefined ? undefined : readerFor(format);
  for await (const { text, number } of linesOf(path)) {
    try {
      read ??= readerFor(guess(text));
      const row = read(text);
      if (row !== null) counted.add(row);
    } catch (error) {
      throw new BlockferryError('INVALID', `${path}:${number}: ${describeError(error)}`);
    }
  }
  if (counted.rows === 0) throw new BlockferryError('INVALID', `${path} has no requests`);
  return { windows, volumes: counted.volumes, rows: counted.rows };
}

function guess(line: string): TraceFormat {
  const format = formatOf(line);
  if (format !== undefined) return format;
  throw new BlockferryError('INVALID', `is none of ${TRACE_FORMATS.join(', ')} by its first line`);
}

class Counting {
  readonly volumes = new Map<string, number>();
  rows = 0;
  private beganMs: number | undefined;
  private cells = 0;
  private extents = 0;
  /** Volume → where its last request ended. */
  private readonly ends = new Map<string, number>();

  constructor(
    private readonly windows: Map<string, TraceCell>[],
    private readonly windowMs: number,
    private readonly extentBytes: number,
  ) {}

  add({ timeMs, volume, isRead, offsetBytes, lengthBytes }: TraceRow): void {
    this.beganMs ??= timeMs;
    // Processors' rows come a little out of order: what is before the first counts as in the first window.
    const window = Math.max(0, Math.floor((timeMs - this.beganMs) / this.windowMs));
    const extent = Math.floor(offsetBytes / this.extentBytes);
    if (extent >= EXTENTS_MAX) throw new BlockferryError('INVALID', 'the offset is beyond any volume');
    this.openWindows(window);
    const cell = this.cellOf(window, volume);
    cell.requests += 1;
    if (isRead) cell.reads += 1;
    cell.bytes += lengthBytes;
    if (this.ends.get(volume) === offsetBytes) cell.sequential += 1;
    this.ends.set(volume, offsetBytes + lengthBytes);
    const before = cell.extents.get(extent);
    if (before === undefined) this.countCells(1);
    cell.extents.set(extent, (before ?? 0) + 1);
    this.grow(volume, extent + 1);
    if (this.volumes.size > TRACE_VOLUMES_MAX)
      throw new BlockferryError('INVALID', `more than ${TRACE_VOLUMES_MAX} volumes in one trace`);
    this.rows += 1;
  }

  /** A volume has all extents up to the last that was asked, and each takes memory. */
  private grow(volume: string, extents: number): void {
    const before = this.volumes.get(volume) ?? 0;
    if (before >= extents) return;
    this.volumes.set(volume, extents);
    this.extents += extents - before;
    if (this.extents > TRACE_EXTENTS_MAX)
      throw new BlockferryError('INVALID', `volumes of more than ${TRACE_EXTENTS_MAX} extents in one trace`);
  }

  private cellOf(window: number, volume: string): TraceCell {
    const cells = this.windows[window] as Map<string, TraceCell>;
    let cell = cells.get(volume);
    if (cell === undefined) {
      cell = { requests: 0, reads: 0, bytes: 0, sequential: 0, extents: new Map() };
      cells.set(volume, cell);
    }
    return cell;
  }

  /** Up to that one. They are counted first: two lines may lie as far apart as there is no memory for. */
  private openWindows(last: number): void {
    this.countCells(Math.max(0, last + 1 - this.windows.length));
    while (this.windows.length <= last) this.windows.push(new Map());
  }

  private countCells(more: number): void {
    this.cells += more;
    if (this.cells <= TRACE_CELLS_MAX) return;
    throw new BlockferryError(
      'INVALID',
      'the trace is too long to keep',
      'give a longer --window, or a part of it',
    );
  }
}
