/** Ourselves against ourselves: what storage costs beside none, and digests beside none. */
import { join } from 'node:path';
import { iopsRound, type BenchCase } from '../case.js';
import { makeCachedImage } from '../images.js';
import type { Goal } from '../stats.js';
import { RANDOM_READ, measureLoad, measureRandomReads, type LoadFigures } from '../load-client.js';
import { startNull, startServe } from '../servers.js';

export const limitCases: readonly BenchCase[] = [
  besideNothing({ id: 'null', title: '4 KiB random read of a cached file', goal: { atLeast: 0.85 } }),
  // The same without what memory costs: a null backend sends the same few buffers, which the processor's cache holds.
  besideNothing({ id: 'null-8m', title: '4 KiB random read of 8 MiB', imageBytes: 8 * 1024 * 1024 }),
  {
    id: 'digests',
    title: '4 KiB random read with CRC32C digests',
    against: 'no digests',
    needs: [],
    figures: [{ name: 'ratio', unit: 'ratio', goal: { atLeast: 0.75 } }],
    async open(settings, scope) {
      const image = join(settings.workFolder, 'serve-full.img');
      await makeCachedImage(image, settings.imageBytes, scope);
      const { urls } = await startServe([image], scope);
      const measure = (digests: boolean): Promise<LoadFigures> =>
        measureLoad({ urls, spec: RANDOM_READ, digests }, settings.seconds, scope);
      return (round) =>
        iopsRound(
          round,
          () => measure(true),
          () => measure(false),
        );
    },
  },
];

interface Beside {
  readonly id: string;
  readonly title: string;
  readonly goal?: Goal;
  /** Default: the run's. */
  readonly imageBytes?: number;
}

function besideNothing({ id, title, goal, imageBytes }: Beside): BenchCase {
  return {
    id,
    title,
    against: 'null backend',
    needs: [],
    figures: [{ name: 'ratio', unit: 'ratio', ...(goal && { goal }) }],
    async open(settings, scope) {
      const sizeBytes = imageBytes ?? settings.imageBytes;
      const image = join(settings.workFolder, imageBytes === undefined ? 'serve-full.img' : `${id}.img`);
      await makeCachedImage(image, sizeBytes, scope);
      const [file = ''] = (await startServe([image], scope)).urls;
      const [nothing = ''] = await startNull(1, sizeBytes, scope);
      return (round) =>
        iopsRound(
          round,
          () => measureRandomReads(file, settings.seconds, scope),
          () => measureRandomReads(nothing, settings.seconds, scope),
        );
    },
  };
}
