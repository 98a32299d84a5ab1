/** Runs one plan to its end and says what came of it. */
import { SimLoop } from './loop.js';
import { World } from './world.js';
import type { Plan } from './plan.js';

export interface Outcome {
  readonly seed: number;
  /** Of everything that happened. */
  readonly hash: string;
  /** What must not have been; none: the run is clean. */
  readonly wrongs: readonly string[];
  readonly counts: ReadonlyMap<string, number>;
  readonly simulatedMs: number;
  /** The end of the trace, where it was asked for. */
  readonly lines: readonly string[];
}

/** Turns of the loop without anything due before a world counts as stuck. */
const IDLE_TURNS_MAX = 200;
/** Turns of a whole run; a usual one takes some ten thousand. More: somebody tries again and again, and gets nowhere. */
const TURNS_MAX = 200_000;

export async function runPlan(plan: Plan, keepsLines = false): Promise<Outcome> {
  const world = new World(plan, keepsLines);
  const stray = (error: unknown): void => world.wrong(`nobody caught ${describe(error)}`);
  process.on('unhandledRejection', stray);
  process.on('uncaughtException', stray);
  try {
    await drive(world, world.run());
  } catch (error) {
    world.wrong(describe(error));
  } finally {
    world.abandon();
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', stray);
    process.off('uncaughtException', stray);
  }
  const { timeline, wrongs, counts } = world;
  count(
    counts,
    'starts',
    world.members.reduce((sum, { starts }) => sum + starts, 0),
  );
  count(
    counts,
    'recoveries',
    world.loads.reduce((sum, { recoveries }) => sum + recoveries, 0),
  );
  return {
    ...{ seed: plan.seed, hash: timeline.hash, wrongs, counts, lines: timeline.latest },
    simulatedMs: timeline.nowMs,
  };
}

/** Lets the world's events happen until `work` has ended. */
async function drive(world: World, work: Promise<void>): Promise<void> {
  let isOver = false;
  let failure: Error | null = null;
  let idleTurns = 0;
  let turns = 0;
  const end = (error: Error | null): void => {
    if (!isOver) failure = error;
    isOver = true;
  };
  work.then(
    () => end(null),
    (error: unknown) => end(error as Error),
  );
  const onTurn = (wasBusy: boolean): void => {
    idleTurns = wasBusy ? 0 : idleTurns + 1;
    if (idleTurns > IDLE_TURNS_MAX) end(new Error('the world stands still: somebody waits for nobody'));
    turns += 1;
    if (turns > TURNS_MAX) end(new Error('the world goes round and round'));
  };
  await new SimLoop(() => world.timeline.runNext()).run(onTurn, () => isOver);
  if (failure !== null) throw failure as Error;
}

function count(counts: Map<string, number>, what: string, by: number): void {
  counts.set(what, (counts.get(what) ?? 0) + by);
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
