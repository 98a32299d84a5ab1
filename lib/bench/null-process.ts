/** Targets that store nothing, behind the real portal: what the transport could do at best. Only benchmarks start it. */
import { pino } from 'pino';
import { systemClock } from '../base/clock.js';
import { systemRandom } from '../base/random.js';
import { NullDevice } from '../block/null-device.js';
import type {
  DirectoryEntry,
  ServedTarget,
  TargetAnswer,
  TargetDirectory,
} from '../iscsi/target/directory.js';
import { Portal } from '../iscsi/target/portal.js';
import { SessionRegistry } from '../iscsi/target/registry.js';
import { formatAddress, volumeUrl } from '../manage/api.js';
import { DiskServer } from '../scsi/disk-server.js';
import { identifyImages } from '../serve/image-identity.js';

class NullDirectory implements TargetDirectory {
  constructor(private readonly targets: ReadonlyMap<string, ServedTarget>) {}

  list(host: string, port: number): readonly DirectoryEntry[] {
    return [...this.targets.keys()].map((iqn) => ({ iqn, addresses: [{ host, port, portalGroupTag: 1 }] }));
  }

  resolve(iqn: string): TargetAnswer {
    const target = this.targets.get(iqn);
    return target === undefined ? { kind: 'unknown' } : { kind: 'serve', target };
  }

  admit(): Promise<void> {
    return Promise.resolve();
  }
}

export interface NullServer {
  readonly urls: readonly string[];
  close(): Promise<void>;
}

/** Serves `count` targets that store nothing, in this process, at a free port. */
export async function startNullServer(count: number, sizeBytes: number): Promise<NullServer> {
  const paths = Array.from({ length: count }, (_, i) => `/null/${i}`);
  const targets = new Map<string, ServedTarget>();
  for (const identity of identifyImages(paths)) {
    const device = new NullDevice(sizeBytes);
    const server = new DiskServer({ device, identity });
    targets.set(identity.iqn, { iqn: identity.iqn, server });
  }
  const portal = new Portal({
    directory: new NullDirectory(targets),
    registry: new SessionRegistry(systemClock),
    clock: systemClock,
    random: systemRandom,
    log: pino({ level: 'error' }),
  });
  const address = formatAddress(await portal.listen('127.0.0.1', 0));
  return { urls: [...targets.keys()].map((iqn) => volumeUrl(address, iqn)), close: () => portal.close() };
}

/** The same as a process: tells its URLs by a message and serves until it is told to stop. */
export async function runNullProcess(count: number, sizeBytes: number): Promise<void> {
  const server = await startNullServer(count, sizeBytes);
  process.send?.(server.urls);
  const stop = (): void => void server.close().then(() => process.exit());
  process.on('SIGTERM', stop);
  process.on('disconnect', stop);
}
