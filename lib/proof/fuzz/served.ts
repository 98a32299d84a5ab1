/**
 * A real target process under fuzz: `blockferry serve` with a unit that everything may happen to, and another one whose
 * initiator, the witness, must not notice any of it. The probe says whether the process is as it should be between two
 * batches.
 */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { NO_BYTES } from '../../base/bytes.js';
import { Chance } from '../../base/chance.js';
import { sleep, systemClock } from '../../base/clock.js';
import { BlockferryError, describeError } from '../../base/errors.js';
import { type Running } from '../../bench/process.js';
import type { Scope } from '../../bench/scope.js';
import { startBlockferry } from '../../bench/servers.js';
import { logIn, parseIscsiUrl, settle, type IscsiUrl } from '../../iscsi/initiator/index.js';
import type { ChapIdentity } from '../../iscsi/initiator/chap.js';
import { opcodeOf } from '../../iscsi/wire/bhs.js';
import { describePdu } from '../../iscsi/wire/describe.js';
import { Opcode } from '../../iscsi/wire/opcodes.js';
import { LoadedClient, type LoadedVerdict } from '../loaded-client.js';
import type { DrawnCommand } from './cdbs.js';
import type { Draft } from './draft.js';
import { LOGIN_CMD_SN } from './logins.js';
import { MemoryWatch } from './memory.js';
import { PLAIN_TERMS, type PlanFor } from './plan.js';
import { Talk } from './talk.js';

/** Small, so that a SANITIZE is soon over. */
const IMAGE_SIZE = '8M';
/** Beside a fuzzer that takes a processor. */
const WITNESS_MS_MAX = 2_000;
const WITNESS_OPS_PER_SECOND = 400;
/** Refused logins are answered late (LOGIN_FAILURE_PAUSE_MS); then every connection is gone. */
const SETTLE_MS_MAX = 8_000;
const LOGIN_MS_MAX = 5_000;
/** What is said of a target that did. */
export const DIED = 'the process ended';

const CHAP: ChapIdentity = { name: 'fuzz', secret: 'a secret of the fuzzer' };

/** What there is to be fuzzed. */
export const KINDS: Readonly<
  Record<string, { args: readonly string[]; blockBytes: number; chap: ChapIdentity | null }>
> = {
  open: { args: [], blockBytes: 512, chap: null },
  chap: { args: ['--block-size', '4096', '--removable'], blockBytes: 4096, chap: CHAP },
};

const INQUIRY: DrawnCommand = {
  cdb: Buffer.concat([Buffer.from([0x12, 0, 0, 0, 36])], 16),
  dataOut: NO_BYTES,
  dataInBytes: 36,
};

export interface ServedOptions {
  readonly seed: number;
  readonly workFolder: string;
  /** A module that each target loads first: what makes one of them as wrong as the proof has to notice. */
  readonly preload?: string | undefined;
}

export interface Probe {
  readonly residentKib: number;
  readonly witnessOps: number;
  readonly witnessLongestMs: number;
  readonly faults: readonly string[];
}

export class ServedTarget {
  private readonly memory = new MemoryWatch();
  private witnessOps = 0;
  private said = 0;

  private constructor(
    readonly name: string,
    readonly url: IscsiUrl,
    readonly planFor: PlanFor,
    readonly chap: ChapIdentity | null,
    private readonly running: Running,
    private readonly witness: LoadedClient,
    private readonly baseSockets: number,
  ) {}

  static async start(
    name: string,
    { seed, workFolder, preload }: ServedOptions,
    scope: Scope,
  ): Promise<ServedTarget> {
    const kind = KINDS[name];
    if (kind === undefined) throw new BlockferryError('INVALID', `there is no kind of target '${name}'`);
    const { args, blockBytes, chap } = kind;
    const images = ['fuzz', 'witness'].map((image) => join(workFolder, `${name}-${image}.img`));
    const env = {
      ...(chap !== null && { BLOCKFERRY_CHAP: JSON.stringify({ accounts: [chap] }) }),
      ...(preload !== undefined && { NODE_OPTIONS: `--import ${preload}` }),
    };
    const serve = ['serve', '--json', '--port', '0', '--size', IMAGE_SIZE, ...args, ...images];
    const running = startBlockferry(serve, { env });
    scope.defer(() => running.stop());
    const { targets } = await running.readyJson<{ targets: { iqn: string; url: string }[] }>();
    const [fuzzed, quiet] = targets as [{ iqn: string; url: string }, { url: string }];
    const load = { by: 'harness', url: quiet.url, seed, queueDepth: 2, readPercent: 50 } as const;
    const witness = await LoadedClient.start(
      { ...load, opsPerSecondMax: WITNESS_OPS_PER_SECOND, ...(chap && { chap }) },
      scope,
    );
    const planFor = { iqn: fuzzed.iqn, blockBytes, hasChap: chap !== null, chapName: chap?.name ?? '' };
    const url = parseIscsiUrl(fuzzed.url);
    return new ServedTarget(name, url, planFor, chap, running, witness, await socketsOf(running.pid));
  }

  /** @param isWarm memory is measured against the first probe that is */
  async probe(isWarm: boolean): Promise<Probe> {
    const faults: string[] = [];
    const died = this.death();
    if (died !== null) return { residentKib: 0, witnessOps: 0, witnessLongestMs: 0, faults: [died] };
    const leftOver = await this.drain();
    if (leftOver > 0) faults.push(`${leftOver} connections are left over`);
    faults.push(...(await this.tryLogin()), ...this.complaints());
    const mark = await this.witness.mark();
    if (mark.errors > 0)
      faults.push(`${mark.errors} commands of the witness failed, or read what was not written`);
    if (mark.recoveries > 0) faults.push(`the witness lost its session ${mark.recoveries} times`);
    if (mark.ops === this.witnessOps) faults.push('the witness has had no answer since the last probe');
    if (mark.longestMs > WITNESS_MS_MAX)
      faults.push(`a command of the witness took ${Math.round(mark.longestMs)} ms, over ${WITNESS_MS_MAX}`);
    this.witnessOps = mark.ops;
    const residentKib = await anonymousKib(this.running.pid);
    const growth = this.memory.note(residentKib, isWarm);
    if (growth !== null) faults.push(growth);
    return { residentKib, witnessOps: mark.ops, witnessLongestMs: mark.longestMs, faults };
  }

  /** Null while it lives. */
  death(): string | null {
    return this.running.hasEnded ? `${DIED}: ${this.running.stderr.trim().slice(-2000)}` : null;
  }

  /** Every block of the witness's is read once more; then the process ends, in order. */
  async finish(): Promise<{ verdict: LoadedVerdict; faults: string[] }> {
    const verdict = await this.witness.stop();
    const { errors, wrongBlocks, violations, texts } = verdict;
    const faults = errors + wrongBlocks + violations === 0 ? [] : [`the witness: ${texts.join('; ')}`];
    await this.running.stop();
    const { exitCode } = this.running.child;
    if (exitCode !== 0) faults.push(`it ended with ${exitCode ?? 'a signal'} when it was told to stop`);
    return { verdict, faults: [...faults, ...this.complaints()] };
  }

  /** Waits until there are no more sockets than at the start. @returns how many there are */
  private async drain(): Promise<number> {
    const deadline = Date.now() + SETTLE_MS_MAX;
    for (;;) {
      const more = (await socketsOf(this.running.pid)) - this.baseSockets;
      if (more <= 0 || Date.now() > deadline) return more;
      await sleep(systemClock, 50);
    }
  }

  /** Anybody can log in, and is told what the unit is: INQUIRY is answered whatever state it is in (SPC-4 6.6). */
  private async tryLogin(): Promise<string[]> {
    const settings = settle({ chap: this.chap, loginDeadlineMs: LOGIN_MS_MAX });
    try {
      const { connection } = await logIn(this.url, this.url.iqn, settings);
      const [inquiry] = new Talk(new Chance(1), PLAIN_TERMS, LOGIN_CMD_SN).command(INQUIRY);
      connection.send((inquiry as Draft).header);
      const { bhs } = await connection.receive(LOGIN_MS_MAX);
      connection.close('probed');
      return opcodeOf(bhs) === Opcode.DATA_IN ? [] : [`INQUIRY was answered by ${describePdu(bhs)}`];
    } catch (error) {
      return [`after the batch: ${describeError(error)}`];
    }
  }

  /** What it has logged as its own defect since it was asked last; at this level it says nothing else. */
  private complaints(): string[] {
    const text = this.running.stderr.slice(this.said);
    this.said += text.length;
    return text
      .split('\n')
      .filter(Boolean)
      .slice(0, 5)
      .map((line) => `it says: ${line.slice(0, 3000)}`);
  }
}

/** Heap and buffers: not the pages of images, which are the page cache's. */
async function anonymousKib(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1] ?? NaN);
}

async function socketsOf(pid: number): Promise<number> {
  const folder = `/proc/${pid}/fd`;
  const links = await Promise.all(
    (await readdir(folder)).map((fd) => readlink(join(folder, fd)).catch(() => '')),
  );
  return links.filter((link) => link.startsWith('socket:')).length;
}
