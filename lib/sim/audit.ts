/** What must be true of a world that has come to rest: every block, every volume's identity, every byte of space. */
import { Chance } from '../base/chance.js';
import { sleep, type Clock } from '../base/clock.js';
import { listMoves } from '../group/admin-moves.js';
import { listVolumes } from '../group/admin-volumes.js';
import { Initiator } from '../iscsi/initiator/initiator.js';
import type { InitiatorOptions } from '../iscsi/initiator/options.js';
import type { IscsiUrl } from '../iscsi/initiator/url.js';
import { SPARE } from './happening.js';
import { PAGE_BYTES, SECTOR_BYTES } from './inode.js';
import type { Scene, SimVolume } from './scene.js';

/** The deadline of a hand-over, and some; and the time after which a file that could not be opened is tried again. */
const PATIENCE_MS = 10_000;
const RETRY_MS = 200;
const VPD_SERIAL = 0x80;
const VPD_IDENTIFICATION = 0x83;

async function visit(
  world: Scene,
  volume: SimVolume,
  look: (initiator: Initiator, clock: Clock) => Promise<void>,
): Promise<void> {
  const process = world.spawn('judge', '10.0.1.99');
  const options: InitiatorOptions = {
    clock: process.clock,
    random: new Chance(world.plan.seed ^ 0x1d6e),
    dial: world.net.doorOf(process).connect,
  };
  const initiator = await logIn(world.urlOf(volume.name), options, process.clock);
  await look(initiator, process.clock);
  await initiator.close();
}

/** A login may find the volume on its way to a new home. */
function logIn(url: IscsiUrl, options: InitiatorOptions, clock: Clock): Promise<Initiator> {
  return inTheEnd(clock, () => Initiator.connect(url, options));
}

/** What fails is tried again, for a while. */
async function inTheEnd<T>(clock: Clock, attempt: () => Promise<T>): Promise<T> {
  for (const deadlineMs = clock.nowMs() + PATIENCE_MS; ; await sleep(clock, RETRY_MS)) {
    try {
      return await attempt();
    } catch (error) {
      if (clock.nowMs() > deadlineMs) throw error;
    }
  }
}

/** Reads all of a volume as an initiator. A file whose disk has failed may be shut for a moment. */
export async function checkVolume(world: Scene, volume: SimVolume): Promise<void> {
  await visit(world, volume, async (initiator, clock) => {
    const { blockBytes } = volume.record;
    const perBlock = blockBytes / SECTOR_BYTES;
    const blocks = volume.model.sectors / perBlock;
    const step = volume.record.extentBytes / blockBytes;
    for (let lba = 0; lba < blocks; lba += step) {
      const count = Math.min(step, blocks - lba);
      const read = volume.model.beginRead(lba * perBlock, count * perBlock);
      const wrong = volume.model.endRead(read, await inTheEnd(clock, () => initiator.read(lba, count)));
      if (wrong !== null) world.wrong(`in the end ${wrong}`);
    }
  });
}

/** I9: the identity that initiators see is the volume's, wherever it is served. */
export async function checkIdentity(world: Scene, volume: SimVolume): Promise<void> {
  await visit(world, volume, async (initiator) => {
    const serial = (await initiator.inquiry(VPD_SERIAL)).subarray(4).toString('latin1').trim();
    const identification = (await initiator.inquiry(VPD_IDENTIFICATION)).toString('hex');
    const { record } = volume;
    if (!serial.startsWith(record.serial)) world.wrong(`I9: ${volume.name} has serial ${serial}`);
    if (!identification.includes(record.naa)) world.wrong(`I9: ${volume.name} has another NAA`);
  });
}

/** What a destination, a source's disk or an administrator may end a move with. */
const EXPLAINED =
  /refused an old attempt|has no space left|failed to write|is not ready|refused the request|cannot be reached|did not answer in time|EIO|ENOSPC|flush failed|store does not answer|held here any more|was deleted/;

/** A move fails only where something else has: an engine that finds itself wrong and gives up is wrong. */
export async function checkMoves(world: Scene): Promise<void> {
  for (const { volume, to, state, error } of await listMoves(world.store)) {
    if (state !== 'failed') continue;
    world.count('moves failed');
    if (!EXPLAINED.test(error)) world.wrong(`the move of ${volume} to ${to} failed: ${error}`);
  }
}

/** Where a member keeps space for what another holds, or a file of a volume that is gone. */
export async function keptInVain(world: Scene): Promise<string[]> {
  const found: string[] = [];
  const names = new Set((await listVolumes(world.store)).map(({ name }) => name));
  for (const { name: member, disk } of world.members) {
    for (const [path, inode] of disk.files()) {
      const volume = /\/([^/]+)\.volume$/.exec(path)?.[1];
      if (volume === undefined) continue;
      if (!names.has(volume)) found.push(`${member} keeps the file of ${volume}, which was deleted`);
      if (volume === SPARE) continue;
      const holders = world.holders(volume);
      const extentBytes = world.volumes.find(({ name }) => name === volume)?.record.extentBytes ?? Infinity;
      const kept = new Set<string>();
      inode.mapped.forEach((isMapped, page) => {
        const extent = Math.floor((page * PAGE_BYTES) / extentBytes);
        if (isMapped === 1 && holders[extent] !== member) kept.add(`${extent} of ${holders[extent]}`);
      });
      if (kept.size > 0) found.push(`${member} keeps space of ${volume}: extents ${[...kept].join(', ')}`);
    }
  }
  return found;
}

/**
 * The power goes everywhere, and the disks are read. A member that has stopped has made everything durable before; where
 * none has, there is what was promised.
 */
export function checkDisks(world: Scene, hasStopped: boolean): void {
  const mayHaveLost = !hasStopped || world.members.some(({ disk }) => disk.failedCalls > 0);
  for (const { model } of world.volumes) {
    if (!mayHaveLost) model.moved(0, model.sectors - 1);
    model.crashed(0, model.sectors - 1);
  }
  for (const { disk } of world.members) disk.losePower('all');
  for (const { name, model, record } of world.volumes) {
    const holders = world.holders(name);
    for (let sector = 0; sector < model.sectors; sector++) {
      const holder = holders[Math.floor((sector * SECTOR_BYTES) / record.extentBytes)];
      const disk = world.members.find((member) => member.name === holder)?.disk;
      const bytes = disk?.find(`/data/${name}.volume`)?.cache;
      if (bytes === undefined) return world.wrong(`${holder} has no file of ${name}`);
      const wrong = model.judgeSector(sector, bytes, sector * SECTOR_BYTES);
      if (wrong !== null) return world.wrong(`in the end, on the disk of ${holder}: ${wrong}`);
    }
  }
}
