/** One event of a plan as it happens (events.ts): whom it meets, how it is undone, and what an admin asks for by it. */
import { cancelMove, createMove, listMoves, type WantedMove } from '../group/admin-moves.js';
import { createVolume, deleteVolume, listVolumes } from '../group/admin-volumes.js';
import { sleep } from '../base/clock.js';
import { BlockferryError } from '../base/errors.js';
import { RouteHeadRecord, keys, parseRecord } from '../group/records.js';
import type { Load } from './load.js';
import type { PlanEvent } from './plan.js';
import type { SimMember } from './sim-member.js';
import type { Scene, SimVolume } from './scene.js';

export const SPARE = 'spare';
const SPARE_EXTENT_BYTES = 64 * 1024;

export class Happening {
  readonly member: SimMember;
  readonly other: SimMember;
  readonly ms: number;

  constructor(
    readonly world: Scene,
    readonly event: PlanEvent,
    here: SimMember | null,
  ) {
    const { members } = world;
    const { a, b, ms, who } = event;
    const chosen = members[a % members.length] as SimMember;
    const another = members[(a + 1 + (b % (members.length - 1 || 1))) % members.length] as SimMember;
    const [near, far] = here === null ? [chosen, another] : [here, this.otherEnd(here)];
    [this.member, this.other] = { chosen: [chosen, another], here: [near, far], there: [far, near] }[who] as [
      SimMember,
      SimMember,
    ];
    this.ms = ms;
  }

  /** Of the last move that was asked for, seen from one of its ends. */
  private otherEnd(here: SimMember): SimMember {
    const { members, lastMove } = this.world;
    const name = lastMove.to === here.name ? lastMove.from : lastMove.to;
    const others = members.filter((member) => member !== here);
    return others.find((member) => member.name === name) ?? others[this.event.b % others.length] ?? here;
  }

  get volume(): SimVolume | undefined {
    const { world, event } = this;
    return world.volumes[event.a % world.volumes.length];
  }

  get volumeName(): string {
    return this.volume?.name ?? '';
  }

  get load(): Load | undefined {
    const { world, event } = this;
    return world.loads[event.a % world.loads.length];
  }

  killMember(name: string | undefined): void {
    this.world.members.find((member) => member.name === name)?.kill(this.ms);
  }

  later(undo: () => unknown): void {
    this.world.timeline.after(this.ms, () => void undo());
  }

  pause(): void {
    const { process } = this.member;
    process?.pause();
    this.later(() => process?.resume());
  }

  failDisk(): void {
    const { disk } = this.member;
    const { event } = this;
    const which = (['readErrors', 'writeErrors', 'syncErrors'] as const)[event.b % 3] ?? 'readErrors';
    disk[which] = event.on === undefined ? 0.2 : 0.5;
    this.later(() => (disk[which] = 0));
  }

  async move(): Promise<void> {
    const { volume, event } = this;
    if (volume === undefined) return;
    const to = this.destination(volume.name);
    const first = event.ms % volume.extents;
    const last = Math.min(volume.extents - 1, first + (event.a % 3));
    const range = event.kind === 'move' ? null : { first, last };
    // A slow one keeps its extents under the interceptor for long enough to be met there.
    const rateKiB = event.rateKiB ?? (event.a >= 8 ? 256 : 0);
    await this.ask({
      ...{
        volume: volume.name,
        to,
        range,
        handover: event.ms === 300 ? 'drop' : 'ask',
        strict: event.strict,
      },
      rateBytesPerSecond: rateKiB === 0 ? null : rateKiB * 1024,
    });
  }

  private destination(volume: string): string {
    const { world, event } = this;
    const names = world.members.map(({ name }) => name);
    const holders = new Set(world.holders(volume));
    const others = event.insists && holders.size === 1 ? names.filter((name) => !holders.has(name)) : names;
    return others[event.b % others.length] ?? '';
  }

  private async ask(wanted: WantedMove): Promise<void> {
    const { world } = this;
    const { from } = await this.untilHad(() => createMove(world.store, world.admin, wanted));
    world.lastMove = { from, to: wanted.to, volume: wanted.volume };
    world.count('moves asked for');
  }

  /** Tries again while another move is under way, if the event insists. */
  private async untilHad<T>(ask: () => Promise<T>): Promise<T> {
    const { world, event } = this;
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        const isBusy =
          error instanceof BlockferryError && (error.code === 'BUSY' || error.code === 'NOT_FOUND');
        if (!event.insists || !isBusy || world.isCalm) throw error;
        await sleep(world.admin.clock, 5);
      }
    }
  }

  /** Called off, and straight back to where it came from. */
  async back(): Promise<void> {
    const { world, member, event } = this;
    const { volume: name } = world.lastMove;
    const volume = world.volumes.find((one) => one.name === name);
    if (volume === undefined) return;
    await this.cancelMovesOf(name);
    const range = { first: 0, last: volume.extents - 1 };
    const rateBytesPerSecond = event.rateKiB === undefined ? null : event.rateKiB * 1024;
    const handover = 'ask' as const;
    await this.ask({ volume: name, to: member.name, range, handover, rateBytesPerSecond });
  }

  async cancel(): Promise<void> {
    await this.cancelMovesOf(this.volumeName);
  }

  private async cancelMovesOf(volume: string): Promise<void> {
    const { world } = this;
    for (const move of await listMoves(world.store)) {
      if (move.volume === volume && move.state === 'active')
        await cancelMove(world.store, world.admin.clock, move.id);
    }
  }

  async drain(): Promise<void> {
    const { world, member, other } = this;
    for (const { name } of await listVolumes(world.store)) {
      const entry = await world.store.get(keys.routeHead(name));
      if (entry === undefined || parseRecord(RouteHeadRecord, entry).home !== member.name) continue;
      const wanted = { volume: name, to: other.name, range: null, rateBytesPerSecond: null };
      await this.ask({ ...wanted, handover: 'ask' });
    }
  }

  /** The spare volume comes and goes; nobody is logged in there. */
  async recreate(): Promise<void> {
    const { world } = this;
    const isThere = (await listVolumes(world.store)).some(({ name }) => name === SPARE);
    if (isThere) return deleteVolume(world.store, SPARE);
    const size = {
      sizeBytes: 3 * SPARE_EXTENT_BYTES,
      blockBytes: 512 as const,
      extentBytes: SPARE_EXTENT_BYTES,
    };
    await createVolume(world.store, world.admin, { name: SPARE, home: this.member.name, ...size });
  }
}
