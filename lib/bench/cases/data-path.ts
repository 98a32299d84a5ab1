/** The data path beside tgtd: the same image size on the same disk, the same client, one after the other. */
import { join } from 'node:path';
import { iopsRound, type BenchCase, type BenchSettings, type IopsMeasured, type Round } from '../case.js';
import { makeRandomImage, makeSparseImage } from '../images.js';
import { runIscsiPerf } from '../iscsi-perf.js';
import { measureLoad } from '../load-client.js';
import type { LoadSpec } from '../lean-load.js';
import type { Scope } from '../scope.js';
import { startServe } from '../servers.js';
import { startTgt } from '../tgt.js';

interface Work {
  readonly id: string;
  readonly title: string;
  readonly atLeast: number;
  readonly spec: LoadSpec;
  readonly volumes?: number;
  readonly isSparse?: boolean;
}

const KIB = 1024;
const load = (blockBytes: number, queueDepth: number, readPercent: number, isRandom = true): LoadSpec => ({
  ...{ blockBytes, queueDepth, readPercent, isRandom },
});

const WORKS: readonly Work[] = [
  { id: 'read-qd32', title: '4 KiB random read, QD 32', atLeast: 2.7, spec: load(4 * KIB, 32, 100) },
  { id: 'write-qd32', title: '4 KiB random write, QD 32', atLeast: 1.9, spec: load(4 * KIB, 32, 0) },
  { id: 'mix-qd32', title: '4 KiB 70/30 random, QD 32', atLeast: 2.1, spec: load(4 * KIB, 32, 70) },
  { id: 'read-qd1', title: '4 KiB random read, QD 1', atLeast: 1.5, spec: load(4 * KIB, 1, 100) },
  { id: 'read-large', title: '128 KiB read, QD 16', atLeast: 1.25, spec: load(128 * KIB, 16, 100, false) },
  { id: 'write-large', title: '128 KiB write, QD 16', atLeast: 2.5, spec: load(128 * KIB, 16, 0, false) },
  {
    id: 'four-volumes',
    title: 'four sessions, four volumes, 70/30',
    atLeast: 2.0,
    spec: load(4 * KIB, 32, 70),
    volumes: 4,
  },
  {
    id: 'holes',
    title: '4 KiB random read of holes, QD 32',
    atLeast: 3,
    spec: load(4 * KIB, 32, 100),
    isSparse: true,
  },
];

export const dataPathCases: readonly BenchCase[] = WORKS.map((work) => ({
  id: work.id,
  title: work.title,
  against: 'tgtd',
  needs: isForIscsiPerf(work) ? ['tgtd', 'tgtadm', 'iscsi-perf'] : ['tgtd', 'tgtadm'],
  figures: [{ name: 'ratio', unit: 'ratio', goal: { atLeast: work.atLeast } }],
  open: (settings, scope) => openWork(work, settings, scope),
}));

/**
 * One command at a time is libiscsi's work: it turns round sooner than a Node process. At depth it is the other way about:
 * iscsi-perf ends at some 100,000 IOPS, below what is measured, and our own client is at a third of a processor there.
 */
function isForIscsiPerf({ spec }: Work): boolean {
  return spec.queueDepth === 1 && spec.readPercent === 100;
}

async function openWork(work: Work, settings: BenchSettings, scope: Scope): Promise<Round> {
  const theirs = await makeImages(work, settings, 'tgt');
  const ours = await makeImages(work, settings, 'serve');
  const tgt = await startTgt(theirs, settings.workFolder, scope);
  const { urls } = await startServe(ours, scope);
  const measure = (of: readonly string[]): Promise<IopsMeasured> => measureWork(work, of, settings, scope);
  return (round) =>
    iopsRound(
      round,
      () => measure(urls),
      () => measure(tgt),
    );
}

async function measureWork(
  work: Work,
  urls: readonly string[],
  settings: BenchSettings,
  scope: Scope,
): Promise<IopsMeasured> {
  const [first = ''] = urls;
  if (isForIscsiPerf(work))
    return { iops: await runIscsiPerf(first, work.spec, settings.seconds), busy: undefined };
  return measureLoad({ urls, spec: work.spec, digests: false }, settings.seconds, scope);
}

/** Images are kept from case to case: those of the same kind have the same name. */
async function makeImages(work: Work, settings: BenchSettings, side: string): Promise<string[]> {
  const count = work.volumes ?? 1;
  const paths: string[] = [];
  for (let i = 0; i < count; i++) {
    const kind = work.isSparse === true ? 'holes' : count === 1 ? 'full' : `part${i}`;
    const path = join(settings.workFolder, `${side}-${kind}.img`);
    if (work.isSparse === true) await makeSparseImage(path, settings.imageBytes);
    else await makeRandomImage(path, settings.imageBytes / count);
    paths.push(path);
  }
  return paths;
}
