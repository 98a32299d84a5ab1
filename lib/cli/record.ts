/** blockferry record FILE: what initiators ask of the group, request by request, for `simulate --load FILE`. */
import { createWriteStream, type WriteStream } from 'node:fs';
import { once } from 'node:events';
import { finished } from 'node:stream/promises';
import type { Command } from 'commander';
import { z } from 'zod';
import { sleep, systemClock, type Timer } from '../base/clock.js';
import { BlockferryError, describeError } from '../base/errors.js';
import { QUERY_DEADLINE_MS } from '../base/limits.js';
import type { TraceView } from '../manage/api.js';
import { ManageClient } from '../manage/client.js';
import { CSV_COLUMNS } from '../simulate/trace/formats.js';
import { untilStopped, type CliDoor } from './door.js';
import { manageOptions, parseOptions, whole, withManage } from './options.js';
import { emit, plural } from './output.js';

const Options = z.object({ ...manageOptions, seconds: whole(1, 86_400).optional() });
const POLL_MS = 100;
/** How long the last answer is waited for: a group that has silent members needs QUERY_DEADLINE_MS. */
const LAST_ANSWER_MS = QUERY_DEADLINE_MS + 1_000;
const HEADING = `${CSV_COLUMNS.join(',')}\n`;

interface Recorded {
  readonly file: string;
  readonly seconds: number;
  readonly requests: number;
  /** Came faster than they could be told. */
  readonly dropped: number;
  readonly silent: readonly string[];
}

export function addRecord(program: Command, door: CliDoor): void {
  withManage(
    program.command('record <file>').description('write down what initiators ask, as CSV in a new file'),
    door,
  )
    .option('--seconds <seconds>', 'how long (default: until Ctrl-C)')
    .action(async (file: string, raw: Record<string, unknown>) => {
      const options = parseOptions(Options, raw);
      emit(door, options.json, await record(door, file, options), describe);
    });
}

async function record(door: CliDoor, file: string, options: z.infer<typeof Options>): Promise<Recorded> {
  const client = new ManageClient(options.manage);
  const { next } = await client.trace(); // begins the recording; and a group that is not there leaves no file
  const out = createWriteStream(file, { flags: 'wx' });
  const written = finished(out);
  written.catch(() => undefined); // told below, whenever it comes
  try {
    await Promise.race([once(out, 'open'), written]);
    out.write(HEADING);
    const recorded = await write(
      out,
      client,
      next,
      { file, seconds: options.seconds ?? Infinity },
      untilStopped(door),
    );
    out.end();
    await written;
    return recorded;
  } catch (error) {
    if (error instanceof BlockferryError) throw await keptUntil(error, out, file);
    out.destroy();
    const hint = (error as { code?: unknown }).code === 'EEXIST' ? 'choose another name' : undefined;
    throw new BlockferryError('IO', `${file}: ${describeError(error)}`, hint);
  }
}

/** The group has failed, not the file: what is in it may be all that there will be. */
async function keptUntil(error: BlockferryError, out: WriteStream, file: string): Promise<BlockferryError> {
  out.end();
  await finished(out).catch(() => undefined); // the first failure says more
  return new BlockferryError(error.code, error.message, `what was asked until then is in ${file}`, {
    cause: error,
  });
}

async function write(
  out: WriteStream,
  client: ManageClient,
  after: string,
  { file, seconds }: Pick<Recorded, 'file' | 'seconds'>,
  stopped: Promise<unknown>,
): Promise<Recorded> {
  const beganMs = systemClock.nowMs();
  const silent = new Set<string>();
  let [isStopped, requests, dropped, next] = [false, 0, 0, after];
  let patience: Timer | undefined;
  void stopped.then(() => {
    isStopped = true;
    patience = systemClock.after(LAST_ANSWER_MS, () => client.close());
  });
  const elapsed = (): number => (systemClock.nowMs() - beganMs) / 1000;
  try {
    while (!isStopped && elapsed() < seconds) {
      await Promise.race([stopped, sleep(systemClock, POLL_MS)]);
      const trace = await client.trace(next);
      next = trace.next;
      for (const member of trace.silent) silent.add(member);
      requests += trace.requests.length;
      dropped += trace.dropped;
      if (out.errored !== null) throw out.errored;
      if (!out.write(linesOf(trace))) await once(out, 'drain');
    }
  } finally {
    patience?.cancel();
  }
  return { file, seconds: Math.round(elapsed() * 10) / 10, requests, dropped, silent: [...silent] };
}

function linesOf({ requests }: TraceView): string {
  return requests
    .map(
      ([timeMs, volume, isRead, offset, length]) =>
        `${timeMs},${volume},${isRead ? 'read' : 'write'},${offset},${length}\n`,
    )
    .join('');
}

function describe({ file, seconds, requests, dropped, silent }: Recorded): string {
  const missing = dropped === 0 ? '' : `; ${plural(dropped, 'request')} came too fast and are missing`;
  const away = silent.length === 0 ? '' : `; no answer from ${silent.join(', ')} for a part of it`;
  return `${plural(requests, 'request')} in ${seconds} s are in ${file}${missing}${away}`;
}
