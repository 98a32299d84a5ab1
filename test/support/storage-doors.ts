/** Stand-ins for the doors of storage: the real calls with some replaced, a clock that is set by hand, a folder to play in. */
import { mkdtempSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { silentLog } from '../../lib/base/log.js';
import { type FileCalls, type StorageDoors, systemDoors } from '../../lib/storage/doors.js';
import type { OpenOptions } from '../../lib/storage/open-file.js';

const KiB = 1024;

/** The real doors with some calls replaced. */
export function doorsWith(calls: Partial<FileCalls>, others: Partial<StorageDoors> = {}): StorageDoors {
  const real = systemDoors();
  return { ...real, ...others, calls: { ...real.calls, ...calls } };
}

/** A machine where neither koffi nor fs-native-extensions loads. */
export function bareDoors(): StorageDoors {
  return doorsWith({}, { native: null, extensions: null });
}

/** A clock that only a test advances. */
export class HandClock {
  atMs = 0;
  readonly nowMs = (): number => this.atMs;
}

/** An error as Node makes them. */
export function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: as the test asked`), { code });
}

/** A folder that is removed when the test ends. */
export async function makeFolder(t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'blockferry-storage-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** A new folder for all tests of a file, removed when the process ends. */
export function makeSharedFolder(): string {
  const path = mkdtempSync(join(tmpdir(), 'blockferry-'));
  process.once('exit', () => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** How most tests open: a new file of `sizeBytes` and blocks of 512. */
export function newFile(sizeBytes = 1024 * KiB): OpenOptions {
  return { sizeBytes, blockBytes: 512, create: true, readOnly: false, log: silentLog };
}

/** How most tests open again. */
export const existing: OpenOptions = { blockBytes: 512, create: false, readOnly: false, log: silentLog };
