/** How much memory a process holds, from /proc. */
import { readFile } from 'node:fs/promises';

/** Resident bytes; NaN where there is no /proc. */
export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}
