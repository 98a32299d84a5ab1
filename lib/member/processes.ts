/** Is a member's process still there? Known only for processes of this machine, by their number. */
import { isProcessGone } from '../base/processes.js';

/** False only when it is certain that the process is gone; a member of another machine may always be running. */
export function isProcessRunning(
  member: { readonly pid: number; readonly peer: { readonly host: string } },
  isGone = isProcessGone,
): boolean {
  return !isLoopback(member.peer.host) || !isGone(member.pid);
}

function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === '::1';
}
