/** The initiator against a scripted target: login, redirects, data both ways, logouts, drops, and targets that lie. */
import { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import t, { type Test } from 'tap';
import { systemClock, type Timer } from '../../lib/base/clock.js';
import { initiatorIqn, targetIqn } from '../../lib/base/iscsi-names.js';
import { REDIRECTS_MAX, VOLUME_NAME_PATTERN } from '../../lib/base/limits.js';
import {
  Initiator,
  discover,
  formatIscsiUrl,
  parseIscsiUrl,
  parseSense,
  parseTargetAddress,
  type InitiatorOptions,
  type Recovery,
} from '../../lib/iscsi/initiator/index.js';
import { settle } from '../../lib/iscsi/initiator/options.js';
import { Outbox } from '../../lib/iscsi/initiator/outbox.js';
import { Opcode } from '../../lib/iscsi/wire/opcodes.js';
import { valueOf } from '../../lib/iscsi/wire/text-keys.js';
import { SCRIPTED_OFFER, ScriptedTarget } from '../support/scripted-target.js';
import { sleepMs, until } from '../support/wait.js';

async function target(t: Test, sizeBytes?: number): Promise<ScriptedTarget> {
  const made = await new ScriptedTarget(sizeBytes).listen();
  t.teardown(() => made.close());
  return made;
}

async function connect(t: Test, made: ScriptedTarget, options: InitiatorOptions = {}): Promise<Initiator> {
  const initiator = await Initiator.connect(made.url(), { loginDeadlineMs: 1000, ...options });
  t.teardown(() => initiator.close());
  return initiator;
}

const recovered = (initiator: Initiator): Promise<Recovery> =>
  new Promise((resolve) => initiator.once('recovered', resolve));
const random = (length: number): Buffer =>
  Buffer.from(Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 255));

t.test('URLs and addresses', async (t) => {
  t.strictSame(parseIscsiUrl('iscsi://[::1]:3261/iqn.a:b/5'), {
    host: '::1',
    port: 3261,
    iqn: 'iqn.a:b',
    lun: 5,
  });
  t.strictSame(parseIscsiUrl('iscsi://box/iqn.a:b/0'), { host: 'box', port: 3260, iqn: 'iqn.a:b', lun: 0 });
  t.equal(formatIscsiUrl(parseIscsiUrl('iscsi://[::1]:1/iqn.a:b/2')), 'iscsi://[::1]:1/iqn.a:b/2');
  for (const bad of [
    '',
    'http://a/b/0',
    'iscsi://a/b',
    'iscsi://a:0/b/0',
    'iscsi://a:70000/b/0',
    'iscsi://::1/b/0',
  ]) {
    t.throws(() => parseIscsiUrl(bad), { code: 'USAGE' }, bad);
  }
  t.strictSame(parseTargetAddress('10.0.0.1:3261,7'), { host: '10.0.0.1', port: 3261, portalGroupTag: 7 });
  t.strictSame(parseTargetAddress('[::1]:3261'), { host: '::1', port: 3261, portalGroupTag: undefined });
  t.throws(() => parseTargetAddress('a:b:c'), { code: 'PROTOCOL' });
  t.strictSame(parseSense(Buffer.from('72052100', 'hex')), { key: 5, asc: 0x21, ascq: 0 });
  t.strictSame(parseSense(Buffer.from('700006000000000a00000000290000000000', 'hex')), {
    key: 6,
    asc: 0x29,
    ascq: 0,
  });
});

t.test('discovery', async (t) => {
  const made = await target(t);
  const pair = (key: string, value: string): { key: string; value: string } => ({ key, value });
  made.sendTargets = [
    pair('TargetName', 'iqn.a:one'),
    pair('TargetAddress', '127.0.0.1:3260,1'),
    pair('TargetAddress', '[::1]:3260,2'),
    pair('TargetName', 'iqn.a:two'),
  ];
  t.strictSame(await discover({ host: '127.0.0.1', port: made.port }), [
    {
      iqn: 'iqn.a:one',
      addresses: [
        { host: '127.0.0.1', port: 3260, portalGroupTag: 1 },
        { host: '::1', port: 3260, portalGroupTag: 2 },
      ],
    },
    { iqn: 'iqn.a:two', addresses: [] },
  ]);
});

const combinations: Record<string, InitiatorOptions['offer'] & object> = {
  defaults: {},
  'header and data digests': { headerDigest: ['CRC32C'], dataDigest: ['CRC32C'] },
  'no unsolicited data': { immediateData: false, initialR2T: true },
  'immediate data only': { initialR2T: true },
  'unsolicited data, none immediate': { immediateData: false, firstBurstLength: 4096 },
  'small bursts and segments': {
    maxBurstLength: 1536,
    firstBurstLength: 1024,
    maxRecvDataSegmentLength: 512,
  },
};

t.test('data both ways, whatever was negotiated', async (t) => {
  for (const [name, offer] of Object.entries(combinations)) {
    const made = await target(t);
    made.offer = { ...SCRIPTED_OFFER, maxRecvDataSegmentLength: 2048 };
    const initiator = await connect(t, made, {
      offer,
      firstStage: name === 'defaults' ? 'operational' : 'security',
    });
    for (const blocks of [1, 3, 8, 255, 700]) {
      const data = random(blocks * 512 + 0);
      await initiator.write(2, data);
      t.ok((await initiator.read(2, blocks)).equals(data), `${name}: ${blocks} blocks`);
    }
    t.strictSame(initiator.violations, []);
    t.strictSame(made.last.complaints, [], `${name}: the target has nothing to complain of`);
  }
});

t.test('what a slow socket has not taken yet is never written over', async (t) => {
  const taken: Buffer[] = [];
  const slow = new Writable({
    highWaterMark: 1,
    write: (chunk: Buffer, _encoding, done) => {
      // The kernel looks at the bytes only now.
      setTimeout(() => {
        taken.push(Buffer.from(chunk));
        done();
      }, 1);
    },
  });
  const outbox = new Outbox(slow);
  const sent: Buffer[] = [];
  for (let i = 0; i < 60; i++) {
    const at = outbox.headerAt();
    outbox.buffer.fill(i, at, at + 48);
    const data = Buffer.alloc(i % 3 === 0 ? 8192 : i % 3 === 1 ? 9000 : 13, i);
    outbox.addPdu(data);
    sent.push(Buffer.alloc(48, i), data, Buffer.alloc(-data.length & 3));
    if (i % 4 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await sleepMs(20);
  slow.end();
  await finished(slow);
  t.ok(Buffer.concat(taken).equals(Buffer.concat(sent)));
});

t.test('the command window is filled and never exceeded', async (t) => {
  const made = await target(t);
  made.window = 4;
  const initiator = await connect(t, made);
  const held: number[] = [];
  made.onCommand = (connection, command) => {
    // The window that this test gives does not move while it withholds: undo the step of ExpCmdSN.
    made.window = Math.max(0, made.window - 1);
    held.push(command.initiatorTaskTag);
    return connection === made.last;
  };
  const reads = Promise.all(Array.from({ length: 20 }, (_, i) => initiator.read(i, 1)));
  await sleepMs(20);
  t.equal(held.length, 4, 'as many as the window holds');
  made.last.nopIn(0xffffffff);
  await sleepMs(20);
  t.equal(held.length, 4, 'a closed window stays closed');
  made.onCommand = null;
  made.window = 4;
  for (const tag of held) made.last.dataIn(tag, Buffer.alloc(512), 512);
  await reads;
  t.strictSame([made.last.complaints, initiator.violations], [[], []]);
});

t.test('statuses other than good', async (t) => {
  const made = await target(t);
  const initiator = await connect(t, made);
  const sense = Buffer.from('0012700005000000000a00000000210000000000', 'hex');
  made.onCommand = (connection, command) => {
    connection.status(command.initiatorTaskTag, 2, sense);
    return true;
  };
  await t.rejects(initiator.read(0, 1), {
    code: 'IO',
    message: /READ\(16\).*CHECK CONDITION, sense 5\/21\/00/,
  });
  const result = await initiator.execute(Buffer.from([0x12]), { dataInBytes: 10 });
  t.match(result, { status: 2, dataIn: Buffer.alloc(0) });
  made.onCommand = null;
  t.equal((await initiator.execute(readCapacity, { dataInBytes: 100 })).residual, 68);
});
const readCapacity = Buffer.from('9e100000000000000000000000200000', 'hex');

t.test('NOPs are answered, and asked', async (t) => {
  const made = await target(t);
  await connect(t, made, { pingMs: 150 });
  const [connection] = made.connections;
  connection?.nopIn(0x77, { lunHigh: 0x00050000, lunLow: 6 });
  const nopOuts = () => (connection?.received ?? []).filter(({ opcode }) => opcode === Opcode.NOP_OUT);
  const answers = () => nopOuts().filter(({ bhs }) => bhs.readUInt32BE(16) === 0xffffffff);
  await until('an answer', () => answers().length > 0);
  t.strictSame(
    answers().map(({ bhs }) => [8, 12, 20].map((at) => bhs.readUInt32BE(at))),
    [[0x00050000, 6, 0x77]],
    'with the LUN and the tag of the question (RFC 7143 11.18)',
  );
  const pings = () => nopOuts().length - answers().length;
  await until('pings go on', () => pings() > 3 || made.connections.length > 1);
  t.equal(made.connections.length, 1, 'an answered ping is a sign of life');
});

t.test('redirects are followed, to an end', async (t) => {
  const home = await target(t);
  const portal = await target(t);
  const redirect = (port: number) => () => ({
    status: 0x0101,
    keys: [{ key: 'TargetAddress', value: `127.0.0.1:${port}` }],
  });
  portal.onLogin = redirect(home.port);
  const initiator = await connect(t, portal);
  t.equal(initiator.portal, `127.0.0.1:${home.port}`);
  t.equal(initiator.redirects, 1);

  portal.onLogin = redirect(portal.port);
  await t.rejects(connect(t, portal), { code: 'PROTOCOL', message: /loop.*127\.0\.0\.1:\d+ → 127\.0\.0\.1/ });
  t.equal(portal.connections.length, 1 + REDIRECTS_MAX + 1);
  portal.onLogin = () => ({ status: 0x0101, keys: [] });
  await t.rejects(connect(t, portal), { code: 'PROTOCOL', message: /TargetAddress/ });
  portal.onLogin = () => ({ status: 0x0203, keys: [] });
  await t.rejects(connect(t, portal), { code: 'NOT_FOUND', message: /0203h/ });
});

t.test(
  'a drop: back to the original portal, a new ISID, unanswered commands again and in order',
  async (t) => {
    const home = await target(t);
    const portal = await target(t);
    portal.onLogin = () => ({
      status: 0x0101,
      keys: [{ key: 'TargetAddress', value: `127.0.0.1:${home.port}` }],
    });
    const initiator = await connect(t, portal);
    const seen: string[][] = [[], []];
    let connections = home.connections.length;
    home.onCommand = (connection, command) => {
      const again = home.connections.indexOf(connection) >= connections;
      seen[again ? 1 : 0]?.push(command.cdb.toString('hex'));
      return !again;
    };
    const again = recovered(initiator);
    const writes = [1, 2, 3].map((lba) => initiator.write(lba, Buffer.alloc(512, lba)));
    const read = initiator.read(9, 1);
    await sleepMs(30);
    connections = home.connections.length;
    home.last.drop();
    await Promise.all([...writes, read]);
    t.strictSame(seen[1], seen[0], 'the same commands in the same order');
    t.equal(seen[0]?.length, 4);
    t.equal(home.disk[512 * 3], 3);
    const recovery = await again;
    t.match(recovery, { resent: 4, attempts: 1, announced: null, hops: [/:\d+/, /:\d+/] });
    t.ok(recovery.stallMsMax >= 25, `the stall counts from the submission: ${recovery.stallMsMax} ms`);
    t.equal(portal.connections.length, 2, 'the portal first known was asked again');
    const isids = home.connections.map((connection) => connection.received[0]?.bhs.toString('hex', 8, 14));
    t.equal(new Set(isids).size, 2, 'another ISID');
  },
);

t.test('event 1: logs out, comes back to the original portal, loses nothing', async (t) => {
  for (const onLogoutRequest of ['at-once', 'drain'] as const) {
    const made = await target(t);
    const initiator = await connect(t, made, { onLogoutRequest });
    const again = recovered(initiator);
    let answer: (() => void) | undefined;
    made.onCommand = (connection, command) => {
      if (command.cdb[0] !== 0x8a || made.connections.length > 1) return false;
      answer = () => connection.status(command.initiatorTaskTag, 0);
      return true;
    };
    const write = initiator.write(0, Buffer.alloc(512, 9));
    await until('the write', () => answer !== undefined);
    const told = new Promise((resolve) => initiator.once('asyncMessage', resolve));
    made.last.asyncMessage(1, 0, 3);
    await told;
    const late = initiator.read(5, 1);
    if (onLogoutRequest === 'drain') answer?.();
    await Promise.all([write, late]);
    t.match(await again, { announced: 1, resent: onLogoutRequest === 'drain' ? 0 : 1 }, onLogoutRequest);
    const [first, second] = made.connections;
    t.equal(first?.opcodes.at(-1), Opcode.LOGOUT_REQUEST, 'nothing is sent after the logout');
    t.ok(second?.opcodes.includes(Opcode.SCSI_COMMAND));
    t.strictSame([first?.complaints, second?.complaints, initiator.violations], [[], [], []]);
  }
});

t.test('events 2 and 3: stays away as long as asked, then comes back', async (t) => {
  for (const event of [2, 3]) {
    const made = await target(t);
    const waitsMs: number[] = [];
    const after = (delayMs: number, fire: () => void): Timer => {
      waitsMs.push(delayMs);
      return systemClock.after(delayMs, fire);
    };
    const clock = { ...systemClock, after };
    const initiator = await connect(t, made, { clock, loginDeadlineMs: 30_000 });
    const again = recovered(initiator);
    made.last.asyncMessage(event, event === 3 ? 1 : 0, 0);
    const recovery = await again;
    t.equal(recovery.announced, event);
    // A pause between attempts is shorter, a deadline longer.
    t.strictSame(
      waitsMs.filter((ms) => ms >= 500 && ms <= 2000),
      event === 3 ? [1000] : [],
    );
    t.ok(event !== 3 || recovery.downMs >= 990, `${recovery.downMs} ms away`);
    await initiator.read(0, 1);
  }
});

t.test('recovery tries again with pauses, and gives up at its deadline', async (t) => {
  const made = await target(t);
  const initiator = await connect(t, made);
  const { port } = made;
  await made.close();
  const read = initiator.read(0, 1);
  const again = recovered(initiator);
  await sleepMs(120);
  await made.listen(port);
  await read;
  t.ok((await again).attempts > 2);

  const hopeless = await connect(t, made, { recoveryDeadlineMs: 100 });
  const pending = hopeless.read(0, 1).catch((error: unknown) => error);
  await made.close();
  const given = await pending;
  if (given instanceof Error) t.match(given, { code: 'UNAVAILABLE', message: /within 100 ms/ });
  await sleepMs(200);
  await t.rejects(hopeless.read(0, 1), { code: 'UNAVAILABLE' }, 'later commands fail at once');
});

t.test('a silent target is noticed', async (t) => {
  const made = await target(t);
  const initiator = await connect(t, made, { pingMs: 30 });
  const again = recovered(initiator);
  made.last.payload = () => undefined;
  const read = initiator.read(0, 1);
  t.match(await again, { reason: /nothing was heard/ });
  await read;
});

t.test('what a target does wrong is named', async (t) => {
  const cases: [string, (made: ScriptedTarget) => void, RegExp][] = [
    ['a StatSN skipped', (made) => void (made.last.statSN += 1), /StatSN \d+ expected/],
    ['an answer to nothing', (made) => made.last.status(0x12345, 0), /unknown task/],
    ['data for nothing', (made) => made.last.dataIn(0x12345, Buffer.alloc(4), 4), /data for an unknown task/],
  ];
  for (const [name, act, expected] of cases) {
    const made = await target(t);
    const initiator = await connect(t, made);
    act(made);
    await initiator.read(0, 1);
    t.match(initiator.violations[0], expected, name);
  }
  const made = await target(t);
  const initiator = await connect(t, made);
  made.onCommand = (connection, command) => {
    if (command.cdb[0] !== 0x88 || made.connections.length > 1) return false;
    connection.dataIn(command.initiatorTaskTag, Buffer.alloc(1024), 1024);
    return true;
  };
  const again = recovered(initiator);
  await initiator.read(0, 1);
  t.match(await again, { reason: /beyond the expected length/ }, 'data that does not fit never lands');
});

t.test('task management ends what it names', async (t) => {
  const made = await target(t);
  const initiator = await connect(t, made);
  made.onCommand = () => true;
  const hanging = initiator.execute(Buffer.alloc(6));
  await sleepMs(10);
  t.equal(await initiator.taskManagement(5), 0);
  t.equal((await hanging).status, 0x40);
});

t.test('close logs out and ends what waits', async (t) => {
  const made = await target(t);
  const initiator = await Initiator.connect(made.url());
  made.onCommand = () => true;
  const hanging = t.rejects(initiator.read(0, 1), { code: 'CANCELLED' });
  await initiator.close();
  await hanging;
  t.equal(made.last.opcodes.at(-1), Opcode.LOGOUT_REQUEST);
  await t.rejects(initiator.read(0, 1), { code: 'CANCELLED' });
});

t.test('login offers every key, and InitiatorName first', async (t) => {
  const made = await target(t);
  const offered: string[] = [];
  made.onLogin = (_pdu, keys) => {
    offered.push(...keys.map((pair) => pair.key));
    if (valueOf(keys, 'InitiatorName') !== undefined) t.equal(keys[0]?.key, 'InitiatorName');
    return undefined;
  };
  await connect(t, made, { initiatorAlias: 'a test' });
  t.strictSame(offered, [
    ...['InitiatorName', 'InitiatorAlias', 'TargetName', 'SessionType', 'AuthMethod'],
    ...[
      'HeaderDigest',
      'DataDigest',
      'MaxConnections',
      'InitialR2T',
      'ImmediateData',
      'MaxRecvDataSegmentLength',
    ],
    ...['MaxBurstLength', 'FirstBurstLength', 'DefaultTime2Wait', 'DefaultTime2Retain', 'MaxOutstandingR2T'],
    ...['DataPDUInOrder', 'DataSequenceInOrder', 'ErrorRecoveryLevel', 'TaskReporting', 'iSCSIProtocolLevel'],
  ]);
});

t.test('it is never called as a volume is', async (t) => {
  const { initiatorName } = settle({});
  t.equal(initiatorName, initiatorIqn('default'));
  t.ok(initiatorName.startsWith(targetIqn('')), 'by the same authority');
  t.notMatch(initiatorName.slice(targetIqn('').length), VOLUME_NAME_PATTERN);
});
