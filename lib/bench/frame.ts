/** What is around every job of make that measures or proves: a folder to work in, a line of progress, an exit code. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { BlockferryError, describeError } from '../base/errors.js';

/** Gives `work` a new folder in `folder`, which is gone when that has ended. */
export async function inWorkFolder<T>(
  folder: string,
  name: string,
  work: (workFolder: string) => Promise<T>,
): Promise<T> {
  await mkdir(folder, { recursive: true });
  const workFolder = await mkdtemp(join(folder, `${name}-`));
  try {
    return await work(workFolder);
  } finally {
    await rm(workFolder, { recursive: true, force: true });
  }
}

/** One line that is written over on a terminal; nothing elsewhere. '' wipes it. */
export function showProgress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}

/** Runs a job as this process, whose exit code is the job's; 2 when it was asked for wrongly, 1 when it failed. */
export async function runAsProcess(job: () => Promise<number | void>): Promise<void> {
  try {
    const code = await job();
    if (code !== undefined) process.exitCode = code;
  } catch (error) {
    process.stderr.write(`${describeError(error)}\n`);
    process.exitCode = error instanceof BlockferryError && error.code === 'USAGE' ? 2 : 1;
  }
}
