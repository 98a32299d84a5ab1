/**
 * What a group makes of its load in one window: every volume is a customer of the queues of its holders' storage and of
 * its home's event loop, every move is one that reads at its source and writes at its destination (queueing.ts). Pure.
 */
import { MOVE_BYTES_PER_SECOND_CEILING, MOVE_COPY_BYTES, MOVE_EXTENTS_IN_FLIGHT } from '../base/limits.js';
import { solve, type Customer, type Station, type Visit } from './queueing.js';
import { storageMs, type World } from './world.js';
import type { SimVolume } from './volume.js';

/** A member's event loop takes this for a request, by the measurements of `make bench` (150,000 a second) ... */
const LOOP_MS = 0.007;
/** ... and this for each byte (2.5 GB/s). */
const LOOP_MS_PER_BYTE = 1000 / 2.5e9;
/** A forwarded request costs about as much again, at its home and at its holder: a frame out and one in. */
const FORWARD_MS = 0.01;
/** Between two members, there and back. */
export const ROUND_TRIP_MS = 0.2;
/** Service times of an event loop: much the same, with some long ones. */
const LOOP_VARIATION = 1;

/** A copy under way, as the queues see it. */
export interface Copy {
  readonly from: number;
  readonly to: number;
  /** What is left of it. */
  readonly bytes: number;
}

/** One window. */
export interface Moment {
  /** Requests answered, and the mean from request to answer, of each volume. */
  readonly volumes: { readonly perSecond: Float64Array; readonly responseMs: Float64Array };
  readonly members: readonly MemberMoment[];
  /** Of each copy: bytes a second while it runs. */
  readonly copyBytesPerSecond: readonly number[];
  /** Waits of all stations: where the next window begins to look. */
  readonly waitMs: Float64Array;
}

export interface MemberMoment {
  /** Initiators' requests that its storage served. */
  readonly perSecond: number;
  readonly loopBusy: number;
  /** At its storage, from submission to completion, the mean of initiators' requests. */
  readonly serviceMs: number;
}

/** @param startMs `waitMs` of the window before, where there was one */
export function perform(
  world: World,
  copies: readonly Copy[],
  windowMs: number,
  startMs?: Float64Array,
): Moment {
  const { members, volumes } = world;
  const stations: Station[] = [
    ...members.map(({ variation }) => ({ variation })),
    ...members.map(() => ({ variation: LOOP_VARIATION })),
  ];
  const active = volumes.filter(isAsked);
  const customers = [
    ...active.map((volume) => customerOf(world, volume)),
    ...copies.map((copy) => copyCustomer(world, copy, windowMs)),
  ];
  const { perMs, responseMs, utilisation, waitMs } = solve(stations, customers, startMs);
  const ofVolumes = spread(volumes, perMs, responseMs);
  const { served, spentMs } = servedBy(world, ofVolumes.perSecond, waitMs);
  return {
    volumes: ofVolumes,
    members: members.map((_, m) => ({
      perSecond: served[m] as number,
      loopBusy: Math.min(utilisation[members.length + m] as number, 1),
      serviceMs: (served[m] as number) > 0 ? (spentMs[m] as number) / (served[m] as number) : 0,
    })),
    copyBytesPerSecond: copies.map((_, i) => (perMs[active.length + i] as number) * 1000 * MOVE_COPY_BYTES),
    waitMs,
  };
}

/** The first customers are the volumes that are asked for anything, in their order. */
function spread(
  volumes: World['volumes'],
  perMs: ArrayLike<number>,
  responseMs: ArrayLike<number>,
): Moment['volumes'] {
  const perSecond = new Float64Array(volumes.length);
  const responses = new Float64Array(volumes.length);
  let customer = 0;
  volumes.forEach((volume, v) => {
    if (!isAsked(volume)) return;
    perSecond[v] = (perMs[customer] as number) * 1000;
    responses[v] = responseMs[customer] as number;
    customer += 1;
  });
  return { perSecond, responseMs: responses };
}

/** Requests that each member's storage serves in a second, and what it takes for them. */
function servedBy(
  world: World,
  perSecond: Float64Array,
  waitMs: Float64Array,
): { served: Float64Array; spentMs: Float64Array } {
  const served = new Float64Array(world.members.length);
  const spentMs = new Float64Array(world.members.length);
  world.volumes.forEach((volume, v) => {
    if (!isAsked(volume)) return;
    const rate = perSecond[v] as number;
    for (const { member, share } of volume.heldShares()) {
      served[member]! += rate * share;
      spentMs[member]! += rate * share * serviceMsAt(world, volume, member, waitMs);
    }
  });
  return { served, spentMs };
}

/** Milliseconds at the storage of `member` that a request for `volume` takes, its wait included. */
export function serviceMsAt(
  { members }: World,
  volume: SimVolume,
  member: number,
  waitMs: Float64Array,
): number {
  const at = members[member] as World['members'][number];
  return storageMs(at, volume.demand.requestBytes) + (waitMs[member] as number) + at.delayMs;
}

function isAsked({ demand }: SimVolume): boolean {
  return demand.offeredPerSecond > 0 && demand.outstanding > 0;
}

function customerOf({ members }: World, volume: SimVolume): Customer {
  const { offeredPerSecond, outstanding, requestBytes } = volume.demand;
  const home = members.length + volume.homeMember;
  const visits: Visit[] = [{ station: home, share: 1, serviceMs: LOOP_MS + requestBytes * LOOP_MS_PER_BYTE }];
  const forwardMs = FORWARD_MS + requestBytes * LOOP_MS_PER_BYTE;
  let delayMs = 0;
  for (const { member, share } of volume.heldShares()) {
    if (share === 0) continue;
    const at = members[member] as World['members'][number];
    visits.push({ station: member, share, serviceMs: storageMs(at, requestBytes) });
    delayMs += share * at.delayMs;
    if (member === volume.homeMember) continue;
    visits.push({ station: home, share, serviceMs: forwardMs });
    visits.push({ station: members.length + member, share, serviceMs: forwardMs });
    delayMs += share * ROUND_TRIP_MS;
  }
  return { population: outstanding, thinkMs: (outstanding / offeredPerSecond) * 1000, delayMs, visits };
}

/** As much as is left is spread over the window, so that a short copy burdens it by what it is. */
function copyCustomer({ members }: World, { from, to, bytes }: Copy, windowMs: number): Customer {
  // Twice what would do: where the queues are long it must be over in time as well.
  const bytesPerSecond = Math.min((2 * bytes * 1000) / windowMs, MOVE_BYTES_PER_SECOND_CEILING);
  const loopMs = LOOP_MS + MOVE_COPY_BYTES * LOOP_MS_PER_BYTE;
  const ends = [from, to].flatMap((member) => [
    {
      station: member,
      share: 1,
      serviceMs: storageMs(members[member] as World['members'][number], MOVE_COPY_BYTES),
    },
    { station: members.length + member, share: 1, serviceMs: loopMs },
  ]);
  return {
    population: MOVE_EXTENTS_IN_FLIGHT,
    thinkMs: (MOVE_EXTENTS_IN_FLIGHT * MOVE_COPY_BYTES * 1000) / Math.max(bytesPerSecond, 1),
    delayMs: ROUND_TRIP_MS,
    visits: ends,
  };
}
