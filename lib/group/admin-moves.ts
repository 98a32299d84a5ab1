/** Moves: asked for, called off, looked at (admin.ts). The members do them (migration/). */
import { BlockferryError } from '../base/errors.js';
import { MOVES_REMEMBERED_MAX } from '../base/limits.js';
import { randomToken } from '../base/random.js';
import type { Clock } from '../base/clock.js';
import { refuseWhileMoving, requireEntry } from './admin-volumes.js';
import { change, unchanged, type AdminDoors } from './attempts.js';
import { isBeingMade } from './creations.js';
import {
  MoveRecord,
  ProgressRecord,
  ROUTE_CHUNK_EXTENTS,
  RouteChunkRecord,
  RouteHeadRecord,
  VolumeRecord,
  formatRecord,
  keys,
  parseRecord,
  readRecord,
} from './records.js';
import type { GroupStore, StoreEntry, StoreOperation } from './store.js';

/** A move as it is asked for. */
export type WantedMove = Pick<MoveRecord, 'volume' | 'to' | 'range' | 'rateBytesPerSecond' | 'handover'> &
  Partial<Pick<MoveRecord, 'strict' | 'balancing'>> & {
    /** The revision of the route's head that it was planned on: STALE where the route has changed since. */
    readonly headRevision?: number;
    /** The revision at which the planner that asks took office: STALE where it has lost that. */
    readonly office?: number;
  };

/** A move and the figures of all its sources together. */
export type MoveStatus = MoveRecord & ProgressRecord;

/**
 * Asks for a move.
 * @throws NOT_FOUND (volume, or the destination is not up), BUSY (one is under way, or the volume being made), INVALID
 *   (range, nothing to do), STALE
 */
export async function createMove(
  store: GroupStore,
  doors: AdminDoors,
  wanted: WantedMove,
): Promise<MoveRecord> {
  const { volume, to, office } = wanted;
  const id = randomToken(doors.random);
  const createdAtMs = Math.floor(doors.clock.wallMs());
  const record = await change(store, async () => {
    const volumeEntry = await requireEntry(store, keys.volume(volume), `there is no volume ${volume}`);
    const headEntry = await requireEntry(store, keys.routeHead(volume), `volume ${volume} has no route`);
    const memberEntry = await requireEntry(store, keys.member(to), `there is no member ${to} up`);
    await refuseWhileMoving(store, volume);
    await refuseIfStale(store, wanted, headEntry);
    const head = parseRecord(RouteHeadRecord, headEntry);
    if (isBeingMade(parseRecord(VolumeRecord, volumeEntry), head.epoch)) {
      throw new BlockferryError('BUSY', `volume ${volume} is being allocated`, 'wait until it is there');
    }
    checkRange(wanted, head);
    await refuseIfThere(store, wanted, head);
    const move = {
      ...newMove(wanted),
      id,
      createdAtMs,
      from: head.home,
      sources: await sourcesOf(store, wanted, head),
    };
    const value = formatRecord(move);
    parseRecord(MoveRecord, { key: keys.move(id), value, revision: 0 }); // one that nobody can read would stand in the way
    return {
      compares: [
        unchanged(keys.volume(volume), volumeEntry),
        unchanged(keys.routeHead(volume), headEntry),
        unchanged(keys.member(to), memberEntry),
        unchanged(keys.moving(volume), undefined),
        ...(office === undefined ? [] : [{ key: keys.planner, revision: office }]),
      ],
      operations: [
        { put: keys.move(id), value },
        { put: keys.moving(volume), value: id },
      ],
      result: move,
    };
  });
  await forgetOldMoves(store).catch(() => undefined); // this one is asked for; the next one tries again
  return record;
}

function newMove({ volume, to, range, rateBytesPerSecond, handover, strict, balancing }: WantedMove) {
  return {
    ...{ volume, to, range, rateBytesPerSecond, handover },
    ...{ strict: strict ?? false, balancing: balancing ?? null },
    ...{ state: 'active' as const, error: '', sparesDestination: false, finishedAtMs: null },
  };
}

/** What a planner went by is the same still. */
async function refuseIfStale(
  store: GroupStore,
  { volume, headRevision, office }: WantedMove,
  head: StoreEntry,
): Promise<void> {
  if (headRevision !== undefined && headRevision !== head.revision) {
    throw new BlockferryError(
      'STALE',
      `the route of ${volume} has changed since the move was planned`,
      'plan anew',
    );
  }
  if (office !== undefined && (await store.get(keys.planner))?.revision !== office) {
    throw new BlockferryError('STALE', 'somebody else plans for the group by now', 'leave it to that one');
  }
}

function checkRange({ volume, range }: WantedMove, head: RouteHeadRecord): void {
  if (range === null || (range.first <= range.last && range.last < head.extents)) return;
  throw new BlockferryError(
    'INVALID',
    `extents ${range.first}-${range.last} are not a part of ${volume}`,
    `it has extents 0-${head.extents - 1}`,
  );
}

/** A whole volume that was never split is at its base: nothing to move there. */
async function refuseIfThere(
  store: GroupStore,
  { volume, to, range }: WantedMove,
  head: RouteHeadRecord,
): Promise<void> {
  if (range !== null || head.home !== to || head.base !== to) return;
  const { entries } = await store.list(keys.routeChunks(volume));
  if (entries.length > 0) return;
  throw new BlockferryError('INVALID', `volume ${volume} is at ${to} already`, 'choose another member');
}

async function sourcesOf(
  store: GroupStore,
  { volume, to, range }: WantedMove,
  head: RouteHeadRecord,
): Promise<MoveRecord['sources']> {
  if (range === null) return null;
  const prefix = keys.routeChunks(volume);
  const { entries } = await store.list(prefix);
  const chunks = new Map(
    entries.map((entry) => [Number(entry.key.slice(prefix.length)), parseRecord(RouteChunkRecord, entry)]),
  );
  const sources = new Set<string>();
  const lastChunk = Math.floor(range.last / ROUTE_CHUNK_EXTENTS);
  for (let chunk = Math.floor(range.first / ROUTE_CHUNK_EXTENTS); chunk <= lastChunk; chunk++) {
    let at = chunk * ROUTE_CHUNK_EXTENTS;
    const base = [ROUTE_CHUNK_EXTENTS, head.base] as const;
    for (const [count, holder] of chunks.get(chunk)?.runs ?? [base]) {
      if (at <= range.last && at + count > range.first) sources.add(holder);
      at += count;
    }
  }
  sources.delete(to);
  return [...sources];
}

/**
 * Calls a move off: what is committed stays where it is, the rest is undone by its sources. Again is no error.
 * @throws NOT_FOUND, INVALID (it has ended otherwise)
 */
export function cancelMove(store: GroupStore, clock: Clock, id: string): Promise<MoveRecord> {
  return change(store, async () => {
    const entry = await requireEntry(store, keys.move(id), `there is no move ${id}`);
    const move = parseRecord(MoveRecord, entry);
    if (move.state === 'cancelled') return { compares: [], operations: [], result: move };
    if (move.state !== 'active') {
      throw new BlockferryError(
        'INVALID',
        `the move has ended: ${move.state}`,
        "nothing is left to cancel; 'blockferry move' moves it back",
      );
    }
    const cancelled: MoveRecord = { ...move, state: 'cancelled', finishedAtMs: Math.floor(clock.wallMs()) };
    const moving = await store.get(keys.moving(move.volume));
    const isOurs = moving?.value === id;
    return {
      compares: [unchanged(entry.key, entry), unchanged(keys.moving(move.volume), moving)],
      operations: [
        { put: entry.key, value: formatRecord(cancelled) },
        ...(isOurs ? [{ delete: keys.moving(move.volume) }] : []),
      ],
      result: cancelled,
    };
  });
}

/** One move with its figures. Throws NOT_FOUND. */
export async function getMove(store: GroupStore, id: string): Promise<MoveStatus> {
  const entry = await requireEntry(store, keys.move(id), `there is no move ${id}`);
  return withProgress(store, parseRecord(MoveRecord, entry));
}

/** All moves that are remembered, the oldest first. */
export async function listMoves(store: GroupStore): Promise<MoveStatus[]> {
  const moves = await readMoves(store);
  return Promise.all(moves.map((move) => withProgress(store, move)));
}

/**
 * The records of all moves that are remembered, the oldest first: without their figures, which are reads of their own. One
 * that cannot be read is left out: it is in the way of its volume (movingVolumes), and of no other.
 */
export async function readMoves(store: GroupStore): Promise<MoveRecord[]> {
  const { entries } = await store.list(keys.moves);
  const moves = entries.map((entry) => readRecord(MoveRecord, entry)).filter((move) => move !== null);
  return moves.sort((a, b) => a.createdAtMs - b.createdAtMs);
}

/** Volumes that are being moved, each with the id of its move. */
export async function movingVolumes(store: GroupStore): Promise<Map<string, string>> {
  const { entries } = await store.list(keys.movings);
  return new Map(entries.map((entry) => [entry.key.slice(keys.movings.length), entry.value]));
}

/** Without the figures that cannot be read: nothing depends on them, and whoever looks is told the others. */
async function withProgress(store: GroupStore, move: MoveRecord): Promise<MoveStatus> {
  const { entries } = await store.list(keys.progress(move.id));
  const parts = entries.map((entry) => readRecord(ProgressRecord, entry)).filter((part) => part !== null);
  return { ...move, ...sumProgress(parts) };
}

/** The figures of several sources as one. */
function sumProgress(parts: readonly ProgressRecord[]): ProgressRecord {
  const sum = (field: keyof Omit<ProgressRecord, 'stallMsMax' | 'lastError'>): number =>
    parts.reduce((total, part) => total + part[field], 0);
  return {
    extents: sum('extents'),
    extentsDone: sum('extentsDone'),
    bytesCopied: sum('bytesCopied'),
    bytesRecopied: sum('bytesRecopied'),
    restarts: sum('restarts'),
    sessions: sum('sessions'),
    stallMsMax: Math.max(0, ...parts.map((part) => part.stallMsMax)),
    lastError: parts.find((part) => part.lastError !== '')?.lastError ?? '',
  };
}

/** Deletes all but the last of the moves that have ended, with their figures: by the store's order, which no clock changes. */
async function forgetOldMoves(store: GroupStore): Promise<void> {
  const { entries } = await store.list(keys.moves);
  const ended = entries
    .map((entry) => ({ move: readRecord(MoveRecord, entry), revision: entry.revision }))
    .filter(({ move }) => move !== null && move.state !== 'active')
    .sort((a, b) => a.revision - b.revision);
  for (const { move } of ended.slice(0, Math.max(0, ended.length - MOVES_REMEMBERED_MAX))) {
    const { id } = move as MoveRecord;
    const figures = await store.list(keys.progress(id));
    const operations: StoreOperation[] = figures.entries.map((entry) => ({ delete: entry.key }));
    await store.txn([], [...operations, { delete: keys.move(id) }]);
  }
}
