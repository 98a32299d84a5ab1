/** The data path beside tgtd: the same image size on the same disk, the same client, one after the other. */
import { join } from 'node:path';
import { iopsRound, type BenchCase, type BenchSettings, type IopsMeasured, type Round } from '../case.js';
import { makeCachedImage, makeSparseImage } from '../images.js';
import { runIscsiPerf } from '../iscsi-perf.js';
import { measureLoad } from '../load-client.js';
import type { LoadSpec } from '../lean-load.js';
import { runQemuImgBench } from '../qemu-img.js';
import type { Scope } from '../scope.js';
import { startServe } from '../servers.js';
import { startTgt } from '../tgt.js';
import type { ToolName } from '../tools.js';

interface Work {
  readonly id: string;
  readonly title: string;
  /** Absent: shown for comparison only. */
  readonly atLeast?: number;
  readonly spec: LoadSpec;
  /** Instead of our own. */
  readonly client?: 'iscsi-perf' | 'qemu-img';
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
  {
    // One command at a time is libiscsi's work: it turns round sooner than a Node process. At depth it is the other way
    // about: iscsi-perf ends at some 100,000 IOPS, below what is measured, and our own client is at a third of a processor.
    id: 'read-qd1',
    title: '4 KiB random read, QD 1',
    atLeast: 1.5,
    spec: load(4 * KIB, 1, 100),
    client: 'iscsi-perf',
  },
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
  // It tops out near 85,000 IOPS, so what we do beyond that does not show.
  {
    id: 'qemu-read-qd32',
    title: '4 KiB read, QD 32, by qemu-img bench',
    spec: load(4 * KIB, 32, 100, false),
    client: 'qemu-img',
  },
  {
    id: 'qemu-write-qd32',
    title: '4 KiB write, QD 32, by qemu-img bench',
    spec: load(4 * KIB, 32, 0, false),
    client: 'qemu-img',
  },
];

const CLIENT_TOOLS: Readonly<Record<NonNullable<Work['client']>, readonly ToolName[]>> = {
  'iscsi-perf': ['iscsi-perf'],
  'qemu-img': ['qemu-img', 'block-iscsi.so'],
};

export const dataPathCases: readonly BenchCase[] = WORKS.map((work) => ({
  id: work.id,
  title: work.title,
  against: 'tgtd',
  needs: ['tgtd', 'tgtadm', ...(work.client === undefined ? [] : CLIENT_TOOLS[work.client])],
  figures: [
    {
      name: 'ratio',
      unit: 'ratio',
      ...(work.atLeast === undefined ? {} : { goal: { atLeast: work.atLeast } }),
    },
  ],
  open: (settings, scope) => openWork(work, settings, scope),
}));

async function openWork(work: Work, settings: BenchSettings, scope: Scope): Promise<Round> {
  const theirs = await makeImages(work, settings, 'tgt', scope);
  const ours = await makeImages(work, settings, 'serve', scope);
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
  const { spec, client } = work;
  const { seconds } = settings;
  if (client === 'iscsi-perf') return { iops: await runIscsiPerf(first, spec, seconds), busy: undefined };
  if (client === 'qemu-img') {
    const qemuLoad = { ...spec, isWrite: spec.readPercent === 0 };
    return { iops: await runQemuImgBench(first, qemuLoad, seconds), busy: undefined };
  }
  return measureLoad({ urls, spec, digests: false }, seconds, scope);
}

/** Images are kept from case to case: those of the same kind have the same name. */
async function makeImages(
  work: Work,
  settings: BenchSettings,
  side: string,
  scope: Scope,
): Promise<string[]> {
  const count = work.volumes ?? 1;
  const paths: string[] = [];
  for (let i = 0; i < count; i++) {
    const kind = work.isSparse === true ? 'holes' : count === 1 ? 'full' : `part${i}`;
    const path = join(settings.workFolder, `${side}-${kind}.img`);
    if (work.isSparse === true) await makeSparseImage(path, settings.imageBytes);
    else await makeCachedImage(path, settings.imageBytes / count, scope);
    paths.push(path);
  }
  return paths;
}
