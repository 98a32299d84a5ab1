/** Draws what volumes look like inside: which extents have data, and how their heat lies. */
import { assert } from '../base/assert.js';
import { zipfShares, type Dice } from './dice.js';

/** Data comes in runs of about this many extents, as file systems allocate. */
const RUN_EXTENTS = 16;

/** @param share of the extents that have data; one has it at least */
export function drawFilled(dice: Dice, extents: number, share: number): Uint8Array {
  const filled = new Uint8Array(extents);
  const wanted = Math.max(1, Math.round(extents * share));
  const runs = dice.shuffle(Array.from({ length: Math.ceil(extents / RUN_EXTENTS) }, (_, i) => i));
  let left = wanted;
  for (const run of runs) {
    const first = run * RUN_EXTENTS;
    const count = Math.min(RUN_EXTENTS, extents - first, left);
    filled.fill(1, first, first + count);
    left -= count;
  }
  return filled;
}

/**
 * Zipf over regions of neighbouring extents, the regions in any order: a database's hot tables. Region 1 scatters the heat
 * extent by extent, which is the hardest to move. Requests go to data only.
 */
export function drawHeat(
  dice: Dice,
  filled: Uint8Array,
  exponent: number,
  regionExtents: number,
): Float64Array {
  const places = [...filled.keys()].filter((e) => filled[e] === 1);
  const regions = Math.ceil(places.length / regionExtents);
  const order = dice.shuffle(Array.from({ length: regions }, (_, i) => i));
  const shares = zipfShares(regions, exponent);
  const heat = new Float64Array(filled.length);
  places.forEach((extent, i) => {
    const region = Math.floor(i / regionExtents);
    const size = Math.min(regionExtents, places.length - region * regionExtents);
    heat[extent] = (shares[order[region] as number] as number) / size;
  });
  assert(places.length > 0, 'a volume that is asked has data');
  return heat;
}

/** All requests in one stretch of `width` data extents that has come to `at` (0 to 1) of the volume: a sequential scan. */
export function scanHeat(filled: Uint8Array, at: number, width: number): Float64Array {
  const places = [...filled.keys()].filter((e) => filled[e] === 1);
  const heat = new Float64Array(filled.length);
  const count = Math.min(width, places.length);
  const first = Math.floor(at * places.length);
  for (let i = 0; i < count; i += 1) heat[places[(first + i) % places.length] as number] = 1 / count;
  return heat;
}
