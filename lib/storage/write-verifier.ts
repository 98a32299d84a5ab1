/**
 * The write verifier of a data folder (word and idea are NFS's, RFC 1813 3.3.7): it stays the same as long as what was
 * written there and not flushed still is where reads find it, and is another one when that may be gone. What a process
 * leaves unflushed is the kernel's, and outlives it; what the kernel has not written when its machine loses power is gone.
 *
 *     DIR/VERIFIER.verifier    empty
 *     DIR/BOOT.boot            empty: volumes here have been open in that boot, and not all closed in order since
 */
import { constants } from 'node:fs';
import { join } from 'node:path';
import { describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { randomToken, type Random } from '../base/random.js';
import type { FolderCalls } from './doors.js';
import { syncFolder } from './open-file.js';

const VERIFIER_SUFFIX = '.verifier';
const BOOT_SUFFIX = '.boot';
const VERIFIER = /^([0-9a-f]{16})\.verifier$/;

/** What it takes to know one. */
export interface VerifierSource {
  /** Which boot of this machine it is; '' where nobody knows. */
  readonly bootId: string;
  readonly random: Random;
  readonly log: Logger;
}

export class WriteVerifier {
  private constructor(
    /** '' when it cannot be known: then nobody can say that something was lost. */
    readonly value: string,
    /** Before this process began with it, everything in the folder was known to be durable. */
    readonly wasWhole: boolean,
    private readonly path: string,
    private readonly folders: FolderCalls,
    private readonly log: Logger,
  ) {}

  /**
   * Before anything is written there. Never fails: a member with a full disk has to serve what it holds. Its verifier is
   * then one that its next process does not know.
   */
  static async open(
    path: string,
    { bootId, random, log }: VerifierSource,
    folders: FolderCalls,
  ): Promise<WriteVerifier> {
    if (bootId === '') return new WriteVerifier('', false, path, folders, log);
    const fresh = randomToken(random);
    try {
      const entries = await folders.list(path);
      const value = keptOf(entries, bootId) ?? fresh;
      const wasWhole = !entries.some((entry) => entry.endsWith(BOOT_SUFFIX));
      const verifier = new WriteVerifier(value, wasWhole, path, folders, log);
      // The new one stands before what tells of the old one's end goes: a crash in between finds two, and makes a third.
      await verifier.replace(VERIFIER_SUFFIX, entries, value);
      await verifier.replace(BOOT_SUFFIX, entries, bootId);
      return verifier;
    } catch (error) {
      log.warn({ error: describeError(error) }, 'the write verifier cannot be kept');
      const verifier = new WriteVerifier(fresh, false, path, folders, log);
      await verifier.spoil();
      return verifier;
    }
  }

  /** Something that was written did not reach the disk, or may not: the next process has another one. */
  async spoil(): Promise<void> {
    await this.removeAll(VERIFIER_SUFFIX);
  }

  /** Everything that was written is durable: a loss of power from now on takes nothing. */
  async closedInOrder(): Promise<void> {
    await this.removeAll(BOOT_SUFFIX);
  }

  /** A folder that cannot be written to keeps no process from ending. */
  private async removeAll(suffix: string): Promise<void> {
    const { path, folders, log } = this;
    try {
      const entries = (await folders.list(path)).filter((entry) => entry.endsWith(suffix));
      for (const entry of entries) await folders.unlink(join(path, entry));
      if (entries.length > 0) await syncFolder(path, folders);
    } catch (error) {
      log.warn({ suffix, error: describeError(error) }, 'what tells of unflushed writes is not up to date');
    }
  }

  /** Durably: the one file with that suffix. */
  private async replace(suffix: string, entries: readonly string[], name: string): Promise<void> {
    const { path, folders } = this;
    const flags = constants.O_RDWR | constants.O_CREAT;
    await folders.close(await folders.open(join(path, name + suffix), flags, 0o600));
    await syncFolder(path, folders);
    const others = entries.filter((entry) => entry.endsWith(suffix) && entry !== name + suffix);
    for (const other of others) await folders.unlink(join(path, other));
    if (others.length > 0) await syncFolder(path, folders);
  }
}

/** The verifier that still holds; null when there is none, or when what it stood for may be gone. */
function keptOf(entries: readonly string[], bootId: string): string | null {
  const [verifier = '', ...more] = entries.filter((entry) => entry.endsWith(VERIFIER_SUFFIX));
  const boots = entries.filter((entry) => entry.endsWith(BOOT_SUFFIX));
  if (more.length > 0 || boots.some((boot) => boot !== bootId + BOOT_SUFFIX)) return null;
  return VERIFIER.exec(verifier)?.[1] ?? null;
}
