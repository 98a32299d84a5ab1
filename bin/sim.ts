#!/usr/bin/env node
/** Runs simulated worlds from seeds (lib/sim). */
import { drawPlan } from '../lib/sim/plan.js';
import { runPlan } from '../lib/sim/run.js';

const [seed = '1', runs = '1', ...flags] = process.argv.slice(2);
const keepsLines = flags.includes('--trace');
const totals = new Map<string, number>();
const started = process.cpuUsage();
for (let i = 0; i < Number(runs); i++) {
  const outcome = await runPlan(drawPlan(Number(seed) + i), keepsLines);
  for (const [what, count] of outcome.counts) totals.set(what, (totals.get(what) ?? 0) + count);
  if (keepsLines) console.log(outcome.lines.join('\n'));
  if (outcome.wrongs.length > 0 || Number(runs) < 5)
    console.log(outcome.seed, outcome.hash, Math.round(outcome.simulatedMs), outcome.wrongs.slice(0, 4));
}
const used = process.cpuUsage(started);
console.log(Object.fromEntries(totals), `${Math.round((used.user + used.system) / 1000 / Number(runs))} ms of CPU a run`);
