/**
 * What one 4 KiB command costs the process that serves it, in things that can be counted: heap bytes, promises, system
 * calls. Copies of its payload are not counted: nothing that runs can tell them from other work.
 */
import { join } from 'node:path';
import { sleep, systemClock } from '../../base/clock.js';
import { SkipCase, type BenchCase, type BenchSettings, type Sample } from '../case.js';
import { Counters, parsePerfStat } from '../counts.js';
import { makeCachedImage } from '../images.js';
import type { LoadSpec } from '../lean-load.js';
import { LoadClient, RANDOM_READ } from '../load-client.js';
import { Running } from '../process.js';
import type { Scope } from '../scope.js';
import { pinFolderInCache } from '../pin.js';
import { startGroup, startServe, type StartMore } from '../servers.js';
import { findTool } from '../tools.js';
import { makeVolume } from './group.js';

const WARM_UP_MS = 1_000;
const MEMBERS = 3;
/** A timer or a lease may make a few; a command may not make one. */
const PROMISES_MAX = 0.01;

const SPECS: readonly (readonly [name: string, spec: LoadSpec])[] = [
  ['read', RANDOM_READ],
  ['write', { ...RANDOM_READ, readPercent: 0 }],
];

/** A volume, and the process that serves its commands. */
interface Served {
  readonly url: string;
  readonly pid: number;
}

interface Server {
  readonly id: string;
  readonly title: string;
  start(settings: BenchSettings, scope: Scope, more: StartMore): Promise<Served>;
}

const SERVERS: readonly Server[] = [
  {
    id: 'serve',
    title: 'serve of one image',
    async start(settings, scope, more) {
      const image = join(settings.workFolder, 'serve-full.img');
      await makeCachedImage(image, settings.imageBytes, scope);
      const { urls, pid } = await startServe([image], scope, more);
      return { url: urls[0] ?? '', pid };
    },
  },
  {
    id: 'group',
    title: 'a volume at home in a group',
    async start(settings, scope, more) {
      const group = await startGroup(MEMBERS, settings.workFolder, scope, more);
      const url = await makeVolume(group, 'counted', settings, scope);
      await pinFolderInCache(group.folder, scope);
      return { url, pid: group.members.find(({ name }) => name === 'm1')?.pid ?? 0 };
    },
  },
];

export const countCases: readonly BenchCase[] = SERVERS.flatMap((server) => [
  {
    id: `counts-${server.id}`,
    title: `a 4 KiB command at QD 32, ${server.title}`,
    against: '–',
    needs: [],
    figures: SPECS.flatMap(([name]) => [
      { name: `heap per ${name}`, unit: 'B' as const },
      { name: `promises per ${name}`, unit: 'each' as const, goal: { atMost: PROMISES_MAX } },
      { name: `promise jobs per ${name}`, unit: 'each' as const, goal: { atMost: PROMISES_MAX } },
      { name: `read and write calls per ${name}`, unit: 'each' as const },
    ]),
    async open(settings, scope) {
      const counters = await Counters.create(settings.workFolder, scope);
      const served = await server.start(settings, scope, { env: counters.env });
      return () =>
        ofBothSpecs(served, scope, async (client) => {
          await counters.take(served.pid);
          await client.mark();
          await sleep(systemClock, settings.seconds * 1000);
          const { ops } = await client.mark();
          const counts = await counters.take(served.pid);
          return [counts.heapBytes, counts.promises, counts.jobs, counts.readsAndWrites].map((count) => ({
            value: count / ops,
          }));
        });
    },
  },
  {
    id: `syscalls-${server.id}`,
    title: `a 4 KiB command at QD 32, ${server.title}`,
    against: '–',
    needs: ['perf'] as const,
    figures: SPECS.map(([name]) => ({ name: `system calls per ${name}`, unit: 'each' as const })),
    async open(settings, scope) {
      const served = await server.start(settings, scope, {});
      return () =>
        ofBothSpecs(served, scope, async (client) => {
          await client.mark();
          const calls = await countSystemCalls(served.pid, settings.seconds);
          // By the second: perf takes its time to start.
          return [{ value: calls / settings.seconds / (await client.mark()).iops }];
        });
    },
  },
]);

/** Measures a load of reads, then one of writes, once each has settled. */
async function ofBothSpecs(
  { url }: Served,
  scope: Scope,
  measure: (client: LoadClient) => Promise<Sample[]>,
): Promise<readonly Sample[]> {
  const samples: Sample[] = [];
  for (const [, spec] of SPECS) {
    const client = await LoadClient.start({ urls: [url], spec, digests: false }, scope);
    await sleep(systemClock, WARM_UP_MS);
    samples.push(...(await measure(client)));
    await client.stop();
  }
  return samples;
}

/** By perf, which does not slow the process: strace would, and then a socket read finds more commands than it does. */
async function countSystemCalls(pid: number, seconds: number): Promise<number> {
  const event = ['-e', 'raw_syscalls:sys_enter', '-p', String(pid)];
  const perf = Running.start(findTool('perf') ?? 'perf', [
    ...['stat', '-x,', ...event, '--', 'sleep', String(seconds)],
  ]);
  await perf.whenEnded();
  const calls = parsePerfStat(perf.stderr);
  if (Number.isNaN(calls))
    throw new SkipCase(`perf cannot count system calls: ${perf.fault('failed').message}`);
  return calls;
}
