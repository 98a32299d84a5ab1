/**
 * A group of three on which a scene is played: members whose disks serve one request at a time, volumes all of whose
 * extents begin where the scene says, and what the group tells of itself meanwhile. Judges nothing.
 */
import { sleep, systemClock } from '../../base/clock.js';
import { startGroup, type Group } from '../../bench/servers.js';
import type { Scope } from '../../bench/scope.js';
import type { MoveView } from '../../manage/api.js';
import { Load, type LoadOrder } from './loads.js';

export const MEMBERS = ['m1', 'm2', 'm3'] as const;
const EXTENT_BYTES = 1024 * 1024;
const VOLUME_BYTES = 32 * EXTENT_BYTES;
/** A member tells of itself at the end of each window of four seconds. */
const TOLD_MS_MAX = 10_000;
const POLL_MS = 200;

/** What a member's storage served in its last window. */
export interface MemberServed {
  readonly member: string;
  readonly requestsPerSecond: number;
  readonly latencyMs: number;
}

export interface WantedLoad extends Omit<LoadOrder, 'url' | 'seed'> {
  readonly volume: string;
  readonly home: string;
}

export class Stage {
  private readonly loads: Load[] = [];

  private constructor(
    readonly group: Group,
    private readonly scope: Scope,
  ) {}

  /** @param diskMs what each member's disk takes for a request */
  static async open(diskMs: readonly number[], workFolder: string, scope: Scope): Promise<Stage> {
    const args = diskMs.flatMap((ms, i) => ['--disk-time', `${MEMBERS[i]}=${ms * 1000}us`]);
    const group = await startGroup(MEMBERS.length, workFolder, scope, { args, balance: 'demonstration' });
    return new Stage(group, scope);
  }

  /** Makes the volumes and fills them while nothing is balanced; then everybody begins at once. */
  async load(wanted: readonly WantedLoad[]): Promise<void> {
    await this.prepare(wanted);
    for (const load of this.loads) load.begin();
  }

  async prepare(wanted: readonly WantedLoad[]): Promise<readonly Load[]> {
    const { client } = this.group;
    const { settings } = await client.setBalance({ settings: { policy: 'none' } });
    for (const [i, { volume, home, ...order }] of wanted.entries()) {
      const size = { size: VOLUME_BYTES, extentSize: EXTENT_BYTES };
      const { url } = await client.createVolume({ name: volume, home, ...size });
      const load = await Load.prepare({ ...order, url, seed: i + 1 });
      this.scope.defer(() => load.close());
      this.loads.push(load);
    }
    await sleep(systemClock, settings.windowMs); // what was served while they were filled is forgotten
    return this.loads;
  }

  async balance(policy: 'heat' | 'share' | 'latency-gap' = 'heat'): Promise<void> {
    await this.group.client.setBalance({ settings: { policy } });
  }

  /** Requests answered to everybody, ever. */
  get ops(): number {
    return this.loads.reduce((sum, load) => sum + load.ops, 0);
  }

  /** Answers a second over a time. */
  async throughput(ms: number): Promise<number> {
    const before = this.ops;
    const beganMs = systemClock.nowMs();
    await sleep(systemClock, ms);
    return ((this.ops - before) / (systemClock.nowMs() - beganMs)) * 1000;
  }

  /** Of every member, once all have told it lately; of none where one does not. */
  async served(): Promise<MemberServed[]> {
    const deadlineMs = systemClock.nowMs() + TOLD_MS_MAX;
    for (;;) {
      const { members } = await this.group.client.loads();
      const served = members.flatMap(({ vector, stale }) => {
        if (vector === null || stale) return [];
        const { member, storage } = vector;
        const requestsPerSecond = storage.readsPerSecond + storage.writesPerSecond;
        return [{ member, requestsPerSecond, latencyMs: storage.serviceMs.mean }];
      });
      if (served.length === MEMBERS.length) return served;
      if (systemClock.nowMs() > deadlineMs) return [];
      await sleep(systemClock, POLL_MS);
    }
  }

  /** Of the group's decisions since a moment of the wall clock, the latest first. */
  async verdicts(sinceMs: number): Promise<string[]> {
    const decisions = await this.group.client.decisions();
    return decisions.filter(({ lastAtMs }) => lastAtMs >= sinceMs).map(({ verdict }) => verdict);
  }

  moves(): Promise<MoveView[]> {
    return this.group.client.moves();
  }

  /** Ends the loads. @returns how many commands failed, or brought or left a wrong block */
  async end(): Promise<number> {
    let bad = 0;
    for (const load of this.loads) {
      const { errors, wrongCount, violations } = await load.end();
      bad += errors + wrongCount + violations.length;
    }
    return bad;
  }
}
