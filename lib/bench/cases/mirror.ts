/**
 * What QEMU's own live copy does to its foreground: blockdev-mirror in write-blocking mode in a qemu-storage-daemon, the
 * foreground over NBD. No goal: it stands in the table beside our move.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { sleep, systemClock } from '../../base/clock.js';
import { ratio, type BenchCase } from '../case.js';
import { makeRandomImage, makeSparseImage } from '../images.js';
import { Running, runToEnd } from '../process.js';
import { QmpClient } from '../qmp.js';
import { findTool } from '../tools.js';

/** fio counts nothing in this time: the copy begins at its end. */
const RAMP_SECONDS = 1;
const FIO_START_MS = 300;

/** The fields of fio's JSON that we read. */
const FioSide = z.object({
  iops: z.number(),
  clat_ns: z.object({ percentile: z.record(z.string(), z.number()).optional() }),
});
const FioOutput = z.object({ jobs: z.array(z.object({ read: FioSide, write: FioSide })).min(1) });

export interface FioFigures {
  readonly iops: number;
  readonly p999Ms: number;
}

export const mirrorCases: readonly BenchCase[] = [
  {
    id: 'mirror',
    title: "QEMU's blockdev-mirror under 70/30 random, QD 32",
    against: 'the same load before',
    needs: ['qemu-storage-daemon', 'fio'],
    figures: [
      { name: 'foreground kept', unit: 'ratio' },
      { name: 'p99.9 during', unit: 'ms' },
      { name: 'speed', unit: 'MB/s' },
    ],
    async open(settings, scope) {
      const { workFolder, imageBytes, seconds } = settings;
      const source = join(workFolder, 'mirror-source.img');
      const target = join(workFolder, 'mirror-target.img');
      await makeRandomImage(source, imageBytes);
      scope.defer(() => Promise.all([source, target].map((path) => rm(path, { force: true }))));
      return async () => {
        await makeSparseImage(target, imageBytes);
        const { daemon, qmp, uri } = await startDaemon(source, target, workFolder);
        try {
          const before = parseFio(await runToEnd('fio', fioArgs(uri, seconds)));
          const fio = Running.start('fio', fioArgs(uri, 3600), { endedBy: 'SIGINT' });
          await sleep(systemClock, FIO_START_MS + RAMP_SECONDS * 1000);
          const begunMs = systemClock.nowMs();
          const ready = qmp.event('BLOCK_JOB_READY');
          const job = { 'job-id': 'copy', device: 'source', target: 'target', sync: 'full' };
          await qmp.execute('blockdev-mirror', { ...job, 'copy-mode': 'write-blocking' });
          await ready;
          const tookSeconds = (systemClock.nowMs() - begunMs) / 1000;
          await fio.stop();
          const during = parseFio(fio.stdout);
          return [
            ratio(during.iops, before.iops, 'IOPS'),
            { value: during.p999Ms },
            { value: imageBytes / 1e6 / tookSeconds },
          ];
        } finally {
          qmp.close();
          await daemon.stop();
        }
      };
    },
  },
];

async function startDaemon(
  source: string,
  target: string,
  workFolder: string,
): Promise<{ daemon: Running; qmp: QmpClient; uri: string }> {
  const nbd = join(workFolder, 'nbd');
  const monitor = join(workFolder, 'qmp');
  await rm(monitor, { force: true });
  const file = (node: string, path: string): string[] => [
    '--blockdev',
    `driver=file,node-name=${node}-file,filename=${path}`,
    '--blockdev',
    `driver=raw,node-name=${node},file=${node}-file`,
  ];
  const daemon = Running.start(findTool('qemu-storage-daemon') ?? 'qemu-storage-daemon', [
    ...file('source', source),
    ...file('target', target),
    ...['--nbd-server', `addr.type=unix,addr.path=${nbd}`],
    ...['--export', 'type=nbd,id=export,node-name=source,name=disk,writable=on'],
    ...['--chardev', `socket,id=qmp,path=${monitor},server=on,wait=off`, '--monitor', 'chardev=qmp'],
  ]);
  try {
    return { daemon, qmp: await QmpClient.connect(monitor), uri: `nbd+unix:///disk?socket=${nbd}` };
  } catch (error) {
    await daemon.stop();
    throw daemon.fault(`does not answer (${(error as Error).message})`);
  }
}

function fioArgs(uri: string, seconds: number): string[] {
  const work = ['--rw=randrw', '--rwmixread=70', '--bs=4k', '--iodepth=32'];
  const time = ['--time_based', `--runtime=${seconds}`, `--ramp_time=${RAMP_SECONDS}`];
  return ['--name=foreground', '--ioengine=nbd', `--uri=${uri}`, ...work, ...time, '--output-format=json'];
}

/** Reads and writes together; the slower of the two percentiles. */
export function parseFio(output: string): FioFigures {
  const json = output.slice(output.indexOf('{'), output.lastIndexOf('}') + 1);
  const [job] = FioOutput.parse(JSON.parse(json)).jobs;
  const sides = job === undefined ? [] : [job.read, job.write];
  const p999Ns = sides.map((side) => side.clat_ns.percentile?.['99.900000'] ?? 0);
  return { iops: sides.reduce((sum, side) => sum + side.iops, 0), p999Ms: Math.max(...p999Ns) / 1e6 };
}
