/** What a loss of power would leave, held against what was promised: at each promise and each commit, without one. */
import type { VolumeModel } from './model.js';
import type { Scene, SimVolume } from './scene.js';
import type { SimMember } from './sim-member.js';
import { SECTOR_BYTES } from './inode.js';

/** Who holds a sector, by the store. */
export function holderOf(world: Scene, { name, record }: SimVolume, sector: number): SimMember | undefined {
  const extent = Math.floor((sector * SECTOR_BYTES) / record.extentBytes);
  const holder = world.holders(name)[extent];
  return world.members.find((member) => member.name === holder);
}

export function checkDurable(world: Scene, volume: SimVolume, sectors: readonly number[]): void {
  for (const sector of sectors) {
    const holder = holderOf(world, volume, sector);
    if (holder === undefined || !isDurable(world, volume.name, holder, volume.model, sector, 'I1')) return;
  }
}

export function checkDurableAt(
  world: Scene,
  volume: string,
  holder: string,
  model: VolumeModel,
  first: number,
  last: number,
): void {
  const member = world.members.find(({ name }) => name === holder);
  if (member === undefined) return;
  for (let sector = first; sector <= last; sector++)
    if (!isDurable(world, volume, member, model, sector, 'I3')) return;
}

function isDurable(
  world: Scene,
  volume: string,
  { name, disk }: SimMember,
  model: VolumeModel,
  sector: number,
  invariant: string,
): boolean {
  const bytes = disk.find(`/data/${volume}.volume`)?.durableBytes;
  const wrong = bytes === undefined ? 'no file' : model.judgeDurable(sector, bytes);
  if (wrong !== null) world.wrong(`${invariant}: promised durable, on the disk of ${name}: ${wrong}`);
  return wrong === null;
}
