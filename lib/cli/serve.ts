/** blockferry serve IMAGE...: raw images as iSCSI disks, in place, until it is told to stop. */
import type { Command } from 'commander';
import { z } from 'zod';
import { systemClock } from '../base/clock.js';
import { formatAddress } from '../base/net.js';
import { systemRandom } from '../base/random.js';
import { formatSize } from '../base/units.js';
import { volumeUrl } from '../manage/api.js';
import { ImageServer } from '../serve/images.js';
import { ChapAuthenticator } from '../iscsi/target/login/chap.js';
import { readChap, withChap } from './chap.js';
import { untilStopped, type CliDoor } from './door.js';
import { kindOf, kindOptions, withKind } from './kind.js';
import { createLog } from './log.js';
import { flag, host, parseOptions, port, refuseOpenHost, size, whole, withJson } from './options.js';
import { emit, table } from './output.js';

const Options = z.object({
  json: flag,
  host,
  port,
  size: size.optional(),
  ...kindOptions,
  allowUnauthenticated: flag,
  chap: z.string().min(1).optional(),
  busyPollUs: whole(0, 10_000).optional(),
});

/** The one line of JSON that says it serves. */
interface ServeReady {
  readonly portal: string;
  readonly targets: readonly {
    readonly iqn: string;
    readonly image: string;
    readonly size: number;
    readonly url: string;
  }[];
}

export function addServe(program: Command, door: CliDoor): void {
  withChap(withJson(withKind(program.command('serve <image...>'))), 'a file of accounts: who may log in')
    .description('serve raw images in place, a target each: no group, no other state')
    .option('--host <address>', 'numeric address to listen at', '127.0.0.1')
    .option('--port <port>', '0: any free one', '3260')
    .option('--size <size>', 'create images that are missing, such as 10G; others must be as large')
    .option('--allow-unauthenticated', 'listen where other machines can reach it without --chap')
    .option('--busy-poll-us <microseconds>', 'poll this long at most before sleeping; 0: never')
    .action((images: string[], raw: Record<string, unknown>) => runServe(door, images, raw));
}

async function runServe(
  door: CliDoor,
  images: readonly string[],
  raw: Record<string, unknown>,
): Promise<void> {
  const options = parseOptions(Options, raw);
  const chap = await readChap(door, options.chap);
  const isOpen = options.allowUnauthenticated || chap !== undefined;
  refuseOpenHost(options.host, isOpen, 'the portal', 'give --chap, or ');
  const log = await createLog(door, 'serve', 'warn');
  const stopped = untilStopped(door);
  const server = await ImageServer.start({
    images,
    host: options.host,
    port: options.port,
    sizeBytes: options.size,
    ...kindOf(options),
    readOnly: options.readOnly ?? false,
    blockBytes: options.blockSize,
    clock: systemClock,
    random: systemRandom,
    log,
    busyPollUs: options.busyPollUs,
    ...(chap && { authenticator: new ChapAuthenticator(chap, systemRandom) }),
  });
  emit(door, options.json, readyOf(server), describeReady);
  log.info({ signal: await stopped }, 'stopping');
  await server.stop();
}

function readyOf(server: ImageServer): ServeReady {
  const portal = formatAddress(server.address);
  const targets = server.images.map(({ iqn, image, sizeBytes }) => ({
    iqn,
    image,
    size: sizeBytes,
    url: volumeUrl(portal, iqn),
  }));
  return { portal, targets };
}

function describeReady(ready: ServeReady): string {
  const rows = ready.targets.map((target) => [target.image, formatSize(target.size), target.url]);
  return `${table(['image', 'size', 'url'], rows)}\nserving at ${ready.portal}; Ctrl-C stops`;
}
