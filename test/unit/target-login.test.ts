/** The login phase of the target, request by request: every status, the redirect, stages, continuation, discovery. */
import t from 'tap';
import { LOGIN_FAILURE_PAUSE_MS } from '../../lib/base/limits.js';
import { decodeLoginResponse } from '../../lib/iscsi/wire/login.js';
import { LoginStage, LoginStatus, LogoutReason, Opcode, RejectReason } from '../../lib/iscsi/wire/opcodes.js';
import { decodeReject } from '../../lib/iscsi/wire/reject.js';
import { decodeTextResponse } from '../../lib/iscsi/wire/text.js';
import { formatText, parseText, type TextPair } from '../../lib/iscsi/wire/text-keys.js';
import { cutShort } from '../support/hand-clock.js';
import { headerOf } from '../support/target-initiator.js';
import { IQN, MOVED, TargetRig } from '../support/target-rig.js';
import { until } from '../support/wait.js';

const NAMES: TextPair[] = [
  { key: 'InitiatorName', value: 'iqn.2026-11.test:host' },
  { key: 'TargetName', value: IQN },
  { key: 'SessionType', value: 'Normal' },
];
const DISCOVERY: TextPair[] = [
  { key: 'InitiatorName', value: 'iqn.2026-11.test:host' },
  { key: 'SessionType', value: 'Discovery' },
];
const valueOf = (keys: TextPair[], key: string): string | undefined =>
  keys.find((pair) => pair.key === key)?.value;

t.test('a normal login', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const initiator = await rig.connect();
  const keys = {
    MaxRecvDataSegmentLength: '65536',
    InitialR2T: 'No',
    ErrorRecoveryLevel: '2',
    'X-org.what': '1',
  };
  const { pdu, keys: answers } = await initiator.login(IQN, keys);
  t.equal(pdu.status, LoginStatus.SUCCESS);
  t.not(pdu.tsih, 0, 'the last response carries the TSIH');
  t.equal(pdu.transit, true);
  t.equal(pdu.nsg, LoginStage.FULL_FEATURE);
  t.equal(pdu.isid, '800000000001');
  t.equal(pdu.expCmdSN, initiator.cmdSN, 'a login consumes no CmdSN');
  t.equal((pdu.maxCmdSN - pdu.expCmdSN) >>> 0, 255);
  t.equal(valueOf(answers, 'TargetPortalGroupTag'), '1', 'RFC 7143 13.9');
  t.equal(valueOf(answers, 'MaxRecvDataSegmentLength'), '262144');
  t.equal(valueOf(answers, 'InitialR2T'), 'No');
  t.equal(valueOf(answers, 'ErrorRecoveryLevel'), '0');
  t.equal(valueOf(answers, 'X-org.what'), 'NotUnderstood');
  t.match(rig.admitted, [{ iqn: IQN, initiatorName: 'iqn.2026-11.test:host', isid: '800000000001' }]);
  t.match(rig.registry.list(), [{ iqn: IQN, state: 'active', tsih: pdu.tsih }]);
});

t.test('through both stages, one at a time', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const initiator = await rig.connect();
  const security = await initiator.loginStep([...NAMES, { key: 'AuthMethod', value: 'CHAP,None' }], {
    csg: LoginStage.SECURITY,
    nsg: LoginStage.OPERATIONAL,
  });
  t.equal(valueOf(security.keys, 'AuthMethod'), 'None');
  t.equal(valueOf(security.keys, 'TargetPortalGroupTag'), '1', 'in the first response');
  t.match(security.pdu, { status: 0, transit: true, csg: 0, nsg: 1, tsih: 0 });
  const operational = await initiator.loginStep([{ key: 'HeaderDigest', value: 'CRC32C,None' }], {
    transit: false,
  });
  t.match(operational.pdu, { status: 0, transit: false, csg: 1, tsih: 0 });
  t.equal(operational.pdu.statSN, (security.pdu.statSN + 1) >>> 0, 'each response takes a StatSN');
  t.same(operational.keys, [{ key: 'HeaderDigest', value: 'CRC32C' }], 'the tag is said once');
  const last = await initiator.loginStep([]);
  t.match(last.pdu, { status: 0, transit: true, nsg: 3 });
  t.not(last.pdu.tsih, 0);
});

t.test('refusals end the connection, each with its status', async (t) => {
  const rig = await TargetRig.start(cutShort(LOGIN_FAILURE_PAUSE_MS)); // how late that is: login-chap.test.ts
  t.teardown(() => rig.stop());
  const without = (key: string): TextPair[] => NAMES.filter((pair) => pair.key !== key);
  const renamed = (key: string, value: string): TextPair[] => [...without(key), { key, value }];
  const cases: [string, number, TextPair[], object][] = [
    ['a version we do not speak', LoginStatus.UNSUPPORTED_VERSION, NAMES, { versionMin: 1, versionMax: 1 }],
    ['no InitiatorName', LoginStatus.MISSING_PARAMETER, without('InitiatorName'), {}],
    ['no TargetName', LoginStatus.MISSING_PARAMETER, without('TargetName'), {}],
    ['a target there is not', LoginStatus.NOT_FOUND, renamed('TargetName', 'iqn.x:none'), {}],
    ['a TSIH there is not', LoginStatus.SESSION_DOES_NOT_EXIST, NAMES, { tsih: 77 }],
    ['a stage there is not', LoginStatus.INVALID_DURING_LOGIN, NAMES, { csg: 2 }],
    ['a step backwards', LoginStatus.INVALID_DURING_LOGIN, NAMES, { csg: 1, nsg: 0 }],
    ['T with C', LoginStatus.INITIATOR_ERROR, NAMES, { continues: true }],
    [
      'no way to authenticate',
      LoginStatus.AUTHENTICATION_FAILURE,
      [...NAMES, { key: 'AuthMethod', value: 'CHAP' }],
      { csg: 0, nsg: 1 },
    ],
    ['a name with a control character', LoginStatus.INITIATOR_ERROR, renamed('InitiatorName', 'iqn.x\n'), {}],
    ['an endless name', LoginStatus.INITIATOR_ERROR, renamed('InitiatorName', `iqn.${'x'.repeat(250)}`), {}],
    [
      'a session of another type',
      LoginStatus.SESSION_TYPE_NOT_SUPPORTED,
      renamed('SessionType', 'Other'),
      {},
    ],
    ['a key twice', LoginStatus.INITIATOR_ERROR, [...NAMES, ...NAMES], {}],
  ];
  for (const [what, status, keys, fields] of cases) {
    const initiator = await rig.connect();
    const { pdu } = await initiator.loginStep(keys, fields);
    t.equal(pdu.status, status, what);
    t.equal(pdu.transit, false);
    t.ok(await initiator.closes(), `${what}: closed`);
  }
  t.same(rig.registry.list(), []);
});

t.test('I10: names behind a key that may not be there are heard', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const wrong = { key: 'TargetAlias', value: 'ours to say' };
  const here = await rig.connect();
  t.equal((await here.loginStep([wrong, ...NAMES])).pdu.status, LoginStatus.INITIATOR_ERROR);
  const moved = NAMES.map(({ key, value }) => ({ key, value: key === 'TargetName' ? MOVED : value }));
  const there = await rig.connect();
  t.equal((await there.loginStep([wrong, ...moved])).pdu.status, LoginStatus.MOVED_TEMPORARILY);
});

t.test('another connection for a session is one too many', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const initiator = await rig.connect();
  const { pdu } = await initiator.login(IQN);
  const second = await rig.connect();
  const answer = await second.loginStep(NAMES, { tsih: pdu.tsih, cid: 2 });
  t.match(answer.pdu, { status: LoginStatus.TOO_MANY_CONNECTIONS, tsih: pdu.tsih });
  const anew = await rig.connect();
  const gone = await anew.loginStep(NAMES, { tsih: pdu.tsih, cid: 1 });
  t.equal(gone.pdu.status, LoginStatus.SESSION_DOES_NOT_EXIST, 'its connection is not reinstated (6.3.4)');
  const strange = await rig.connect();
  const refused = await strange.loginStep(NAMES, { tsih: pdu.tsih, isid: '80ffffffffff' });
  t.equal(refused.pdu.status, LoginStatus.SESSION_DOES_NOT_EXIST, 'not of this initiator port');
});

t.test('keys of extensions are not understood, and no harm', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const initiator = await rig.connect();
  for (const key of ['X#NodeArchitecture', 'X-org.example.key', 'Y#Digest']) {
    const { pdu, keys } = await initiator.loginStep(
      [...(key.startsWith('X#') ? NAMES : []), { key, value: 'ExampleOS/1.0' }],
      { csg: 1, nsg: 3, transit: false },
    );
    t.equal(pdu.status, LoginStatus.SUCCESS);
    t.equal(valueOf(keys, key), 'NotUnderstood', key);
  }
});

t.test('I10: a redirect answers the first request, with TargetAddress and nothing else', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const names = [...NAMES.filter((pair) => pair.key !== 'TargetName'), { key: 'TargetName', value: MOVED }];
  for (const csg of [LoginStage.SECURITY, LoginStage.OPERATIONAL]) {
    const initiator = await rig.connect();
    const { pdu, keys } = await initiator.loginStep([...names, { key: 'X-odd', value: '1' }], {
      csg,
      transit: false,
    });
    t.equal(pdu.status, LoginStatus.MOVED_TEMPORARILY);
    t.same(keys, [{ key: 'TargetAddress', value: '127.0.0.1:3333' }]);
    t.ok(await initiator.closes());
  }
  rig.answer = { kind: 'redirect', host: '::1', port: 3333 };
  const initiator = await rig.connect();
  const { keys } = await initiator.loginStep(NAMES);
  t.same(keys, [{ key: 'TargetAddress', value: '[::1]:3333' }]);
  rig.answer = { kind: 'redirect', host: '0.0.0.0', port: 3333 };
  const afar = await rig.connect();
  t.same(
    (await afar.loginStep(NAMES)).keys,
    [{ key: 'TargetAddress', value: '127.0.0.1:3333' }],
    'where it came',
  );
});

t.test('nothing is read while a login is admitted: a connection makes one session', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  let admit = (): void => undefined;
  rig.admission = new Promise<void>((resolve) => (admit = resolve));
  const initiator = await rig.connect();
  const names = formatText(NAMES);
  const requests = [names, Buffer.alloc(0), Buffer.alloc(0)].map((text) =>
    initiator.lay(
      initiator.loginHeader({ csg: LoginStage.OPERATIONAL, dataSegmentLength: text.length }),
      text,
    ),
  );
  initiator.socket.write(Buffer.concat(requests));
  await until('somebody asks to be admitted', () => rig.admitted.length > 0);
  t.ok(await initiator.silence());
  admit();
  t.equal(decodeLoginResponse((await initiator.expect(Opcode.LOGIN_RESPONSE)).bhs).status, 0);
  await initiator.expect(Opcode.REJECT); // a login request in full feature phase
  t.equal(rig.admitted.length, 1);
  t.equal(rig.registry.list().length, 1);
  initiator.close();
  await until('no session is left', () => rig.registry.list().length === 0);
});

t.test('of two logins of a nexus that wait for the same end, the later one stays', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const old = await rig.session();
  rig.device.holding = true;
  old.command({ cdb: Buffer.from('28000000000000000100', 'hex'), read: true, expectedBytes: 512 });
  await until('the device holds something', () => rig.device.held.length > 0);
  const [one, two] = [await rig.connect(), await rig.connect()];
  const given = t.rejects(one.loginStep(NAMES), /the end/);
  await until('two have asked to be admitted', () => rig.admitted.length === 2);
  const answer = two.loginStep(NAMES);
  await given; // at once: whoever has turned away from it would lose the later one by it
  rig.device.release();
  t.match(await answer, { pdu: { status: 0 } });
  t.equal(rig.registry.list().length, 1);
  two.command({ cdb: Buffer.from('28000000000000000100', 'hex'), read: true, expectedBytes: 512 });
  await two.expect(Opcode.DATA_IN);
});

t.test('admission decides last, and a move meanwhile is noticed', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  rig.admission = Promise.reject(new Error('the old home does not answer'));
  rig.admission.catch(() => undefined);
  const refused = await rig.connect();
  t.equal((await refused.loginStep(NAMES)).pdu.status, LoginStatus.SERVICE_UNAVAILABLE);

  let admit = (): void => undefined;
  rig.admission = new Promise<void>((resolve) => (admit = resolve));
  const late = await rig.connect();
  const step = late.loginStep(NAMES);
  t.ok(await late.silence(), 'no answer before what was left is drained (I8)');
  rig.answer = { kind: 'redirect', host: '127.0.0.1', port: 1 };
  admit();
  const { pdu, keys } = await step;
  t.equal(pdu.status, LoginStatus.MOVED_TEMPORARILY, 'it is told where to, as before');
  t.same(keys, [{ key: 'TargetAddress', value: '127.0.0.1:1' }]);
  rig.answer = { kind: 'unavailable' };
  const unavailable = await rig.connect();
  t.equal((await unavailable.loginStep(NAMES)).pdu.status, LoginStatus.SERVICE_UNAVAILABLE);
});

t.test('text continued with the C bit', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const initiator = await rig.connect();
  const text = formatText(NAMES);
  for (const part of [text.subarray(0, 10), text.subarray(10, 33)]) {
    const fields = { transit: false, continues: true, dataSegmentLength: part.length };
    initiator.send(initiator.loginHeader(fields), part);
    const { bhs } = await initiator.expect(Opcode.LOGIN_RESPONSE);
    t.equal(headerOf({ opcode: 0, bhs, data: text }).dataSegmentLength, 0, 'an empty answer asks for more');
  }
  const rest = text.subarray(33);
  initiator.send(initiator.loginHeader({ dataSegmentLength: rest.length }), rest);
  const { bhs } = await initiator.expect(Opcode.LOGIN_RESPONSE);
  t.equal(bhs.readUInt16BE(36), LoginStatus.SUCCESS);
  t.not(bhs.readUInt16BE(14), 0);
});

t.test('answers longer than a login PDU go on with the C bit', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const initiator = await rig.connect();
  const odd = Array.from({ length: 150 }, (_, i) => ({ key: `X-${'k'.repeat(50)}${i}`, value: 'v' }));
  const first = formatText([...NAMES, ...odd.slice(0, 100)]);
  const second = formatText(odd.slice(100));
  initiator.send(
    initiator.loginHeader({ transit: false, continues: true, dataSegmentLength: first.length }),
    first,
  );
  await initiator.expect(Opcode.LOGIN_RESPONSE);
  initiator.send(initiator.loginHeader({ dataSegmentLength: second.length }), second);
  const parts: Buffer[] = [];
  for (;;) {
    const { bhs, data } = await initiator.expect(Opcode.LOGIN_RESPONSE);
    parts.push(data);
    t.equal(bhs.readUInt16BE(36), 0);
    t.equal(bhs.readUInt8(1) & 0x80, 0, 'no T while there is more to say');
    if ((bhs.readUInt8(1) & 0x40) === 0) break;
    initiator.send(initiator.loginHeader({ transit: false, dataSegmentLength: 0 }));
  }
  t.ok(parts.length > 1);
  const answers = parseText(Buffer.concat(parts), 'allow');
  t.equal(answers.filter((pair) => pair.value === 'NotUnderstood').length, 150);
  const { pdu } = await initiator.loginStep([]);
  t.match(pdu, { status: 0, transit: true });
});

t.test('an initiator that never transits is given up', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const initiator = await rig.connect();
  let status = 0;
  let requests = 0;
  for (; status === 0 && requests < 100; requests++) {
    status = (await initiator.loginStep(requests === 0 ? NAMES : [], { transit: false })).pdu.status;
  }
  t.equal(status, LoginStatus.INITIATOR_ERROR);
  t.equal(requests, 33);
});

t.test('anything but a login comes too early (RFC 7143 6.3)', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  const initiator = await rig.connect();
  initiator.ping();
  t.ok(await initiator.closes(), 'before it has begun, without a word');
  for (const csg of [LoginStage.SECURITY, LoginStage.OPERATIONAL]) {
    const begun = await rig.connect();
    const { pdu } = await begun.loginStep(NAMES, { csg, transit: false, initiatorTaskTag: 9 });
    begun.ping();
    const { bhs } = await begun.expect(Opcode.LOGIN_RESPONSE);
    t.match(decodeLoginResponse(bhs), {
      status: LoginStatus.INVALID_DURING_LOGIN,
      transit: false,
      csg,
      initiatorTaskTag: 9,
      statSN: (pdu.statSN + 1) >>> 0,
    });
    t.ok(await begun.closes(), 'once it has, with a refusal');
  }
});

t.test('discovery', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  for (let i = 0; i < 100; i++) rig.iqns.push(`iqn.2026-11.test:${'n'.repeat(40)}${i}`);
  const initiator = await rig.connect();
  const { pdu } = await initiator.loginStep([
    ...DISCOVERY,
    { key: 'MaxRecvDataSegmentLength', value: '512' },
  ]);
  t.equal(pdu.status, 0);
  t.same(rig.registry.list(), [], 'a discovery session is nobody to hand over');

  await t.test('All, in as many PDUs as it takes', async (t) => {
    initiator.text([{ key: 'SendTargets', value: 'All' }]);
    const parts: Buffer[] = [];
    for (;;) {
      const { bhs, data } = await initiator.expect(Opcode.TEXT_RESPONSE);
      const answer = decodeTextResponse(bhs);
      parts.push(data);
      t.ok(data.length <= 512);
      t.equal(answer.final, !answer.continues);
      if (answer.final) break;
      initiator.text([], { ttt: answer.targetTransferTag });
    }
    const pairs = parseText(Buffer.concat(parts), 'allow');
    t.equal(pairs.filter((pair) => pair.key === 'TargetName').length, 101);
    t.same(pairs.slice(0, 2), [
      { key: 'TargetName', value: IQN },
      { key: 'TargetAddress', value: `127.0.0.1:${rig.port},1` },
    ]);
  });

  const ask = async (value: string): Promise<TextPair[]> => {
    initiator.text([{ key: 'SendTargets', value }]);
    return parseText((await initiator.expect(Opcode.TEXT_RESPONSE)).data, 'allow');
  };
  t.equal((await ask(IQN)).length, 2, 'one by name');
  t.same(await ask('iqn.x:none'), [], 'none by that name');
  t.same(
    await ask(''),
    [{ key: 'SendTargets', value: 'Reject' }],
    'a discovery session has no target of its own',
  );

  initiator.command({ cdb: Buffer.alloc(16) });
  const reject = await initiator.expect(Opcode.REJECT);
  t.equal(decodeReject(reject.bhs).reason, RejectReason.PROTOCOL_ERROR, 'SCSI is not for discovery sessions');
  for (const reason of [LogoutReason.CLOSE_CONNECTION, LogoutReason.REMOVE_FOR_RECOVERY]) {
    initiator.logout(reason);
    const refused = decodeReject((await initiator.expect(Opcode.REJECT)).bhs);
    t.equal(refused.reason, RejectReason.PROTOCOL_ERROR, 'it can close the session, and nothing less');
  }
  initiator.logout();
  await initiator.expect(Opcode.LOGOUT_RESPONSE);
  t.ok(await initiator.closes());
});

t.test('text in a normal session', async (t) => {
  const rig = await TargetRig.start();
  t.teardown(() => rig.stop());
  rig.iqns.push('iqn.2026-11.test:other');
  const initiator = await rig.session();
  const ask = async (key: string, value: string): Promise<TextPair[]> => {
    initiator.text([{ key, value }]);
    return parseText((await initiator.expect(Opcode.TEXT_RESPONSE)).data, 'allow');
  };
  const own = [
    { key: 'TargetName', value: IQN },
    { key: 'TargetAddress', value: `127.0.0.1:${rig.port},1` },
  ];
  t.same(await ask('SendTargets', ''), own, 'the empty value is the own target');
  t.same(await ask('SendTargets', IQN), own);
  t.same(await ask('SendTargets', 'All'), [{ key: 'SendTargets', value: 'Reject' }]);
  t.same(await ask('SendTargets', 'iqn.2026-11.test:other'), [{ key: 'SendTargets', value: 'Reject' }]);
  t.same(await ask('MaxRecvDataSegmentLength', '1024'), [
    { key: 'MaxRecvDataSegmentLength', value: '262144' },
  ]);
  t.same(
    await ask('MaxBurstLength', '1024'),
    [{ key: 'MaxBurstLength', value: 'Reject' }],
    'not in this phase',
  );

  const whole = formatText([{ key: 'SendTargets', value: '' }]);
  initiator.text(whole.subarray(0, 5), { continues: true });
  const more = decodeTextResponse((await initiator.expect(Opcode.TEXT_RESPONSE)).bhs);
  t.match(more, { final: false, dataSegmentLength: 0 });
  initiator.text(whole.subarray(5), { ttt: more.targetTransferTag });
  t.same(parseText((await initiator.expect(Opcode.TEXT_RESPONSE)).data, 'allow'), own);
  initiator.text(whole, { ttt: 4711 });
  t.equal(decodeReject((await initiator.expect(Opcode.REJECT)).bhs).reason, RejectReason.INVALID_PDU_FIELD);
});
