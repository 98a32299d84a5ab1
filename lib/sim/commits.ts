/**
 * Watches every transaction of the group store as it is applied: epochs that only grow, extents that only their holder
 * gives away (I2, I3), and so, at each moment, who holds what. What a commit has moved is durable at its destination; what
 * a machine held when its power went may have fallen back.
 */
import { RouteChunkRecord, RouteHeadRecord } from '../group/records.js';
import type { StoreOperation } from '../group/store.js';
import { checkDurableAt } from './durability.js';
import { SECTOR_BYTES } from './inode.js';
import type { Scene, SimVolume } from './scene.js';

interface KnownRoute {
  epoch: number;
  home: string;
  holders: string[];
  /** Every home so far, and until when it was; the last one still is. */
  readonly homes: { readonly name: string; untilMs: number }[];
}

export class CommitWatch {
  private readonly routes = new Map<string, KnownRoute>();

  constructor(private readonly world: Scene) {}

  born(volume: string, home: string, extents: number): void {
    const homes = [{ name: home, untilMs: Infinity }];
    this.routes.set(volume, { epoch: 1, home, holders: new Array<string>(extents).fill(home), homes });
  }

  holders(volume: string): readonly string[] {
    return this.routes.get(volume)?.holders ?? [];
  }

  /** Everybody who was home at any time since. */
  homesSince(volume: string, sinceMs: number): string[] {
    const homes = this.routes.get(volume)?.homes ?? [];
    return homes.filter(({ untilMs }) => untilMs >= sinceMs).map(({ name }) => name);
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
    route.epoch = epoch;
    if (home === route.home) return;
    this.world.count('homes moved');
    route.home = home;
    const model = this.world.volumes.find(({ name }) => name === volume)?.model;
    model?.losses.homeWentTo(home, model.tick());
    const last = route.homes.at(-1);
    if (last !== undefined) last.untilMs = this.world.timeline.nowMs;
    route.homes.push({ name: home, untilMs: Infinity });
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
      this.eachSector(volume, extent, (model, first, last) => this.moved(volume, holder, model, first, last));
    });
    route.holders = holders;
  }

  /** All that was answered is durable at the destination before it holds the extent (I3). */
  private moved(
    volume: string,
    holder: string,
    model: SimVolume['model'],
    first: number,
    last: number,
  ): void {
    model.moved(first, last);
    checkDurableAt(this.world, volume, holder, model, first, last);
  }

  /** What a machine holds and has not made durable is gone, or may be: before its disk is told. */
  lostUnflushed(member: string, isPowerLoss: boolean): void {
    for (const [volume, { holders, home }] of this.routes) {
      const isHomeUp = this.world.members.some(({ name, isUp }) => name === home && isUp);
      holders.forEach((holder, extent) => {
        if (holder !== member) return;
        this.eachSector(volume, extent, (model, first, last) => {
          const isElsewhere = isPowerLoss && home !== member;
          if (isPowerLoss) model.losses.powerWent(model.tick(), member, home === member);
          model.crashed(first, last, isElsewhere && isHomeUp);
        });
      });
    }
  }

  /** A process of a member begins. */
  began(member: string): void {
    for (const { model } of this.world.volumes) model.losses.began(model.tick(), member);
  }

  /** The process of a member is gone. */
  ended(member: string): void {
    for (const { name, model } of this.world.volumes)
      if (this.routes.get(name)?.home === member) model.losses.homeEnded(model.tick());
  }

  private eachSector(
    volume: string,
    extent: number,
    visit: (model: SimVolume['model'], first: number, last: number) => void,
  ): void {
    const known = this.world.volumes.find(({ name }) => name === volume);
    if (known === undefined) return;
    const { model, record } = known;
    const sectors = record.extentBytes / SECTOR_BYTES;
    visit(model, extent * sectors, Math.min((extent + 1) * sectors, model.sectors) - 1);
  }
}
