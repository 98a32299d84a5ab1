/** Ourselves against ourselves: what storage costs beside none, and digests beside none. */
import { join } from 'node:path';
import { alternately, ratio, type BenchCase } from '../case.js';
import { makeRandomImage } from '../images.js';
import { runIscsiPerf } from '../iscsi-perf.js';
import type { LoadSpec } from '../lean-load.js';
import { measureLoad, type LoadFigures } from '../load-client.js';
import { startNull, startServe } from '../servers.js';

const READ: LoadSpec = { blockBytes: 4096, queueDepth: 32, readPercent: 100, isRandom: true };

export const limitCases: readonly BenchCase[] = [
  {
    id: 'null',
    title: '4 KiB random read of a cached file',
    against: 'null backend',
    needs: ['iscsi-perf'],
    figures: [{ name: 'ratio', unit: 'ratio', goal: { atLeast: 0.85 } }],
    async open(settings, scope) {
      const image = join(settings.workFolder, 'serve-full.img');
      await makeRandomImage(image, settings.imageBytes);
      const [file = ''] = (await startServe([image], scope)).urls;
      const [nothing = ''] = await startNull(1, settings.imageBytes, scope);
      return async (round) => {
        const [subject, baseline] = await alternately(
          round,
          () => runIscsiPerf(file, READ, settings.seconds),
          () => runIscsiPerf(nothing, READ, settings.seconds),
        );
        return [ratio(subject, baseline, 'IOPS')];
      };
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
        measureLoad({ urls, spec: READ, digests }, settings.seconds, scope);
      return async (round) => {
        const [subject, baseline] = await alternately(
          round,
          () => measure(true),
          () => measure(false),
        );
        return [ratio(subject.iops, baseline.iops, 'IOPS', subject.busy)];
      };
    },
  },
];
