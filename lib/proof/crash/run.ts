/**
 * One crash from its scene to its verdict: the plot begins, the blow falls at the waypoint, who was stopped goes on, the
 * group has to recover by itself, the plot has to end as if nothing had been, and every block is read and judged.
 */
import { sleep, systemClock } from '../../base/clock.js';
import { BlockferryError, describeError } from '../../base/errors.js';
import { LEASE_TTL_MS } from '../../base/limits.js';
import { Scope } from '../../bench/scope.js';
import { within } from '../../bench/within.js';
import { MEMBER_OF, ROLES, type CrashCase } from './cases.js';
import { beginPlot, type PlotEnd } from './plots.js';
import { EXTENTS, Scene, VOLUME } from './scene.js';

export interface CrashResult {
  readonly id: string;
  /** From the blow (for a member that was stopped: from its going on) until all serve and all are served. */
  readonly recoveryMs: number;
  /** The longest that any command of the initiators took, the time of a stop included. */
  readonly stallMs: number;
  /** What was wrong, one line each; none: it held. */
  readonly faults: readonly string[];
  /** What the group logged last where something was wrong. */
  readonly said: readonly string[];
}

/** A group that has not recovered by then has not recovered. */
const RECOVERY_MS_MAX = 20_000;
/** A point that is not passed by then is not on the way of its plot: a fault of the table. */
const STRIKE_MS_MAX = 20_000;
/** Longer than the lease, so that the others have seen it run out. */
const STOPPED_MS = LEASE_TTL_MS + 1500;
const WARM_UP_MS = 200;
const POLL_MS = 20;

/** @param lane which of those that run at a time */
export async function runCrash(crash: CrashCase, workFolder: string, lane = 0): Promise<CrashResult> {
  const scope = new Scope();
  let recoveryMs = NaN;
  let stallMs = NaN;
  const faults: string[] = [];
  let scene: Scene | undefined;
  try {
    scene = await Scene.open(workFolder, scope, { host: `127.0.1.${lane + 1}` });
    await scene.makeVolume(VOLUME, EXTENTS);
    await scene.spread();
    await scene.load(scope);
    await sleep(systemClock, WARM_UP_MS);
    const { end, killed } = await strike(crash, scene);
    const fromMs = systemClock.nowMs();
    await recover(scene, killed, fromMs + RECOVERY_MS_MAX);
    recoveryMs = systemClock.nowMs() - fromMs;
    faults.push(...(await within(end(), RECOVERY_MS_MAX, 'what was asked for does not end')));
    const verdict = await scene.judge();
    stallMs = verdict.stallMs;
    faults.push(...verdict.faults);
  } catch (error) {
    faults.push(describeError(error));
  }
  faults.push(...(await scope.close()));
  const said = faults.length > 0 ? (scene?.lastWords() ?? []) : [];
  return { id: crash.id, recoveryMs, stallMs, faults, said };
}

interface Struck {
  readonly end: PlotEnd;
  /** Processes that are dead now. */
  readonly killed: ReadonlySet<number>;
}

/** Resolves when the blow has fallen and who was stopped goes on. */
async function strike(crash: CrashCase, scene: Scene): Promise<Struck> {
  const { place, point, blow } = crash;
  const signal = blow === 'kill' ? 'SIGKILL' : 'SIGSTOP';
  const by = MEMBER_OF[place.by];
  const others = crash.victims.filter((role) => role !== place.by);
  const pids = await Promise.all(others.map((role) => scene.pidOf(MEMBER_OF[role])));
  const ownPid = await scene.pidOf(by);
  const isHit = crash.victims.includes(place.by);
  const victims = [...pids, ...(isHit ? [0] : [])].map((pid) => ({ pid, signal }) as const);
  const order = { point, nth: place.nth ?? 1, victims };
  if (blow === 'kill') for (const role of crash.victims) scene.willDie(MEMBER_OF[role]);
  const end = await beginPlot(place, scene, () => scene.desk.give(by, order));
  const deadlineMs = systemClock.nowMs() + STRIKE_MS_MAX;
  while (scene.desk.carriedAtMs(by) === undefined) {
    if (systemClock.nowMs() > deadlineMs)
      throw new BlockferryError('INTERNAL', `${by} never came to ${point}`);
    await sleep(systemClock, POLL_MS);
  }
  const hit = [...pids, ...(isHit ? [ownPid] : [])];
  if (blow === 'kill') return { end, killed: new Set(hit) };
  await sleep(systemClock, STOPPED_MS);
  for (const pid of hit) process.kill(pid, 'SIGCONT');
  return { end, killed: new Set() };
}

/** Every member serves, none by a dead process whose end was not seen yet, and initiators are answered. */
async function recover(scene: Scene, killed: ReadonlySet<number>, deadlineMs: number): Promise<void> {
  for (;;) {
    const { members } = await scene.client.status();
    const serve = members.filter(({ alive, pid }) => alive && !killed.has(pid));
    if (serve.length === ROLES.length) break;
    if (systemClock.nowMs() > deadlineMs) throw new BlockferryError('IO', 'a member does not come back');
    await sleep(systemClock, POLL_MS);
  }
  await scene.untilServed(deadlineMs);
}
