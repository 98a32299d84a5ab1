/** From a plan that goes wrong to a short one that does: takes away events, initiators and time while it still does. */
import type { Plan } from './plan.js';
import { runPlan, type Outcome } from './run.js';

/** Runs that a shrinking may take. */
const RUNS_MAX = 120;
/** What is left of a run after its last event. */
const AFTERMATH_MS = 1_500;

export type Run = (plan: Plan) => Promise<Outcome>;

export interface Shrunk {
  readonly plan: Plan;
  readonly outcome: Outcome;
  readonly runs: number;
}

/**
 * @param outcome of `plan`; it went wrong
 * @param run how a plan is tried
 */
export async function shrink(plan: Plan, outcome: Outcome, run: Run = runPlan): Promise<Shrunk> {
  const shrinker = new Shrinker(plan, outcome, run);
  await shrinker.run();
  return { plan: shrinker.plan, outcome: shrinker.outcome, runs: shrinker.runs };
}

class Shrinker {
  runs = 0;
  private readonly kind: string;

  constructor(
    public plan: Plan,
    public outcome: Outcome,
    private readonly tryOut: Run,
  ) {
    this.kind = kindOf(outcome);
  }

  async run(): Promise<void> {
    for (
      let size = Math.ceil(this.plan.events.length / 2);
      size >= 1;
      size = size === 1 ? 0 : Math.ceil(size / 2)
    ) {
      await this.dropEvents(size);
    }
    for (let i = this.plan.initiators.length - 1; i >= 0 && this.plan.initiators.length > 1; i--) {
      await this.attempt({ ...this.plan, initiators: this.plan.initiators.filter((_, at) => at !== i) });
    }
    const lastMs = Math.max(0, ...this.plan.events.map(({ atMs }) => atMs));
    await this.attempt({ ...this.plan, durationMs: Math.min(this.plan.durationMs, lastMs + AFTERMATH_MS) });
  }

  /** Tries to do without `size` events in a row, wherever they stand. */
  private async dropEvents(size: number): Promise<void> {
    for (let at = this.plan.events.length - size; at >= 0; at -= size) {
      const events = this.plan.events.filter((_, index) => index < at || index >= at + size);
      await this.attempt({ ...this.plan, events });
    }
  }

  /** Keeps a plan that goes wrong in the same way. */
  private async attempt(plan: Plan): Promise<void> {
    if (this.runs >= RUNS_MAX) return;
    this.runs += 1;
    const outcome = await this.tryOut(plan);
    if (kindOf(outcome) !== this.kind) return;
    this.plan = plan;
    this.outcome = outcome;
  }
}

/** The first thing that was wrong, without names and numbers. */
function kindOf(outcome: Outcome): string {
  const words = (outcome.wrongs[0] ?? '').replace(/\S*\d\S*/g, '').split(/\s+/);
  return words
    .filter((word) => word !== '')
    .slice(0, 5)
    .join(' ');
}
