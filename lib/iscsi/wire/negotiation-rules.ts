/**
 * The keys of RFC 7143 13 as data: how each is negotiated, who may send it, when, and what holds without it. No
 * procedure: that is negotiation.ts's.
 */

/** What a session runs by, once login is over. Named as the keys, in camelCase. */
export interface OperationalParameters {
  headerDigest: boolean;
  dataDigest: boolean;
  maxConnections: number;
  initialR2T: boolean;
  immediateData: boolean;
  /** Declared by us: the longest data segment that we accept. */
  maxRecvDataSegmentLength: number;
  /** Declared by the other side: the longest data segment that we may send. */
  peerMaxRecvDataSegmentLength: number;
  maxBurstLength: number;
  firstBurstLength: number;
  defaultTime2Wait: number;
  defaultTime2Retain: number;
  maxOutstandingR2T: number;
  dataPDUInOrder: boolean;
  dataSequenceInOrder: boolean;
  errorRecoveryLevel: number;
  iSCSIProtocolLevel: number;
  taskReporting: string;
}

/** RFC 7143 13: each key's default. */
export const DEFAULT_PARAMETERS: Readonly<OperationalParameters> = {
  headerDigest: false,
  dataDigest: false,
  maxConnections: 1,
  initialR2T: true,
  immediateData: true,
  maxRecvDataSegmentLength: 8192,
  peerMaxRecvDataSegmentLength: 8192,
  maxBurstLength: 262144,
  firstBurstLength: 65536,
  defaultTime2Wait: 2,
  defaultTime2Retain: 20,
  maxOutstandingR2T: 1,
  dataPDUInOrder: true,
  dataSequenceInOrder: true,
  errorRecoveryLevel: 0,
  iSCSIProtocolLevel: 1,
  taskReporting: 'RFC3720',
};

/** What one side wants: a value per key, and choices in order of preference where there is a list. */
export interface NegotiationOffer {
  /** For example ['None'], or ['CRC32C', 'None']. */
  headerDigest: readonly ('None' | 'CRC32C')[];
  dataDigest: readonly ('None' | 'CRC32C')[];
  authMethod: readonly string[];
  taskReporting: readonly string[];
  maxConnections: number;
  initialR2T: boolean;
  immediateData: boolean;
  maxRecvDataSegmentLength: number;
  maxBurstLength: number;
  firstBurstLength: number;
  defaultTime2Wait: number;
  defaultTime2Retain: number;
  maxOutstandingR2T: number;
  dataPDUInOrder: boolean;
  dataSequenceInOrder: boolean;
  errorRecoveryLevel: number;
  iSCSIProtocolLevel: number;
}

type NumberField = {
  [K in keyof OperationalParameters]: OperationalParameters[K] extends number ? K : never;
}[keyof OperationalParameters];
type BooleanField = {
  [K in keyof OperationalParameters]: OperationalParameters[K] extends boolean ? K : never;
}[keyof OperationalParameters];

/** How the two sides' values become one (RFC 7143 6.2). */
export type NegotiationRule =
  /** The responder takes the first of the offered choices that it supports (6.2.1). */
  | { readonly kind: 'list'; readonly apply: 'authMethod' | 'taskReporting' }
  /** A list of None and CRC32C; the field says whether CRC32C was taken. */
  | { readonly kind: 'digest'; readonly field: 'headerDigest' | 'dataDigest' }
  /** The smaller or the larger of two numbers within [low, high]. */
  | { readonly kind: 'min' | 'max'; readonly field: NumberField; readonly low: number; readonly high: number }
  /** Yes if both, or if either, say Yes. */
  | { readonly kind: 'and' | 'or'; readonly field: BooleanField }
  /** Each side declares its own; there is no answer to agree on. */
  | { readonly kind: 'declare-number'; readonly low: number; readonly high: number }
  | { readonly kind: 'declare-text' }
  /** Part of an authentication (12.1.3), whose answer is not a negotiation's. */
  | { readonly kind: 'authenticate' }
  /** Obsolete (13.25): answered with a fixed value. */
  | { readonly kind: 'obsolete'; readonly answer: 'No' | 'Reject' };

/** Stages a key may be sent in (the "Use" of each key in RFC 7143 13). */
export type KeyUse =
  | 'security' // SecurityNegotiation only
  | 'login' // IO: any stage of the login
  | 'operational' // LoginOperationalNegotiation
  | 'leading' // LO: the same, of the leading connection
  | 'full' // FFPO
  | 'all';

export interface KeySpec {
  readonly rule: NegotiationRule;
  readonly use: KeyUse;
  readonly sender: 'initiator' | 'target' | 'both';
  /** "Irrelevant when SessionType=Discovery": an initiator does not offer it there. */
  readonly normalOnly: boolean;
}

function spec(rule: NegotiationRule, use: KeyUse, sender: KeySpec['sender'], normalOnly = false): KeySpec {
  return { rule, use, sender, normalOnly };
}

/** 2^24 − 1: what DataSegmentLength can say. */
const LENGTH_MAX = 0xffffff;

export const KEYS: ReadonlyMap<string, KeySpec> = new Map([
  // 12.1
  ['AuthMethod', spec({ kind: 'list', apply: 'authMethod' }, 'security', 'both')],
  // 12.1.3
  ['CHAP_A', spec({ kind: 'authenticate' }, 'security', 'both')],
  ['CHAP_I', spec({ kind: 'authenticate' }, 'security', 'both')],
  ['CHAP_C', spec({ kind: 'authenticate' }, 'security', 'both')],
  ['CHAP_N', spec({ kind: 'authenticate' }, 'security', 'both')],
  ['CHAP_R', spec({ kind: 'authenticate' }, 'security', 'both')],
  // 13.1
  ['HeaderDigest', spec({ kind: 'digest', field: 'headerDigest' }, 'operational', 'both')],
  ['DataDigest', spec({ kind: 'digest', field: 'dataDigest' }, 'operational', 'both')],
  // 13.2
  [
    'MaxConnections',
    spec({ kind: 'min', field: 'maxConnections', low: 1, high: 65535 }, 'leading', 'both', true),
  ],
  // 13.3
  ['SendTargets', spec({ kind: 'declare-text' }, 'full', 'initiator')],
  // 13.4 (a target sends it only in answer to SendTargets)
  ['TargetName', spec({ kind: 'declare-text' }, 'login', 'initiator')],
  // 13.5 – 13.9
  ['InitiatorName', spec({ kind: 'declare-text' }, 'login', 'initiator')],
  ['TargetAlias', spec({ kind: 'declare-text' }, 'all', 'target')],
  ['InitiatorAlias', spec({ kind: 'declare-text' }, 'all', 'initiator')],
  ['TargetAddress', spec({ kind: 'declare-text' }, 'all', 'target')],
  ['TargetPortalGroupTag', spec({ kind: 'declare-number', low: 0, high: 65535 }, 'login', 'target')],
  // 13.10, 13.11
  ['InitialR2T', spec({ kind: 'or', field: 'initialR2T' }, 'leading', 'both', true)],
  ['ImmediateData', spec({ kind: 'and', field: 'immediateData' }, 'leading', 'both', true)],
  // 13.12
  ['MaxRecvDataSegmentLength', spec({ kind: 'declare-number', low: 512, high: LENGTH_MAX }, 'all', 'both')],
  // 13.13, 13.14
  [
    'MaxBurstLength',
    spec({ kind: 'min', field: 'maxBurstLength', low: 512, high: LENGTH_MAX }, 'leading', 'both', true),
  ],
  [
    'FirstBurstLength',
    spec({ kind: 'min', field: 'firstBurstLength', low: 512, high: LENGTH_MAX }, 'leading', 'both', true),
  ],
  // 13.15, 13.16
  [
    'DefaultTime2Wait',
    spec({ kind: 'max', field: 'defaultTime2Wait', low: 0, high: 3600 }, 'leading', 'both'),
  ],
  [
    'DefaultTime2Retain',
    spec({ kind: 'min', field: 'defaultTime2Retain', low: 0, high: 3600 }, 'leading', 'both'),
  ],
  // 13.17 – 13.20
  [
    'MaxOutstandingR2T',
    spec({ kind: 'min', field: 'maxOutstandingR2T', low: 1, high: 65535 }, 'leading', 'both', true),
  ],
  ['DataPDUInOrder', spec({ kind: 'or', field: 'dataPDUInOrder' }, 'leading', 'both', true)],
  ['DataSequenceInOrder', spec({ kind: 'or', field: 'dataSequenceInOrder' }, 'leading', 'both', true)],
  [
    'ErrorRecoveryLevel',
    spec({ kind: 'min', field: 'errorRecoveryLevel', low: 0, high: 2 }, 'leading', 'both'),
  ],
  // 13.21
  ['SessionType', spec({ kind: 'declare-text' }, 'login', 'initiator')],
  // 13.23, 13.24
  ['TaskReporting', spec({ kind: 'list', apply: 'taskReporting' }, 'leading', 'both', true)],
  [
    'iSCSIProtocolLevel',
    spec({ kind: 'min', field: 'iSCSIProtocolLevel', low: 0, high: 31 }, 'leading', 'both', true),
  ],
  // 13.25
  ['IFMarker', spec({ kind: 'obsolete', answer: 'No' }, 'all', 'both')],
  ['OFMarker', spec({ kind: 'obsolete', answer: 'No' }, 'all', 'both')],
  ['IFMarkInt', spec({ kind: 'obsolete', answer: 'Reject' }, 'all', 'both')],
  ['OFMarkInt', spec({ kind: 'obsolete', answer: 'Reject' }, 'all', 'both')],
]);
