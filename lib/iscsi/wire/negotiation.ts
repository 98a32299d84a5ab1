/**
 * Login negotiation as the target does it (RFC 7143 6.2): a pure function from what an initiator offers to the answers.
 * The rules of each key are in negotiation-rules.ts, the initiator's side is in offer.ts; when which exchange happens is
 * the login's own affair.
 */
import {
  DEFAULT_PARAMETERS,
  KEYS,
  type KeySpec,
  type KeyUse,
  type NegotiationOffer,
  type NegotiationRule,
  type OperationalParameters,
} from './negotiation-rules.js';
import { LoginStage, LoginStatus } from './opcodes.js';
import { parseNumber, type TextPair } from './text-keys.js';

export {
  DEFAULT_PARAMETERS,
  type NegotiationOffer,
  type OperationalParameters,
} from './negotiation-rules.js';

/** Where a login stands: what its earlier requests settled. Start with beginNegotiation(). */
export interface NegotiationState {
  readonly values: OperationalParameters;
  /** Keys that were negotiated or declared before: none may be again (6.3). */
  readonly done: ReadonlySet<string>;
  /** What the initiator declared: InitiatorName, TargetName, SessionType, InitiatorAlias, … */
  readonly declared: ReadonlyMap<string, string>;
}

export interface NegotiationContext {
  /** CSG of the request: LoginStage. */
  readonly stage: number;
  /** This is the session's first connection. */
  readonly leading: boolean;
}

export interface NegotiationResult {
  readonly answers: TextPair[];
  readonly state: NegotiationState;
  /** The login fails: LoginStatus, and why. */
  readonly error?: { readonly status: number; readonly reason: string };
}

export function beginNegotiation(ours: NegotiationOffer): NegotiationState {
  const values = { ...DEFAULT_PARAMETERS, maxRecvDataSegmentLength: ours.maxRecvDataSegmentLength };
  return { values, done: new Set(), declared: new Map() };
}

/** A negotiation under way: copies of the state, which the answers to one request change. */
interface Working {
  readonly ours: NegotiationOffer;
  readonly values: OperationalParameters;
  readonly declared: Map<string, string>;
}

/**
 * The target's side: answers one Login Request's keys, in their order. Keys it does not know get NotUnderstood, values
 * that cannot be get Reject. MaxRecvDataSegmentLength is declared by us in the answer to the initiator's.
 */
export function negotiate(
  offered: readonly TextPair[],
  ours: NegotiationOffer,
  context: NegotiationContext,
  state: NegotiationState,
): NegotiationResult {
  const working: Working = { ours, values: { ...state.values }, declared: new Map(state.declared) };
  const done = new Set(state.done);
  const answerOf = new Map<string, string>();
  // The first mistake; who speaks, and to whom, is heard to the end, since that comes first (target/login/phase.ts).
  let mistake: string | undefined;

  for (const { key, value } of inOrderOfDependence(offered)) {
    const spec = KEYS.get(key);
    if (spec === undefined) {
      answerOf.set(key, 'NotUnderstood');
      continue;
    }
    // libiscsi says its names again in the operational stage when no CHAP came of the first: nothing is negotiated (6.3).
    if (spec.rule.kind === 'declare-text' && working.declared.get(key) === value) continue;
    const wrong = done.has(key) ? `${key} is negotiated twice` : refusal(key, spec, context);
    if (wrong !== undefined) {
      mistake ??= wrong;
      continue;
    }
    done.add(key);
    const answer = answerKey(key, value, spec, working);
    if (answer !== undefined) answerOf.set(key, answer);
  }
  working.values.firstBurstLength = Math.min(working.values.firstBurstLength, working.values.maxBurstLength);
  const answers = offered.flatMap(({ key }) => {
    const value = answerOf.get(key);
    return value === undefined ? [] : [{ key, value }];
  });
  const after = { values: working.values, done, declared: working.declared };
  if (mistake === undefined) return { answers, state: after };
  return { answers, state: after, error: { status: LoginStatus.INITIATOR_ERROR, reason: mistake } };
}

/** MaxBurstLength bounds FirstBurstLength: it goes first. */
function inOrderOfDependence(offered: readonly TextPair[]): TextPair[] {
  const rank = (key: string): number => (key === 'MaxBurstLength' ? 0 : 1);
  return [...offered].sort((a, b) => rank(a.key) - rank(b.key));
}

/** Why an initiator may not send this key now, or undefined. */
function refusal(key: string, spec: KeySpec, context: NegotiationContext): string | undefined {
  if (spec.sender === 'target') return `${key} is for targets to send`;
  if (spec.use === 'leading' && !context.leading) return `${key} is for the leading connection`;
  if (!usableIn(spec.use, context.stage)) return `${key} does not belong in this stage of the login`;
  return undefined;
}

function usableIn(use: KeyUse, stage: number): boolean {
  if (use === 'security') return stage === LoginStage.SECURITY;
  if (use === 'operational' || use === 'leading') return stage === LoginStage.OPERATIONAL;
  if (use === 'full') return stage === LoginStage.FULL_FEATURE;
  return use === 'all' || stage !== LoginStage.FULL_FEATURE;
}

/**
 * Our answer to one legal key, or undefined where none is due; notes what follows from it. What a discovery session has no
 * use for gets a value, too: 'Irrelevant' is allowed (RFC 7143 6.2), but OpenBSD's and NetBSD's initiators read it as a bad
 * number and leave.
 */
function answerKey(key: string, value: string, { rule }: KeySpec, working: Working): string | undefined {
  switch (rule.kind) {
    case 'obsolete':
      return rule.answer;
    case 'authenticate':
      return undefined;
    case 'declare-text':
      return declareText(key, value, working);
    case 'declare-number':
      return declareNumber(key, value, rule, working);
    case 'list':
      return answerList(value, rule.apply, working);
    case 'digest':
      return answerDigest(value, rule.field, working);
    case 'and':
    case 'or':
      return answerBoolean(value, rule, working);
    case 'min':
    case 'max':
      return answerNumber(value, rule, working);
  }
}

function declareText(key: string, value: string, working: Working): string | undefined {
  if (value.length === 0) return key === 'InitiatorAlias' ? undefined : 'Reject'; // no alias is none
  working.declared.set(key, value);
  // With the names it ends the login (target/login/checks.ts); behind them it changes nothing.
  if (key === 'SessionType' && value !== 'Normal' && value !== 'Discovery') return 'Reject';
  return undefined;
}

function declareNumber(
  key: string,
  value: string,
  rule: NegotiationRule & { kind: 'declare-number' },
  working: Working,
): string {
  const number = parseNumber(value);
  if (!(number >= rule.low && number <= rule.high)) return 'Reject';
  working.declared.set(key, value);
  working.values.peerMaxRecvDataSegmentLength = number;
  return String(working.ours.maxRecvDataSegmentLength);
}

function answerList(value: string, apply: 'authMethod' | 'taskReporting', working: Working): string {
  const choice = value.split(',').find((offer) => working.ours[apply].includes(offer));
  if (choice === undefined) return 'Reject';
  if (apply === 'taskReporting') working.values.taskReporting = choice;
  return choice;
}

function answerDigest(value: string, field: 'headerDigest' | 'dataDigest', working: Working): string {
  const choices: readonly string[] = working.ours[field];
  const choice = value.split(',').find((offer) => choices.includes(offer));
  if (choice === undefined) return 'Reject';
  working.values[field] = choice === 'CRC32C';
  return choice;
}

function answerBoolean(
  value: string,
  rule: NegotiationRule & { kind: 'and' | 'or' },
  working: Working,
): string {
  if (value !== 'Yes' && value !== 'No') return 'Reject';
  const theirs = value === 'Yes';
  const ours = working.ours[rule.field as keyof NegotiationOffer] === true;
  const result = rule.kind === 'and' ? ours && theirs : ours || theirs;
  Object.assign(working.values, { [rule.field]: result });
  return result ? 'Yes' : 'No';
}

function answerNumber(
  value: string,
  rule: NegotiationRule & { kind: 'min' | 'max' },
  working: Working,
): string {
  const theirs = parseNumber(value);
  if (!(theirs >= rule.low && theirs <= rule.high)) return 'Reject';
  const ours = Number(working.ours[rule.field as keyof NegotiationOffer]);
  let result = rule.kind === 'min' ? Math.min(ours, theirs) : Math.max(ours, theirs);
  // 13.14: FirstBurstLength must not exceed MaxBurstLength.
  if (rule.field === 'firstBurstLength') result = Math.min(result, working.values.maxBurstLength);
  Object.assign(working.values, { [rule.field]: result });
  return String(result);
}
