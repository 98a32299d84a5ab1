/**
 * The best move for one member that has too much: the one that takes the most requests for its bytes. Whole volumes come
 * first, since their initiators go along; a part goes where every whole one would be too much, or too little.
 */
import type { VolumeLoad } from '../load/vector.js';
import type { Candidate, VolumePicture } from './contract.js';
import { MOVE_FIXED_BYTES } from './cost.js';
import { fits, type Draft, type Option } from './draft.js';
import { bestRange, heatOf, withoutCooling } from './ranges.js';
import { figure } from './rule.js';
import { requestsOf, type MemberLoad } from './standing.js';

/** Members that are tried for one volume, the least loaded first: the next ones are hardly better. */
const RECEIVERS_LOOKED = 4;
/** Volumes that are looked into for a part, the busiest first. */
const SPLITS_LOOKED = 8;
/** How far above what should go a move may be, since nothing fits exactly: at shareLow 1.1 the destination stays under it. */
const TOLERANCE = 1.04;
/** So many times as many requests for its bytes has what has come not long ago, and is too much: it is waited for. */
const WORTH_WAITING = 3;
/** What comes back for a hot one is cold: at most this part of its requests. */
const COLD_PART = 0.25;

export interface Found {
  readonly option: Option;
  readonly candidate: Candidate;
}

/** Null: nothing may go or would help; the draft knows why. */
export function bestMove(draft: Draft, from: MemberLoad): Found | null {
  const wholes: Found[] = [];
  const tooMuch: Found[] = [];
  const toSplit: { volume: VolumePicture; load: VolumeLoad }[] = [];
  for (const load of from.vector.volumes) {
    const volume = draft.picture.volumes.get(load.volume);
    if (volume === undefined || !volume.holders.has(from.name) || requestsOf(load) === 0) continue;
    if (isBarred(draft, from, volume, load)) continue;
    const found = wholeMove(draft, from, volume, requestsOf(load));
    if (found === null) toSplit.push({ volume, load });
    else if (isTooMuch(draft, found)) {
      tooMuch.push(found);
      toSplit.push({ volume, load });
    } else wholes.push(found);
  }
  const whole = mostForItsBytes(wholes);
  const part = bestPart(draft, from, toSplit);
  const best = unlessBetterCools(draft, from, denser(whole, part) ?? mostForItsBytes(tooMuch));
  for (const found of [...wholes, ...tooMuch]) {
    if (found !== best) draft.reject(found.candidate, 'another takes more for its bytes');
  }
  return best;
}

/** Nothing dear goes in the place of what has come lately and will be free to go on: that would stay the problem. */
function unlessBetterCools(draft: Draft, from: MemberLoad, found: Found | null): Found | null {
  if (found === null) return null;
  const waits = from.vector.volumes.some((load) => {
    const volume = draft.picture.volumes.get(load.volume);
    if (volume === undefined || !draft.isCooling(volume)) return false;
    const bytes = Math.min((volume.holders.get(from.name) ?? 0) * volume.extentBytes, volume.usedBytes);
    return requestsOf(load) / (bytes + MOVE_FIXED_BYTES) > WORTH_WAITING * perByte(found);
  });
  if (!waits) return found;
  draft.reject(
    found.candidate,
    held(draft, 'what has many more requests for its bytes has moved not long ago'),
  );
  return null;
}

function isBarred(draft: Draft, from: MemberLoad, volume: VolumePicture, load: VolumeLoad): boolean {
  const because = draft.barOf(volume) ?? draft.rule.refuses(load);
  if (because === null) return false;
  draft.isHeld = true;
  const to = receivers(draft, from, volume)[0];
  if (to !== undefined) reject(draft, wholeOption(volume, from, to, requestsOf(load)), because);
  return true;
}

/** To the least loaded member that can have it. */
function wholeMove(draft: Draft, from: MemberLoad, volume: VolumePicture, requests: number): Found | null {
  if (volume.holders.size !== 1) return null;
  const takers = receivers(draft, from, volume);
  if (takers.length === 0) draft.isHeld = true;
  let [first, why] = [null as Option | null, ''];
  for (const to of takers) {
    const option = wholeOption(volume, from, to, requests);
    const result = draft.isCooling(volume) ? held(draft, 'it has moved not long ago') : weigh(draft, option);
    if (typeof result !== 'string') return result;
    if (first === null) [first, why] = [option, result];
  }
  if (first !== null) reject(draft, first, why);
  return null;
}

function isTooMuch(draft: Draft, { option }: Found): boolean {
  return option.requests > draft.rule.ideal(option.from, option.to) * TOLERANCE;
}

/** Of those with half as many requests as the largest, at least: many small moves are no good plan. */
function mostForItsBytes(all: readonly Found[]): Found | null {
  const largest = all.reduce((most, { option }) => Math.max(most, option.requests), 0);
  return all
    .filter(({ option }) => option.requests * 2 >= largest)
    .reduce<Found | null>((best, found) => (best === null || isBetter(found, best) ? found : best), null);
}

function isBetter(found: Found, best: Found): boolean {
  const difference = perByte(found) - perByte(best);
  return difference > 0 || (difference === 0 && found.candidate.volume < best.candidate.volume);
}

function perByte({ option }: Found): number {
  const bytes = option.bytes + (option.exchange?.bytes ?? 0);
  return option.requests / (bytes + MOVE_FIXED_BYTES);
}

/** A part goes only if it takes twice as much for its bytes: what is forwarded costs more than what is at home. */
function denser(whole: Found | null, part: Found | null): Found | null {
  if (whole === null || part === null) return whole ?? part;
  return perByte(part) >= 2 * perByte(whole) ? part : whole;
}

function bestPart(
  draft: Draft,
  from: MemberLoad,
  volumes: readonly { volume: VolumePicture; load: VolumeLoad }[],
): Found | null {
  if (!draft.settings.splitsVolumes) return null;
  const parts = volumes
    .slice(0, SPLITS_LOOKED)
    .map(({ volume, load }) => partMove(draft, from, volume, load));
  return mostForItsBytes(parts.filter((part) => part !== null));
}

function partMove(draft: Draft, from: MemberLoad, volume: VolumePicture, load: VolumeLoad): Found | null {
  const runs = volume.runs().filter(({ holder }) => holder === from.name);
  const free = withoutCooling(runs, volume.cooling, draft.picture.nowMs);
  const extents = volume.holders.get(from.name) ?? 0;
  const hot = load.hot.filter(([extent]) =>
    runs.some(({ first, last }) => first <= extent && extent <= last),
  );
  const heat = heatOf(hot, extents, requestsOf(load));
  if (free.length === 0) draft.isHeld = true;
  for (const to of receivers(draft, from, volume)) {
    const target = draft.rule.ideal(from, to);
    if (target === 0) continue;
    const most = Math.min(target * TOLERANCE, draft.rule.most(from, to));
    const { extentBytes } = volume;
    const range = bestRange(free, heat, { target, most, extentBytes, fixedBytes: MOVE_FIXED_BYTES });
    if (range === null) continue;
    const { first, last, requests } = range;
    const bytes = Math.min((last - first + 1) * extentBytes, volume.usedBytes);
    const option = { volume, extents: { first, last }, from, to, requests, bytes, exchange: null };
    const result = weigh(draft, option);
    if (typeof result !== 'string') return result;
    reject(draft, option, result);
  }
  return null;
}

/** The move with all that it takes, or why it is not to be done. */
function weigh(draft: Draft, bare: Option): Found | string {
  const { from, to, requests } = bare;
  const most = draft.rule.most(from, to);
  if (requests > most) return `${to.name} would have too much then`;
  const option = to.freeBytes >= bare.bytes ? bare : withExchange(draft, bare);
  if (option === null) return held(draft, `no room at ${to.name}`);
  const candidate = draft.candidateOf(option);
  const { latencyMsBefore, latencyMsAfter, payBackMs } = candidate.predicted;
  if (!draft.rule.asksPayBack) return { option, candidate };
  if (latencyMsAfter >= latencyMsBefore)
    return `requests would not be served sooner (${figure(latencyMsAfter)} ms)`;
  if (payBackMs > draft.settings.payBackMs)
    return `it would pay for itself only after ${figure(payBackMs / 1000)} s`;
  return { option, candidate };
}

/** Something cold that makes room and has room at the source: the smallest that is enough. */
function withExchange(draft: Draft, option: Option): Option | null {
  const { from, to, bytes, requests } = option;
  if (draft.budget < 2 || !draft.takes(from)) return null;
  for (const volume of draft.heldAloneBy(to.name)) {
    if (volume.usedBytes + to.freeBytes < bytes || volume.usedBytes > from.freeBytes) continue;
    const own = draft.requestsAt(to, volume);
    if (own > requests * COLD_PART || !fits(volume, from)) continue;
    if (draft.barOf(volume) !== null || draft.isCooling(volume)) continue;
    return { ...option, exchange: wholeOption(volume, to, from, own) };
  }
  return null;
}

function held(draft: Draft, because: string): string {
  draft.isHeld = true;
  return because;
}

function reject(draft: Draft, option: Option, because: string): void {
  draft.reject(draft.candidateOf(option), because);
}

export function wholeOption(
  volume: VolumePicture,
  from: MemberLoad,
  to: MemberLoad,
  requests: number,
): Option {
  const there = (volume.holders.get(to.name) ?? 0) / Math.max(1, volume.extents);
  const bytes = Math.ceil(volume.usedBytes * (1 - there));
  return { volume, extents: null, from, to, requests, bytes, exchange: null };
}

/** Those less loaded than the source; such as hold some of the volume come first where the rule says so. */
function receivers(draft: Draft, from: MemberLoad, volume: VolumePicture): readonly MemberLoad[] {
  const all = draft.receiversFor(volume);
  const { holders } = volume;
  const ordered =
    draft.rule.prefersHolders && holders.size > 1
      ? [...all.filter(({ name }) => holders.has(name)), ...all.filter(({ name }) => !holders.has(name))]
      : all;
  const level = draft.rule.level(from);
  const looked: MemberLoad[] = [];
  for (const member of ordered) {
    if (looked.length === RECEIVERS_LOOKED) break;
    if (member === from || draft.standing.isSettling(member)) continue;
    if (draft.rule.level(member) < level) looked.push(member);
  }
  return looked;
}
