/** blockferry io fill | verify | load URL: the initiator harness at the command line. Checks itself nothing; it reports. */
import type { Command } from 'commander';
import { z } from 'zod';
import { BlockferryError } from '../base/errors.js';
import { INITIATOR_TASKS_MAX } from '../base/limits.js';
import { sizeOf } from '../base/units.js';
import { Initiator } from '../iscsi/initiator/initiator.js';
import { parseIscsiUrl } from '../iscsi/initiator/url.js';
import { runFill, runLoad, runVerify, type LoadOptions, type Progress } from '../iscsi/initiator/workload.js';
import type { WorkloadReport } from '../iscsi/initiator/report.js';
import { readChapIdentity, withChap } from './chap.js';
import type { CliDoor } from './door.js';
import { describeIoReport } from './io-report.js';
import { flag, parseOptions, refuseBoth, size, whole, withJson } from './options.js';
import { emit, plural } from './output.js';

type Verb = 'fill' | 'verify' | 'load';

/** FROM-TO in sizes, TO excluded. */
const byteRange = z.string().transform((text, context) => {
  const [from = '', to = '', ...more] = text.split('-');
  const offsetBytes = from === '0' ? 0 : (sizeOf(from) ?? NaN);
  const endBytes = sizeOf(to) ?? NaN;
  if (more.length === 0 && endBytes > offsetBytes)
    return { offsetBytes, lengthBytes: endBytes - offsetBytes };
  context.addIssue({ code: 'custom', message: 'is no range of bytes such as 64M-1G' });
  return z.NEVER;
});

/** 70, or 70/30 as people write a mix of reads and writes. */
const readPercent = z
  .string()
  .regex(/^\d{1,3}(\/\d{1,3})?$/, 'is no share of reads such as 70 or 70/30')
  .transform((text) => text.split('/').map(Number))
  .refine(
    ([reads = 0, writes]) => reads <= 100 && reads + (writes ?? 100 - reads) === 100,
    'does not add up to 100',
  )
  .transform(([reads = 0]) => reads);

const common = {
  json: flag,
  size: size.optional(),
  range: byteRange.optional(),
  blockSize: size.optional(),
  queueDepth: whole(1, INITIATOR_TASKS_MAX),
  rate: size.optional(),
  seed: whole(0, 0xffffffff).optional(),
  ledger: z.string().min(1).optional(),
  digests: flag,
  chap: z.string().min(1).optional(),
};
const Common = z.object(common);
const Load = z.object({
  ...common,
  readPercent: readPercent.optional(),
  mix: readPercent.optional(),
  sequential: flag,
  random: flag,
  fua: flag,
  seconds: whole(1, 1_000_000).optional(),
  total: size.optional(),
});
type IoOptions = z.infer<typeof Common> & Partial<z.infer<typeof Load>>;

const BLOCK_BYTES: Record<Verb, number> = { fill: 256 * 1024, verify: 256 * 1024, load: 4096 };

export function addIo(program: Command, door: CliDoor): void {
  const io = program.command('io').description('an initiator that writes and checks known patterns');
  addCommon(io.command('fill').description('write every block of the range once'), '256K').action(
    (url: string, raw: Record<string, unknown>) => runIo(door, 'fill', url, parseOptions(Common, raw)),
  );
  addCommon(
    io.command('verify').description('read every block of the range, check it by --ledger or --seed'),
    '256K',
  ).action((url: string, raw: Record<string, unknown>) =>
    runIo(door, 'verify', url, parseOptions(Common, raw)),
  );
  addCommon(io.command('load').description('read, check and write for a time'), '4K')
    .option('--read-percent <percent>', 'share of reads (default: 70)')
    .option('--mix <reads/writes>', 'the same, such as 70/30')
    .option('--random', 'in random order (default)')
    .option('--sequential', 'from the start to the end, again and again')
    .option('--fua', 'every write durable before it is answered')
    .option('--seconds <seconds>', 'how long (default: 10, or until --total)')
    .option('--total <size>', 'stop after so many bytes')
    .action((url: string, raw: Record<string, unknown>) => runIo(door, 'load', url, parseOptions(Load, raw)));
}

function addCommon(command: Command, blockSize: string): Command {
  return withChap(
    withJson(command.argument('<url>', 'iscsi://HOST[:PORT]/IQN/LUN')),
    'a file of accounts: log in as the first one',
  )
    .option('--size <size>', 'work on the first so many bytes')
    .option('--range <from-to>', 'work on these bytes, such as 64M-1G')
    .option('--block-size <size>', `bytes of one command (default: ${blockSize})`)
    .option('--queue-depth <commands>', 'outstanding at once', '32')
    .option('--rate <bytes>', 'at most this much a second, such as 50M')
    .option('--seed <number>', 'of patterns and places (default: a new one each time)')
    .option('--ledger <file>', 'acknowledged writes, kept in this file from run to run')
    .option('--digests', 'CRC32C on headers and data');
}

async function runIo(door: CliDoor, verb: Verb, url: string, options: IoOptions): Promise<void> {
  const target = parseIscsiUrl(url);
  const workload = workloadOptions(door, verb, options);
  const digest: readonly ('None' | 'CRC32C')[] = options.digests ? ['CRC32C', 'None'] : ['None'];
  const initiator = await Initiator.connect(target, {
    offer: { headerDigest: digest, dataDigest: digest },
    chap: await readChapIdentity(door, options.chap),
  });
  const stop = new AbortController();
  const forget = door.onStopSignal(() => stop.abort());
  let report: WorkloadReport;
  try {
    const run = { fill: runFill, verify: runVerify, load: runLoad }[verb];
    report = await run(initiator, { ...workload, signal: stop.signal });
  } finally {
    forget();
    await initiator.close();
  }
  emit(door, options.json, report, describeIoReport);
  if (!report.ok) throw notWell(report);
}

function workloadOptions(door: CliDoor, verb: Verb, options: IoOptions): LoadOptions {
  refuseBoth('size', options.size, 'range', options.range);
  refuseBoth('read-percent', options.readPercent, 'mix', options.mix);
  refuseBoth('random', options.random, 'sequential', options.sequential);
  const blockBytes = options.blockSize ?? BLOCK_BYTES[verb];
  const workload: LoadOptions = { queueDepth: options.queueDepth, blockBytes, ...options.range };
  if (options.size !== undefined) workload.lengthBytes = options.size;
  if (options.rate !== undefined) workload.opsPerSecondMax = options.rate / blockBytes;
  if (options.seed !== undefined) workload.seed = options.seed;
  if (options.ledger !== undefined) workload.ledgerFile = options.ledger;
  const share = options.mix ?? options.readPercent;
  if (share !== undefined) workload.readPercent = share;
  if (options.sequential === true) workload.order = 'sequential';
  if (options.fua === true) workload.fua = true;
  if (options.seconds !== undefined) workload.durationSeconds = options.seconds;
  if (options.total !== undefined) workload.bytes = options.total;
  if (door.stderr.isTTY === true && !options.json)
    workload.onProgress = (progress) => showProgress(door, progress);
  return workload;
}

function showProgress(door: CliDoor, progress: Progress): void {
  const bad =
    progress.errors + progress.wrongCount === 0
      ? ''
      : `, ${plural(progress.errors, 'error')}, ${progress.wrongCount} wrong`;
  door.stderr.write(
    `${progress.seconds.toFixed(0).padStart(4)} s  ${progress.iops.toFixed(0)} IOPS  ${progress.MBps.toFixed(1)} MB/s${bad}\n`,
  );
}

/** The one line on stderr; the report names every block. */
function notWell(report: WorkloadReport): BlockferryError {
  const [wrong] = report.wrong;
  const first =
    wrong === undefined
      ? (report.errorTexts[0] ?? 'no more is known')
      : `block ${wrong.block} (lba ${wrong.lba}) is ${wrong.kind}: ${wrong.found}`;
  return new BlockferryError(
    'IO',
    `${plural(report.wrongCount, 'wrong block')}, ${plural(report.errors, 'error')}: ${first}`,
  );
}
