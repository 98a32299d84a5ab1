/** The move itself: what it leaves to the foreground, and how fast it is beside a plain copy on the same disk. */
import { join } from 'node:path';
import { rm } from 'node:fs/promises';
import { sleep, systemClock } from '../../base/clock.js';
import { alternately, ratio, type BenchCase } from '../case.js';
import { makeRandomImage } from '../images.js';
import type { LoadSpec } from '../lean-load.js';
import { LoadClient } from '../load-client.js';
import { pinFolderInCache } from '../pin.js';
import { runToEnd } from '../process.js';
import { Scope } from '../scope.js';
import { moveAndWait, secondsOf, startGroup } from '../servers.js';
import { secondsOfTcpCopy } from '../tcp-copy.js';
import { makeVolume } from './group.js';

export const FOREGROUND: LoadSpec = { blockBytes: 4096, queueDepth: 32, readPercent: 70, isRandom: true };
const MEMBERS = 3;
const WARM_UP_MS = 1000;
/** A round moves there, the next one back. */
const goal = (round: number): string => (round % 2 === 0 ? 'm2' : 'm1');
const megabytes = (bytes: number): number => bytes / 1e6;

export const moveCases: readonly BenchCase[] = [
  {
    id: 'move',
    title: 'move under 70/30 random, QD 32',
    against: 'the same load before',
    needs: [],
    figures: [
      { name: 'foreground kept', unit: 'ratio', goal: { atLeast: 0.6 } },
      { name: 'p99.9 during', unit: 'ms', goal: { atMost: 25 } },
      { name: 'speed', unit: 'MB/s', goal: { atLeast: 100 } },
      { name: 'longest command', unit: 'ms' },
    ],
    async open(settings, scope) {
      const group = await startGroup(MEMBERS, settings.workFolder, scope);
      const url = await makeVolume(group, 'loaded', settings, scope);
      // One initiator for all rounds, as initiators live long: a new one is compiled anew after its first re-login, on the
      // processors that are measured.
      const load = await LoadClient.start({ urls: [url], spec: FOREGROUND, digests: false }, scope);
      scope.defer(() => load.stop());
      // The first move there and the first one back cost more (lib/migration/README.md): code that has never run, at the
      // members and at the initiator. Two of five rounds, they would make the median the worst of the others.
      for (const round of [0, 1]) await moveAndWait(group.client, { volume: 'loaded', to: goal(round) });
      return async (round) => {
        const cached = new Scope();
        await pinFolderInCache(group.folder, cached);
        await sleep(systemClock, WARM_UP_MS);
        await load.mark();
        await sleep(systemClock, settings.seconds * 1000);
        const before = await load.mark();
        await cached.close(); // a file that is mapped would not give its space back
        const move = await moveAndWait(group.client, { volume: 'loaded', to: goal(round) });
        const during = await load.mark();
        return [
          ratio(during.iops, before.iops, 'IOPS', before.busy),
          { value: during.p999Ms },
          { value: megabytes(settings.imageBytes) / secondsOf(move) },
          { value: during.longestMs },
        ];
      };
    },
  },
  {
    id: 'move-idle',
    title: 'move of a volume at rest',
    against: 'dd conv=fdatasync',
    needs: ['dd'],
    figures: [
      { name: 'ratio', unit: 'ratio', goal: { atLeast: 0.6 } },
      { name: 'to a plain TCP copy', unit: 'ratio' },
    ],
    async open(settings, scope) {
      const image = join(settings.workFolder, 'serve-full.img');
      await makeRandomImage(image, settings.imageBytes);
      const copy = join(settings.workFolder, 'dd.img');
      scope.defer(() => rm(copy, { force: true }));
      const group = await startGroup(MEMBERS, settings.workFolder, scope);
      await makeVolume(group, 'resting', settings, scope);
      const megabytesPerSecond = (seconds: number): number => megabytes(settings.imageBytes) / seconds;
      return async (round) => {
        const [subject, baseline] = await alternately(
          round,
          async () => secondsOf(await moveAndWait(group.client, { volume: 'resting', to: goal(round) })),
          () => secondsOfCopy(image, copy),
        );
        const wire = await secondsOfTcpCopy(image, copy, scope);
        return [baseline, wire].map((seconds) =>
          ratio(megabytesPerSecond(subject), megabytesPerSecond(seconds), 'MB/s'),
        );
      };
    },
  },
];

/** A new file each time, as a move's destination is. */
async function secondsOfCopy(from: string, to: string): Promise<number> {
  await rm(to, { force: true });
  const begunMs = systemClock.nowMs();
  await runToEnd('dd', [`if=${from}`, `of=${to}`, 'bs=1M', 'conv=fdatasync', 'status=none']);
  return (systemClock.nowMs() - begunMs) / 1000;
}
