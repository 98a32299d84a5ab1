/**
 * A disk that has no room for one write: a member's files, as the kernel has them, until an order says that the next write
 * into a range fails. The order is a file, FOLDER/m3.full, taken away before the write fails, so that it is one; taken back
 * unmet, it is FOLDER/m3.full.unmet.
 */
import { existsSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { memberDoors, type MemberDoors } from '../../member/doors.js';
import type { FileCalls } from '../../storage/doors.js';

export const FullDisk = z.object({
  member: z.string(),
  /** In the volume, which is where it is in the file. */
  fromBytes: z.number().int().min(0),
  toBytes: z.number().int().min(0),
});
export type FullDisk = z.infer<typeof FullDisk>;

/** From now on, for one write. */
export function fillDisk(folder: string, full: FullDisk): void {
  const path = pathOf(folder, full.member);
  writeFileSync(`${path}.new`, JSON.stringify(full));
  renameSync(`${path}.new`, path);
}

/** There is room from now on, if no write has met the full disk yet. */
export function takeBack(folder: string, member: string): void {
  const path = pathOf(folder, member);
  try {
    renameSync(path, unmetPathOf(path));
  } catch {
    // A write has met it, and taken it away.
  }
}

/** It was taken back. */
export function wasUnmet(folder: string, member: string): boolean {
  return existsSync(unmetPathOf(pathOf(folder, member)));
}

/** The doors of a member whose disk can be full. */
export function fillableDoors(folder: string, member: string): MemberDoors {
  const doors = memberDoors();
  const { calls } = doors.storage;
  const path = pathOf(folder, member);
  const filled: Pick<FileCalls, 'write' | 'writeSync'> = {
    write: (fd, data, offset, length, position, callback) => {
      if (takesNot(path, position, length)) setImmediate(callback, noSpace(), 0);
      else calls.write(fd, data, offset, length, position, callback);
    },
    writeSync: (fd, data, offset, length, position) => {
      if (takesNot(path, position, length)) throw noSpace();
      return calls.writeSync(fd, data, offset, length, position);
    },
  };
  return { ...doors, storage: { ...doors.storage, calls: { ...calls, ...filled } } };
}

function pathOf(folder: string, member: string): string {
  return join(folder, `${member}.full`);
}

function unmetPathOf(path: string): string {
  return `${path}.unmet`;
}

function takesNot(path: string, position: number, length: number): boolean {
  try {
    const { fromBytes, toBytes } = FullDisk.parse(JSON.parse(readFileSync(path, 'utf8')));
    if (position >= toBytes || position + length <= fromBytes) return false;
    unlinkSync(path);
    return true;
  } catch {
    return false; // no order
  }
}

function noSpace(): NodeJS.ErrnoException {
  return Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
}
