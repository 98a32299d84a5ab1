/** What the events of a plan do to a world, by their kinds. Each is put right again by itself, or at the end. */
import { BlockferryError } from '../base/errors.js';
import { CACHE_HITS } from './disk.js';
import { Happening } from './happening.js';
import type { Loss } from './inode.js';
import type { PlanEvent } from './plan.js';
import type { SimMember } from './sim-member.js';
import type { Scene } from './scene.js';

/** What an admin is told when it asks for what cannot be had now. */
const EXPECTED = new Set(['BUSY', 'INVALID', 'NOT_FOUND', 'EXISTS', 'CONFLICT']);

/** @param here the member that reached the point which the event waited for */
export function happen(world: Scene, event: PlanEvent, here: SimMember | null = null): void {
  const { kind, a, b, ms } = event;
  world.timeline.note(`event ${kind}`, a * 16 + b, ms);
  world.count(kind);
  world.heat();
  const task = EFFECTS[kind](new Happening(world, event, here));
  if (task instanceof Promise)
    task.catch((error: unknown) => {
      if (!(error instanceof BlockferryError) || !EXPECTED.has(error.code))
        world.wrong(`${kind}: ${String(error)}`);
    });
}

/** What an event does; a promise of what takes its time. */
type Effect = (it: Happening) => Promise<void> | void;
type Effects = Partial<Record<PlanEvent['kind'], Effect>>;

/** What an admin asks for. */
const ADMIN_EFFECTS = {
  move: (it) => it.move(),
  'move-part': (it) => it.move(),
  cancel: (it) => it.cancel(),
  drain: (it) => it.drain(),
  back: (it) => it.back(),
  recreate: (it) => it.recreate(),
} satisfies Effects;

const PROCESS_EFFECTS = {
  kill: ({ member, ms }) => member.kill(ms),
  'kill-two': ({ member, other, ms }) => {
    other.kill(ms);
    member.kill(ms);
  },
  'kill-home': (it) => it.killMember(it.world.homeOf(it.volumeName)),
  'kill-old-home': (it) => it.killMember(it.world.oldHomeOf(it.volumeName)),
  'kill-initiator': ({ load, ms }) => load?.kill(ms),
  'power-everywhere': ({ world, ms }) => {
    for (const member of world.members) world.losePower(member, 'all', ms);
  },
  power: ({ world, member, event, ms }) =>
    world.losePower(member, (['all', 'none', 'sectors'] as Loss[])[event.b % 3] ?? 'all', ms),
  stall: (it) => {
    for (const { name } of it.world.loads)
      it.world.net.cut((x, y) => x.name === name && y.name === it.member.name, true);
    it.pause();
  },
  pause: (it) => it.pause(),
  'wall-clock': ({ member: { process }, event }) => {
    if (process !== null) process.wallOffsetMs += (event.b - 8) * 600_000;
  },
  'portal-restart': ({ world, ms }) => world.portal.restart(ms),
} satisfies Effects;

const NET_EFFECTS = {
  cut: ({ world: { net, chance }, member, other, event }) => {
    // One of several connections, or all of them.
    const isCut = (): boolean => event.b < 12 || chance.happens(0.5);
    net.cut((x, y) => isPair(x.name, y.name, member.name, other.name) && isCut(), event.b > 8);
  },
  'cut-initiator': ({ world: { net }, load, event }) => {
    // One that comes back under a new ISID is another nexus: what the old one has on its way may land at any time as
    // long as the target has not heard of its end, and no target can know better.
    const hearsAlone = event.b > 8 && load?.keepsIsid === true;
    net.cut((x) => x.name === load?.name, hearsAlone);
  },
  block: (it) => {
    const { net } = it.world;
    net.block(it.member.name, it.other.name);
    it.later(() => net.heal());
  },
  spikes: (it) => {
    const { net } = it.world;
    [net.spikeChance, net.spikeMs] = [it.event.on === undefined ? 0.1 : 0.3, 10 + it.ms / 20];
    it.later(() => ([net.spikeChance, net.spikeMs] = [0.01, 5]));
  },
} satisfies Effects;

const DISK_EFFECTS = {
  'disk-slow': (it) => {
    const { disk } = it.member;
    [disk.slowness, disk.cacheHits] = [30, 0.3];
    it.later(() => ([disk.slowness, disk.cacheHits] = [1, CACHE_HITS]));
  },
  'disk-hang': ({ world, member, ms }) => {
    member.disk.hangsUntilMs = world.timeline.nowMs + ms;
  },
  'disk-full': (it) => {
    const { disk } = it.member;
    disk.isFull = true;
    it.later(() => (disk.isFull = false));
  },
  'disk-error': (it) => it.failDisk(),
  'punch-error': (it) => {
    const { disk } = it.member;
    disk.punchErrors = 0.7;
    it.later(() => (disk.punchErrors = 0));
  },
} satisfies Effects;

const STORE_EFFECTS = {
  'store-slow': (it) => {
    const { mood } = it.world;
    mood.slowMs = 400;
    it.later(() => (mood.slowMs = 0));
  },
  'store-away': (it) => {
    const { mood } = it.world;
    const name = it.event.b < 6 ? '*' : it.member.name;
    mood.awayFor.add(name);
    it.later(() => mood.awayFor.delete(name));
  },
  'store-mute': (it) => {
    const { mood } = it.world;
    mood.muteFor.add(it.member.name);
    it.later(() => mood.muteFor.delete(it.member.name));
  },
  'store-lag': (it) => {
    const { mood } = it.world;
    mood.lagFor.set(it.member.name, it.ms);
    it.later(() => mood.lagFor.delete(it.member.name));
  },
  'store-lost-answers': (it) => {
    const { mood } = it.world;
    mood.lostAnswers = 0.3;
    it.later(() => (mood.lostAnswers = 0));
  },
  'store-compaction': (it) => {
    const { mood } = it.world;
    mood.compactions = 0.3;
    it.later(() => (mood.compactions = 0));
  },
} satisfies Effects;

const EFFECTS: Record<PlanEvent['kind'], Effect> = {
  ...ADMIN_EFFECTS,
  ...PROCESS_EFFECTS,
  ...NET_EFFECTS,
  ...DISK_EFFECTS,
  ...STORE_EFFECTS,
};

function isPair(x: string, y: string, a: string, b: string): boolean {
  return (x === a && y === b) || (x === b && y === a);
}
