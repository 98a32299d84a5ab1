/** A group of three on a store in memory, as the balancer of one member has it; the plan is the test's. */
import { pino } from 'pino';
import type { Test } from 'tap';
import type { GroupPicture, Plan, ProposedMove } from '../../lib/balance/contract.js';
import { systemClock } from '../../lib/base/clock.js';
import { silentLog } from '../../lib/base/log.js';
import { SeededRandom } from '../../lib/base/random.js';
import { createVolume, ensureGroup } from '../../lib/group/admin.js';
import { MemoryStore } from '../../lib/group/memory-store.js';
import { BalanceRecord, MoveRecord, formatRecord, keys, parseRecord } from '../../lib/group/records.js';
import type { DatedVector, LoadVector } from '../../lib/load/vector.js';
import { Balancer } from '../../lib/member/balancer.js';
import { MemberIds } from '../../lib/routing/member-ids.js';
import { RoutingTable } from '../../lib/routing/table.js';

export const random = new SeededRandom(7);
export const MiB = 1024 ** 2;

function vector(member: string, requestsPerSecond: number, serviceMs = 1): LoadVector {
  return {
    ...{ member, incarnation: 'i', sequence: 1, measuredAtMs: 1, windowMs: 1000 },
    server: {
      ...{ processors: 0.1, loopBusy: 0.1, loopDelayMsP99: 1, sessions: 1, bytesIn: 0, bytesOut: 0 },
      roundTripMs: {},
    },
    storage: {
      ...{
        readsPerSecond: requestsPerSecond,
        writesPerSecond: 0,
        readBytesPerSecond: 0,
        writeBytesPerSecond: 0,
      },
      ...{
        queueDepth: 1,
        serviceMs: { mean: serviceMs, p50: 1, p99: 1 },
        usedBytes: 32 * MiB,
        freeBytes: 1024 * MiB,
      },
    },
    volumes: [],
  };
}

export const NOTHING: Plan = {
  verdict: 'balanced',
  measure: null,
  reason: 'even',
  moves: [],
  alternatives: [],
};

export function toMove(volume: string, to: string, extents: ProposedMove['extents'] = null): ProposedMove {
  const predicted = { measure: 1.1, latencyMsBefore: 2, latencyMsAfter: 1, payBackMs: Infinity };
  return {
    volume,
    extents,
    from: 'm1',
    to,
    requestsPerSecond: 5,
    bytes: MiB,
    predicted,
    reason: 'it is hot',
    after: null,
  };
}

export function act(...moves: ProposedMove[]): Plan {
  return {
    verdict: 'act',
    measure: { name: 'share of m1', value: 2, limit: 1.25 },
    reason: 'much',
    moves,
    alternatives: [],
  };
}

/** A group of three on a memory store, as m1 sees it: it serves 900 of 1,000 requests. */
export class BalancerRig {
  readonly store = new MemoryStore({ clock: systemClock, random });
  readonly vectors = new Map<string, DatedVector>();
  table!: RoutingTable;
  balance = BalanceRecord.parse({});
  pictures: GroupPicture[] = [];
  /** What was warned of. */
  readonly warnings: string[] = [];
  plan: (picture: GroupPicture) => Plan | Promise<Plan> = () => NOTHING;
  present = ['m1', 'm2', 'm3'];

  static async make(t: Test): Promise<BalancerRig> {
    const rig = new BalancerRig();
    t.teardown(() => {
      rig.table.close();
      return rig.store.close();
    });
    const doors = { clock: systemClock, random };
    await ensureGroup(rig.store, doors);
    const at = { host: '127.0.0.1', port: 1 };
    for (const name of ['m1', 'm2', 'm3']) {
      const record = { name, portal: at, peer: at, pid: 1, incarnation: 'i', startedAtMs: 0 };
      await rig.store.txn([], [{ put: keys.member(name), value: formatRecord(record) }]);
      rig.tell(name, name === 'm1' ? 900 : 50);
    }
    for (const name of ['a', 'b']) {
      const size = { sizeBytes: 16 * MiB, extentBytes: MiB, blockBytes: 512 as const };
      await createVolume(rig.store, doors, { name, home: 'm1', ...size });
    }
    rig.table = await RoutingTable.open(rig.store, new MemberIds(), silentLog, systemClock);
    return rig;
  }

  tell(name: string, requestsPerSecond: number, isFresh = true, serviceMs = 1): void {
    this.vectors.set(name, { vector: vector(name, requestsPerSecond, serviceMs), ageMs: 10, isFresh });
  }

  balancer(self = 'm1'): Balancer {
    const { store, table } = this;
    return new Balancer({
      ...{ self, store, table, random, clock: systemClock },
      log: pino({ level: 'warn' }, { write: (line) => void this.warnings.push(line) }),
      plan: (picture) => {
        this.pictures.push(picture);
        return this.plan(picture) as Plan;
      },
      members: () => this.present,
      vectors: () => this.vectors,
      balance: () => this.balance,
    });
  }

  async end(
    id: string,
    finishedAtMs = systemClock.wallMs(),
    ending: MoveRecord['state'] | Partial<MoveRecord> = 'done',
  ): Promise<void> {
    const entry = await this.store.get(keys.move(id));
    if (entry === undefined) throw new Error(`no move ${id}`);
    const move = parseRecord(MoveRecord, entry);
    const how = typeof ending === 'string' ? { state: ending } : ending;
    const ended = { ...move, ...how, finishedAtMs: Math.floor(finishedAtMs) };
    await this.store.txn(
      [],
      [{ put: keys.move(id), value: formatRecord(ended) }, { delete: keys.moving(move.volume) }],
    );
  }
}
