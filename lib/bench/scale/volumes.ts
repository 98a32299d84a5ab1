/** What volumes cost a group at rest: the time until it is ready, and the memory of its largest member. */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../base/clock.js';
import { formatSize } from '../../base/units.js';
import { Initiator } from '../../iscsi/initiator/index.js';
import type { BenchSettings } from '../case.js';
import { curveResult, type Curve } from '../report.js';
import { Scope } from '../scope.js';
import { startGroupAt } from '../servers.js';
import { median } from '../stats.js';
import { residentBytes } from './memory.js';

const STEPS = [10, 100, 1000];
const MEMBERS = 3;
const VOLUME_BYTES = 64 * 1024 * 1024;
const READY_SECONDS_GOAL = 5;
const MEMBER_MIB_GOAL = 250;
const LOGINS = 20;

type Points = { size: number; value: number }[];

export async function measureVolumes(
  settings: BenchSettings,
  progress: (text: string) => void,
): Promise<Curve[]> {
  const data = await mkdtemp(join(settings.workFolder, 'volumes-'));
  const ready: Points = [];
  const memory: Points = [];
  const login: Points = [];
  try {
    let existing = 0;
    for (const size of STEPS) {
      progress(`${size} volumes of ${formatSize(VOLUME_BYTES)}: creating`);
      await createVolumes(data, existing, size);
      existing = size;
      progress(`${size} volumes: starting the group`);
      const step = await measureStart(data);
      ready.push({ size, value: step.readySeconds });
      memory.push({ size, value: step.memberMiB });
      login.push({ size, value: step.loginMs });
    }
  } finally {
    await rm(data, { recursive: true, force: true });
  }
  const sizeName = 'volumes';
  return [
    curveResult(
      { id: 'ready', title: 'start of a group of three until ready', unit: 's', sizeName, points: ready },
      { atMost: READY_SECONDS_GOAL },
    ),
    curveResult(
      { id: 'member-memory', title: 'memory of the largest member', unit: 'MiB', sizeName, points: memory },
      { atMost: MEMBER_MIB_GOAL },
    ),
    curveResult({
      id: 'volume-login',
      title: 'login by the group portal',
      unit: 'ms',
      sizeName,
      points: login,
    }),
  ];
}

const nameOf = (index: number): string => `v${index}`;

async function createVolumes(data: string, from: number, to: number): Promise<void> {
  const scope = new Scope();
  try {
    const { client } = await startGroupAt(data, MEMBERS, scope);
    for (let i = from; i < to; i++) {
      await client.createVolume({ name: nameOf(i), size: VOLUME_BYTES, home: `m${(i % MEMBERS) + 1}` });
    }
  } finally {
    await scope.close();
  }
}

async function measureStart(
  data: string,
): Promise<{ readySeconds: number; memberMiB: number; loginMs: number }> {
  const scope = new Scope();
  try {
    const begunMs = systemClock.nowMs();
    const { members, client } = await startGroupAt(data, MEMBERS, scope);
    const readySeconds = (systemClock.nowMs() - begunMs) / 1000;
    const bytes = await Promise.all(members.map((member) => residentBytes(member.pid)));
    const { url } = await client.volume(nameOf(0));
    const tookMs: number[] = [];
    for (let i = 0; i < LOGINS; i++) {
      const loginMs = systemClock.nowMs();
      const initiator = await Initiator.connect(url);
      tookMs.push(systemClock.nowMs() - loginMs);
      await initiator.close();
    }
    return { readySeconds, memberMiB: Math.max(...bytes) / 1024 / 1024, loginMs: median(tookMs) };
  } finally {
    await scope.close();
  }
}
