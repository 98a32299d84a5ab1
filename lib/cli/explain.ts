/** What `moves --explain` tells of the balancer's decisions: what was measured, what was done, what it was good for. */
import { formatSize } from '../base/units.js';
import type { DecisionView } from '../manage/api.js';
import { formatMs, plural } from './output.js';

type Move = DecisionView['moves'][number];
type Candidate = Move | DecisionView['alternatives'][number];

const VERDICTS: Record<DecisionView['verdict'], string> = {
  act: 'moves',
  balanced: 'nothing is out of proportion',
  idle: 'nobody has so much to do that it would matter',
  stale: 'too little is known, or it is too old',
  busy: 'enough moves are under way',
  held: 'what would help is pinned, has moved not long ago, or has no room',
  'no-gain': 'nothing would help enough for what it costs',
  off: 'the policy does nothing',
};

export function describeDecisions(decisions: readonly DecisionView[]): string {
  if (decisions.length === 0) return 'no decisions yet';
  return decisions.map(describeDecision).join('\n\n');
}

function describeDecision(decision: DecisionView): string {
  const { before, outcome, unmeasured } = decision;
  const repeated = decision.times > 1 ? `, ${decision.times} times until ${dateOf(decision.lastAtMs)}` : '';
  const lines = [
    `${dateOf(decision.atMs)} ${decision.by}, ${decision.policy}: ${VERDICTS[decision.verdict]}${repeated}`,
  ];
  lines.push(`  measured   ${decision.reason}`);
  for (const move of decision.moves) {
    lines.push(`  ${move.move === null ? 'dropped' : 'moved  '}    ${describeCandidate(move)}`);
    lines.push(`             ${move.move === null ? move.refusal : `${move.reason} (move ${move.move})`}`);
    lines.push(`             predicted: ${describePredicted(move)}`);
    if (move.brought !== null) lines.push(`             measured:  ${describeBrought(move.brought)}`);
  }
  if (before !== null && outcome !== null) {
    const { after } = outcome;
    lines.push(`  outcome    imbalance ${round(before.imbalance)} to ${round(after.imbalance)}`);
    lines.push(`             latency ${formatMs(before.latencyMs)} to ${formatMs(after.latencyMs)}`);
    lines.push(`             requests ${rate(before.requestsPerSecond)} to ${rate(after.requestsPerSecond)}`);
  }
  const isOpen = outcome === null && decision.moves.some(({ move }) => move !== null);
  if (isOpen) lines.push(`  outcome    not measured${unmeasured === '' ? ' yet' : `: ${unmeasured}`}`);
  for (const other of decision.alternatives) {
    lines.push(`  not        ${describeCandidate(other)}: ${other.because}`);
  }
  return lines.join('\n');
}

function describeCandidate({ volume, extents, from, to, requestsPerSecond, bytes }: Candidate): string {
  const count = extents === null ? 0 : extents.last - extents.first + 1;
  const what =
    extents === null ? volume : `${volume} ${extents.first}-${extents.last} (${plural(count, 'extent')})`;
  return `${what} from ${from} to ${to}, ${rate(requestsPerSecond)}, ${formatSize(Math.round(bytes))}`;
}

function describePredicted({ predicted }: Candidate): string {
  const { latencyMsBefore, latencyMsAfter, payBackMs, measure } = predicted;
  const paid = payBackMs === null ? 'never pays back' : `pays back in ${formatMs(payBackMs)}`;
  return `measure ${round(measure)}, latency ${formatMs(latencyMsBefore)} to ${formatMs(latencyMsAfter)}, ${paid}`;
}

function describeBrought({ gainMs, predictedGainMs, loadChange }: NonNullable<Move['brought']>): string {
  const load = `${loadChange < 0 ? '' : '+'}${(loadChange * 100).toFixed(0)} % requests meanwhile`;
  return `${gainMs.toFixed(2)} ms won of ${predictedGainMs.toFixed(2)} predicted, ${load}`;
}

function dateOf(wallMs: number): string {
  return new Date(wallMs).toISOString().replace('T', ' ').slice(0, 19);
}

function round(value: number): string {
  return value.toFixed(2);
}

function rate(perSecond: number): string {
  return `${perSecond.toFixed(0)}/s`;
}
