/** Makes the events of a plan happen in a world: moves and what meets them. Each is put right again by itself, or at the end. */
import { cancelMove, createMove, listMoves } from '../group/admin-moves.js';
import { createVolume, deleteVolume, listVolumes } from '../group/admin-volumes.js';
import { BlockferryError } from '../base/errors.js';
import { RouteHeadRecord, keys, parseRecord } from '../group/records.js';
import type { Loss } from './inode.js';
import { EXTENT_BYTES, type PlanEvent } from './plan.js';
import type { SimMember } from './sim-member.js';
import type { Scene } from './scene.js';

export const SPARE = 'spare';

/** What an admin is told when it asks for what cannot be had now. */
const EXPECTED = new Set(['BUSY', 'INVALID', 'NOT_FOUND', 'EXISTS', 'CONFLICT']);

export function happen(world: Scene, event: PlanEvent): void {
  const { kind, a, b, ms } = event;
  world.timeline.note(`event ${kind}`, a * 16 + b, ms);
  world.count(kind);
  const task = new Happening(world, event).run();
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
  ) {
    const { members } = world;
    const { a, b, ms } = event;
    this.member = members[a % members.length] as SimMember;
    this.other = members[(a + 1 + (b % (members.length - 1 || 1))) % members.length] as SimMember;
    this.ms = ms;
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
      case 'recreate':
        return this.recreate();
      case 'kill':
        return void member.kill(ms);
      case 'kill-two':
        other.kill(ms);
        return void member.kill(ms);
      case 'power':
        return void world.losePower(member, (['all', 'none', 'sectors'] as Loss[])[event.b % 3] ?? 'all', ms);
      case 'pause':
        return this.pause();
      case 'wall-clock':
        if (member.process !== null) member.process.wallOffsetMs += (event.b - 8) * 600_000;
        return undefined;
      case 'cut':
        net.cut((x, y) => isPair(x.name, y.name, member.name, other.name), event.b > 8);
        return undefined;
      case 'cut-initiator': {
        const name = world.loads[event.a % world.loads.length]?.name ?? '';
        net.cut((x) => x.name === name, event.b > 8);
        return undefined;
      }
      case 'block':
        net.block(member.name, other.name);
        return this.later(() => net.heal());
      case 'spikes':
        [net.spikeChance, net.spikeMs] = [0.1, 10 + ms / 20];
        return this.later(() => ([net.spikeChance, net.spikeMs] = [0.01, 5]));
      case 'disk-slow':
        disk.slowness = 30;
        return this.later(() => (disk.slowness = 1));
      case 'disk-hang':
        disk.hangsUntilMs = world.timeline.nowMs + ms;
        return undefined;
      case 'disk-full':
        disk.isFull = true;
        return this.later(() => (disk.isFull = false));
      case 'disk-error':
        return this.failDisk();
      case 'store-slow':
        mood.slowMs = 400;
        return this.later(() => (mood.slowMs = 0));
      case 'store-away': {
        const name = event.b < 6 ? '*' : member.name;
        mood.awayFor.add(name);
        return this.later(() => mood.awayFor.delete(name));
      }
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
    const which = (['readErrors', 'writeErrors', 'syncErrors'] as const)[this.event.b % 3] ?? 'readErrors';
    disk[which] = 0.2;
    return this.later(() => (disk[which] = 0));
  }

  private async move(): Promise<void> {
    const { world, event } = this;
    const volume = world.volumes[event.a % world.volumes.length];
    if (volume === undefined) return;
    const to = world.members[event.b % world.members.length]?.name ?? '';
    const first = event.ms % volume.extents;
    const last = Math.min(volume.extents - 1, first + (event.a % 3));
    const range = event.kind === 'move' ? null : { first, last };
    await createMove(world.store, world.admin, {
      ...{ volume: volume.name, to, range, handover: event.ms === 300 ? 'drop' : 'ask' },
      // A slow one keeps its extents under the interceptor for long enough to be met there.
      rateBytesPerSecond: event.a >= 8 ? 256 * 1024 : null,
    });
    world.count('moves asked for');
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
      await createMove(world.store, world.admin, { ...wanted, handover: 'ask' });
    }
  }

  /** The spare volume comes and goes; nobody is logged in there. */
  private async recreate(): Promise<void> {
    const { world } = this;
    const isThere = (await listVolumes(world.store)).some(({ name }) => name === SPARE);
    if (isThere) return deleteVolume(world.store, SPARE);
    const size = { sizeBytes: 3 * EXTENT_BYTES, blockBytes: 512 as const, extentBytes: EXTENT_BYTES };
    await createVolume(world.store, world.admin, { name: SPARE, home: this.member.name, ...size });
  }
}

function isPair(x: string, y: string, a: string, b: string): boolean {
  return (x === a && y === b) || (x === b && y === a);
}
