/** Texts of Login and Text PDUs, spoilt: keys and values that are long, empty, doubled, strange, or no pairs at all. */
import type { Chance } from '../../base/chance.js';

type Spoiling = (pairs: string[], chance: Chance) => void;

/** Values that some parser has stumbled over. */
const VALUES: readonly string[] = [
  ...['', '0', '1', '-1', '512', '16777215', '16777216', '4294967296', '99999999999999999999', '0x', '0xg'],
  ...[
    '0xffffffff',
    '0b',
    '0b!!!!',
    '0bAAAA',
    '00000000000000001',
    '1~2',
    '5~1',
    '0~16777216',
    'Yes',
    'No',
    'yes',
  ],
  ...[
    'None',
    'CRC32C',
    'CRC32C,None',
    ',',
    ',,None',
    'None,None',
    'Reject',
    'Irrelevant',
    'NotUnderstood',
    '?',
  ],
  ...[
    'CHAP',
    'KRB5,SRP,CHAP',
    'Discovery',
    'Normal',
    'All',
    '=',
    '==',
    'a=b',
    ' ',
    '\t',
    '\r\n',
    '\u00ff\u00fe',
  ],
  ...[
    '\u0000',
    'iqn.',
    `iqn.${'a'.repeat(300)}`,
    '%s%n',
    '../../etc',
    '__proto__',
    '7',
    '5,6,7,8',
    '256',
    '0x00',
  ],
];
const KEYS: readonly string[] = [
  ...[
    'InitiatorName',
    'TargetName',
    'SessionType',
    'AuthMethod',
    'HeaderDigest',
    'DataDigest',
    'MaxConnections',
  ],
  ...['InitialR2T', 'ImmediateData', 'MaxRecvDataSegmentLength', 'MaxBurstLength', 'FirstBurstLength'],
  ...['DefaultTime2Wait', 'DefaultTime2Retain', 'MaxOutstandingR2T', 'DataPDUInOrder', 'DataSequenceInOrder'],
  ...[
    'ErrorRecoveryLevel',
    'TaskReporting',
    'iSCSIProtocolLevel',
    'SendTargets',
    'TargetAlias',
    'TargetAddress',
  ],
  ...['TargetPortalGroupTag', 'InitiatorAlias', 'CHAP_A', 'CHAP_I', 'CHAP_C', 'CHAP_N', 'CHAP_R', 'OFMarker'],
  ...['IFMarkInt', 'X-reversed.vendor.do', 'Z', '', '1st', `K${'e'.repeat(70)}`, '__proto__', 'constructor'],
];

function valueAt(pairs: string[], chance: Chance, value: (old: string) => string): void {
  const at = chance.below(Math.max(1, pairs.length));
  const [key = 'X', ...rest] = (pairs[at] ?? '').split('=');
  pairs[at] = `${key}=${value(rest.join('='))}`;
}

const SPOILINGS: readonly Spoiling[] = [
  (pairs, chance) => valueAt(pairs, chance, () => chance.pick(VALUES)),
  (pairs, chance) => valueAt(pairs, chance, (old) => old + old),
  (pairs, chance) => valueAt(pairs, chance, (old) => old.slice(0, chance.below(old.length + 1))),
  (pairs, chance) =>
    valueAt(pairs, chance, () => 'v'.repeat(chance.pick([255, 256, 1024, 2112, 2113, 7000]))),
  (pairs, chance) => valueAt(pairs, chance, () => `0x${'5a'.repeat(chance.pick([1, 16, 32, 1024, 1025]))}`),
  (pairs, chance) => valueAt(pairs, chance, () => Array(chance.within(2, 90)).fill('x').join(',')),
  (pairs, chance) => void pairs.push(`${chance.pick(KEYS)}=${chance.pick(VALUES)}`),
  (pairs, chance) => void pairs.unshift(`${chance.pick(KEYS)}=${chance.pick(VALUES)}`),
  (pairs, chance) => void pairs.push(pairs[chance.below(Math.max(1, pairs.length))] ?? ''),
  (pairs, chance) => void pairs.splice(chance.below(Math.max(1, pairs.length)), 1),
  (pairs) => void pairs.reverse(),
  (pairs, chance) =>
    void pairs.push(chance.pick(['no pair', '=', '=x', 'x=', '\u0000\u0000\u0000', '\u00e4=\u00f6'])),
  (pairs, chance) => {
    for (let n = chance.pick([20, 255, 300]); n > 0; n--) pairs.push(`X-${n}=${n}`);
  },
  (pairs, chance) => {
    const at = chance.below(Math.max(1, pairs.length));
    pairs[at] = chance.pick(KEYS) + (pairs[at] ?? '').replace(/^[^=]*/, '');
  },
];

/** @returns another text, not always a worse one; some 9 KiB at most */
export function spoilText(text: Buffer, chance: Chance): Buffer {
  const pairs = text.toString('latin1').split('\0').filter(Boolean);
  for (let n = chance.within(1, 3); n > 0; n--) chance.pick(SPOILINGS)(pairs, chance);
  const bytes = Buffer.from(pairs.map((pair) => `${pair}\0`).join(''), 'latin1');
  const cut = bytes.subarray(0, 9000);
  for (let n = chance.happens(0.2) ? chance.within(1, 4) : 0; n > 0 && cut.length > 0; n--)
    cut[chance.below(cut.length)] = chance.below(256);
  return chance.happens(0.1) ? cut.subarray(0, Math.max(0, cut.length - 1)) : cut;
}
