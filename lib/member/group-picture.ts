/** The picture that a plan is made of, put together from what one member knows: vectors, routes, records. */
import type {
  CoolingRun,
  ExtentRun,
  GroupPicture,
  MemberPicture,
  VolumePicture,
} from '../balance/contract.js';
import { bounded, type GroupFigures } from '../balance/decision.js';
import { shareOf, type Placement } from '../group/admin.js';
import type { BalanceRecord, MoveRecord } from '../group/records.js';
import { requestsPerSecond, type DatedVector } from '../load/vector.js';
import type { RoutedVolume } from '../routing/table.js';

/** All of it at one moment. */
export interface KnownGroup {
  readonly nowMs: number;
  /** Members that are up. */
  readonly members: readonly string[];
  readonly vectors: ReadonlyMap<string, DatedVector>;
  readonly volumes: Iterable<RoutedVolume>;
  readonly balance: BalanceRecord;
  readonly placements: ReadonlyMap<string, Placement>;
  /** Under way, and those that have ended and are remembered. */
  readonly moves: readonly MoveRecord[];
  /** Volumes that are being moved: of some the record of the move may not be known. */
  readonly moving: ReadonlyMap<string, string>;
}

/** Of a volume of which nothing was said. */
const ANYWHERE = { isPinned: false, labels: {} };

export function pictureOf(known: KnownGroup): GroupPicture {
  const volumes = new Map([...known.volumes].map((volume) => [volume.record.name, volume]));
  const active = known.moves.filter((move) => move.state === 'active');
  const moves = byVolume(known.moves);
  const fill = fillOf(known, volumes);
  const up = new Set(known.members);
  const rests = restsOf(known);
  return {
    nowMs: known.nowMs,
    members: known.members.map((name) => ({
      ...memberPicture(name, known, active, volumes),
      restsUntilMs: rests.get(name)?.untilMs,
    })),
    volumes: new Map(
      [...volumes].map(([name, volume]) => [name, volumePicture(volume, known, moves.get(name) ?? [], fill)]),
    ),
    movesUnderWay: active.filter((move) => isAtWork(move, up, volumes)).length,
  };
}

/** How the group does; null: no vector of it can be trusted. */
export function figuresOf(picture: GroupPicture): GroupFigures | null {
  const fresh = picture.members.flatMap(({ vector, isFresh, weight }) =>
    vector !== null && isFresh && weight > 0 ? [{ vector, weight }] : [],
  );
  if (fresh.length === 0) return null;
  const served = fresh.map(({ vector }) => requestsPerSecond(vector));
  const total = served.reduce((sum, requests) => sum + requests, 0);
  const weights = fresh.reduce((sum, { weight }) => sum + weight, 0);
  if (total === 0) return { imbalance: 1, requestsPerSecond: 0, latencyMs: 0 };
  const shares = fresh.map(({ weight }, i) => ((served[i] as number) / total) * (weights / weight));
  const waited = fresh.reduce(
    (sum, { vector }, i) => sum + (served[i] as number) * vector.storage.serviceMs.mean,
    0,
  );
  return {
    imbalance: bounded(Math.max(...shares)),
    requestsPerSecond: bounded(total),
    latencyMs: bounded(waited / total),
  };
}

function byVolume(moves: readonly MoveRecord[]): Map<string, MoveRecord[]> {
  const groups = new Map<string, MoveRecord[]>();
  for (const move of moves) {
    const group = groups.get(move.volume);
    if (group === undefined) groups.set(move.volume, [move]);
    else group.push(move);
  }
  return groups;
}

type Volumes = ReadonlyMap<string, RoutedVolume>;

function memberPicture(
  name: string,
  known: KnownGroup,
  active: readonly MoveRecord[],
  volumes: Volumes,
): MemberPicture {
  const dated = known.vectors.get(name);
  const { weight, labels } = shareOf(known.balance, name);
  const coming = active
    .filter((move) => move.to === name)
    .reduce((sum, move) => sum + sizeOf(move, volumes), 0);
  return {
    ...{ name, weight, labels, vector: dated?.vector ?? null },
    ...{ ageMs: dated?.ageMs ?? 0, isFresh: dated?.isFresh ?? false },
    freeBytes: Math.max(0, (dated?.vector.storage.freeBytes ?? 0) - coming),
  };
}

/**
 * Its destination is there, and somebody who has something for it. One that waits for members that are away copies nothing,
 * perhaps for ever: it is in the way of its volume, and not of the others.
 */
function isAtWork({ volume, to, range }: MoveRecord, up: ReadonlySet<string>, volumes: Volumes): boolean {
  if (!up.has(to)) return false;
  const route = volumes.get(volume)?.route;
  if (route === undefined) return true;
  const sources = new Set(range === null ? [route.home] : []);
  for (const { first, last, holder } of route.runs())
    if (range === null || (first <= range.last && last >= range.first)) sources.add(holder);
  sources.delete(to);
  return sources.size === 0 || [...sources].some((source) => up.has(source));
}

/** What a move may bring, at most. */
function sizeOf(move: MoveRecord, volumes: Volumes): number {
  const volume = volumes.get(move.volume);
  if (volume === undefined) return 0;
  const extents = move.range === null ? volume.route.extents : move.range.last - move.range.first + 1;
  return extents * volume.record.extentBytes;
}

/**
 * How much of what each member holds is data, not holes: what its files take over what they could. Volumes are taken to
 * be as full as the rest of their holder, which is enough to compare moves by their cost.
 */
function fillOf(known: KnownGroup, volumes: Volumes): Map<string, number> {
  const held = new Map<string, number>();
  for (const { record, route } of volumes.values()) {
    for (const [member, extents] of route.countByHolder()) {
      held.set(member, (held.get(member) ?? 0) + extents * record.extentBytes);
    }
  }
  return new Map(
    [...held].map(([member, heldBytes]) => {
      const used = known.vectors.get(member)?.vector.storage.usedBytes;
      return [member, used === undefined || heldBytes === 0 ? 1 : Math.min(1, used / heldBytes)];
    }),
  );
}

function volumePicture(
  { record, route }: RoutedVolume,
  known: KnownGroup,
  moves: readonly MoveRecord[],
  fill: ReadonlyMap<string, number>,
): VolumePicture {
  const { name, extentBytes } = record;
  const { isPinned, labels } = known.placements.get(name) ?? ANYWHERE;
  const holders = route.countByHolder();
  const active = moves.find((move) => move.state === 'active');
  let usedBytes = 0;
  for (const [member, extents] of holders) usedBytes += extents * extentBytes * (fill.get(member) ?? 1);
  let runs: readonly ExtentRun[] | null = null;
  return {
    ...{ name, extentBytes, usedBytes, holders, isPinned, labels, home: route.home, extents: route.extents },
    isMoving: active !== undefined || known.moving.has(name),
    underWay: active && { extents: active.range, to: active.to },
    cooling: coolingRuns(moves, route.extents, known),
    runs: () => (runs ??= [...route.runs()]),
  };
}

/** Times that a cool-down is doubled: from ten minutes up to ten hours, within which somebody has looked after the disk. */
const DOUBLED_MAX = 6;

/** How long what has failed so often in a row is left alone. */
function leftAloneMs(failures: number, { coolDownMs, windowMs }: BalanceRecord['settings']): number {
  return Math.max(coolDownMs, windowMs) * 2 ** Math.min(failures - 1, DOUBLED_MAX);
}

interface Rest {
  /** In a row. */
  readonly failures: number;
  readonly untilMs: number;
}

/**
 * Members that take nothing for a while, since copies to them have failed. One that cannot write serves little, so everything
 * would go there first. For twice as long as a volume whose move has failed: that goes elsewhere first. What a member has
 * taken since, whoever asked for it, ends it.
 */
function restsOf({ moves, nowMs, balance: { settings } }: KnownGroup): ReadonlyMap<string, Rest> {
  const rests = new Map<string, Rest>();
  const byEnd = moves
    // Later: by a clock that was wrong.
    .filter(({ finishedAtMs }) => finishedAtMs !== null && finishedAtMs <= nowMs + leftAloneMs(1, settings))
    .sort((a, b) => (a.finishedAtMs as number) - (b.finishedAtMs as number));
  for (const { to, state, finishedAtMs, sparesDestination } of byEnd) {
    if (state === 'done') rests.delete(to);
    if (state !== 'failed' || sparesDestination) continue;
    const failures = (rests.get(to)?.failures ?? 0) + 1;
    rests.set(to, { failures, untilMs: (finishedAtMs as number) + 2 * leftAloneMs(failures, settings) });
  }
  return rests;
}

/**
 * What moves that have ended keep in its place, whoever asked for them, and also where one was called off or came to nothing.
 * One that failed would most likely fail again, and its copy would be for nothing again: the longer, the more often it has.
 * @param moves of one volume, the oldest first
 */
function coolingRuns(
  moves: readonly MoveRecord[],
  extents: number,
  { nowMs, balance: { settings } }: KnownGroup,
): VolumePicture['cooling'] {
  const cooling: CoolingRun[] = [];
  let failures = 0;
  for (const { range, state, finishedAtMs, balancing } of moves) {
    if (state === 'active' || finishedAtMs === null) continue;
    if (state !== 'cancelled') failures = state === 'failed' ? failures + 1 : 0;
    const staysMs = state === 'failed' ? leftAloneMs(failures, settings) : settings.coolDownMs;
    // By a clock that was wrong when it ended, or is now: when that was nobody knows.
    if (finishedAtMs > nowMs + staysMs) continue;
    const untilMs = finishedAtMs + staysMs;
    const run = range ?? { first: 0, last: extents - 1 };
    cooling.push({ ...run, untilMs, movedAtMs: finishedAtMs, from: balancing?.from });
  }
  return cooling;
}
