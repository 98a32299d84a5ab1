/** What it costs to know the load: the same slot, counted and not. */
import { join } from 'node:path';
import { iopsRound, type BenchCase } from '../case.js';
import { makeCachedImage } from '../images.js';
import { measureRandomReads } from '../load-client.js';
import { startSlot } from '../servers.js';

export const monitorCases: readonly BenchCase[] = [
  {
    id: 'monitor',
    title: '4 KiB random read, load monitored',
    against: 'not monitored',
    needs: [],
    figures: [{ name: 'ratio', unit: 'ratio', goal: { atLeast: 0.98 } }],
    async open(settings, scope) {
      const [counted = '', bare = ''] = await Promise.all(
        [true, false].map(async (isCounted) => {
          const image = join(settings.workFolder, isCounted ? 'counted.img' : 'bare.img');
          await makeCachedImage(image, settings.imageBytes, scope);
          return startSlot(image, settings.imageBytes, isCounted, scope);
        }),
      );
      return (round) =>
        iopsRound(
          round,
          () => measureRandomReads(counted, settings.seconds, scope),
          () => measureRandomReads(bare, settings.seconds, scope),
        );
    },
  },
];
