/** Where a volume has holes, whoever holds them: what GET LBA STATUS says of extents that are here, elsewhere or on the move. */
import t from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import type { Clock } from '../../lib/base/clock.js';
import { FORWARD_PATIENCE_MS } from '../../lib/base/limits.js';
import { SeededRandom } from '../../lib/base/random.js';
import type { BlockIo, Provisioning, Usage } from '../../lib/block/device.js';
import type { DestinationLink } from '../../lib/migration/destination-link.js';
import { VolumeTraffic } from '../../lib/load/traffic.js';
import { Interceptor } from '../../lib/migration/interceptor.js';
import { PeerStatus, PeerType, type IncomingRequest } from '../../lib/peer/contract.js';
import { HolderService } from '../../lib/peer/holder-service.js';
import { RemoteSlot } from '../../lib/peer/remote-slot.js';
import { MemberIds } from '../../lib/routing/member-ids.js';
import { Route } from '../../lib/routing/route.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import { LocalSlot } from '../../lib/volume/local-slot.js';
import { Volume } from '../../lib/volume/volume.js';
import { FakePeers } from '../support/fake-peers.js';
import { hex } from '../support/scsi-rig.js';
import { IDENTITY, NEXUS, RunnerTask, said, scsiRunner } from '../support/scsi-runner.js';
import { until } from '../support/wait.js';

const EXTENT = 65536;
const EXTENTS = 8;
const SIZE = EXTENTS * EXTENT;
const BLOCK = 512;
const PER_EXTENT = EXTENT / BLOCK;

/** A file that knows where its data is, by extents, and which half of them. */
class HolesDevice {
  readonly sizeBytes = SIZE;
  readonly blockBytes = BLOCK;
  readonly readOnly = false;
  /** Halves of extents that hold data. */
  readonly data = new Set<number>();
  usage(): Promise<Usage> {
    return Promise.resolve({ usedBytes: this.data.size * (EXTENT / 2), availableBytes: this.freeBytes });
  }
  freeBytes = 1000;
  submit(io: BlockIo): void {
    io.complete(null);
  }
  provisioning(offsetBytes: number, lengthBytes: number): Provisioning {
    const half = EXTENT / 2;
    const at = Math.floor(offsetBytes / half);
    const toEnd = (at + 1) * half - offsetBytes;
    return { mapped: this.data.has(at), lengthBytes: Math.min(lengthBytes, toEnd) };
  }
}

/** A second a look, and no wait. */
class FastClock implements Pick<Clock, 'nowMs' | 'after'> {
  private ms = 0;
  nowMs(): number {
    return (this.ms += 1000);
  }
  after(_delayMs: number, run: () => void): { cancel(): void } {
    setImmediate(run);
    return { cancel: () => undefined };
  }
}

/** A volume of m1, with extents 2, 3 and 6 at m2. */
function scattered() {
  const ids = new MemberIds();
  const start = Route.fromRecords(ids, { epoch: 1, home: 'm1', base: 'm1', extents: EXTENTS }, 1, new Map());
  const route = start.applying(start.withHolder([2, 3, 6], 'm2'), 2);
  const peers = new FakePeers(new SeededRandom(1));
  const geometry = { sizeBytes: SIZE, blockBytes: BLOCK, extentBytes: EXTENT };
  const asked: number[] = [];
  const make = (member: string): { volume: Volume; file: HolesDevice; refreshed: () => void } => {
    const local = new LocalSlot(new VolumeTraffic(systemClock, EXTENT));
    const file = new HolesDevice();
    local.opened(file);
    const remotes = new Map<number, RemoteSlot>();
    const remote = (holder: number): RemoteSlot => {
      const volumeOf = {
        volumeId: 1,
        blockBytes: BLOCK,
        epoch: () => volume.epoch,
        timesLeftBehind: () => 0,
        refresh: (seen: number, done: () => void) => {
          asked.push(seen);
          made.refreshed();
          setImmediate(done);
        },
      };
      const slot =
        remotes.get(holder) ??
        new RemoteSlot(peers.hub(member), ids.nameOf(holder), volumeOf, new FastClock() as unknown as Clock);
      remotes.set(holder, slot);
      return slot;
    };
    const volume = new Volume(geometry, route, ids.idOf(member), local, remote);
    const made = { volume, file, refreshed: () => undefined };
    return made;
  };
  const [m1, m2] = [make('m1'), make('m2')];
  const holder = new HolderService({
    volumeById: () => m2.volume,
    serving: true,
    refresh: (_id, done) => setImmediate(done),
  });
  peers.join('m2', holder);
  const moved = route.applying(route.withHolder([2, 3], 'm1'), 3);
  return { m1, m2, peers, asked, moved };
}

async function statusOf(volume: Volume, lba = 0, descriptors = 16): Promise<string> {
  const server = new DiskServer({ device: volume, identity: IDENTITY });
  server.nexusBegan(NEXUS);
  const { run } = scsiRunner(volume, server);
  await run('00 00 00 00 00 00');
  const outcome = await run(`9e 12 ${hex(lba, 16)} ${hex(8 + 16 * descriptors, 8)} 00 00`);
  if (outcome.status !== 0) return said(outcome);
  const { dataIn } = outcome;
  t.equal(dataIn.readUInt32BE(0), dataIn.length - 4, 'PARAMETER DATA LENGTH');
  const runs: string[] = [];
  for (let at = 8; at < dataIn.length; at += 16)
    runs.push(
      `${dataIn.readUInt32BE(at + 4)}+${dataIn.readUInt32BE(at + 8)} ${dataIn[at + 12] === 0 ? 'mapped' : 'hole'}`,
    );
  return runs.join(', ');
}

const at = (extent: number): number => extent * PER_EXTENT;

t.test('holes of another member are told as they are there', async (t) => {
  const { m1, m2, asked } = scattered();
  m1.file.data.add(0);
  m1.file.data.add(2 * 2); // what lies here of an extent that is held elsewhere says nothing
  m2.file.data.add(2 * 2 + 1);
  m2.file.data.add(2 * 3);
  t.equal(
    await statusOf(m1.volume),
    [
      `0+${at(0.5)} mapped, ${at(0.5)}+${at(1.5)} hole`,
      `${at(2)}+${at(0.5)} hole, ${at(2.5)}+${at(1)} mapped, ${at(3.5)}+${at(0.5)} hole`,
      `${at(4)}+${at(2)} hole, ${at(6)}+${at(1)} hole, ${at(7)}+${at(1)} hole`,
    ].join(', '),
  );
  t.equal(
    await statusOf(m1.volume, at(2) + 3, 1),
    `${at(2) + 3}+${at(0.5) - 3} hole`,
    'from within an extent',
  );
  t.same(asked, [], 'no route was read');
});

t.test('a route that is not the current one any more is read, and its holder asked', async (t) => {
  const { m1, m2, asked, moved } = scattered();
  m1.file.data.add(2 * 2);
  m2.volume.adopt(moved);
  m1.refreshed = () => void m1.volume.adopt(moved);
  t.equal(await statusOf(m1.volume, at(2), 2), `${at(2)}+${at(0.5)} mapped, ${at(2.5)}+${at(3.5)} hole`);
  t.same(asked, [3], 'once');
});

t.test('a holder that is away is waited for, as long as by READ', async (t) => {
  const { m1, m2, peers, asked } = scattered();
  m2.file.data.add(2 * 2);
  const fates = [PeerStatus.LINK_LOST, PeerStatus.UNAVAILABLE, PeerStatus.DEADLINE];
  peers.fate = () => fates.shift() ?? null;
  t.equal(await statusOf(m1.volume, at(2), 1), `${at(2)}+${at(0.5)} mapped`);
  t.same(asked, [0, 0, 0]);
  let tries = 0;
  peers.fate = () => {
    tries += 1;
    return PeerStatus.LINK_LOST;
  };
  t.equal(await statusOf(m1.volume, at(2), 1), 'b/08/01', 'then the command fails');
  t.equal(tries, FORWARD_PATIENCE_MS / 1000 + 1, 'a try a second of this clock');
  peers.fate = () => PeerStatus.IO_ERROR;
  t.equal(await statusOf(m1.volume, at(2), 1), '3/11/00');
  peers.fate = () => PeerStatus.OK; // without an answer
  t.equal(await statusOf(m1.volume, at(2), 1), '3/11/00', 'what is no answer is an error');
  peers.fate = () => null;
  const tooMuch = Buffer.from(JSON.stringify({ mapped: false, lengthBytes: SIZE }));
  peers.join('m2', { handle: (request) => request.answer(PeerStatus.OK, tooMuch) });
  t.equal(await statusOf(m1.volume, at(2), 1), '3/11/00', 'so is one about more than was asked');
  const noBlocks = Buffer.from(JSON.stringify({ mapped: true, lengthBytes: 3 }));
  peers.join('m2', { handle: (request) => request.answer(PeerStatus.OK, noBlocks) });
  t.equal(await statusOf(m1.volume, at(2)), '3/11/00', 'and one about parts of blocks');
});

t.test('so is a holder that knows of no later route, or of one that cannot be read', async (t) => {
  for (const epoch of [1, 2, 3]) {
    const { m1, peers, asked } = scattered();
    let tries = 0;
    const handle = (request: IncomingRequest): void => {
      tries += 1;
      if (tries < 1000) request.answer(PeerStatus.STALE, undefined, epoch);
    };
    peers.join('m2', { handle });
    t.equal(await statusOf(m1.volume, at(2), 1), 'b/08/01');
    t.equal(tries, FORWARD_PATIENCE_MS / 1000 + 1);
    t.same(asked.slice(0, 2), [epoch, 0], 'the route is read anew before each try');
  }
});

t.test('nothing is said of a command whose session has gone', async (t) => {
  const { m1, peers } = scattered();
  const server = new DiskServer({ device: m1.volume, identity: IDENTITY });
  const task = new RunnerTask();
  task.cdb = Buffer.from(`9e12${hex(at(2), 16)}${hex(24, 8)}0000`, 'hex');
  task.nexus = NEXUS;
  t.equal(server.prepare(task), 'control');
  let tries = 0;
  peers.fate = () => {
    tries += 1;
    return tries < 5 ? PeerStatus.LINK_LOST : null;
  };
  server.execute(task);
  task.letGo?.();
  await until('it is tried five times', () => tries >= 5);
  for (let n = 0; n < 50; n++) await new Promise((resolve) => setImmediate(resolve));
  t.same(task.outcomes, []);
});

t.test('a holder answers for what it holds, and for blocks alone', async (t) => {
  const { m1, m2, peers } = scattered();
  m2.file.data.add(2 * 2);
  const said: string[] = [];
  const send = (offsetBytes: number, lengthBytes: number): Promise<string> =>
    new Promise((resolve) => {
      const answered = (status: number, payload: Buffer): void => resolve(`${status} ${payload.toString()}`);
      const fields = { volumeId: 1, extent: 0, epoch: 2, token: 0, fua: false, deadlineMs: 0 };
      const [payload, into] = [Buffer.alloc(0), Buffer.alloc(0)];
      const range = { offsetBytes, lengthBytes, payload, into, map: null, payloadBytes: 0 };
      const request = { ...fields, type: PeerType.LBA_STATUS, ...range };
      peers.hub('m1').send('m2', { ...request, answered });
    });
  said.push(await send(3 * EXTENT, 5 * EXTENT)); // as far as it holds
  said.push(await send(4 * EXTENT, EXTENT)); // nothing of it
  said.push(await send(2 * EXTENT + 1, EXTENT), await send(2 * EXTENT, 0), await send(6 * EXTENT, SIZE));
  t.match(said, [
    `0 {"mapped":false,"lengthBytes":${EXTENT}}`,
    `${PeerStatus.STALE} `,
    /^5 no such/,
    /^5 no such/,
    /^5 no such/,
  ]);
  t.equal(m1.volume.provisioning(2 * EXTENT, EXTENT).mapped, true, 'at once all of it may be data');
});

t.test('on the move the source tells', async (t) => {
  const { m1 } = scattered();
  m1.file.data.add(2 * 4 + 1);
  const fails = (): never => t.fail('nothing is sent to the destination') as never;
  const link = {} as DestinationLink;
  const local = new LocalSlot(new VolumeTraffic(systemClock, EXTENT));
  const range = [4 * EXTENT, 5 * EXTENT] as const;
  m1.volume.moving.set(4, new Interceptor(4, ...range, m1.file, local, link, fails, false));
  t.equal(await statusOf(m1.volume, at(4), 2), `${at(4)}+${at(0.5)} hole, ${at(4.5)}+${at(0.5)} mapped`);
});

t.test('what a volume takes is what its holders say, and left is the least anywhere', async (t) => {
  const { m1, m2, peers } = scattered();
  for (const half of [0, 1, 8]) m1.file.data.add(half);
  for (const half of [4, 5]) m2.file.data.add(half);
  m2.file.freeBytes = 700;
  t.same(await m1.volume.usage(), { usedBytes: 2.5 * EXTENT, availableBytes: 700 });
  peers.fate = () => PeerStatus.LINK_LOST;
  t.same(await m1.volume.usage(), { usedBytes: 1.5 * EXTENT, availableBytes: 1000 }, 'without who is away');
  peers.fate = () => PeerStatus.OK; // without an answer
  t.same(await m1.volume.usage(), { usedBytes: 1.5 * EXTENT, availableBytes: 1000 });
});
