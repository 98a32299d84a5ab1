/** A cold page cache: reads that the disk must answer, and how long they hold up everybody else. */
import { join } from 'node:path';
import { BlockferryError } from '../../base/errors.js';
import { alwaysAtWork, LoopPause } from '../../member/loop-pause.js';
import { alternately, ratio, type BenchCase } from '../case.js';
import { dropFromCache, makeRandomImage } from '../images.js';
import { measureRandomReads, type LoadFigures } from '../load-client.js';
import { forkSelf, type Running } from '../process.js';
import type { Scope } from '../scope.js';
import { startTgt } from '../tgt.js';

export const coldCases: readonly BenchCase[] = [
  {
    id: 'cold',
    title: '4 KiB random read, cold cache, QD 32',
    against: 'tgtd',
    needs: ['tgtd', 'tgtadm', 'dd'],
    figures: [
      { name: 'ratio', unit: 'ratio', goal: { atLeast: 1 } },
      { name: 'longest pause of the loop', unit: 'ms', goal: { atMost: 20 } },
      { name: 'of an idle process beside it', unit: 'ms' },
    ],
    async open(settings, scope) {
      const images = ['serve-full.img', 'tgt-full.img'].map((name) => join(settings.workFolder, name));
      for (const image of images) await makeRandomImage(image, settings.imageBytes);
      const [ourImage = '', theirImage = ''] = images;
      const cold = await ColdServer.start(ourImage, scope);
      const [tgt = ''] = await startTgt([theirImage], settings.workFolder, scope);
      // This process only waits meanwhile: as late as its timer comes, the machine makes everybody wait.
      const idle = new LoopPause(() => 0, alwaysAtWork);
      scope.defer(() => idle.close());
      let pauseMs = 0;
      let idlePauseMs = 0;
      const ours = async (): Promise<LoadFigures> => {
        await dropFromCache(ourImage);
        await cold.longestPauseMs();
        idle.reset();
        const figures = await measureRandomReads(cold.url, settings.seconds, scope);
        idlePauseMs = idle.maxPauseMs;
        pauseMs = await cold.longestPauseMs();
        return figures;
      };
      const theirs = async (): Promise<LoadFigures> => {
        await dropFromCache(theirImage);
        return measureRandomReads(tgt, settings.seconds, scope);
      };
      return async (round) => {
        const [subject, baseline] = await alternately(round, ours, theirs);
        return [
          ratio(subject.iops, baseline.iops, 'IOPS', subject.busy),
          { value: pauseMs },
          { value: idlePauseMs },
        ];
      };
    },
  },
];

/** The other side of cold-process.ts. */
class ColdServer {
  private constructor(
    private readonly running: Running,
    readonly url: string,
  ) {}

  static async start(image: string, scope: Scope): Promise<ColdServer> {
    const running = forkSelf('cold-process', [image]);
    scope.defer(() => running.stop());
    const url = await running.nextMessage();
    if (typeof url !== 'string') throw new BlockferryError('PROTOCOL', 'the server did not say its URL');
    return new ColdServer(running, url);
  }

  /** Since it was asked last. */
  async longestPauseMs(): Promise<number> {
    const answer = this.running.nextMessage();
    this.running.child.send('pause');
    return Number(await answer);
  }
}
