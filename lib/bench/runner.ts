/** Runs cases one after the other, round by round, and ends what they started whatever happens. Draws nothing itself. */
import { describeError } from '../base/errors.js';
import { SkipCase, type BenchCase, type BenchSettings, type Sample } from './case.js';
import { caseResult, type CaseResult } from './report.js';
import { Scope } from './scope.js';
import { whatIsMissing } from './tools.js';

export interface RunnerEvents {
  /** Something begins that takes a while. */
  progress(text: string): void;
  finished(result: CaseResult): void;
}

export async function runCases(
  cases: readonly BenchCase[],
  settings: BenchSettings,
  signal: AbortSignal,
  events: RunnerEvents,
): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  for (const [index, bench] of cases.entries()) {
    if (signal.aborted) break;
    const say = (what: string): void =>
      events.progress(`[${index + 1}/${cases.length}] ${bench.title}: ${what}`);
    const result = await runCase(bench, settings, signal, say);
    results.push(result);
    events.finished(result);
  }
  return results;
}

async function runCase(
  bench: BenchCase,
  settings: BenchSettings,
  signal: AbortSignal,
  say: (what: string) => void,
): Promise<CaseResult> {
  const missing = whatIsMissing(bench.needs);
  if (missing !== undefined) return caseResult(bench, [], { skipped: missing });
  const scope = new Scope();
  const rounds: (readonly Sample[])[] = [];
  try {
    say('getting ready');
    const measure = await bench.open(settings, scope);
    for (let round = 0; round < settings.rounds && !signal.aborted; round++) {
      say(`round ${round + 1} of ${settings.rounds}`);
      rounds.push(await measure(round));
    }
    return caseResult(bench, rounds, signal.aborted ? { failed: 'interrupted' } : {});
  } catch (error) {
    if (error instanceof SkipCase) return caseResult(bench, rounds, { skipped: error.message });
    return caseResult(bench, rounds, { failed: describeError(error) });
  } finally {
    const faults = await scope.close();
    if (faults.length > 0) say(`did not end well: ${faults.join('; ')}`);
  }
}
