/** Makes the events of a plan happen in a world: moves and what meets them. Each is put right again by itself, or at the end. */
import { cancelMove, createMove, listMoves, type WantedMove } from '../group/admin-moves.js';
import { createVolume, deleteVolume, listVolumes } from '../group/admin-volumes.js';
import { sleep } from '../base/clock.js';
import { BlockferryError } from '../base/errors.js';
import { RouteHeadRecord, keys, parseRecord } from '../group/records.js';
import { CACHE_HITS } from './disk.js';
import type { Loss } from './inode.js';
import type { PlanEvent } from './plan.js';
import type { SimMember } from './sim-member.js';
import type { Scene } from './scene.js';

export const SPARE = 'spare';
const SPARE_EXTENT_BYTES = 64 * 1024;

/** What an admin is told when it asks for what cannot be had now. */
const EXPECTED = new Set(['BUSY', 'INVALID', 'NOT_FOUND', 'EXISTS', 'CONFLICT']);

/** @param here the member that reached the point which the event waited for */
export function happen(world: Scene, event: PlanEvent, here: SimMember | null = null): void {
  const { kind, a, b, ms } = event;
  world.timeline.note(`event ${kind}`, a * 16 + b, ms);
  world.count(kind);
  world.heat();
  const task = new Happening(world, event, here).run();
  task?.catch((error: unknown) => {
    if (!(error instanceof BlockferryError) || !EXPECTED.has(error.code))
      world.wrong(`${kind}: ${String(error)}`);
  });
}

class Happening {
  private readonly member: SimMember;
  private readonly other: SimMember;
  private readonly ms: number;

  constructor(
    private readonly world: Scene,
    private readonly event: PlanEvent,
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

  run(): Promise<void> | undefined {
    const { world, member, other, ms, event } = this;
    const { mood, net } = world;
    const { disk } = member;
    switch (event.kind) {
      case 'move':
      case 'move-part':
        return this.move();
      case 'cancel':
        return this.cancel();
      case 'drain':
        return this.drain();
      case 'back':
        return this.back();
      case 'recreate':
        return this.recreate();
      case 'kill':
        return void member.kill(ms);
      case 'kill-two':
        other.kill(ms);
        return void member.kill(ms);
      case 'kill-home': {
        const home = world.homeOf(world.volumes[event.a % world.volumes.length]?.name ?? '');
        return void world.members.find(({ name }) => name === home)?.kill(ms);
      }
      case 'kill-old-home':
        return void world.members.find(({ name }) => name === this.oldHome())?.kill(ms);
      case 'kill-initiator':
        return void world.loads[event.a % world.loads.length]?.kill(ms);
      case 'power-everywhere':
        for (const one of world.members) world.losePower(one, 'all', ms);
        return undefined;
      case 'stall':
        for (const { name } of world.loads)
          net.cut((x, y) => x.name === name && y.name === member.name, true);
        return this.pause();
      case 'power':
        return void world.losePower(member, (['all', 'none', 'sectors'] as Loss[])[event.b % 3] ?? 'all', ms);
      case 'pause':
        return this.pause();
      case 'wall-clock':
        if (member.process !== null) member.process.wallOffsetMs += (event.b - 8) * 600_000;
        return undefined;
      case 'cut':
        // One of several connections, or all of them.
        net.cut(
          (x, y) =>
            isPair(x.name, y.name, member.name, other.name) && (event.b < 12 || world.chance.happens(0.5)),
          event.b > 8,
        );
        return undefined;
      case 'cut-initiator': {
        const load = world.loads[event.a % world.loads.length];
        // One that comes back under a new ISID is another nexus: what the old one has on its way may land at any time as
        // long as the target has not heard of its end, and no target can know better.
        const hearsAlone = event.b > 8 && load?.keepsIsid === true;
        net.cut((x) => x.name === load?.name, hearsAlone);
        return undefined;
      }
      case 'block':
        net.block(member.name, other.name);
        return this.later(() => net.heal());
      case 'spikes':
        [net.spikeChance, net.spikeMs] = [event.on === undefined ? 0.1 : 0.3, 10 + ms / 20];
        return this.later(() => ([net.spikeChance, net.spikeMs] = [0.01, 5]));
      case 'disk-slow':
        [disk.slowness, disk.cacheHits] = [30, 0.3];
        return this.later(() => ([disk.slowness, disk.cacheHits] = [1, CACHE_HITS]));
      case 'disk-hang':
        disk.hangsUntilMs = world.timeline.nowMs + ms;
        return undefined;
      case 'disk-full':
        disk.isFull = true;
        return this.later(() => (disk.isFull = false));
      case 'disk-error':
        return this.failDisk();
      case 'punch-error':
        disk.punchErrors = 0.7;
        return this.later(() => (disk.punchErrors = 0));
      case 'store-slow':
        mood.slowMs = 400;
        return this.later(() => (mood.slowMs = 0));
      case 'store-away': {
        const name = event.b < 6 ? '*' : member.name;
        mood.awayFor.add(name);
        return this.later(() => mood.awayFor.delete(name));
      }
      case 'store-mute':
        mood.muteFor.add(member.name);
        return this.later(() => mood.muteFor.delete(member.name));
      case 'store-lag':
        mood.lagFor.set(member.name, ms);
        return this.later(() => mood.lagFor.delete(member.name));
      case 'store-lost-answers':
        mood.lostAnswers = 0.3;
        return this.later(() => (mood.lostAnswers = 0));
      case 'store-compaction':
        mood.compactions = 0.3;
        return this.later(() => (mood.compactions = 0));
      case 'portal-restart':
        world.portal.restart(ms);
        return undefined;
    }
  }

  private oldHome(): string | undefined {
    const { world, event } = this;
    return world.oldHomeOf(world.volumes[event.a % world.volumes.length]?.name ?? '');
  }

  private later(undo: () => unknown): undefined {
    this.world.timeline.after(this.ms, () => void undo());
    return undefined;
  }

  private pause(): undefined {
    const { process } = this.member;
    process?.pause();
    return this.later(() => process?.resume());
  }

  private failDisk(): undefined {
    const { disk } = this.member;
    const { event } = this;
    const which = (['readErrors', 'writeErrors', 'syncErrors'] as const)[event.b % 3] ?? 'readErrors';
    disk[which] = event.on === undefined ? 0.2 : 0.5;
    return this.later(() => (disk[which] = 0));
  }

  private async move(): Promise<void> {
    const { world, event } = this;
    const volume = world.volumes[event.a % world.volumes.length];
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
  private async back(): Promise<void> {
    const { world, member, event } = this;
    const { volume: name } = world.lastMove;
    const volume = world.volumes.find((one) => one.name === name);
    if (volume === undefined) return;
    for (const move of await listMoves(world.store))
      if (move.volume === name && move.state === 'active')
        await cancelMove(world.store, world.admin.clock, move.id);
    const range = { first: 0, last: volume.extents - 1 };
    const rateBytesPerSecond = event.rateKiB === undefined ? null : event.rateKiB * 1024;
    const handover = 'ask' as const;
    await this.ask({ volume: name, to: member.name, range, handover, rateBytesPerSecond });
  }

  private async cancel(): Promise<void> {
    const { world, event } = this;
    const name = world.volumes[event.a % world.volumes.length]?.name;
    for (const move of await listMoves(world.store)) {
      if (move.volume === name && move.state === 'active')
        await cancelMove(world.store, world.admin.clock, move.id);
    }
  }

  private async drain(): Promise<void> {
    const { world, member, other } = this;
    for (const { name } of await listVolumes(world.store)) {
      const entry = await world.store.get(keys.routeHead(name));
      if (entry === undefined || parseRecord(RouteHeadRecord, entry).home !== member.name) continue;
      const wanted = { volume: name, to: other.name, range: null, rateBytesPerSecond: null };
      await this.ask({ ...wanted, handover: 'ask' });
    }
  }

  /** The spare volume comes and goes; nobody is logged in there. */
  private async recreate(): Promise<void> {
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

function isPair(x: string, y: string, a: string, b: string): boolean {
  return (x === a && y === b) || (x === b && y === a);
}
