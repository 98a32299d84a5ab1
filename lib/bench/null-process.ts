/**
 * Devices behind the real portal and nothing else, such as store nothing: what the transport could do at best. Only benchmarks
 * start it.
 */
import { pino } from 'pino';
import { systemClock } from '../base/clock.js';
import { PORTAL_GROUP_TAG } from '../base/iscsi-names.js';
import { formatAddress } from '../base/net.js';
import { systemRandom } from '../base/random.js';
import type { BlockDevice } from '../block/device.js';
import { NullDevice } from '../block/null-device.js';
import type {
  DirectoryEntry,
  ServedTarget,
  TargetAnswer,
  TargetDirectory,
} from '../iscsi/target/directory.js';
import { Portal } from '../iscsi/target/portal.js';
import { SessionRegistry } from '../iscsi/target/registry.js';
import { volumeUrl } from '../manage/api.js';
import { DiskServer } from '../scsi/disk-server.js';
import { identifyImages, type ImageIdentity } from '../serve/image-identity.js';

class PlainDirectory implements TargetDirectory {
  constructor(private readonly targets: ReadonlyMap<string, ServedTarget>) {}

  list(host: string, port: number): readonly DirectoryEntry[] {
    return [...this.targets.keys()].map((iqn) => ({
      iqn,
      addresses: [{ host, port, portalGroupTag: PORTAL_GROUP_TAG }],
    }));
  }

  resolve(iqn: string): TargetAnswer {
    const target = this.targets.get(iqn);
    return target === undefined ? { kind: 'unknown' } : { kind: 'serve', target };
  }

  admit(): Promise<void> {
    return Promise.resolve();
  }
}

export interface PlainServer {
  readonly urls: readonly string[];
  close(): Promise<void>;
}

/** Serves `count` targets that store nothing, in this process, at a free port. */
export function startNullServer(count: number, sizeBytes: number): Promise<PlainServer> {
  return serveDevices(Array.from({ length: count }, () => new NullDevice(sizeBytes)));
}

/** A target each, in this process, at a free port. */
export async function serveDevices(devices: readonly BlockDevice[]): Promise<PlainServer> {
  const identities = identifyImages(devices.map((_, i) => `/bench/${i}`));
  const targets = new Map<string, ServedTarget>();
  for (const [i, device] of devices.entries()) {
    const identity = identities[i] as ImageIdentity;
    const server = new DiskServer({ device, identity });
    targets.set(identity.iqn, { iqn: identity.iqn, server });
  }
  const portal = new Portal({
    directory: new PlainDirectory(targets),
    registry: new SessionRegistry(systemClock),
    clock: systemClock,
    random: systemRandom,
    log: pino({ level: 'error' }),
  });
  const address = formatAddress(await portal.listen('127.0.0.1', 0));
  return { urls: [...targets.keys()].map((iqn) => volumeUrl(address, iqn)), close: () => portal.close() };
}

/** The same as a process. */
export async function runNullProcess(count: number, sizeBytes: number): Promise<void> {
  serveUntilStopped(await startNullServer(count, sizeBytes));
}

/** Tells the URLs by a message, and serves until this process is told to stop. */
export function serveUntilStopped(server: PlainServer): void {
  process.send?.(server.urls);
  const stop = (): void => void server.close().then(() => process.exit());
  process.on('SIGTERM', stop);
  process.on('disconnect', stop);
}
