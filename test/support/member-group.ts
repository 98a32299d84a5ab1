/** A whole group in this process: shipped members over real sockets and files, and one store in memory. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { sleep, systemClock, type Clock } from '../../lib/base/clock.js';
import { silentLog } from '../../lib/base/log.js';
import { SeededRandom } from '../../lib/base/random.js';
import { createMove } from '../../lib/group/admin-moves.js';
import { createVolume, type WantedVolume } from '../../lib/group/admin-volumes.js';
import { ensureGroup } from '../../lib/group/admin.js';
import type { GroupStore } from '../../lib/group/store.js';
import { MemoryStore } from '../../lib/group/memory-store.js';
import { MoveRecord, RouteHeadRecord, keys, parseRecord } from '../../lib/group/records.js';
import { Initiator, type InitiatorOptions } from '../../lib/iscsi/initiator/index.js';
import { memberDoors, type MemberDoors } from '../../lib/member/doors.js';
import { Member } from '../../lib/member.js';
import { until } from './wait.js';

const doors = { clock: systemClock, random: new SeededRandom(11) };
const ANY = { host: '127.0.0.1', port: 0 };

export class MemberGroup {
  readonly store = new MemoryStore(doors);
  readonly members = new Map<string, Member>();
  /** Of members that are yet to start. */
  clock: Clock = systemClock;

  constructor(
    readonly path: string,
    private readonly access: 'redirect' | 'alua',
  ) {}

  async start(name: string, access = this.access, more: Partial<MemberDoors> = {}): Promise<void> {
    const options = {
      ...{ name, access, storeUrl: 'memory', dataFolder: join(this.path, name), log: silentLog },
      ...{ portal: ANY, peer: ANY, clock: this.clock, random: new SeededRandom(this.members.size) },
      busyPollUs: 0,
    };
    const openStore = () => Promise.resolve(doorOf(this.store));
    this.members.set(name, await Member.start(options, { ...memberDoors(), openStore, ...more }));
  }

  async stop(name: string): Promise<void> {
    const member = this.members.get(name);
    this.members.delete(name);
    await member?.stop();
  }

  async create(home: string, kind: Partial<WantedVolume> = {}): Promise<void> {
    const size = { sizeBytes: 4 * 1024 * 1024, blockBytes: 512 as const, extentBytes: 256 * 1024 };
    await createVolume(this.store, doors, { name: 'v', home, ...size, ...kind });
  }

  portalOf(name: string): string {
    const portal = this.members.get(name)?.portal;
    return `${portal?.host}:${portal?.port}`;
  }

  /** A session at one member. */
  async at(member: string, options: InitiatorOptions = {}): Promise<Initiator> {
    const initiatorName = `iqn.2026-11.test:at-${member}`;
    const url = `iscsi://${this.portalOf(member)}/iqn.2026-11.org.blockferry:v/0`;
    for (let tries = 0; ; tries++) {
      try {
        return await Initiator.connect(url, { initiatorName, ...options });
      } catch (error) {
        if (tries === 20) throw error; // the member has not heard of the volume
        await sleep(systemClock, 20);
      }
    }
  }

  async home(): Promise<string> {
    const entry = await this.store.get(keys.routeHead('v'));
    return entry === undefined ? '' : parseRecord(RouteHeadRecord, entry).home;
  }

  /** Moves the volume, its home included. Resolves with how it ended. */
  async move(to: string): Promise<MoveRecord['state']> {
    const wanted = { volume: 'v', to, range: null, rateBytesPerSecond: null, handover: 'ask' as const };
    const { id } = await createMove(this.store, doors, wanted);
    let state: MoveRecord['state'] = 'active';
    await until('the move ends', async () => {
      const entry = await this.store.get(keys.move(id));
      state = entry === undefined ? 'failed' : parseRecord(MoveRecord, entry).state;
      return state !== 'active';
    });
    return state;
  }
}

/** The store as each member opens it: one that ends closes no other's. */
export function doorOf(store: MemoryStore): GroupStore {
  return {
    get: (key) => store.get(key),
    list: (prefix) => store.list(prefix),
    txn: (...asked) => store.txn(...asked),
    watch: (...asked) => store.watch(...asked),
    lease: (ttlMs) => store.lease(ttlMs),
    close: () => Promise.resolve(),
  };
}

export async function makeGroup(
  t: Test,
  members: readonly string[],
  access: 'redirect' | 'alua' = 'alua',
): Promise<MemberGroup> {
  const path = await mkdtemp(join(tmpdir(), 'blockferry-'));
  const group = new MemberGroup(path, access);
  await ensureGroup(group.store, doors);
  for (const name of members) await group.start(name);
  t.teardown(async () => {
    for (const name of [...group.members.keys()]) await group.stop(name);
    await group.store.close();
    await rm(path, { recursive: true });
  });
  return group;
}
