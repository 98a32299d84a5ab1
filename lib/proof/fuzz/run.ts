/**
 * A run: batches of connections, several at a time, each batch followed by a probe of every target. What was under way
 * when something went wrong is written to a file, which the same code replays.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { systemClock } from '../../base/clock.js';
import { BlockferryError } from '../../base/errors.js';
import type { Scope } from '../../bench/scope.js';
import { carryOut, type Called } from './caller.js';
import { hashOf, planConnection, planFromJson, planToJson, type Plan } from './plan.js';
import { DIED, KINDS, ServedTarget, type ServedOptions } from './served.js';

export interface FuzzOptions extends ServedOptions {
  /** Spoilt PDUs to be planned at least; valid ones come beside them. */
  readonly pdus: number;
  /** Connections at a time. */
  readonly jobs: number;
  readonly batchPdus: number;
  /** Where conversations are kept that something went wrong with. */
  readonly keep: string;
  readonly onProgress: (text: string) => void;
}

export interface TargetSummary {
  readonly target: string;
  connections: number;
  sessions: number;
  pdus: number;
  mutated: number;
  answers: number;
  residentKibStart: number;
  residentKibEnd: number;
  residentKibMax: number;
  witnessOps: number;
  witnessLongestMs: number;
}

export interface FuzzSummary {
  readonly seed: number;
  readonly hash: string;
  readonly seconds: number;
  readonly targets: readonly TargetSummary[];
  readonly faults: readonly string[];
  /** The file of what was under way; null: nothing went wrong. */
  readonly kept: string | null;
}

/** A target's first batches grow its heap and fill its pools. */
const WARM_SHARE = 0.1;
/** Refused logins that are waited for at a time: fewer than a portal accepts (CONNECTIONS_MAX). */
const ENDING_MAX = 512;
/** Connections before a fault that go into its file: those under way, and some that had just ended. */
const SUSPECTS_PER_JOB = 3;

export async function runFuzz(options: FuzzOptions, scope: Scope): Promise<FuzzSummary> {
  const { seed } = options;
  const targets = await startTargets(Object.keys(KINDS), options, scope);
  const run = new Run(targets, options);
  let number = 0;
  for (let planned = 0; planned < options.pdus && run.faults.length === 0;) {
    const until = Math.min(options.pdus, planned + options.batchPdus);
    const next = (): Plan | null => {
      if (planned >= until) return null;
      const target = targets[number % targets.length] as ServedTarget;
      const plan = planConnection(seed, number, target.name, target.planFor);
      number += 1;
      planned += mutatedOf(plan);
      return plan;
    };
    await run.batch(next);
    await run.probe(planned >= WARM_SHARE * options.pdus);
  }
  return run.finish();
}

/** Plays what a file holds, all of it at a time as when it was written. */
export async function replay(file: string, options: FuzzOptions, scope: Scope): Promise<FuzzSummary> {
  const plans = await readPlans(file);
  const names = [...new Set(plans.map(({ target }) => target))];
  const run = new Run(await startTargets(names, options, scope), options);
  await run.batch(() => plans.shift() ?? null);
  await run.probe(false);
  return run.finish();
}

function startTargets(
  names: readonly string[],
  options: ServedOptions,
  scope: Scope,
): Promise<ServedTarget[]> {
  return Promise.all(names.map((name) => ServedTarget.start(name, options, scope)));
}

function mutatedOf(plan: Plan): number {
  return plan.pdus.reduce((count, pdu) => count + (pdu.isMutated ? 1 : 0), 0);
}

const FILE = z.object({ faults: z.array(z.string()), plans: z.array(z.unknown()).min(1) });

async function readPlans(file: string): Promise<Plan[]> {
  try {
    return FILE.parse(JSON.parse(await readFile(file, 'utf8'))).plans.map(planFromJson);
  } catch (cause) {
    throw new BlockferryError(
      'INVALID',
      `${file} holds no conversations`,
      'give a file that fuzz has written',
      { cause },
    );
  }
}

export class Run {
  readonly faults: string[] = [];
  private readonly summaries: Map<string, TargetSummary>;
  private readonly startedMs = systemClock.nowMs();
  private hash = 0;
  /** The latest connections, oldest first. */
  private suspects: Plan[] = [];
  private kept: string | null = null;

  constructor(
    private readonly targets: readonly ServedTarget[],
    private readonly options: FuzzOptions,
  ) {
    this.summaries = new Map(targets.map(({ name }) => [name, blankSummary(name)]));
  }

  /** Connections until there are no more, or something goes wrong. */
  async batch(next: () => Plan | null): Promise<void> {
    const ending = new Set<Promise<void>>();
    const lane = async (_: unknown, number: number): Promise<void> => {
      for (let plan = next(); plan !== null && this.faults.length === 0; plan = next()) {
        this.noteSuspect(plan);
        const target = this.targetOf(plan);
        const { url, chap } = target;
        const called = await carryOut(plan, { portal: url, iqn: url.iqn, chap, lane: number });
        const ended = this.end(plan, called, target);
        // A refused login ends a second later; nobody has to wait for each.
        ending.add(ended);
        const over = ended.finally(() => ending.delete(ended));
        if (plan.terms !== null || ending.size > ENDING_MAX) await over;
      }
    };
    await Promise.all(Array.from({ length: this.options.jobs }, lane));
    await Promise.all(ending);
  }

  private async end(plan: Plan, called: Called, target: ServedTarget): Promise<void> {
    const faults = await called.ended;
    const died = target.death();
    const summary = this.summaryOf(plan.target);
    summary.connections += 1;
    if (plan.terms !== null) summary.sessions += 1;
    summary.pdus += called.sentPdus;
    summary.mutated += called.sentMutated;
    summary.answers += called.answers.count;
    this.hash = (this.hash + hashOf(plan)) % 2 ** 48;
    if (summary.connections % 64 === 0) this.progress();
    if (died !== null) await this.failed(plan.target, [died]);
    else if (faults.length > 0)
      await this.failed(
        plan.target,
        faults.map((fault) => `connection ${plan.number}: ${fault}`),
      );
  }

  private progress(): void {
    const { pdus } = this.options;
    const mutated = [...this.summaries.values()].reduce((sum, { mutated }) => sum + mutated, 0);
    const seconds = (systemClock.nowMs() - this.startedMs) / 1000;
    const share = Math.min(1, mutated / pdus);
    const bar = '█'.repeat(Math.round(share * 30)).padEnd(30, '░');
    this.options.onProgress(`${bar} ${mutated} of ${pdus} spoilt PDUs, ${Math.round(mutated / seconds)}/s`);
  }

  async probe(isWarm: boolean): Promise<void> {
    for (const target of this.targets) {
      const { residentKib, witnessOps, witnessLongestMs, faults } = await target.probe(isWarm);
      const summary = this.summaryOf(target.name);
      if (isWarm && summary.residentKibStart === 0) summary.residentKibStart = residentKib;
      summary.residentKibEnd = residentKib;
      summary.residentKibMax = Math.max(summary.residentKibMax, residentKib);
      summary.witnessOps = witnessOps;
      summary.witnessLongestMs = Math.max(summary.witnessLongestMs, witnessLongestMs);
      if (faults.length > 0) await this.failed(target.name, faults);
    }
  }

  async finish(): Promise<FuzzSummary> {
    const seconds = (systemClock.nowMs() - this.startedMs) / 1000;
    for (const target of this.targets) {
      const died = target.death();
      if (died !== null) {
        await this.diedAtLast(target.name, died);
        continue;
      }
      const { verdict, faults } = await target.finish();
      this.summaryOf(target.name).witnessOps = verdict.ops;
      if (faults.length > 0) await this.failed(target.name, faults);
    }
    // After a fault there may have been no time for it.
    if (this.faults.length === 0) this.faults.push(...this.faultsOfSilence());
    const { seed } = this.options;
    const hash = this.hash.toString(16).padStart(12, '0');
    return {
      seed,
      hash,
      seconds,
      targets: [...this.summaries.values()],
      faults: this.faults,
      kept: this.kept,
    };
  }

  /** A target that nothing was sent to has withstood nothing. */
  private faultsOfSilence(): string[] {
    const silent = [...this.summaries.values()].filter(({ pdus }) => pdus === 0);
    return silent.map(({ target }) => `${target}: no PDU was sent to it`);
  }

  /** After the last probe, or in it: what it said as it died may have been told in part. */
  private async diedAtLast(target: string, died: string): Promise<void> {
    const isTold = this.faults.some((fault) => fault.startsWith(`${target}: ${DIED}`));
    if (!isTold) await this.failed(target, [died]);
  }

  private noteSuspect(plan: Plan): void {
    this.suspects.push(plan);
    const most = SUSPECTS_PER_JOB * this.options.jobs;
    if (this.suspects.length > 2 * most) this.suspects = this.suspects.slice(-most);
  }

  /** Keeps the conversations of the first fault; later ones may come of it. */
  private async failed(target: string, faults: readonly string[]): Promise<void> {
    this.faults.push(...faults.map((fault) => `${target}: ${fault}`));
    if (this.kept !== null) return;
    const { seed, keep, jobs } = this.options;
    this.kept = join(keep, `fuzz-${seed}-${this.suspects.at(-1)?.number ?? 0}.json`);
    const plans = this.suspects.filter((plan) => plan.target === target).slice(-SUSPECTS_PER_JOB * jobs);
    const text = JSON.stringify({ faults: this.faults, plans: plans.map(planToJson) }, null, 1);
    await writeFile(this.kept, `${text}\n`);
  }

  private targetOf(plan: Plan): ServedTarget {
    const found = this.targets.find(({ name }) => name === plan.target);
    if (found === undefined) throw new BlockferryError('INVALID', `there is no target ${plan.target}`);
    return found;
  }

  private summaryOf(target: string): TargetSummary {
    return this.summaries.get(target) ?? blankSummary(target);
  }
}

function blankSummary(target: string): TargetSummary {
  return {
    target,
    ...{ connections: 0, sessions: 0, pdus: 0, mutated: 0, answers: 0 },
    ...{ residentKibStart: 0, residentKibEnd: 0, residentKibMax: 0, witnessOps: 0, witnessLongestMs: 0 },
  };
}
