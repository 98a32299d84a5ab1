/** A recorded load on a simulated group: every volume of the trace on one of the members, asked as it was recorded. */
import { COMMAND_WINDOW, EXTENT_BYTES_DEFAULT } from '../../base/limits.js';
import { Dice } from '../dice.js';
import { plainMember } from '../loads.js';
import { SimVolume, type Demand } from '../volume.js';
import type { Load, Scenario, World } from '../world.js';
import type { Trace, TraceCell } from './read.js';

export interface TraceScenarioOptions {
  readonly title: string;
  readonly members: number;
  readonly seed: number;
  readonly windowMs: number;
}

/** Placed by chance; every extent has data; a disk's queue is COMMAND_WINDOW deep. */
export function traceScenario(trace: Trace, options: TraceScenarioOptions): Scenario {
  const { title, seed, windowMs } = options;
  return {
    ...{ title, seed, windowMs, windows: trace.windows.length, measuringNoise: 0.03 },
    build: () => ({ world: traceWorld(trace, options), load: traceLoad(trace) }),
  };
}

function traceWorld({ volumes }: Trace, { members: count, seed }: TraceScenarioOptions): World {
  const dice = new Dice(seed);
  const members = Array.from({ length: count }, (_, m) => plainMember(m));
  const names = members.map(({ name }) => name);
  return {
    members,
    volumes: [...volumes].map(([name, extents]) => {
      const heat = new Float64Array(extents).fill(1 / extents);
      const shape = {
        name,
        extentBytes: EXTENT_BYTES_DEFAULT,
        filled: new Uint8Array(extents).fill(1),
        heat,
      };
      return new SimVolume(shape, names, dice.below(count), idle());
    }),
  };
}

function idle(): Demand {
  return {
    ...{ offeredPerSecond: 0, outstanding: COMMAND_WINDOW },
    ...{ readShare: 0, requestBytes: 4096, sequentialShare: 0 },
  };
}

function traceLoad({ windows }: Trace): Load {
  return {
    apply: ({ volumes }, fromMs, windowMs) => {
      const cells = windows[Math.round(fromMs / windowMs)];
      for (const volume of volumes) {
        const cell = cells?.get(volume.name);
        if (cell === undefined) volume.demand.offeredPerSecond = 0;
        else ask(volume, cell, windowMs);
      }
    },
  };
}

function ask(
  volume: SimVolume,
  { requests, reads, bytes, sequential, extents }: TraceCell,
  windowMs: number,
): void {
  Object.assign(volume.demand, {
    offeredPerSecond: (requests * 1000) / windowMs,
    readShare: reads / requests,
    requestBytes: bytes / requests,
    sequentialShare: sequential / requests,
  });
  const heat = new Float64Array(volume.extents);
  for (const [extent, count] of extents) heat[extent] = count / requests;
  volume.heat = heat;
}
