/**
 * Login negotiation as the initiator does it (RFC 7143 6.2): what it offers, and what it concludes from the answers.
 * Pure, like its counterpart in negotiation.ts.
 */
import { BlockferryError } from '../../base/errors.js';
import {
  DEFAULT_PARAMETERS,
  KEYS,
  type NegotiationOffer,
  type NegotiationRule,
  type OperationalParameters,
} from './negotiation-rules.js';
import { parseNumber, type TextPair } from './text-keys.js';

/** RFC 7143 6.2: answers that stand for no value. */
const RESERVED_ANSWERS = new Set(['Reject', 'Irrelevant', 'NotUnderstood']);

/** The operational keys that an initiator offers, in the order of RFC 7143 13. */
export function formatOffer(ours: NegotiationOffer, sessionType: 'Normal' | 'Discovery'): TextPair[] {
  const pairs: TextPair[] = [];
  for (const [key, { rule, use, sender, normalOnly }] of KEYS) {
    if (sender !== 'both' || use === 'security' || (normalOnly && sessionType === 'Discovery')) continue;
    const value = offeredValue(key, rule, ours);
    if (value !== undefined) pairs.push({ key, value });
  }
  return pairs;
}

function offeredValue(key: string, rule: NegotiationRule, ours: NegotiationOffer): string | undefined {
  switch (rule.kind) {
    case 'digest':
      return ours[rule.field].join(',');
    case 'list':
      return ours[rule.apply].join(',');
    case 'and':
    case 'or':
      return ours[rule.field as keyof NegotiationOffer] === true ? 'Yes' : 'No';
    case 'min':
    case 'max':
      return String(ours[rule.field as keyof NegotiationOffer]);
    case 'declare-number':
      return key === 'MaxRecvDataSegmentLength' ? String(ours.maxRecvDataSegmentLength) : undefined;
    default:
      return undefined;
  }
}

/**
 * The initiator's side: what holds after the target answered our offer. Keys it left out or would not negotiate keep
 * their defaults. Throws PROTOCOL at an answer that the rules do not allow.
 */
export function conclude(ours: NegotiationOffer, answered: readonly TextPair[]): OperationalParameters {
  const values = { ...DEFAULT_PARAMETERS, maxRecvDataSegmentLength: ours.maxRecvDataSegmentLength };
  for (const { key, value } of answered) {
    const rule = KEYS.get(key)?.rule;
    if (rule === undefined || RESERVED_ANSWERS.has(value)) continue;
    if (!accept(key, value, rule, ours, values)) {
      throw new BlockferryError(
        'PROTOCOL',
        `the target answered ${key}=${value}, which the offer does not allow`,
      );
    }
  }
  values.firstBurstLength = Math.min(values.firstBurstLength, values.maxBurstLength);
  return values;
}

/** Notes one answer; false when it is illegal. */
function accept(
  key: string,
  value: string,
  rule: NegotiationRule,
  ours: NegotiationOffer,
  values: OperationalParameters,
): boolean {
  switch (rule.kind) {
    case 'digest':
      values[rule.field] = value === 'CRC32C';
      return (ours[rule.field] as readonly string[]).includes(value);
    case 'list':
      if (rule.apply === 'taskReporting') values.taskReporting = value;
      return ours[rule.apply].includes(value);
    case 'and':
    case 'or': {
      const offered = ours[rule.field as keyof NegotiationOffer] === true;
      Object.assign(values, { [rule.field]: value === 'Yes' });
      // An AND that we denied cannot be Yes; an OR that we affirmed cannot be No.
      const impossible = rule.kind === 'and' ? !offered && value === 'Yes' : offered && value === 'No';
      return (value === 'Yes' || value === 'No') && !impossible;
    }
    case 'min':
    case 'max': {
      const offered = Number(ours[rule.field as keyof NegotiationOffer]);
      const number = parseNumber(value);
      Object.assign(values, { [rule.field]: number });
      const legal = rule.kind === 'min' ? number <= offered : number >= offered;
      return legal && number >= rule.low && number <= rule.high;
    }
    case 'declare-number': {
      const number = parseNumber(value);
      if (key === 'MaxRecvDataSegmentLength') values.peerMaxRecvDataSegmentLength = number;
      return number >= rule.low && number <= rule.high;
    }
    default:
      return true;
  }
}
