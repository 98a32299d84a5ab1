/** Policies side by side on one scenario: a row each, over the end of the run, when what was to move has moved. */
import type { Policy } from '../balance/contract.js';
import type { BalanceSettings, POLICIES } from '../balance/settings.js';
import { sum } from './numbers.js';
import { runPolicy, type PolicyRun, type WindowFigures } from './run.js';
import { imbalance, type Scenario, type SimMember } from './world.js';

export type PolicyName = (typeof POLICIES)[number];

/** Part of the windows, the last ones, that a row's figures are of. */
const END_PART = 0.25;

/** Of the last quarter of a run, but for what moved: that is of all of it. */
export interface PolicyRow {
  readonly policy: PolicyName;
  readonly requestsPerSecond: number;
  /** Mean over all requests. */
  readonly latencyMs: number;
  /** Requests served, over speed: the busiest member's over the mean. */
  readonly imbalance: number;
  readonly moves: number;
  readonly bytesMoved: number;
}

export interface PolicyResult extends PolicyRow {
  readonly run: PolicyRun;
}

/** @param planner asked with the settings of each policy in turn */
export function compare(
  scenario: Scenario,
  policies: readonly PolicyName[],
  planner: Policy,
  settings: BalanceSettings,
): PolicyResult[] {
  return policies.map((policy) => {
    const run = runPolicy(scenario, planner, { ...settings, policy });
    const { moves, bytesMoved } = run;
    return { policy, ...endFigures(run.windows, run.world.members), moves: moves.length, bytesMoved, run };
  });
}

function endFigures(
  windows: readonly WindowFigures[],
  members: readonly SimMember[],
): Pick<PolicyRow, 'requestsPerSecond' | 'latencyMs' | 'imbalance'> {
  const end = windows.slice(-Math.max(1, Math.round(windows.length * END_PART)));
  const requests = sum(end.map((window) => window.requestsPerSecond));
  const spentMs = sum(end.map((window) => window.requestsPerSecond * window.latencyMs));
  const served = members.map((_, m) => sum(end.map((window) => window.members[m]?.perSecond ?? 0)));
  return {
    requestsPerSecond: requests / end.length,
    latencyMs: requests > 0 ? spentMs / requests : 0,
    imbalance: imbalance(
      served,
      members.map(({ speed }) => speed),
    ),
  };
}
