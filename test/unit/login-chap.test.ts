/** CHAP at both ends: every algorithm, one way and mutual, and whatever may not get in (RFC 7143 12.1.3, 9.2.1). */
import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { pino } from 'pino';
import { FAILED_LOGIN_LOG_MS, LOGIN_FAILURE_PAUSE_MS } from '../../lib/base/limits.js';
import { systemRandom } from '../../lib/base/random.js';
import { handOnChap, readChap } from '../../lib/cli/chap.js';
import { ChapConversation, type ChapIdentity } from '../../lib/iscsi/initiator/chap.js';
import { discover } from '../../lib/iscsi/initiator/discovery.js';
import { Initiator } from '../../lib/iscsi/initiator/initiator.js';
import { MemoryBudget } from '../../lib/iscsi/target/memory-budget.js';
import { ChapAuthenticator, type ChapSecrets } from '../../lib/iscsi/target/login/chap.js';
import {
  CHAP_ALGORITHMS,
  chapResponse,
  chooseAlgorithm,
  formatChapBinary,
} from '../../lib/iscsi/wire/chap.js';
import { LoginStage, LoginStatus } from '../../lib/iscsi/wire/opcodes.js';
import { valueOf, type TextPair } from '../../lib/iscsi/wire/text-keys.js';
import { FakeDoor } from '../support/cli-door.js';
import { cutShort } from '../support/hand-clock.js';
import type { TargetInitiator } from '../support/target-initiator.js';
import { IQN, ManualClock, TargetRig } from '../support/target-rig.js';

const SECRETS: ChapSecrets = {
  accounts: [
    { name: 'host', secret: 'a secret of the host' },
    { name: 'only', secret: 'a secret of one more', initiatorNames: ['iqn.2026-11.test:only'] },
  ],
  target: { name: 'ferry', secret: 'a secret of the target' },
};
const HOST: ChapIdentity = { name: 'host', secret: 'a secret of the host' };
const MUTUAL: ChapIdentity = { ...HOST, target: { name: 'ferry', secret: 'a secret of the target' } };
const NAMES: TextPair[] = [
  { key: 'InitiatorName', value: 'iqn.2026-11.test:host' },
  { key: 'TargetName', value: IQN },
  { key: 'SessionType', value: 'Normal' },
];

/** Refusals come sooner than they do; 'a refusal takes its time' sees how late they are, by a clock of its own. */
async function start(
  t: Test,
  secrets = SECRETS,
  clock = cutShort(LOGIN_FAILURE_PAUSE_MS),
): Promise<TargetRig> {
  const rig = await TargetRig.start(clock, new MemoryBudget(), new ChapAuthenticator(secrets, systemRandom));
  t.teardown(() => rig.stop());
  return rig;
}

function logIn(rig: TargetRig, chap: ChapIdentity | null, initiatorName?: string): Promise<Initiator> {
  const name = initiatorName === undefined ? {} : { initiatorName };
  return Initiator.connect(`iscsi://127.0.0.1:${rig.port}/${IQN}/0`, {
    chap,
    recoveryDeadlineMs: 0,
    ...name,
  });
}

/** A turn of the event loop and a little more: false. */
function pause(): Promise<false> {
  return new Promise((resolve) => setTimeout(resolve, 20, false));
}

/** As LoginRefused says it: which of both is wrong, a stranger is not told. */
const REFUSED = { message: /AUTHENTICATION_FAILURE \(0201h\)/, hint: /name or the secret of --chap/ };
/** To who did not say who it is. */
const ASKED = { ...REFUSED, hint: /give a name and a secret with --chap/ };

const security = { csg: LoginStage.SECURITY, nsg: LoginStage.OPERATIONAL };

/** Up to the target's challenge. */
async function challenged(initiator: TargetInitiator, algorithms = '7'): Promise<TextPair[]> {
  const first = await initiator.loginStep([...NAMES, { key: 'AuthMethod', value: 'CHAP' }], {
    ...security,
    transit: false,
  });
  t.equal(valueOf(first.keys, 'AuthMethod'), 'CHAP');
  return (await initiator.loginStep([{ key: 'CHAP_A', value: algorithms }], { ...security, transit: false }))
    .keys;
}

function answerTo(challenge: readonly TextPair[], secret: string): TextPair[] {
  const algorithm = chooseAlgorithm(valueOf(challenge, 'CHAP_A') ?? '');
  if (algorithm === undefined) throw new Error('no algorithm was chosen');
  const bytes = Buffer.from((valueOf(challenge, 'CHAP_C') ?? '').slice(2), 'hex');
  const response = chapResponse(algorithm, Number(valueOf(challenge, 'CHAP_I')), secret, bytes);
  return [
    { key: 'CHAP_N', value: 'host' },
    { key: 'CHAP_R', value: formatChapBinary(response) },
  ];
}

t.test('the response is the hash of identifier, secret and challenge (RFC 1994 4.1)', async (t) => {
  // printf '\x07secret of twelve\x01\x02\x03' | md5sum, sha1sum, sha256sum; python3 -c 'hashlib.sha3_256(…)'
  const wanted = new Map([
    [5, 'e6e0acc63fcc8ad68c3c4ba6d946117b'],
    [6, '1e52200a06b55af9aa8129096012b8703977c5eb'],
    [7, 'f81cc5d1da70647565bf77fa326e75f231d4af640c24a16cf26c92a191d5d2b7'],
    [8, 'b48c7f730053d0256fd75a50741795c814c53d206b1c51d8bab8b9c0724a1132'],
  ]);
  for (const algorithm of CHAP_ALGORITHMS) {
    const response = chapResponse(algorithm, 7, 'secret of twelve', Buffer.from([1, 2, 3]));
    t.equal(response.toString('hex'), wanted.get(algorithm.code), algorithm.hash);
    t.equal(response.length, algorithm.responseBytes);
  }
});

t.test('right secrets get in, by every algorithm, one way and mutual', async (t) => {
  const rig = await start(t);
  for (const identity of [HOST, MUTUAL]) {
    for (const { code, hash } of CHAP_ALGORITHMS) {
      const initiator = await logIn(rig, { ...identity, algorithms: [code] });
      t.equal(rig.registry.list().length, 1, `${hash}, ${identity === HOST ? 'one way' : 'mutual'}`);
      await initiator.close();
    }
  }
  await (await logIn(rig, { name: 'only', secret: 'a secret of one more' }, 'iqn.2026-11.test:only')).close();
});

t.test('the proposer’s order decides; what nobody knows is passed over', async (t) => {
  t.equal(chooseAlgorithm('5,8')?.code, 5);
  t.equal(chooseAlgorithm('99,0x7,5')?.code, 7);
  t.equal(chooseAlgorithm('99,MD5,'), undefined);
});

t.test('who is wrong stays out, and all alike', async (t) => {
  const rig = await start(t);
  const refused = (chap: ChapIdentity | null, what: string, name?: string): Promise<unknown> =>
    t.rejects(logIn(rig, chap, name), chap === null ? ASKED : REFUSED, what);
  await Promise.all([
    refused({ ...HOST, secret: 'another secret altogether' }, 'a wrong secret'),
    refused({ ...HOST, name: 'nobody' }, 'a name that nobody has'),
    refused({ name: 'host', secret: 'a secret of one more' }, 'the secret of somebody else'),
    refused(
      { name: 'only', secret: 'a secret of one more' },
      'the wrong initiator',
      'iqn.2026-11.test:other',
    ),
    refused(null, 'no authentication at all'),
  ]);
  t.equal(rig.registry.list().length, 0);
  t.equal(rig.admitted.length, 0, 'and nobody was drained or fenced for them');
});

t.test('the security stage cannot be skipped or left early', async (t) => {
  const rig = await start(t);
  const skipping = await rig.connect();
  const skipped = await skipping.loginStep(NAMES, {
    csg: LoginStage.OPERATIONAL,
    nsg: LoginStage.FULL_FEATURE,
  });
  t.equal(skipped.pdu.status, LoginStatus.AUTHENTICATION_FAILURE);
  const hasty = await rig.connect();
  const first = await hasty.loginStep([...NAMES, { key: 'AuthMethod', value: 'CHAP' }], security);
  t.match(first.pdu, { status: LoginStatus.SUCCESS, transit: false }, 'T is not answered before the proof');
  const second = await hasty.loginStep([{ key: 'CHAP_A', value: '7' }], security);
  t.match(second.pdu, { status: LoginStatus.SUCCESS, transit: false });
  const third = await hasty.loginStep([], security);
  t.equal(third.pdu.status, LoginStatus.AUTHENTICATION_FAILURE, 'silence is no proof');
});

t.test('AuthMethod may come after the names', async (t) => {
  const rig = await start(t);
  const initiator = await rig.connect();
  const names = await initiator.loginStep(NAMES, { ...security, transit: false });
  t.match(names.pdu, { status: LoginStatus.SUCCESS, transit: false });
  const method = [{ key: 'AuthMethod', value: 'CHAP' }];
  await initiator.loginStep(method, { ...security, transit: false });
  const { keys } = await initiator.loginStep([{ key: 'CHAP_A', value: '7' }], {
    ...security,
    transit: false,
  });
  const last = await initiator.loginStep(answerTo(keys, HOST.secret), security);
  t.match(last.pdu, { status: LoginStatus.SUCCESS, transit: true });
  const without = await rig.connect();
  const refused = await without.loginStep(NAMES, security);
  t.equal(refused.pdu.status, LoginStatus.AUTHENTICATION_FAILURE, 'who would go on without it');
});

/** What an initiator may bring to the target's challenge, by each algorithm; only the first gets in. */
const PROOFS: readonly (readonly [string, (challenge: TextPair[], earlier: TextPair[]) => TextPair[]])[] = [
  ['the right secret', (challenge) => answerTo(challenge, HOST.secret)],
  ['a wrong secret', (challenge) => answerTo(challenge, 'another secret altogether')],
  ['the secret of the target', (challenge) => answerTo(challenge, 'a secret of the target')],
  ['a response to an earlier challenge', (_, earlier) => answerTo(earlier, HOST.secret)],
  ['our own challenge sent back (12.1.3)', (challenge) => reflected(challenge)],
  ['a name without a response', () => [{ key: 'CHAP_N', value: 'host' }]],
  ['a response without a name', (challenge) => answerTo(challenge, HOST.secret).slice(1)],
];

function reflected(challenge: TextPair[]): TextPair[] {
  const theirs = challenge.filter(({ key }) => key === 'CHAP_I' || key === 'CHAP_C');
  return [...answerTo(challenge, HOST.secret), ...theirs];
}

t.test('what proves an initiator, and what does not, by every algorithm', async (t) => {
  const rig = await start(t);
  const tries = CHAP_ALGORITHMS.flatMap((algorithm) => PROOFS.map((proof) => ({ algorithm, proof })));
  await Promise.all(
    tries.map(async ({ algorithm: { code, hash }, proof: [what, make] }, index) => {
      const earlier = await challenged(await rig.connect(), String(code));
      const initiator = await rig.connect();
      const challenge = await challenged(initiator, String(code));
      const { pdu, keys } = await initiator.loginStep(make(challenge, earlier), security);
      const isRight = index % PROOFS.length === 0;
      t.equal(
        pdu.status,
        isRight ? LoginStatus.SUCCESS : LoginStatus.AUTHENTICATION_FAILURE,
        `${hash}: ${what}`,
      );
      t.equal(pdu.transit, isRight, `${hash}: ${what}`);
      t.equal(
        valueOf(keys, 'CHAP_R'),
        undefined,
        'the target proves nothing to whoever has not been asked for',
      );
    }),
  );
});

/** The other way: what a target may answer to the initiator's challenge. */
const TARGET_PROOFS: readonly (readonly [string, (right: TextPair[], asked: TextPair[]) => TextPair[]])[] = [
  ['the right secret', (right) => right],
  ['nothing', () => []],
  ['a response without a name', (right) => right.slice(1)],
  ['another name', (right) => [{ key: 'CHAP_N', value: 'other' }, ...right.slice(1)]],
  ['what the initiator has sent itself', (right, asked) => [...right.slice(0, 1), ...asked.slice(1, 2)]],
  ['an empty response', (right) => [...right.slice(0, 1), { key: 'CHAP_R', value: '0x' }]],
];

t.test('what proves a target to our initiator, by every algorithm', async (t) => {
  for (const algorithm of CHAP_ALGORITHMS) {
    const { code, hash } = algorithm;
    let replayed: TextPair[] = [];
    const proofs = [...TARGET_PROOFS, ['a response to an earlier challenge', () => replayed] as const];
    for (const [what, make] of proofs) {
      const conversation = new ChapConversation({ ...MUTUAL, algorithms: [code] }, systemRandom);
      const answered: TextPair[] = [{ key: 'AuthMethod', value: 'CHAP' }];
      t.same(conversation.next(answered), [{ key: 'CHAP_A', value: String(code) }]);
      answered.push({ key: 'CHAP_A', value: String(code) }, { key: 'CHAP_I', value: '5' });
      answered.push({ key: 'CHAP_C', value: `0x${'c4'.repeat(16)}` });
      const asked = conversation.next(answered);
      const bytes = Buffer.from((valueOf(asked, 'CHAP_C') ?? '').slice(2), 'hex');
      const response = chapResponse(
        algorithm,
        Number(valueOf(asked, 'CHAP_I')),
        'a secret of the target',
        bytes,
      );
      const right = [
        { key: 'CHAP_N', value: 'ferry' },
        { key: 'CHAP_R', value: formatChapBinary(response) },
      ];
      const last = [...answered, ...make(right, asked)];
      if (what === 'the right secret') t.same(conversation.next(last), [], `${hash}: ${what}`);
      else t.throws(() => conversation.next(last), /could not prove who it is/, `${hash}: ${what}`);
      replayed = right;
    }
  }
});

t.test('discovery asks as well, and lists of initiators hold there', async (t) => {
  const rig = await start(t);
  const portal = { host: '127.0.0.1', port: rig.port };
  const find = (chap: ChapIdentity | null, initiatorName: string): Promise<unknown> =>
    discover(portal, { chap, initiatorName });
  const only = { name: 'only', secret: 'a secret of one more' };
  t.match(await find(HOST, 'iqn.2026-11.test:any'), [{ iqn: IQN }]);
  t.match(await find(only, 'iqn.2026-11.test:only'), [{ iqn: IQN }]);
  await Promise.all([
    t.rejects(find(null, 'iqn.2026-11.test:any'), ASKED, 'nobody'),
    t.rejects(
      find({ ...HOST, secret: 'a wrong secret!' }, 'iqn.2026-11.test:any'),
      REFUSED,
      'a wrong secret',
    ),
    t.rejects(find(only, 'iqn.2026-11.test:other'), REFUSED, 'an initiator that is not on the list'),
  ]);
});

t.test('failed logins are counted and told, the first at once, then once a second at most', async (t) => {
  const lines: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) });
  const clock = new ManualClock();
  const authenticator = new ChapAuthenticator(SECRETS, systemRandom);
  const rig = await TargetRig.start(clock, new MemoryBudget(), authenticator, log);
  t.teardown(() => rig.stop());
  const fail = async (): Promise<void> => {
    const initiator = await rig.connect();
    await challenged(initiator);
    const refusal = initiator.loginStep(
      [
        { key: 'CHAP_N', value: 'host' },
        { key: 'CHAP_R', value: '0x5ec2e7' },
      ],
      security,
    );
    while (!(await Promise.race([refusal.then(() => true), pause()]))) clock.move(LOGIN_FAILURE_PAUSE_MS / 4);
  };
  await fail();
  t.match(JSON.parse(lines[0] ?? ''), {
    failedLogins: 1,
    initiatorName: 'iqn.2026-11.test:host',
    peer: /^127\.0\.0\.1:/,
  });
  const skipping = { csg: LoginStage.OPERATIONAL, nsg: LoginStage.FULL_FEATURE };
  for (let n = 0; n < 5; n++) await (await rig.connect()).loginStep(NAMES, skipping);
  t.equal(lines.length, 1, 'five more at the same moment are no lines');
  clock.move(FAILED_LOGIN_LOG_MS);
  await (await rig.connect()).loginStep(NAMES, skipping);
  t.match(JSON.parse(lines[1] ?? ''), { failedLogins: 7 }, 'but they are counted');
  t.notMatch(lines.join(), /5ec2e7|a secret of/, 'no response and no secret is told');
});

t.test('malformed proofs are refused', async (t) => {
  const rig = await start(t);
  const cases: [string, TextPair[]][] = [
    ['no response', []],
    ['a response that is no binary value', [{ key: 'CHAP_R', value: 'zzz' }]],
    ['an empty one', [{ key: 'CHAP_R', value: '0x' }]],
    ['one of another length', [{ key: 'CHAP_R', value: '0x00' }]],
    ['one that is too long', [{ key: 'CHAP_R', value: `0x${'00'.repeat(1025)}` }]],
  ];
  await Promise.all(
    cases.map(async ([what, keys]) => {
      const initiator = await rig.connect();
      await challenged(initiator);
      const { pdu } = await initiator.loginStep([{ key: 'CHAP_N', value: 'host' }, ...keys], security);
      t.equal(pdu.status, LoginStatus.AUTHENTICATION_FAILURE, what);
    }),
  );
  for (const [what, identifier, challenge] of [
    ['an identifier of two bytes', '256', '0x0102'],
    ['an empty challenge', '1', ''],
  ] as const) {
    const initiator = await rig.connect();
    const keys = answerTo(await challenged(initiator), HOST.secret);
    const theirs = [
      { key: 'CHAP_I', value: identifier },
      { key: 'CHAP_C', value: challenge },
    ];
    const { pdu } = await initiator.loginStep([...keys, ...theirs], security);
    t.equal(pdu.status, LoginStatus.AUTHENTICATION_FAILURE, what);
  }
});

t.test('a target that cannot prove who it is is left', async (t) => {
  const rig = await start(t);
  const other = { ...MUTUAL, target: { name: 'ferry', secret: 'what it does not know' } };
  await t.rejects(logIn(rig, other), { code: 'UNAVAILABLE', message: /could not prove who it is/ });
  const silent = await start(t, { accounts: SECRETS.accounts });
  await t.rejects(logIn(silent, MUTUAL), REFUSED);
});

t.test('a refusal takes its time', async (t) => {
  const clock = new ManualClock();
  const rig = await start(t, SECRETS, clock);
  const initiator = await rig.connect();
  await challenged(initiator);
  let answered = false;
  const refusal = initiator
    .loginStep([{ key: 'CHAP_N', value: 'host' }], security)
    .finally(() => (answered = true));
  await new Promise((resolve) => setTimeout(resolve, 50));
  clock.move(LOGIN_FAILURE_PAUSE_MS - 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(answered, false);
  clock.move(1);
  t.equal((await refusal).pdu.status, LoginStatus.AUTHENTICATION_FAILURE);
});

t.test('secrets are read from a file, standard input or the environment, and never said', async (t) => {
  const folder = t.testdir();
  const path = join(folder, 'chap.json');
  const env = { BLOCKFERRY_CHAP: JSON.stringify(SECRETS) };
  t.same(await readChap(new FakeDoor(env), undefined), SECRETS);
  await writeFile(path, JSON.stringify(SECRETS));
  t.same(await readChap(new FakeDoor(), path), SECRETS);
  await writeFile(path, `\uFEFF${JSON.stringify(SECRETS)}`);
  t.same(await readChap(new FakeDoor(), path), SECRETS, 'with the mark of UTF-8 before it');
  t.equal(await readChap(new FakeDoor(), undefined), undefined);
  const { args, input } = handOnChap(SECRETS);
  t.same(await readChap(new FakeDoor({}, input), args[1]), SECRETS, 'what is handed on is the same');
  await t.rejects(readChap(new FakeDoor({}, 'no JSON'), '-'), {
    code: 'INVALID',
    message: /standard input: /,
  });
  const secret = 'never to be repeated';
  const account = { name: 'host', secret };
  const bad: [string, unknown, RegExp][] = [
    [
      'short',
      { accounts: [{ name: 'host', secret: 'short' }] },
      /accounts\.0\.secret a secret is of 12 to 255 bytes/,
    ],
    ['none', { accounts: [] }, /accounts/],
    ['twice', { accounts: [account, account] }, /the same name/],
    ['both ways', { accounts: [account], target: { name: 'ferry', secret } }, /the secret of the target is/],
    ['more', { accounts: [account], else: secret }, /should be like/],
  ];
  for (const [what, value, message] of bad) {
    await writeFile(path, JSON.stringify(value));
    const failure: unknown = await readChap(new FakeDoor(), path).catch((error: unknown) => error);
    t.match(failure, { code: 'INVALID' }, what);
    t.match(String((failure as { line?: string }).line), message, what);
    t.notMatch(JSON.stringify(failure) + String(failure), /never to be repeated/, what);
  }
  await writeFile(path, `{"accounts": [{"name": "host", "secret": "${secret}"`);
  const failure: unknown = await readChap(new FakeDoor(), path).catch((error: unknown) => error);
  t.match(failure, { code: 'INVALID', message: /it is not JSON/ });
  t.notMatch(String((failure as Error).stack), /never to be repeated/);
  const given: unknown = await readChap(new FakeDoor(), JSON.stringify(SECRETS)).catch(
    (error: unknown) => error,
  );
  t.match(given, { code: 'USAGE' }, 'the secrets themselves as the argument');
  t.notMatch(String(given), /a secret of/);
  // A device says that its size is 0 and has no end; a pipe, as of a shell's <(…), says the same and has one.
  await t.rejects(readChap(new FakeDoor(), '/dev/zero'), { code: 'INVALID', message: /longer than/ });
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const [piped] = await Promise.all([
    readChap(new FakeDoor(), pipe),
    writeFile(pipe, JSON.stringify(SECRETS)),
  ]);
  t.same(piped, SECRETS);
  await t.rejects(readChap(new FakeDoor(), join(folder, 'none')), { code: 'NOT_FOUND', message: /ENOENT/ });
  await t.rejects(
    readChap(new FakeDoor(), 'a\0b'),
    { code: 'IO', message: /cannot be read: .*null bytes/, hint: /--chap/ },
    'what is no error of the system has a reason, too',
  );
});
