/** Ourselves against ourselves: what storage costs beside none, and digests beside none. */
import { join } from 'node:path';
import { iopsRound, type BenchCase } from '../case.js';
import { makeRandomImage } from '../images.js';
import { RANDOM_READ, measureLoad, measureRandomReads, type LoadFigures } from '../load-client.js';
import { startNull, startServe } from '../servers.js';

export const limitCases: readonly BenchCase[] = [
  {
    id: 'null',
    title: '4 KiB random read of a cached file',
    against: 'null backend',
    needs: [],
    figures: [{ name: 'ratio', unit: 'ratio', goal: { atLeast: 0.85 } }],
    async open(settings, scope) {
      const image = join(settings.workFolder, 'serve-full.img');
      await makeRandomImage(image, settings.imageBytes);
      const [file = ''] = (await startServe([image], scope)).urls;
      const [nothing = ''] = await startNull(1, settings.imageBytes, scope);
      return (round) =>
        iopsRound(
          round,
          () => measureRandomReads(file, settings.seconds, scope),
          () => measureRandomReads(nothing, settings.seconds, scope),
        );
    },
  },
  {
    id: 'digests',
    title: '4 KiB random read with CRC32C digests',
    against: 'no digests',
    needs: [],
    figures: [{ name: 'ratio', unit: 'ratio', goal: { atLeast: 0.75 } }],
    async open(settings, scope) {
      const image = join(settings.workFolder, 'serve-full.img');
      await makeRandomImage(image, settings.imageBytes);
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
