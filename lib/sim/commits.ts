/**
 * Watches every transaction of the group store as it is applied: epochs that only grow, extents that only their holder
 * gives away (I2, I3), and so, at each moment, who holds what. What a commit has moved is durable at its destination; what
 * a machine held when its power went may have fallen back.
 */
import { RouteChunkRecord, RouteHeadRecord } from '../group/records.js';
import type { StoreOperation } from '../group/store.js';
import { EXTENT_BYTES } from './plan.js';
import { SECTOR_BYTES } from './inode.js';
import type { Scene, SimVolume } from './scene.js';

const SECTORS = EXTENT_BYTES / SECTOR_BYTES;

interface KnownRoute {
  epoch: number;
  home: string;
  holders: string[];
}

export class CommitWatch {
  private readonly routes = new Map<string, KnownRoute>();

  constructor(private readonly world: Scene) {}

  born(volume: string, home: string, extents: number): void {
    this.routes.set(volume, { epoch: 1, home, holders: new Array<string>(extents).fill(home) });
  }

  holders(volume: string): readonly string[] {
    return this.routes.get(volume)?.holders ?? [];
  }

  applied(by: string, operations: readonly StoreOperation[]): void {
    for (const operation of operations) {
      const key = 'put' in operation ? operation.put : operation.delete;
      const [folder, volume = '', part] = key.split('/');
      const route = this.routes.get(volume);
      if (folder !== 'routes' || route === undefined) continue;
      if (part === 'head' && 'put' in operation) this.head(by, volume, route, operation.value);
      if (part === 'chunks') this.chunk(by, volume, route, 'put' in operation ? operation.value : null);
    }
  }

  private head(by: string, volume: string, route: KnownRoute, value: string): void {
    const { epoch, home } = RouteHeadRecord.parse(JSON.parse(value));
    if (epoch !== route.epoch + 1)
      this.world.wrong(`I3: ${volume} went from epoch ${route.epoch} to ${epoch}`);
    if (home !== route.home && by !== route.home)
      this.world.wrong(`I3: ${by} gave the home of ${volume} away`);
    if (home !== route.home) this.world.count('homes moved');
    route.epoch = epoch;
    route.home = home;
  }

  private chunk(by: string, volume: string, route: KnownRoute, value: string | null): void {
    const base = this.world.plan.volumes[Number(volume.slice(1)) - 1]?.home ?? 0;
    const holders =
      value === null
        ? route.holders.map(() => this.world.members[base % this.world.members.length]?.name ?? '')
        : RouteChunkRecord.parse(JSON.parse(value)).runs.flatMap(([count, holder]) =>
            new Array<string>(count).fill(holder),
          );
    holders.forEach((holder, extent) => {
      const before = route.holders[extent];
      if (holder === before) return;
      if (by !== before)
        this.world.wrong(`I2: ${by} gave extent ${extent} of ${volume} away, which ${before} held`);
      this.world.count('extents moved');
      this.eachSector(volume, extent, (model, first, last) => model.moved(first, last));
    });
    route.holders = holders;
  }

  /** The power of a machine goes: before its disk is told. */
  lostPower(member: string): void {
    for (const [volume, { holders }] of this.routes) {
      holders.forEach((holder, extent) => {
        if (holder === member)
          this.eachSector(volume, extent, (model, first, last) => model.crashed(first, last));
      });
    }
  }

  private eachSector(
    volume: string,
    extent: number,
    visit: (model: SimVolume['model'], first: number, last: number) => void,
  ): void {
    const model = this.world.volumes.find(({ name }) => name === volume)?.model;
    if (model === undefined) return;
    visit(model, extent * SECTORS, Math.min((extent + 1) * SECTORS, model.sectors) - 1);
  }
}
