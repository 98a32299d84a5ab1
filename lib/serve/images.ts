/**
 * The composition behind `blockferry serve`: image files, a device server on each, one portal. No group, no state of
 * its own, nothing moves.
 */
import fs from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Clock } from '../base/clock.js';
import { BlockferryError, describeError, errnoOf } from '../base/errors.js';
import { PORTAL_GROUP_TAG } from '../base/iscsi-names.js';
import type { Logger } from '../base/log.js';
import type { Random } from '../base/random.js';
import type {
  DirectoryEntry,
  ServedTarget,
  TargetAnswer,
  TargetDirectory,
} from '../iscsi/target/directory.js';
import type { Authenticator } from '../iscsi/target/login/security.js';
import { BusyPoll } from '../iscsi/target/busy-poll.js';
import { Portal } from '../iscsi/target/portal.js';
import { SessionRegistry } from '../iscsi/target/registry.js';
import { DiskServer } from '../scsi/disk-server.js';
import type { DiskUnit } from '../scsi/unit.js';
import { systemDoors } from '../storage/doors.js';
import { SparseFile } from '../storage/sparse-file.js';
import { identifyImages, type ImageIdentity } from './image-identity.js';

export interface ServeOptions {
  readonly images: readonly string[];
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Creates images that are missing; those that exist must be as large. */
  readonly sizeBytes: number | undefined;
  readonly readOnly: boolean;
  /** 512 unless it is said. */
  readonly blockBytes?: number | undefined;
  readonly removable?: boolean | undefined;
  /** In place of the one that comes from the path; of one image only. */
  readonly serial?: string | undefined;
  readonly vendor?: string | undefined;
  readonly product?: string | undefined;
  /** The longest that the loop keeps turning after activity, in microseconds; 0: not at all. */
  readonly busyPollUs?: number | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Who may log in. Default: everybody. */
  readonly authenticator?: Authenticator;
}

export interface ServedImage {
  readonly iqn: string;
  /** As it was named. */
  readonly image: string;
  readonly sizeBytes: number;
}

const BLOCK_BYTES_DEFAULT = 512;

interface OpenImage extends ServedImage {
  readonly file: SparseFile;
  readonly target: ServedTarget;
  readonly unit: DiskUnit;
}

export class ImageServer {
  private constructor(
    private readonly portal: Portal,
    readonly address: { readonly host: string; readonly port: number },
    private readonly open: readonly OpenImage[],
  ) {}

  /** Opens every image, then listens; on failure nothing stays open. Throws BUSY, NOT_FOUND, INVALID, USAGE, IO. */
  static async start(options: ServeOptions): Promise<ImageServer> {
    const open: OpenImage[] = [];
    try {
      const units = (): DiskUnit[] => open.map(({ unit }) => unit);
      for (const [path, identity] of await identify(options))
        open.push(await openImage(path, identity, options, units));
      const { clock, random, log, authenticator } = options;
      const directory = new ImageDirectory(open);
      const portal = new Portal({
        ...{ directory, registry: new SessionRegistry(clock), clock, random, log },
        poll: new BusyPoll(systemDoors().turns, options.busyPollUs),
        options: { ...(authenticator && { authenticator }) },
      });
      return new ImageServer(portal, await portal.listen(options.host, options.port), open);
    } catch (error) {
      await closeAll(open); // why it did not start says more than what fails now
      throw error;
    }
  }

  get images(): readonly ServedImage[] {
    return this.open;
  }

  /** Ends the sessions, then makes every image durable and closes it. */
  async stop(): Promise<void> {
    await this.portal.close();
    const outcomes = await closeAll(this.open);
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  }
}

/** Every one of them: what cannot be made durable keeps no other from it. */
function closeAll(images: readonly OpenImage[]): Promise<PromiseSettledResult<void>[]> {
  return Promise.allSettled(images.map(({ file }) => file.close()));
}

/** Path as given → who it is. Creates nothing: a missing file is identified by its folder's real path. */
async function identify(options: ServeOptions): Promise<[string, ImageIdentity][]> {
  // A host would take them for two ways to one disk.
  if (options.serial !== undefined && options.images.length > 1)
    throw new BlockferryError('USAGE', 'several images cannot have one serial', 'serve one, or leave it out');
  const realPaths: string[] = [];
  const files = new Map<string, string>();
  for (const image of options.images) {
    const real = await realPathOf(image, options);
    const file = await fileOf(real);
    const before = files.get(file);
    if (before !== undefined) {
      const what = before === image ? `${image} is named twice` : `${before} and ${image} are one file`;
      throw new BlockferryError('USAGE', what, 'name each image once');
    }
    files.set(file, image);
    realPaths.push(real);
  }
  const identities = identifyImages(realPaths);
  return realPaths.map((_, i) => [options.images[i], identities[i]] as [string, ImageIdentity]);
}

/** The same for every hard link to a file; of one that is to be made, its path. */
async function fileOf(realPath: string): Promise<string> {
  try {
    const { dev, ino } = await fs.stat(realPath, { bigint: true });
    return `${dev}:${ino}`;
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return realPath;
    throw notOpened(realPath, cause);
  }
}

async function realPathOf(image: string, { sizeBytes, readOnly }: ServeOptions): Promise<string> {
  try {
    return await fs.realpath(image);
  } catch (cause) {
    if (errnoOf(cause) !== 'ENOENT') throw notOpened(image, cause);
    if (sizeBytes === undefined) {
      const hint = readOnly ? 'name one that is there' : 'add --size to create it';
      throw new BlockferryError('NOT_FOUND', `there is no ${image}`, hint, { cause });
    }
    if (readOnly) {
      const what = `there is no ${image}, and with --read-only --size creates none`;
      throw new BlockferryError('USAGE', what, 'leave one of them out, or name another image', { cause });
    }
    return realPathToBe(image);
  }
}

/** Of a file that is to be made, as realpath() will say it then; of what a symbolic link names, where it is one. */
async function realPathToBe(image: string): Promise<string> {
  try {
    const link = await fs.readlink(image).catch(() => null);
    if (link !== null) return await realPathToBe(resolve(dirname(image), link));
    return join(await fs.realpath(dirname(image)), basename(image));
  } catch (cause) {
    throw notOpened(image, cause);
  }
}

function notOpened(image: string, cause: unknown): BlockferryError {
  const what = `cannot open ${image}: ${describeError(cause)}`;
  return new BlockferryError('IO', what, 'check its folder', { cause });
}

/** @param units of all images: copies go from one to another */
async function openImage(
  path: string,
  identity: ImageIdentity,
  options: ServeOptions,
  units: () => readonly DiskUnit[],
): Promise<OpenImage> {
  const { readOnly, sizeBytes, log, serial, vendor, product } = options;
  const file = await SparseFile.open(path, {
    blockBytes: options.blockBytes ?? BLOCK_BYTES_DEFAULT,
    create: sizeBytes !== undefined && !readOnly,
    readOnly,
    log,
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
  });
  const server = new DiskServer({
    device: file,
    identity: {
      ...identity,
      ...(serial && { serial }),
      ...(vendor && { vendor }),
      ...(product && { product }),
    },
    options: { removable: options.removable ?? false },
    others: units,
  });
  const target = { iqn: identity.iqn, server };
  return { iqn: identity.iqn, image: path, sizeBytes: file.sizeBytes, file, target, unit: server.unit };
}

/** Every image, served here. Nothing needs a fence: an initiator's old session can only be at this portal. */
class ImageDirectory implements TargetDirectory {
  private readonly byIqn: ReadonlyMap<string, ServedTarget>;

  constructor(images: readonly OpenImage[]) {
    this.byIqn = new Map(images.map((image) => [image.iqn, image.target]));
  }

  list(localHost: string, localPort: number): readonly DirectoryEntry[] {
    const addresses = [{ host: localHost, port: localPort, portalGroupTag: PORTAL_GROUP_TAG }];
    return [...this.byIqn.keys()].map((iqn) => ({ iqn, addresses }));
  }

  resolve(iqn: string): TargetAnswer {
    const target = this.byIqn.get(iqn);
    return target === undefined ? { kind: 'unknown' } : { kind: 'serve', target };
  }

  admit(): Promise<void> {
    return Promise.resolve();
  }
}
