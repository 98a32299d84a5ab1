/**
 * Where a volume is while it is tested: all of it at its home, spread over three members, or on its way from member to
 * member all the time, its home with it. One volume for each kind of unit.
 */
import { sleep, systemClock } from '../../base/clock.js';
import { moveAndWait, type Group } from '../../bench/servers.js';
import { untilMade } from '../../manage/creation.js';

const MiB = 1024 * 1024;

export const KINDS = {
  // Large: a test looks at a SANITIZE operation four seconds after its beginning, which has to go on then.
  'fixed 512': { blockSize: 512, size: 4096 * MiB },
  'fixed 4096': { blockSize: 4096, size: 128 * MiB },
  removable: { blockSize: 512, size: 128 * MiB, removable: true },
  'read-only': { blockSize: 512, size: 128 * MiB, readOnly: true },
  full: { blockSize: 512, size: 128 * MiB, full: true },
} as const;
export type Kind = keyof typeof KINDS;

export const PLACES = ['home', 'spread', 'moving'] as const;
export type Place = (typeof PLACES)[number];

const EXTENTS = 32;
/** Between two moves: libiscsi comes back no sooner than 3 s after it did before, and would do nothing else. */
const REST_MS = 4_000;

export interface PlacedVolume {
  readonly url: string;
  /** How often it came to another member so far. */
  moves(): number;
  /** Resolves when nothing moves it any more. */
  stop(): Promise<void>;
}

/** Makes the volume of a kind and brings it to its place. */
export async function place(group: Group, kind: Kind, where: Place): Promise<PlacedVolume> {
  const { client } = group;
  const name = kind.replaceAll(' ', '-');
  const shape = KINDS[kind];
  const wanted = { name, home: 'm1', extentSize: shape.size / EXTENTS, ...shape };
  const { url } = await untilMade(client, await client.createVolume(wanted), systemClock);
  if (where === 'spread') {
    const third = Math.floor(EXTENTS / 3);
    await moveAndWait(client, { volume: name, to: 'm2', extents: { first: third, last: 2 * third - 1 } });
    await moveAndWait(client, { volume: name, to: 'm3', extents: { first: 2 * third, last: EXTENTS - 1 } });
  }
  if (where !== 'moving') return { url, moves: () => 0, stop: () => Promise.resolve() };
  let moves = 0;
  let isOver = false;
  const around = async (): Promise<void> => {
    for (; !isOver; moves++) {
      await moveAndWait(client, { volume: name, to: `m${((moves + 1) % 3) + 1}` });
      await sleep(systemClock, REST_MS);
    }
  };
  const going = around();
  going.catch(() => undefined); // said by stop()
  const stop = (): Promise<void> => {
    isOver = true;
    return going;
  };
  return { url, moves: () => moves, stop };
}
