/** Is a member's process still there? Known only for processes of this machine, by their number. */

/**
 * False only when it is certain that the process is gone. A member of another machine may always be running; a number
 * that was given to another process in the meantime counts as running too, which costs a wait and nothing else.
 */
export function isProcessRunning(member: {
  readonly pid: number;
  readonly peer: { readonly host: string };
}): boolean {
  if (!isLoopback(member.peer.host)) return true;
  try {
    process.kill(member.pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === '::1';
}
