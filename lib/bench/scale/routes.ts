/**
 * What a large volume costs its routing table and the group store: lookup, commit, size; and the same by the number of
 * members that hold a part. In this process, on a store of its own, since no I/O is involved.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { systemClock } from '../../base/clock.js';
import { targetIqn } from '../../base/iscsi-names.js';
import { EXTENTS_MAX, EXTENT_BYTES_DEFAULT, MEMBERS_MAX } from '../../base/limits.js';
import { SeededRandom, randomBelow, systemRandom } from '../../base/random.js';
import { openStore } from '../../group/open-store.js';
import {
  ROUTE_CHUNK_EXTENTS,
  formatRecord,
  keys,
  type RouteChunkRecord,
  type VolumeRecord,
} from '../../group/records.js';
import type { GroupStore, StoreOperation } from '../../group/store.js';
import { MemberIds } from '../../routing/member-ids.js';
import { RoutingTable, type RoutedVolume } from '../../routing/table.js';
import type { BenchSettings } from '../case.js';
import { curveResult, type Curve } from '../report.js';
import { median, type Goal } from '../stats.js';

/** Up to 16 TiB in extents of 4 MiB. */
const EXTENT_STEPS = [EXTENTS_MAX / 1024, EXTENTS_MAX / 128, EXTENTS_MAX / 16, EXTENTS_MAX];
const MEMBER_STEPS = [1, 8, MEMBERS_MAX];
const COMMITS = 40;
const LOOKUPS = 1_000_000;

interface Step {
  readonly size: number;
  readonly lookupNs: number;
  readonly commitMs: number;
  readonly bytes: number;
}

/** What of the steps a curve shows. */
interface Measure extends Pick<Curve, 'id' | 'title' | 'unit'> {
  readonly goal?: Goal;
  readonly value: (step: Step) => number;
}

const LOOKUP: Measure = { id: 'lookup', title: 'lookup', unit: 'ns', value: (step) => step.lookupNs };
const COMMIT: Measure = {
  ...{ id: 'commit', title: 'commit', unit: 'ms', goal: { atMost: 10 } },
  value: (step) => step.commitMs,
};
const ROUTE: Measure = {
  ...{ id: 'route', title: 'route when whole', unit: 'MiB', goal: { atMost: 1 } },
  value: (step) => step.bytes / 1024 ** 2,
};

export async function measureRoutes(
  settings: BenchSettings,
  progress: (text: string) => void,
): Promise<Curve[]> {
  progress('routes');
  await measureRoute(settings.workFolder, EXTENTS_MAX / 1024, 1, 0); // compiled and in caches before it counts
  const byExtents: Step[] = [];
  for (const extents of EXTENT_STEPS) {
    progress(`a route of ${extents} extents`);
    byExtents.push(await measureRoute(settings.workFolder, extents, 1, extents));
  }
  const byMembers: Step[] = [];
  for (const members of MEMBER_STEPS) {
    progress(`a route over ${members} members`);
    byMembers.push(await measureRoute(settings.workFolder, EXTENTS_MAX / 16, members, members));
  }
  return [
    drawn(LOOKUP, byExtents, 'extents'),
    drawn(COMMIT, byExtents, 'extents'),
    drawn(ROUTE, byExtents, 'extents'),
    drawn({ ...LOOKUP, id: 'lookup-members' }, byMembers, 'members'),
    drawn({ ...COMMIT, id: 'commit-members' }, byMembers, 'members'),
  ];
}

function drawn({ value, goal, ...what }: Measure, steps: readonly Step[], sizeName: string): Curve {
  const points = steps.map((step) => ({ size: step.size, value: value(step) }));
  return curveResult({ ...what, sizeName, points }, goal);
}

/** A volume of `extents`, spread over `members` extent by extent when there are several, in a store of its own. */
async function measureRoute(folder: string, extents: number, members: number, size: number): Promise<Step> {
  const path = await mkdtemp(join(folder, 'store-'));
  const log = pino({ level: 'error' });
  const store = await openStore(`embedded:${path}`, { clock: systemClock, random: systemRandom, log });
  try {
    const bytes = await writeVolume(store, extents, members);
    const table = await RoutingTable.open(store, new MemberIds(), log, systemClock);
    try {
      const lookupNs = timeLookups(volumeOf(table), extents);
      return { size, bytes, lookupNs, commitMs: await timeCommits(table, extents) };
    } finally {
      table.close();
    }
  } finally {
    await store.close();
    await rm(path, { recursive: true, force: true });
  }
}

const NAME = 'large';
const memberAt = (index: number): string => `m${index + 1}`;

/** @returns bytes of the route's records */
async function writeVolume(store: GroupStore, extents: number, members: number): Promise<number> {
  const record: VolumeRecord = {
    ...{ id: 1, name: NAME, iqn: targetIqn(NAME), blockBytes: 512, createdAtMs: 0 },
    ...{ sizeBytes: extents * EXTENT_BYTES_DEFAULT, extentBytes: EXTENT_BYTES_DEFAULT },
    ...{ serial: '0'.repeat(16), naa: '3'.padEnd(16, '0') },
    ...{ removable: false, readOnly: false, full: false, vendor: 'BLKFERRY', product: 'VOLUME' },
  };
  const head = formatRecord({ epoch: 1, home: memberAt(0), base: memberAt(0), extents });
  const chunks = members === 1 ? 0 : Math.ceil(extents / ROUTE_CHUNK_EXTENTS);
  let bytes = head.length;
  await store.txn(
    [],
    [
      { put: keys.volume(NAME), value: formatRecord(record) },
      { put: keys.routeHead(NAME), value: head },
    ],
  );
  for (let index = 0; index < chunks; index++) {
    const operation = { put: keys.routeChunk(NAME, index), value: formatRecord(spreadChunk(members)) };
    bytes += operation.value.length;
    await store.txn([], [operation satisfies StoreOperation]);
  }
  return bytes;
}

function spreadChunk(members: number): RouteChunkRecord {
  const runs = Array.from({ length: ROUTE_CHUNK_EXTENTS }, (_, i): [number, string] => [
    1,
    memberAt(i % members),
  ]);
  return { runs };
}

function volumeOf(table: RoutingTable): RoutedVolume {
  const volume = table.get(NAME);
  if (volume === undefined) throw new Error('the volume is not in the table');
  return volume;
}

function timeLookups({ route }: RoutedVolume, extents: number): number {
  const random = new SeededRandom(1);
  const places = Uint32Array.from({ length: 4096 }, () => randomBelow(random, extents));
  let sum = 0;
  const begunMs = systemClock.nowMs();
  for (let i = 0; i < LOOKUPS; i++) sum += route.holderAt(places[i & 4095] as number);
  const tookMs = systemClock.nowMs() - begunMs;
  return Number.isNaN(sum) ? NaN : (tookMs * 1e6) / LOOKUPS;
}

/** Eight extents in a row change hands, elsewhere each time. @returns the median in milliseconds */
async function timeCommits(table: RoutingTable, extents: number): Promise<number> {
  const random = new SeededRandom(2);
  const tookMs: number[] = [];
  for (let i = 0; i < COMMITS; i++) {
    const volume = volumeOf(table);
    const first = randomBelow(random, extents - 8);
    const to = 'destination';
    const given = Array.from({ length: 8 }, (_, k) => first + k).filter(
      (e) => volume.route.holderNameAt(e) !== to,
    );
    const begunMs = systemClock.nowMs();
    await table.commit(volume, volume.route.withHolder(given, to));
    tookMs.push(systemClock.nowMs() - begunMs);
  }
  return median(tookMs);
}
