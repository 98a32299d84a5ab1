/** Looks at a volume's file without changing, locking or reading its data: what a dump tool shows of a broken system. */
import fs from 'node:fs';
import { BlockferryError } from '../base/errors.js';
import { formatSize } from '../base/units.js';
import { type StorageDoors, systemDoors } from './doors.js';
import { type DataRange, dataRangesOf } from './holes.js';
import { openErrorOf } from './io-errors.js';

export interface FileInspection {
  readonly path: string;
  readonly sizeBytes: number;
  /** Bytes of disk it takes. */
  readonly allocatedBytes: number;
  readonly modifiedAtMs: number;
  /** Stretches that are no holes; one that covers all where `holesKnown` is false. */
  readonly dataRanges: readonly DataRange[];
  readonly dataBytes: number;
  readonly holesKnown: boolean;
}

/** Inspects a file, in use or not. Throws BlockferryError NOT_FOUND, INVALID, IO. */
export async function inspectFile(
  path: string,
  doors: StorageDoors = systemDoors(),
): Promise<FileInspection> {
  let file: fs.promises.FileHandle | undefined;
  try {
    file = await fs.promises.open(path, 'r');
    const stat = await file.stat();
    if (!stat.isFile()) throw new BlockferryError('INVALID', `${path} is not a regular file`, 'name a file');
    const dataRanges = dataRangesOf(doors.native, file.fd, 0, stat.size);
    return {
      path,
      sizeBytes: stat.size,
      allocatedBytes: stat.blocks * 512,
      modifiedAtMs: stat.mtimeMs,
      dataRanges,
      dataBytes: dataRanges.reduce((sum, range) => sum + range.toBytes - range.fromBytes, 0),
      holesKnown: doors.native !== null,
    };
  } catch (error) {
    throw openErrorOf(error, path);
  } finally {
    await file?.close();
  }
}

/** An inspection as lines for people, a stretch of data each. */
export function formatInspection(inspection: FileInspection): string {
  const { path, sizeBytes, allocatedBytes, dataRanges, holesKnown } = inspection;
  const lines = [`${path}: ${formatSize(sizeBytes)}, ${formatSize(allocatedBytes)} on disk`];
  if (!holesKnown) lines.push('holes cannot be told from data here');
  for (const { fromBytes, toBytes } of dataRanges) {
    lines.push(`data ${fromBytes}..${toBytes} (${formatSize(toBytes - fromBytes)})`);
  }
  return lines.join('\n');
}
