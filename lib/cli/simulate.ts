/** blockferry simulate: the shipped planner against synthetic, recorded or drawn load. Decides nothing itself; it reports. */
import { access, constants, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { Presets, SingleBar } from 'cli-progress';
import type { Command } from 'commander';
import { z } from 'zod';
import { BlockferryError, describeError } from '../base/errors.js';
import { EXTENT_BYTES_DEFAULT, MEMBERS_KNOWN_MAX, SIMULATED_FIGURES_MAX } from '../base/limits.js';
import { plan } from '../balance/plan.js';
import { DEFAULT_SETTINGS, POLICIES, type BalanceSettings } from '../balance/settings.js';
import { compare, type PolicyResult } from '../simulate/compare.js';
import { DRAWN_MEMBERS_MAX } from '../simulate/configurations.js';
import { judge, type Judgement } from '../simulate/judge.js';
import { loadScenario, LOADS, type LoadName } from '../simulate/loads.js';
import { rounded } from '../simulate/numbers.js';
import { judgementReport, runReport, scaleReport } from '../simulate/report.js';
import { scalePoint, SCALE_STEPS, type ScalePoint } from '../simulate/scale.js';
import { TRACE_FORMATS } from '../simulate/trace/formats.js';
import { readTrace } from '../simulate/trace/read.js';
import { traceScenario } from '../simulate/trace/scenario.js';
import type { Scenario } from '../simulate/world.js';
import type { CliDoor } from './door.js';
import { flag, parseOptions, refuseBoth, whole, withJson } from './options.js';
import { describeJudgement, describeRuns, describeScale, type SimulationReport } from './simulate-text.js';
import { emit } from './output.js';

/** Time of one configuration: some cool-downs, after which what came out wrong is put right. */
const CONFIGURATION_SECONDS = 2700;
const SECONDS_DEFAULT: Partial<Record<string, number>> = { diurnal: 86_400 };

const Options = z.object({
  json: flag,
  load: z.string().min(1),
  format: z.enum(TRACE_FORMATS, `is none of ${TRACE_FORMATS.join(', ')}`).optional(),
  members: whole(2, MEMBERS_KNOWN_MAX),
  volumes: whole(1, 100_000),
  policy: z.array(z.enum(POLICIES, `is none of ${POLICIES.join(', ')}`)).default([...POLICIES]),
  hours: whole(1, 8784).optional(),
  seconds: whole(1, 31_622_400).optional(),
  window: whole(1, 86_400),
  configurations: whole(1, 100_000).optional(),
  scale: flag,
  seed: whole(0, 0xffffffff),
  report: z.string().min(1).optional(),
});
type SimulateOptions = z.infer<typeof Options>;

export function addSimulate(program: Command, door: CliDoor): void {
  withJson(program.command('simulate').description('the balancer against synthetic or recorded load'))
    .option('--load <load>', `${LOADS.join(', ')}, or a trace file`, 'zipf')
    .option('--format <format>', `of a trace: ${TRACE_FORMATS.join(', ')} (default: by its first line)`)
    .option('--members <members>', 'of the simulated group', '4')
    .option('--volumes <volumes>', 'of the simulated group (of a trace: its own)', '32')
    .option('--policy <policy...>', `${POLICIES.join(', ')} (default: all, side by side)`)
    .option('--hours <hours>', 'of simulated time')
    .option(
      '--seconds <seconds>',
      'the same in seconds (default: 45 minutes; diurnal: a day; a trace: all of it)',
    )
    .option('--window <seconds>', 'what is measured together, between two plans', '30')
    .option('--configurations <count>', 'judge the policies over so many drawn groups with a bottleneck')
    .option('--scale', 'how planning grows, up to 1,000 members and 100,000 volumes')
    .option('--seed <number>', 'of everything that is drawn: the same seed, the same result', '1')
    .option('--report <file>', 'write an HTML page with charts, too')
    .action((raw: Record<string, unknown>) => run(door, parseOptions(Options, raw)));
}

async function run(door: CliDoor, options: SimulateOptions): Promise<void> {
  const { hours, seconds, configurations, scale } = options;
  refuseBoth('hours', hours, 'seconds', seconds);
  refuseBoth('configurations', configurations, 'scale', scale);
  await refuseReport(options.report);
  if (scale) await runScale(door, options);
  else if (configurations !== undefined) await runJudge(door, options, configurations);
  else await runLoad(door, options);
}

async function runLoad(door: CliDoor, options: SimulateOptions): Promise<void> {
  const { load, seed, members, json } = options;
  const scenario = await scenarioOf(options);
  refuseTooLong(scenario.windows, members, options);
  const results: PolicyResult[] = [];
  const bar = progress(door, json, options.policy.length, 'policies');
  for (const policy of new Set(options.policy)) {
    await bar.at(results.length);
    results.push(...compare(scenario, [policy], plan, settingsOf(options)));
  }
  bar.stop();
  const report: SimulationReport = {
    ...{ load, seed, members },
    volumes: results[0]?.run.world.volumes.length ?? 0,
    seconds: (scenario.windows * scenario.windowMs) / 1000,
    policies: results.map(({ policy, requestsPerSecond, latencyMs, imbalance, moves, bytesMoved }) => ({
      ...{ policy, requestsPerSecond: rounded(requestsPerSecond), latencyMs: rounded(latencyMs) },
      ...{ imbalance: rounded(imbalance), moves, bytesMoved: Math.round(bytesMoved) },
    })),
  };
  emit(door, json, report, describeRuns);
  await writeReport(options.report, () => runReport(scenario.title, results));
}

async function runJudge(door: CliDoor, options: SimulateOptions, configurations: number): Promise<void> {
  const { seed, json, policy } = options;
  const seconds = secondsOf(options) ?? CONFIGURATION_SECONDS;
  refuseTooLong(seconds / options.window, DRAWN_MEMBERS_MAX, options);
  const bar = progress(door, json, configurations, 'configurations');
  const judgement: Judgement = await judge({
    ...{ configurations, seed, policies: policy, planner: plan, settings: settingsOf(options) },
    seconds,
    onProgress: (done) => bar.at(done),
  });
  bar.stop();
  emit(door, json, judgement, describeJudgement);
  await writeReport(options.report, () => judgementReport(judgement));
}

async function runScale(door: CliDoor, options: SimulateOptions): Promise<void> {
  const points: ScalePoint[] = [];
  const bar = progress(door, options.json, SCALE_STEPS.length, 'steps');
  for (const step of SCALE_STEPS) {
    await bar.at(points.length);
    points.push(scalePoint(step, plan, settingsOf(options), options.seed));
  }
  bar.stop();
  emit(door, options.json, { seed: options.seed, points }, describeScale);
  await writeReport(options.report, () => scaleReport(points));
}

/** Before a world is made: what is kept of each window is known then, whoever says how long the run is. */
function refuseTooLong(windows: number, members: number, { policy }: SimulateOptions): void {
  if (windows * members * policy.length <= SIMULATED_FIGURES_MAX) return;
  const hint = 'give a shorter time, a longer --window, or fewer members or policies';
  throw new BlockferryError('USAGE', 'that is more than can be kept in memory', hint);
}

function settingsOf({ window }: SimulateOptions): BalanceSettings {
  return { ...DEFAULT_SETTINGS, windowMs: window * 1000 };
}

function secondsOf({ hours, seconds }: SimulateOptions): number | undefined {
  return hours === undefined ? seconds : hours * 3600;
}

async function scenarioOf(options: SimulateOptions): Promise<Scenario> {
  const { load, members, volumes, seed, window } = options;
  const windowMs = window * 1000;
  const asked = secondsOf(options);
  if ((LOADS as readonly string[]).includes(load)) {
    const seconds = asked ?? SECONDS_DEFAULT[load] ?? CONFIGURATION_SECONDS;
    return loadScenario(load as LoadName, { members, volumes, seed, windowMs, seconds });
  }
  const trace = await readTrace(load, windowMs, EXTENT_BYTES_DEFAULT, options.format);
  const scenario = traceScenario(trace, { title: load, members, seed, windowMs });
  const windows = asked === undefined ? Infinity : Math.max(1, Math.round(asked / window));
  return { ...scenario, windows: Math.min(scenario.windows, windows) };
}

/** Before a run that may take hours. */
async function refuseReport(path: string | undefined): Promise<void> {
  if (path === undefined) return;
  const isThere = await access(path).then(
    () => true,
    () => false,
  );
  await access(isThere ? path : dirname(resolve(path)), constants.W_OK).catch(refuse);
}

/** After the result was told, which is worth more. */
async function writeReport(path: string | undefined, html: () => string): Promise<void> {
  if (path !== undefined) await writeFile(path, html()).catch(refuse);
}

function refuse(error: unknown): never {
  const hint = 'name another file with --report';
  throw new BlockferryError('IO', `the report cannot be written: ${describeError(error)}`, hint);
}

/** A bar on a terminal. Each step lets the process's signals through. */
function progress(
  door: CliDoor,
  json: boolean,
  total: number,
  what: string,
): { at(done: number): Promise<void>; stop(): void } {
  const format = `[{bar}] {value}/{total} ${what}`;
  const bar =
    json || door.stderr.isTTY !== true
      ? undefined
      : new SingleBar({ format, hideCursor: true }, Presets.legacy);
  bar?.start(total, 0);
  return {
    at: async (done) => {
      bar?.update(done);
      await turn();
    },
    stop: () => bar?.stop(),
  };
}
