/** Draws plans from seeds: every third seed a plan in which anything may happen, the others with a theme. */
import { Chance } from '../base/chance.js';
import {
  EVENT_KINDS,
  MANNERS,
  WORK_KINDS,
  type EventKind,
  type InitiatorPlan,
  type Plan,
  type PlanEvent,
  type VolumePlan,
} from './plan.js';
import { ScriptChance } from './scripts.js';
import { THEMES, type Theme } from './themes.js';

/** These belong to every run: without moves there is little to prove. */
const MOVES: readonly EventKind[] = ['move', 'move-part'];
/** Only where machines are several. */
const OF_MACHINES: readonly EventKind[] = ['power', 'power-everywhere'];
/** Of so many seeds one has members that all serve. */
const ALUA_EVERY = 4;
/** Of so many seeds one has no theme. */
const MIXED_EVERY = 5;

export function drawPlan(seed: number): Plan {
  const chance = new Chance(seed);
  if (seed % MIXED_EVERY === 0) return drawMixed(seed, chance);
  const index = seed - Math.ceil(seed / MIXED_EVERY);
  return drawThemed(seed, chance, THEMES[index % THEMES.length] as Theme);
}

/** Kinds of events on and off at random, then events of those that are on. */
function drawMixed(seed: number, chance: Chance): Plan {
  const members = chance.pick([2, 3, 3, 3, 4]);
  const oneMachine = chance.happens(0.5);
  const volumes = Array.from({ length: chance.within(1, 2) }, () =>
    drawVolume(chance, members, chance.pick([1, 4, 8, 8]), 64),
  );
  const durationMs = chance.within(1_500, 4_000);
  const kinds = EVENT_KINDS.filter((kind) => {
    if (OF_MACHINES.includes(kind)) return !oneMachine && chance.happens(0.5);
    return MOVES.includes(kind) || chance.happens(0.3);
  });
  const events = Array.from({ length: chance.within(4, 14) }, () => drawStray(chance, kinds, durationMs));
  const initiators = Array.from({ length: chance.within(1, 3) }, (_, i) => ({
    ...drawInitiator(chance, i % volumes.length),
    manner: chance.happens(0.5) ? ('at-once' as const) : chance.pick(MANNERS),
    thinkMs: chance.pick([20, 60, 120]),
    work: chance.pick(WORK_KINDS.filter((kind) => kind !== 'syncs')),
    ...(chance.happens(0.1) ? { goesTo: chance.below(members) } : {}),
  }));
  return finish({ seed, members, oneMachine, volumes, durationMs, initiators, events });
}

function drawThemed(seed: number, chance: Chance, theme: Theme): Plan {
  const members = chance.pick(theme.members);
  const oneMachine = chance.happens(theme.oneMachine);
  const volumes = [drawVolume(chance, members, chance.pick([1, 2, 3, 4]), chance.pick([128, 256]))];
  const [shortest, longest] = theme.durationMs;
  const durationMs = chance.within(shortest, longest);
  const initiators = Array.from({ length: chance.within(2, 3) }, (_, i) => ({
    ...drawInitiator(chance, 0),
    manner: chance.pick(theme.manners),
    thinkMs: chance.pick(theme.thinkMs),
    hotThinkMs: chance.pick([0.5, 1, 2]),
    work: chance.pick(theme.work),
    ...theme.cast[i],
    fills: i === 0,
    ...(chance.happens(theme.goToMembers) ? { goesTo: chance.below(members) } : {}),
  }));
  const events = [
    ...drawMoves(chance, theme),
    ...drawScripts(new ScriptChance(chance, durationMs), theme),
    ...Array.from({ length: chance.within(...theme.strays) }, () =>
      drawStray(
        chance,
        oneMachine ? EVENT_KINDS.filter((k) => !OF_MACHINES.includes(k)) : EVENT_KINDS,
        durationMs,
      ),
    ),
  ];
  return finish({ seed, members, oneMachine, volumes, durationMs, initiators, events });
}

/** One after the other. */
function drawMoves(chance: Chance, theme: Theme): PlanEvent[] {
  return Array.from({ length: chance.within(...theme.moves) }, (_, i) => ({
    atMs: 100 + 90 * i,
    insists: true,
    kind:
      chance.happens(theme.parts) && !theme.whole.includes(i) ? ('move-part' as const) : ('move' as const),
    ...{ a: chance.below(8), b: chance.below(16), ms: chance.pick([50, 300, 1_000, 3_001]) },
    ...{ delayMs: 0, who: 'chosen' as const },
    rateKiB: chance.pick(theme.rateKiB),
    strict: chance.happens(theme.strict),
  }));
}

function drawScripts(draw: ScriptChance, theme: Theme): PlanEvent[] {
  const { chance } = draw;
  return Array.from({ length: chance.within(...theme.scripts) }, () => chance.pick(theme.from)(draw)).flat();
}

/** In order; and long enough for what stands still to go on by itself. */
function finish(drawn: Omit<Plan, 'access'>): Plan {
  const plan = drawn.seed % ALUA_EVERY === ALUA_EVERY - 1 ? throughEveryMember(drawn) : drawn;
  const stalls = plan.events.filter(({ kind }) => kind === 'stall').map(({ atMs, ms }) => atMs + ms + 1_000);
  const durationMs = Math.max(plan.durationMs, ...stalls);
  return {
    access: 'redirect',
    ...plan,
    durationMs,
    events: [...plan.events].sort((x, y) => x.atMs - y.atMs),
  };
}

/** Every member serves, and initiators go to one each. */
function throughEveryMember(plan: Omit<Plan, 'access'>): Plan {
  const initiators = plan.initiators.map((initiator, i) => ({ ...initiator, goesTo: i % plan.members }));
  return { ...plan, initiators, access: 'alua' };
}

function drawVolume(chance: Chance, members: number, extents: number, extentKiB: number): VolumePlan {
  return { home: chance.below(members), extents, extentKiB, blockBytes: chance.pick([512, 4096] as const) };
}

type InitiatorBasis = Pick<
  InitiatorPlan,
  'volume' | 'keepsIsid' | 'depth' | 'fills' | 'asksForR2t' | 'digests'
>;

function drawInitiator(chance: Chance, volume: number): InitiatorBasis {
  return {
    ...{ volume, fills: false, keepsIsid: chance.happens(0.5), depth: chance.within(1, 3) },
    ...{ asksForR2t: chance.happens(0.2), digests: chance.happens(0.1) },
  };
}

function drawStray(chance: Chance, kinds: readonly EventKind[], durationMs: number): PlanEvent {
  // Moves are half of what happens: the rest is meant to meet them.
  const kind = chance.happens(0.4) ? chance.pick(MOVES) : chance.pick(kinds);
  return {
    ...{ atMs: chance.below(durationMs), kind, a: chance.below(16), b: chance.below(16) },
    ms: chance.pick([50, 300, 1_000, 3_000, 8_000]),
    ...{ delayMs: 0, who: 'chosen' as const, strict: false, insists: false },
  };
}
