/**
 * Which ports a group on this machine uses, kept in DATA/group.json so that a member that is started again, or a whole
 * group, is found where it was. Opens no lasting listener.
 *
 * Ports that nobody asked for by number are taken below the kernel's ephemeral range (32768 up on Linux): an outgoing
 * connection could otherwise take a member's port in the moment when it is started again.
 */
import fs from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { sleep, type Clock } from '../base/clock.js';
import { BlockferryError, errnoOf } from '../base/errors.js';
import { listenError } from '../base/net.js';
import { MEMBER_NAME_PATTERN, MEMBERS_MAX } from '../base/limits.js';
import { randomBelow, type Random } from '../base/random.js';
import { readAtMost } from '../base/read-at-most.js';
import { openErrorOf } from '../storage/io-errors.js';

const port = z.number().int().min(1).max(65535);
const GroupAddresses = z.object({
  version: z.literal(1),
  portal: port,
  manage: port,
  members: z
    .array(z.object({ name: z.string().regex(MEMBER_NAME_PATTERN), portal: port, peer: port }))
    .min(1)
    .max(MEMBERS_MAX)
    .refine((members) => new Set(members.map(({ name }) => name)).size === members.length),
});
/** Ports only; the host is given at every start. */
export type GroupAddresses = z.infer<typeof GroupAddresses>;

export interface WantedAddresses {
  readonly host: string;
  /** Of the group portal, members at the next ones; 0: any. */
  readonly port: number;
  readonly managePort: number;
  readonly members: number;
  /** Wait for a port in use in a folder that was used before; false: take it at its word. */
  readonly waitsForRelease: boolean;
}

const FILE = 'group.json';
/** Far above what MEMBERS_MAX members take. */
const FILE_BYTES_MAX = 1024 * 1024;
const PICK_FROM = 20_000;
const PICK_BELOW = 32_000;
const PICK_ATTEMPTS = 1000;
/** After a kill -9 the members of the last run need a moment to notice and go. */
const RELEASE_DEADLINE_MS = 3_000;
const RELEASE_POLL_MS = 50;
/** Somebody else's look at the same port is over by then. */
const PROBE_PASSES_MS = 50;

/** What the last run in this folder used, or undefined. Throws INVALID when the file is not ours. */
export async function loadAddresses(dataFolder: string): Promise<GroupAddresses | undefined> {
  const path = join(dataFolder, FILE);
  let text: string;
  try {
    const bytes = await readAtMost(path, FILE_BYTES_MAX);
    text = bytes?.toString('utf8') ?? ''; // which is no JSON
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw new BlockferryError('IO', `cannot read ${path}: ${(error as Error).message}`, undefined, {
      cause: error,
    });
  }
  try {
    return GroupAddresses.parse(JSON.parse(text));
  } catch (cause) {
    throw new BlockferryError('INVALID', `${path} is damaged`, 'remove it: ports are then chosen anew', {
      cause,
    });
  }
}

/**
 * Replaces the file in one step, so that a crash leaves the old one or the new one. What is there already is not written:
 * a group starts again on a full disk.
 * @param saved what loadAddresses() found there
 * @throws NO_SPACE, IO
 */
export async function saveAddresses(
  dataFolder: string,
  addresses: GroupAddresses,
  saved: GroupAddresses | undefined,
): Promise<void> {
  if (isDeepStrictEqual(saved, addresses)) return;
  const path = join(dataFolder, FILE);
  try {
    await fs.writeFile(`${path}.new`, `${JSON.stringify(addresses, null, 2)}\n`, { flush: true });
    await fs.rename(`${path}.new`, path);
  } catch (error) {
    await fs.rm(`${path}.new`, { force: true }).catch(() => undefined); // why it was not written says more
    throw openErrorOf(error, `${path}.new`);
  }
}

/**
 * Chooses every port: the asked one, else the one of the last run while it is free, else any. Members of the last run
 * stay in the group even when fewer are asked for, since they may hold data.
 * @throws BUSY when an asked port is in use
 */
export async function chooseAddresses(
  wanted: WantedAddresses,
  saved: GroupAddresses | undefined,
  clock: Clock,
  random: Random,
): Promise<GroupAddresses> {
  const isPatient = wanted.waitsForRelease && saved !== undefined;
  const picker = new PortPicker(wanted.host, isPatient, clock, random);
  const asked = (offset: number): number => (wanted.port === 0 ? 0 : wanted.port + offset);
  const count = Math.max(wanted.members, saved?.members.length ?? 0);
  const portal = await picker.choose(asked(0), saved?.portal, '--port');
  const portals: number[] = [];
  for (let i = 0; i < count; i++) {
    portals.push(await picker.choose(asked(i + 1), saved?.members[i]?.portal, '--port'));
  }
  const manage = await picker.choose(wanted.managePort, saved?.manage, '--manage-port');
  const members: GroupAddresses['members'] = [];
  const names = new Set(saved?.members.map((member) => member.name));
  for (const [i, memberPortal] of portals.entries()) {
    const peer = await picker.choose(0, saved?.members[i]?.peer, '');
    const name = saved?.members[i]?.name ?? unusedName(names);
    names.add(name);
    members.push({ name, portal: memberPortal, peer });
  }
  return { version: 1, portal, manage, members };
}

/** The first mN. A person may have taken any member out of the file. */
function unusedName(names: ReadonlySet<string>): string {
  for (let n = 1; ; n++) if (!names.has(`m${n}`)) return `m${n}`;
}

class PortPicker {
  private readonly taken = new Set<number>();

  constructor(
    private readonly host: string,
    private readonly isPatient: boolean,
    private readonly clock: Clock,
    private readonly random: Random,
  ) {}

  async choose(asked: number, saved: number | undefined, option: string): Promise<number> {
    if (asked !== 0) return this.take(await this.insist(asked, option));
    if (saved !== undefined && (await this.freeSoon(saved))) return this.take(saved);
    for (let i = 0; i < PICK_ATTEMPTS; i++) {
      const candidate = PICK_FROM + randomBelow(this.random, PICK_BELOW - PICK_FROM);
      if (await this.isFree(candidate)) return this.take(candidate);
    }
    throw new BlockferryError(
      'BUSY',
      `no free port between ${PICK_FROM} and ${PICK_BELOW} on ${this.host}`,
      'stop some of what listens there, or choose ports with --port and --manage-port',
    );
  }

  private async insist(asked: number, option: string): Promise<number> {
    if (asked > 65535)
      throw new BlockferryError('USAGE', `${option}: ${asked} is beyond the last port, 65535`);
    if (await this.freeSoon(asked)) return asked;
    throw new BlockferryError(
      'BUSY',
      `port ${asked} of ${this.host} is in use`,
      `choose another ${option}, or 0 for any`,
    );
  }

  private take(chosen: number): number {
    this.taken.add(chosen);
    return chosen;
  }

  /** What is left of the last run may be on its way out. */
  private async freeSoon(candidate: number): Promise<boolean> {
    const deadlineMs = this.clock.nowMs() + (this.isPatient ? RELEASE_DEADLINE_MS : PROBE_PASSES_MS);
    while (!(await this.isFree(candidate))) {
      if (this.clock.nowMs() >= deadlineMs) return false;
      await sleep(this.clock, RELEASE_POLL_MS);
    }
    return true;
  }

  private isFree(candidate: number): Promise<boolean> {
    if (this.taken.has(candidate)) return Promise.resolve(false);
    return new Promise((resolve, reject) => {
      const probe = createServer();
      probe.once('error', (error) => {
        if (errnoOf(error) === 'EADDRINUSE') resolve(false);
        else reject(listenError('port', { host: this.host, port: candidate }, '--port', error));
      });
      probe.listen({ host: this.host, port: candidate, exclusive: true }, () =>
        probe.close(() => resolve(true)),
      );
    });
  }
}
