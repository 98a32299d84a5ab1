/** Is a member's process still there? Known only for processes of this machine, by their number. */
import { isLoopback } from '../base/net.js';

/**
 * False only when it is certain that the process is gone; a member of another machine may always be running.
 * @param isGone whether a process of this machine has ended
 */
export function isProcessRunning(
  member: { readonly pid: number; readonly peer: { readonly host: string } },
  isGone: (pid: number) => boolean,
): boolean {
  return !isLoopback(member.peer.host) || !isGone(member.pid);
}
