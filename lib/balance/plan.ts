/** One plan: the policy of the settings makes a rule, the rule says who has too much, the search finds what goes. */
import { unreachable } from '../base/assert.js';
import type { Measure, Plan, Policy, Verdict } from './contract.js';
import { drain, toDrain } from './drain.js';
import { byName, Draft } from './draft.js';
import { heatRule } from './policies/heat.js';
import { latencyGapRule } from './policies/latency-gap.js';
import { shareRule } from './policies/share.js';
import { figure, percent, sizeText, type RuleOf } from './rule.js';
import { bestMove, type Found } from './search.js';
import type { BalanceSettings } from './settings.js';
import { Standing, utilisationOf, type MemberLoad } from './standing.js';

/** From this part of the worst member's level on a member counts as loaded as that one. */
const AS_LOADED = 0.75;

/** What should move now. The same picture and settings give the same plan. */
export const plan: Policy = (picture, settings) => {
  const ruleOf = ruleFor(settings.policy);
  if (ruleOf === null) return nothing('off', null, 'the policy moves nothing');
  if (picture.members.length < 2) return nothing('balanced', null, 'there is no other member');
  const standing = new Standing(picture, settings);
  if (standing.members.length < 2) {
    const known = `${standing.members.length} of ${picture.members.length} members`;
    return nothing('stale', null, `only ${known} have said lately what they serve`);
  }
  return drafted(new Draft(picture, settings, standing, ruleOf(standing, settings)));
};

function ruleFor(policy: BalanceSettings['policy']): RuleOf | null {
  switch (policy) {
    case 'none':
      return null;
    case 'share':
      return shareRule;
    case 'latency-gap':
      return latencyGapRule;
    case 'heat':
      return heatRule;
    default:
      return unreachable(policy);
  }
}

function drafted(draft: Draft): Plan {
  const { rule, standing, picture, settings } = draft;
  const measure = rule.measure();
  const over = standing.members.filter(
    (member) => member.picture.weight > 0 && rule.isOver(member, draft.haveGiven.has(member.name)),
  );
  const givers = over.filter((member) => rule.isBusy(member));
  const leaving = toDrain(draft);
  if (leaving.length === 0 && givers.length === 0) {
    return over.length === 0
      ? nothing('balanced', measure, balancedText(measure))
      : nothing('idle', measure, idleText(over, settings));
  }
  if (draft.budget <= 0) {
    return nothing('busy', measure, `${picture.movesUnderWay} of ${settings.movesMax} moves are under way`);
  }
  drain(draft, leaving);
  relieve(draft, ready(draft, givers));
  const verdict = draft.moves.length > 0 ? 'act' : draft.isHeld ? 'held' : 'no-gain';
  const alternatives = draft.alternatives();
  const reason = reasonText(verdict, measure, alternatives[0]?.because);
  return { verdict, measure, reason, moves: draft.moves, alternatives };
}

/**
 * Those that have been measured since their last move. Who is much less loaded than one that has not waits for it: much of
 * what it has too much may be fair once the worst have got what they ask for.
 */
function ready(draft: Draft, givers: readonly MemberLoad[]): MemberLoad[] {
  const { rule, standing } = draft;
  const worst = givers
    .filter((member) => standing.isSettling(member))
    .reduce((most, member) => Math.max(most, rule.level(member)), 0);
  const settled = givers.filter(
    (member) => !standing.isSettling(member) && rule.level(member) >= worst * AS_LOADED,
  );
  if (settled.length < givers.length) draft.isHeld = true;
  return settled;
}

/** Of the most loaded member the best move, again and again, until the budget or what helps is spent. */
function relieve(draft: Draft, givers: readonly MemberLoad[]): void {
  const { rule } = draft;
  let left = [...givers];
  while (draft.budget > 0) {
    left = left.filter((member) => rule.isOver(member, true));
    left.sort((a, b) => rule.level(b) - rule.level(a) || byName(a, b));
    const [worst] = left;
    if (worst === undefined) return;
    const found = bestMove(draft, worst);
    if (found === null) left.shift();
    else take(draft, found);
  }
}

function take(draft: Draft, { option, candidate }: Found): void {
  const { exchange, from, to, volume } = option;
  if (exchange !== null) {
    const back = draft.candidateOf(exchange);
    draft.take(exchange, back, `makes room at ${to.name} for ${volume.name}`);
  }
  const { latencyMsBefore, latencyMsAfter } = candidate.predicted;
  const reason =
    `${from.name} is ${percent(utilisationOf(from))} busy, ${to.name} ${percent(utilisationOf(to))}: ` +
    `${figure(option.requests)} requests/s go with ${sizeText(option.bytes)}, ` +
    `${figure(latencyMsBefore)} to ${figure(latencyMsAfter)} ms`;
  draft.take(option, candidate, reason, exchange?.volume.name ?? null);
}

function nothing(verdict: Verdict, measure: Measure | null, reason: string): Plan {
  return { verdict, measure, reason, moves: [], alternatives: [] };
}

function balancedText(measure: Measure | null): string {
  return measure === null
    ? 'nobody serves anything'
    : `${measureText(measure)}: nothing is out of proportion`;
}

function idleText(over: readonly MemberLoad[], { busyMin }: BalanceSettings): string {
  const busiest = over.reduce((most, member) => Math.max(most, utilisationOf(member)), 0);
  return `who has more than its part is ${percent(busiest)} busy, below ${percent(busyMin)}`;
}

function reasonText(verdict: Verdict, measure: Measure | null, because: string | undefined): string {
  const what = measure === null ? 'nobody serves anything' : measureText(measure);
  if (verdict === 'act') return what;
  return `${what}, but ${because ?? 'nobody may take what would help'}`;
}

function measureText({ name, value, limit }: Measure): string {
  return `${name} is ${figure(value)} (limit ${figure(limit)})`;
}
