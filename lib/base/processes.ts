/** Processes of this machine, as the kernel knows them: is one still there, and since when is the machine? */
import { readFileSync } from 'node:fs';
import { errnoOf } from './errors.js';

/**
 * True only when it is certain that the process has ended. One that was killed and not yet reaped by its parent (a
 * zombie) has: it holds no file, socket or lock any more, though its number is still taken. A number that was given
 * to another process in the meantime counts as there.
 */
export function isProcessGone(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return errnoOf(error) === 'ESRCH';
  }
  try {
    // proc(5): "pid (comm) state …"; comm may hold anything, so the last parenthesis counts.
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const state = stat.charAt(stat.lastIndexOf(')') + 2);
    return state === 'Z' || state === 'X';
  } catch {
    return false;
  }
}

/** Which boot of this machine it is (random(4)): the kernel's cache is that old. '' where the kernel does not say. */
export function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return '';
  }
}
