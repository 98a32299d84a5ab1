/** What the command line accepts and refuses, and how it says so: one line on stderr, exit 2 for usage, 1 for failure. */
import t from 'tap';
import { address, extentRange, host, volumeAndSize, whole } from '../../lib/cli/options.js';
import { formatMs, table } from '../../lib/cli/output.js';
import { FakeDoor, run } from '../support/cli-door.js';
import { exec } from '../support/process.js';
import { builtFile } from '../support/root.js';

const io = (...more: string[]): string[] => ['io', 'load', 'iscsi://127.0.0.1:1/iqn.x/0', ...more];
const NOBODY = 'http://127.0.0.1:1';

t.test('wrong usage: exit 2, one line on stderr, nothing on stdout', async (t) => {
  const wrong: readonly (readonly [readonly string[], RegExp])[] = [
    [[], /no command was given/],
    [['fly'], /there is no command 'fly'/],
    [['move', 'disk'], /--to/],
    [['move', 'disk', '--to', 'M 1'], /--to 'M 1' is no member name/],
    [['move', 'Disk!', '--to', 'm2'], /volume 'Disk!' is no volume name/],
    [['move', 'disk', '--to', 'm2', '--extents', '9-3'], /--extents '9-3' is no range/],
    [['move', 'disk', '--to', 'm2', '--rate', 'fast'], /--rate 'fast' is not a size such as 512, 64K or 10G/],
    [['move', 'disk', '--to', 'm2', '--handover', 'push'], /--handover/],
    [['move', 'disk', '--to', 'm2', '--manage', 'nowhere'], /--manage 'nowhere' is no http URL/],
    [['move', 'disk', '--to', 'm2', '--sideways'], /unknown option '--sideways'/],
    [['volume'], /no command was given/],
    [['volume', 'create', 'disk'], /--size/],
    [['volume', 'create', 'disk', '--size', '0'], /--size '0' is not a size/],
    [
      ['volume', 'create', 'disk', '--size', '1000'],
      /--size: a size of 1000 bytes is .*; use a multiple of 512/,
    ],
    [
      ['volume', 'create', 'disk', '--size', '1G', '--extent-size', '100K'],
      /--extent-size: .*multiple of 64K/,
    ],
    [
      ['volume', 'create', 'disk', '--size', '100T'],
      /--extent-size: more than 4194304 extents; make it smaller/,
    ],
    [
      ['up', '--volume', 'disk=1M', '--volume', 'odd=1000'],
      /--volume 'odd=1000' cannot be: .*1000 bytes.*512/,
    ],
    [['up', '--volume', 'disk=big'], /--volume 'disk=big' has 'big', which is not a size such as 512/],
    [['volume', 'create', 'disk', '--size', '1G', '--block-size', '1024'], /--block-size '1024' is neither/],
    [
      ['volume', 'create', 'disk', '--size', '1G', '--serial', ' x'],
      /--serial ' x' is not 1 to 32 characters/,
    ],
    [['serve', 'x.img', '--vendor', 'too long a one'], /--vendor 'too long a one' is not 1 to 8 characters/],
    [['drain'], /missing required argument 'member'/],
    [['status', 'extra'], /too many arguments/],
    [['serve'], /missing required argument 'image'/],
    [['serve', '/tmp/x.img', '--port', '70000'], /--port '70000' is not between 0 and 65535/],
    [['serve', '/tmp/x.img', '--host', 'localhost'], /--host 'localhost' is no numeric address/],
    [['serve', '/tmp/x.img', '--host', '0.0.0.0'], /--allow-unauthenticated/],
    [io('--queue-depth', '1025'), /--queue-depth '1025' is not between 1 and 1024/],
    [io('--range', '0-much'), /--range '0-much' is no range of bytes/],
    [io('--range', 'much-1M'), /--range 'much-1M' is no range of bytes/],
    [['moves', '--explain', '--cancel', 'x'], /--explain and --cancel exclude each other; give one of them/],
    [['simulate', '--hours', '1', '--seconds', '1'], /--hours and --seconds exclude each other/],
    [['simulate', '--configurations', '1', '--scale'], /--configurations and --scale exclude each other/],
    [io('--size', '1M', '--range', '0-1M'), /--size and --range exclude each other; give one of them/],
    [io('--mix', '70/30', '--read-percent', '50'), /--read-percent and --mix exclude each other; give one/],
    [io('--random', '--sequential'), /--random and --sequential exclude each other; give one of them/],
  ];
  for (const [args, said] of wrong) {
    const { code, stdout, stderr } = await run(args);
    const line = args.join(' ') || '(nothing)';
    t.equal(code, 2, `${line}: exit 2`);
    t.equal(stdout, '', `${line}: nothing on stdout`);
    t.match(stderr, said, `${line}: says what`);
    t.match(stderr, /^blockferry: [^\n]+\n$/, `${line}: one line`);
  }
});

t.test('a name with line feeds, or without an end, hides nothing of what is wrong with it', async (t) => {
  const lines = await run(['serve', 'two\r\nlines.img', '--port', '0']);
  t.equal(lines.stderr, 'blockferry: there is no two lines.img; add --size to create it\n');
  const unknown = await run(['status', '--two\nlines']);
  t.equal(unknown.stderr, "blockferry: unknown option '--two lines'; see 'blockferry status --help'\n");
  const endless = await run(['move', 'x'.repeat(100_000), '--to', 'm2']);
  t.match(endless.stderr, /^blockferry: volume 'x+ … x+' is no volume name: .*\n$/);
  t.ok(endless.stderr.length < 10_000, `${endless.stderr.length} characters`);
});

t.test('a secret in a URL is refused, and not repeated', async (t) => {
  const env = { BLOCKFERRY_MANAGE: 'http://user:secret@127.0.0.1:1' };
  for (const [args, door] of [
    [['status', '--manage', 'http://user:secret@127.0.0.1:1']],
    [['status', '--manage', 'user:secret@127.0.0.1:1']],
    [['status'], new FakeDoor(env)],
    [['io', 'load', 'iscsi://user%secret@127.0.0.1:1/iqn.x/0']],
    [['io', 'load', 'iscsi://user%se/secret@127.0.0.1:1/iqn.x/0']],
  ] as const) {
    const { code, stdout, stderr } = await run(args, door);
    t.match({ code, stdout }, { code: 2, stdout: '' }, args.join(' '));
    t.match(stderr, args[0] === 'io' ? /names a user, .*--chap/ : /--manage names a user, /);
    t.notMatch(stderr, /secret@|user[:%]/, 'nothing of it is said');
  }
});

t.test('nobody listens: exit 1, one line that says how to mend it', async (t) => {
  for (const args of [
    ['status'],
    ['volume', 'list', '--json'],
    ['move', 'disk', '--to', 'm2'],
    ['drain', 'm1'],
  ]) {
    const { code, stdout, stderr } = await run([...args, '--manage', NOBODY]);
    t.equal(code, 1, `${args.join(' ')}: exit 1`);
    t.equal(stdout, '', `${args.join(' ')}: nothing on stdout`);
    t.match(stderr, /^blockferry: no group at http:\/\/127\.0\.0\.1:1: nobody answers there; start one.*\n$/);
  }
});

t.test('a command that waits for what cannot come any more has not gone well', async (t) => {
  // Neither a connection nor a deadline: as when a library of ours forgets who waits.
  const forgetful =
    "import { Agent } from 'node:http'; Agent.prototype.addRequest = () => {}; globalThis.setTimeout = () => ({});";
  const args = ['--import', `data:text/javascript,${forgetful}`, builtFile('bin/blockferry.cjs'), 'status'];
  const ended = await exec(process.execPath, args, { env: { NODE_OPTIONS: '' } });
  t.strictSame([ended.code, ended.stdout], [1, '']);
  t.match(ended.stderr, /^blockferry: the command has ended before it was done; .*\n$/);
});

t.test('help and version', async (t) => {
  const help = await run(['--help']);
  t.equal(help.code, 0);
  for (const name of [
    'serve',
    'up',
    'member',
    'volume',
    'move',
    'drain',
    'status',
    'sessions',
    'route',
    'moves',
    'io',
    'simulate',
  ]) {
    t.match(help.stdout, new RegExp(`^  ${name}\\b`, 'm'), `names ${name}`);
  }
  const move = await run(['move', '--help']);
  t.equal(move.code, 0);
  t.match(move.stdout, /--json[\s\S]*--to <member>[\s\S]*--extents <range>/);
  const managed = await run(['status', '--help']);
  t.match(managed.stdout, /\(BLOCKFERRY_MANAGE\)\s+\(default:\s+"http:\/\/127\.0\.0\.1:3280"\)/);
  const elsewhere = new FakeDoor({ BLOCKFERRY_MANAGE: 'http://10.0.0.1:1' });
  t.equal((await run(['status', '--help'], elsewhere)).stdout, managed.stdout, 'whatever the variable holds');
  t.equal((await run(['--version'])).stdout, '1.2.3\n');
  for (const words of [['up'], ['volume', 'set'], ['balance']]) {
    const { stdout } = await run([...words, '--help']);
    t.match(stdout, /may be\s+repeated/, words.join(' '));
    t.notMatch(stdout, /\[\]/, `${words.join(' ')}: nothing is no default that people would know`);
  }
});

t.test('help is a command, too', async (t) => {
  for (const words of [[], ['serve'], ['move'], ['volume'], ['volume', 'create']]) {
    const { code, stdout, stderr } = await run(['help', ...words]);
    t.match({ code, stderr }, { code: 0, stderr: '' }, `help ${words.join(' ')}`);
    t.equal(stdout, (await run([...words, '--help'])).stdout, `help ${words.join(' ')}: as --help`);
  }
  for (const word of ['--help', 'help']) t.equal((await run(['help', word])).code, 0, `help ${word}`);
  t.match((await run(['--help'])).stdout, /^ {2}help \[command\]/m, 'it is named');
  t.match(await run(['help', 'fly']), {
    ...{ code: 2, stdout: '', stderr: "blockferry: there is no command 'fly'; see 'blockferry --help'\n" },
  });
});

t.test('wrong usage of a command points to its own help', async (t) => {
  for (const [words, command] of [
    [['move', 'disk'], 'blockferry move'],
    [['volume'], 'blockferry volume'],
    [['volume', 'crate'], 'blockferry volume'],
    [['volume', 'create'], 'blockferry volume create'],
    [['volume', 'create', '--sideways', 'list'], 'blockferry volume create'],
    [['io', 'load'], 'blockferry io load'],
    [['status', 'move'], 'blockferry status'],
    [['--sideways', 'move'], 'blockferry'],
  ] as const) {
    const { code, stderr } = await run(words);
    t.equal(code, 2);
    t.match(stderr, `; see '${command} --help'\n`, words.join(' '));
  }
});

t.test('values at the door', async (t) => {
  t.strictSame(address.parse('127.0.0.1:3260'), { host: '127.0.0.1', port: 3260 });
  t.strictSame(address.parse('[::1]:0'), { host: '::1', port: 0 });
  for (const bad of ['127.0.0.1', 'localhost:1', '::1:3260', '127.0.0.1:99999', ':1', '127.0.0.1:']) {
    t.notOk(address.safeParse(bad).success, `address '${bad}' is refused`);
  }
  t.strictSame(extentRange.parse('0-63'), { first: 0, last: 63 });
  t.strictSame(extentRange.parse('7'), { first: 7, last: 7 });
  for (const bad of ['', '-', '5-', '-5', '5-4', 'a-b'])
    t.notOk(extentRange.safeParse(bad).success, `range '${bad}'`);
  t.strictSame(volumeAndSize.parse('disk=1G'), { name: 'disk', sizeBytes: 1024 ** 3, kind: {} });
  t.strictSame(volumeAndSize.parse('disk=1G,block-size=4096,removable,read-only,full,serial=S 1'), {
    name: 'disk',
    sizeBytes: 1024 ** 3,
    kind: { blockSize: 4096, removable: true, readOnly: true, full: true, serial: 'S 1' },
  });
  const badKinds = [
    'block-size=1024',
    'removable=yes',
    'serial',
    'round',
    'removable,removable',
    'toString',
    '',
  ];
  const bads = ['disk', '=1G', 'disk=', 'a=1=2', 'UP=1G', ...badKinds.map((kind) => `disk=1G,${kind}`)];
  for (const bad of bads) {
    t.notOk(volumeAndSize.safeParse(bad).success, `volume '${bad}'`);
  }
  t.equal(whole(1, 5).parse('5'), 5);
  for (const bad of ['0', '6', '1.5', 'x', '-1', ''])
    t.notOk(whole(1, 5).safeParse(bad).success, `whole '${bad}'`);
  for (const [given, meant] of [
    ['127.0.0.1', '127.0.0.1'],
    ['::1', '::1'],
    ['FD00::2', 'fd00::2'],
    ['fd00:0:0:0:0:0:0:2', 'fd00::2'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['::ffff:127.0.0.1', '127.0.0.1'],
    ['::ffff:0.0.0.0', '0.0.0.0'],
  ] as const) {
    t.equal(host.parse(given), meant, `${given} is ${meant}`);
    const at = given.includes(':') ? `[${given}]` : given;
    t.strictSame(address.parse(`${at}:1`), { host: meant, port: 1 });
  }
  for (const [bad, why] of [
    ['example.org', /no numeric address/],
    ['fe80::1%lo', /has a zone/],
    ['224.0.0.1', /multicast/],
    ['239.255.255.255', /multicast/],
    ['FF02::1', /multicast/],
    ['::ffff:224.0.0.1', /multicast/],
  ] as const) {
    t.match(host.safeParse(bad).error?.issues, [{ message: why }], `host '${bad}' is refused`);
    t.notOk(address.safeParse(`[${bad}]:1`).success, `address '[${bad}]:1' is refused`);
  }
  for (const next of ['223.255.255.255', '240.0.0.1', 'fe00::1'])
    t.ok(host.safeParse(next).success, `${next} is no multicast address`);
});

t.test('what people read', async (t) => {
  t.equal(table(['name', 'size'], [['disk', 5]]), 'NAME  SIZE\ndisk  5');
  t.equal(formatMs(0.25), '0.25 ms');
  t.equal(formatMs(83.4), '83 ms');
  t.equal(formatMs(1240), '1.24 s');
});
