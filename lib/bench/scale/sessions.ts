/** What an idle session costs the process that serves it. */
import { join } from 'node:path';
import { sleep, systemClock } from '../../base/clock.js';
import { initiatorIqn } from '../../base/iscsi-names.js';
import { Initiator } from '../../iscsi/initiator/index.js';
import type { BenchSettings } from '../case.js';
import { makeSparseImage } from '../images.js';
import { curveResult, type Curve } from '../report.js';
import { Scope } from '../scope.js';
import { startServe } from '../servers.js';
import { median } from '../stats.js';
import { residentBytes } from './memory.js';

const STEPS = [5, 50, 500];
const IMAGE_BYTES = 64 * 1024 * 1024;
const KIB_GOAL = 64;
const SETTLE_MS = 1500;
/** Logins before the first measurement, so that what the process loads once is not counted as a session's. */
const WARM_UP_SESSIONS = 20;

export async function measureSessions(
  settings: BenchSettings,
  progress: (text: string) => void,
): Promise<Curve[]> {
  const scope = new Scope();
  try {
    const image = join(settings.workFolder, 'sessions.img');
    await makeSparseImage(image, IMAGE_BYTES);
    const { urls, pid } = await startServe([image], scope);
    const [url = ''] = urls;
    for (let i = 0; i < WARM_UP_SESSIONS; i++) await (await logIn(url, i)).close();
    await sleep(systemClock, SETTLE_MS);
    const emptyBytes = await residentBytes(pid);
    const memory: { size: number; value: number }[] = [];
    const login: { size: number; value: number }[] = [];
    const open: Initiator[] = [];
    scope.defer(() => Promise.all(open.map((initiator) => initiator.close())));
    for (const size of STEPS) {
      progress(`idle sessions: ${size}`);
      const tookMs: number[] = [];
      while (open.length < size) {
        const begunMs = systemClock.nowMs();
        open.push(await logIn(url, open.length));
        tookMs.push(systemClock.nowMs() - begunMs);
      }
      await sleep(systemClock, SETTLE_MS);
      memory.push({ size, value: ((await residentBytes(pid)) - emptyBytes) / 1024 / size });
      login.push({ size, value: median(tookMs) });
    }
    const sizeName = 'sessions';
    return [
      curveResult(
        { id: 'session-memory', title: 'memory per idle session', unit: 'KiB', sizeName, points: memory },
        { atMost: KIB_GOAL },
      ),
      curveResult({ id: 'login', title: 'login', unit: 'ms', sizeName, points: login }),
    ];
  } finally {
    await scope.close();
  }
}

function logIn(url: string, index: number): Promise<Initiator> {
  return Initiator.connect(url, {
    initiatorName: initiatorIqn(`idle-${index}`),
    pingMs: 0,
  });
}
