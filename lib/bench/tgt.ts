/** Debian's tgt as the baseline: one tgtd of our own beside whatever else runs, a target per image, LUN 1 each. */
import { join } from 'node:path';
import { sleep, systemClock } from '../base/clock.js';
import { targetIqn } from '../base/iscsi-names.js';
import { SkipCase } from './case.js';
import { Running, freePort, runToEnd } from './process.js';
import type { Scope } from './scope.js';
import { findTool } from './tools.js';

const START_PATIENCE_MS = 5_000;
const POLL_MS = 50;
/** tgtd takes numbers below 32768. */
const CONTROL_NUMBERS = 30_000;

/**
 * Starts tgtd on `images`; it ends with `scope`.
 * @returns an iscsi:// URL per image
 */
export async function startTgt(images: readonly string[], folder: string, scope: Scope): Promise<string[]> {
  const port = await freePort();
  // The number names the control socket; with a socket path of our own no root is needed, and nobody else's is met.
  const control = String(port % CONTROL_NUMBERS);
  const env = { TGT_IPC_SOCKET: join(folder, 'tgtd') };
  const daemon = findTool('tgtd') ?? 'tgtd';
  const args = ['-f', '--iscsi', `portal=127.0.0.1:${port}`, '-C', control];
  const tgtd = Running.start(daemon, args, { env, endedBy: 'SIGKILL' }); // SIGTERM does not end it
  scope.defer(() => tgtd.stop());
  const admin = (...more: string[]): Promise<string> =>
    runToEnd(findTool('tgtadm') ?? 'tgtadm', ['-C', control, '--lld', 'iscsi', ...more], { env });
  await untilReady(tgtd, admin);
  const urls: string[] = [];
  for (const [index, image] of images.entries()) {
    const tid = String(index + 1);
    const iqn = targetIqn(`tgt-${tid}`);
    await admin('--op', 'new', '--mode', 'target', '--tid', tid, '-T', iqn);
    await admin('--op', 'new', '--mode', 'logicalunit', '--tid', tid, '--lun', '1', '-b', image);
    await admin('--op', 'bind', '--mode', 'target', '--tid', tid, '-I', 'ALL');
    urls.push(`iscsi://127.0.0.1:${port}/${iqn}/1`);
  }
  return urls;
}

async function untilReady(tgtd: Running, admin: (...args: string[]) => Promise<string>): Promise<void> {
  const deadline = Date.now() + START_PATIENCE_MS;
  for (;;) {
    try {
      await admin('--op', 'show', '--mode', 'target');
      return;
    } catch (error) {
      if (tgtd.hasEnded || Date.now() > deadline) {
        throw new SkipCase(`tgtd does not start: ${(error as Error).message}; ${tgtd.fault('').message}`);
      }
      await sleep(systemClock, POLL_MS);
    }
  }
}
