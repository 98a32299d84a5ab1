/** Text pairs, and the negotiation of every key of RFC 7143 13 from both sides. */
import fc from 'fast-check';
import t from 'tap';
import { TEXT_BYTES_MAX } from '../../lib/base/limits.js';
import { DEFAULT_PARAMETERS, KEYS, type NegotiationOffer } from '../../lib/iscsi/wire/negotiation-rules.js';
import { beginNegotiation, negotiate, type NegotiationContext } from '../../lib/iscsi/wire/negotiation.js';
import { conclude, formatOffer } from '../../lib/iscsi/wire/offer.js';
import { LoginStage } from '../../lib/iscsi/wire/opcodes.js';
import {
  TextAssembler,
  formatText,
  parseBinary,
  parseNumber,
  parseText,
  valueOf,
} from '../../lib/iscsi/wire/text-keys.js';

const target: NegotiationOffer = {
  headerDigest: ['CRC32C', 'None'],
  dataDigest: ['None'],
  authMethod: ['None'],
  taskReporting: ['RFC3720'],
  maxConnections: 1,
  initialR2T: false,
  immediateData: true,
  maxRecvDataSegmentLength: 262144,
  maxBurstLength: 1048576,
  firstBurstLength: 262144,
  defaultTime2Wait: 0,
  defaultTime2Retain: 0,
  maxOutstandingR2T: 8,
  dataPDUInOrder: true,
  dataSequenceInOrder: true,
  errorRecoveryLevel: 0,
  iSCSIProtocolLevel: 1,
};

const operational: NegotiationContext = { stage: LoginStage.OPERATIONAL, leading: true };
const security: NegotiationContext = { stage: LoginStage.SECURITY, leading: true };
const pair = (text: string): { key: string; value: string } => {
  const [key = '', value = ''] = text.split(/=(.*)/s);
  return { key, value };
};
const answer = (offered: string[], context = operational): string[] =>
  negotiate(offered.map(pair), target, context, beginNegotiation(target)).answers.map(
    (a) => `${a.key}=${a.value}`,
  );

/** offered → answered; '' where no answer is due. */
const golden: [string, string][] = [
  ['HeaderDigest=None', 'None'],
  ['HeaderDigest=CRC32C', 'CRC32C'],
  ['HeaderDigest=None,CRC32C', 'None'],
  ['HeaderDigest=CRC32C,None', 'CRC32C'],
  ['HeaderDigest=X-MD5', 'Reject'],
  ['DataDigest=CRC32C,None', 'None'],
  ['DataDigest=CRC32C', 'Reject'],
  ['MaxConnections=4', '1'],
  ['MaxConnections=0', 'Reject'],
  ['MaxConnections=65536', 'Reject'],
  ['InitiatorName=iqn.2026-01.example:host', ''],
  ['InitiatorName=', 'Reject'],
  ['TargetName=iqn.2026-01.example:disk', ''],
  ['InitiatorAlias=a host', ''],
  ['InitialR2T=Yes', 'Yes'],
  ['InitialR2T=No', 'No'],
  ['InitialR2T=yes', 'Reject'],
  ['ImmediateData=Yes', 'Yes'],
  ['ImmediateData=No', 'No'],
  ['ImmediateData=1', 'Reject'],
  ['MaxRecvDataSegmentLength=65536', '262144'],
  ['MaxRecvDataSegmentLength=0x10000', '262144'],
  ['MaxRecvDataSegmentLength=511', 'Reject'],
  ['MaxRecvDataSegmentLength=16777215', '262144'],
  ['MaxRecvDataSegmentLength=16777216', 'Reject'],
  ['MaxBurstLength=262144', '262144'],
  ['MaxBurstLength=16776192', '1048576'],
  ['MaxBurstLength=100', 'Reject'],
  ['FirstBurstLength=65536', '65536'],
  ['FirstBurstLength=16777215', '262144'],
  ['FirstBurstLength=12x', 'Reject'],
  ['DefaultTime2Wait=2', '2'],
  ['DefaultTime2Wait=3601', 'Reject'],
  ['DefaultTime2Retain=20', '0'],
  ['DefaultTime2Retain=-1', 'Reject'],
  ['MaxOutstandingR2T=1', '1'],
  ['MaxOutstandingR2T=65535', '8'],
  ['MaxOutstandingR2T=0', 'Reject'],
  ['DataPDUInOrder=No', 'Yes'],
  ['DataSequenceInOrder=Yes', 'Yes'],
  ['DataSequenceInOrder=No', 'Yes'],
  ['ErrorRecoveryLevel=2', '0'],
  ['ErrorRecoveryLevel=3', 'Reject'],
  ['SessionType=Normal', ''],
  ['SessionType=Discovery', ''],
  ['SessionType=Other', 'Reject'],
  ['TaskReporting=FastAbort,RFC3720', 'RFC3720'],
  ['TaskReporting=FastAbort', 'Reject'],
  ['iSCSIProtocolLevel=2', '1'],
  ['iSCSIProtocolLevel=32', 'Reject'],
  ['IFMarker=Yes', 'No'],
  ['OFMarker=No', 'No'],
  ['IFMarkInt=2048', 'Reject'],
  ['OFMarkInt=2048', 'Reject'],
  ['X-com.example.Speed=high', 'NotUnderstood'],
  ['Unheard=of', 'NotUnderstood'],
];

t.test('every key is answered by its rule', async (t) => {
  for (const [offered, answered] of golden) {
    t.strictSame(answer([offered]), answered === '' ? [] : [`${pair(offered).key}=${answered}`], offered);
  }
  t.strictSame(answer(['AuthMethod=CHAP,None'], security), ['AuthMethod=None']);
  t.strictSame(answer(['AuthMethod=CHAP'], security), ['AuthMethod=Reject']);
  const tried = new Set(golden.map(([offered]) => pair(offered).key));
  const chap = ['CHAP_A', 'CHAP_I', 'CHAP_C', 'CHAP_N', 'CHAP_R'];
  t.strictSame(
    answer(
      chap.map((key) => `${key}=1`),
      security,
    ),
    [],
    'an authentication answers for itself',
  );
  const elsewhere = [
    'AuthMethod',
    'SendTargets',
    'TargetAlias',
    'TargetAddress',
    'TargetPortalGroupTag',
    ...chap,
  ];
  for (const key of KEYS.keys()) t.ok(tried.has(key) !== elsewhere.includes(key), `${key} is covered`);
});

t.test(
  'what a discovery session has no use for gets a value, which every initiator understands',
  async (t) => {
    t.strictSame(
      answer(['MaxBurstLength=4096', 'HeaderDigest=None', 'MaxConnections=8', 'SessionType=Discovery']),
      ['MaxBurstLength=4096', 'HeaderDigest=None', 'MaxConnections=1'],
    );
  },
);

t.test('keys out of place fail the login', async (t) => {
  const cases: [string[], NegotiationContext, RegExp][] = [
    [['TargetAlias=me'], operational, /for targets/],
    [['TargetAddress=1.2.3.4'], security, /for targets/],
    [['TargetPortalGroupTag=1'], operational, /for targets/],
    [['AuthMethod=None'], operational, /stage/],
    [['MaxBurstLength=4096'], security, /stage/],
    [['HeaderDigest=None'], { stage: LoginStage.FULL_FEATURE, leading: true }, /stage/],
    [['SendTargets=All'], operational, /stage/],
    [['InitialR2T=Yes'], { stage: LoginStage.OPERATIONAL, leading: false }, /leading/],
  ];
  for (const [offered, context, reason] of cases) {
    const result = negotiate(offered.map(pair), target, context, beginNegotiation(target));
    t.match(result.error, { status: 0x0200, reason }, offered.join());
  }
  const [wrong, later] = ['TargetAlias=me', 'SendTargets=All'].map(pair);
  const behind = [wrong, pair('InitiatorName=iqn.a:b'), later].filter((one) => one !== undefined);
  const heard = negotiate(behind, target, operational, beginNegotiation(target));
  t.match(heard.error, { status: 0x0200, reason: /TargetAlias/ }, 'the first of them is the reason');
  t.equal(heard.state.declared.get('InitiatorName'), 'iqn.a:b', 'what stands behind it is heard');
  const first = negotiate([pair('MaxBurstLength=4096')], target, operational, beginNegotiation(target));
  const again = negotiate([pair('MaxBurstLength=4096')], target, operational, first.state);
  t.match(again.error, { status: 0x0200, reason: /twice/ });
  // As libiscsi does in the operational stage when it has a user and the target wants none.
  const names = ['InitiatorName=iqn.a:b', 'TargetName=iqn.c:d', 'SessionType=Normal'].map(pair);
  const named = negotiate([...names, pair('AuthMethod=None')], target, security, beginNegotiation(target));
  const repeated = negotiate(names, target, operational, named.state);
  t.equal(repeated.error, undefined, 'a name that is said again');
  t.strictSame(repeated.answers, []);
  const other = negotiate([pair('InitiatorName=iqn.a:c')], target, operational, named.state);
  t.match(other.error, { status: 0x0200, reason: /twice/ }, 'another name');
});

t.test('the values that result, over two requests', async (t) => {
  const one = negotiate(
    ['InitiatorName=iqn.a:b', 'TargetName=iqn.c:d', 'SessionType=Normal', 'AuthMethod=None'].map(pair),
    target,
    security,
    beginNegotiation(target),
  );
  const offers = ['FirstBurstLength=65536', 'MaxBurstLength=16384', 'InitialR2T=No', 'HeaderDigest=CRC32C'];
  const two = negotiate(
    [...offers, 'MaxRecvDataSegmentLength=4096'].map(pair),
    target,
    operational,
    one.state,
  );
  t.strictSame(
    two.answers.map((a) => a.value),
    ['16384', '16384', 'No', 'CRC32C', '262144'],
    'first ≤ max burst',
  );
  t.equal(two.state.declared.get('TargetName'), 'iqn.c:d');
  t.strictSame(two.state.values, {
    ...DEFAULT_PARAMETERS,
    headerDigest: true,
    initialR2T: false,
    maxRecvDataSegmentLength: 262144,
    peerMaxRecvDataSegmentLength: 4096,
    maxBurstLength: 16384,
    firstBurstLength: 16384,
  });
  t.equal(one.state.values.maxBurstLength, 262144, 'an earlier state is not changed');
});

t.test('the initiator offers and concludes', async (t) => {
  const ours: NegotiationOffer = { ...target, headerDigest: ['None', 'CRC32C'], maxBurstLength: 65536 };
  const discovery = formatOffer(ours, 'Discovery').map((offer) => offer.key);
  t.notOk(discovery.includes('MaxBurstLength'));
  t.ok(discovery.includes('HeaderDigest'));
  t.equal(valueOf(formatOffer(ours, 'Normal'), 'HeaderDigest'), 'None,CRC32C');
  const concluded = conclude(
    ours,
    ['HeaderDigest=CRC32C', 'MaxBurstLength=32768', 'DataDigest=Reject'].map(pair),
  );
  t.match(concluded, {
    headerDigest: true,
    dataDigest: false,
    maxBurstLength: 32768,
    firstBurstLength: 32768,
  });
  const illegal = [
    'MaxBurstLength=131072',
    'MaxBurstLength=1',
    'DataDigest=CRC32C',
    'DefaultTime2Wait=-1',
    'MaxRecvDataSegmentLength=big',
    'DataPDUInOrder=No',
    'ImmediateData=maybe',
    'TaskReporting=FastAbort',
  ];
  for (const text of illegal) t.throws(() => conclude(ours, [pair(text)]), { code: 'PROTOCOL' }, text);
  t.throws(() => conclude({ ...ours, immediateData: false }, [pair('ImmediateData=Yes')]), {
    code: 'PROTOCOL',
  });
});

t.test('both sides always come to the same values', async (t) => {
  const seed = 1213;
  t.comment(`seed ${seed}`);
  const length = fc.integer({ min: 512, max: 0xffffff });
  const digest = fc.constantFrom<('None' | 'CRC32C')[][]>(['None'], ['CRC32C', 'None'], ['None', 'CRC32C']);
  const offer = fc.record<NegotiationOffer>({
    headerDigest: digest,
    dataDigest: digest,
    authMethod: fc.constant(['None']),
    taskReporting: fc.constantFrom(['RFC3720'], ['FastAbort', 'RFC3720']),
    maxConnections: fc.integer({ min: 1, max: 65535 }),
    initialR2T: fc.boolean(),
    immediateData: fc.boolean(),
    maxRecvDataSegmentLength: length,
    maxBurstLength: length,
    firstBurstLength: length,
    defaultTime2Wait: fc.integer({ min: 0, max: 3600 }),
    defaultTime2Retain: fc.integer({ min: 0, max: 3600 }),
    maxOutstandingR2T: fc.integer({ min: 1, max: 65535 }),
    dataPDUInOrder: fc.boolean(),
    dataSequenceInOrder: fc.boolean(),
    errorRecoveryLevel: fc.integer({ min: 0, max: 2 }),
    iSCSIProtocolLevel: fc.integer({ min: 0, max: 31 }),
  });
  fc.assert(
    fc.property(offer, offer, (initiator, ours) => {
      const wire = parseText(formatText(formatOffer(initiator, 'Normal')));
      const result = negotiate(wire, ours, operational, beginNegotiation(ours));
      const concluded = conclude(initiator, parseText(formatText(result.answers)));
      const {
        maxRecvDataSegmentLength: theirs,
        peerMaxRecvDataSegmentLength: own,
        ...agreed
      } = result.state.values;
      t.match(concluded, { ...agreed, maxRecvDataSegmentLength: own, peerMaxRecvDataSegmentLength: theirs });
      return concluded.firstBurstLength <= concluded.maxBurstLength;
    }),
    { seed, numRuns: 200 },
  );
});

t.test('text pairs', async (t) => {
  const text = (string: string): Buffer => Buffer.from(string, 'utf8');
  t.strictSame(parseText(text('A=1\0B=x=y\0C=\0')), ['A=1', 'B=x=y', 'C='].map(pair));
  t.strictSame(parseText(text('\0A=1\0\0\0')), [pair('A=1')], 'stray NULs are padding');
  t.strictSame(parseText(text('T=a\0T=b\0'), 'allow').length, 2);
  const bad: [string, RegExp][] = [
    ['A=1', /not ended/],
    ['A\0', /no '='/],
    ['=1\0', /not a key/],
    ['a b=1\0', /not a key/],
    ['A=1\0A=2\0', /twice/],
    [`${'A'.repeat(64)}=1\0`, /64 bytes/],
    [`A=${'x'.repeat(3000)}\0`, /too long/],
    [Array.from({ length: 257 }, (_, i) => `K${i}=1\0`).join(''), /more than 256/],
    ['A=1\0'.repeat(TEXT_BYTES_MAX / 4 + 1), /over the limit/],
  ];
  for (const [string, message] of bad) t.throws(() => parseText(text(string)), { code: 'PROTOCOL', message });
  t.strictSame(['10', '0x1F', '', '1.5', '-3', '99999999999'].map(parseNumber), [10, 31, NaN, NaN, NaN, NaN]);
  t.strictSame(
    ['0x0aff', '0xabc', '0bAAEC', 'zz'].map((v) => parseBinary(v)?.toString('hex')),
    ['0aff', '0abc', '000102', undefined],
  );
  const assembler = new TextAssembler();
  assembler.add(text('A=1\0B'));
  assembler.add(text('=2\0'));
  t.strictSame(parseText(assembler.take()), ['A=1', 'B=2'].map(pair));
  t.ok(assembler.isEmpty);
  assembler.add(Buffer.alloc(TEXT_BYTES_MAX));
  t.throws(() => assembler.add(Buffer.alloc(1)), { code: 'PROTOCOL' });
});
