/** The management API end to end without a group: commands, client, HTTP server, and a desk that plays the group. */
import { once } from 'node:events';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import {
  MANAGE_CONNECTIONS_MAX,
  MANAGE_REQUEST_DEADLINE_MS,
  PROGRESS_INTERVAL_MS,
} from '../../lib/base/limits.js';
import { silentLog } from '../../lib/base/log.js';
import { DEMONSTRATION_SETTINGS } from '../../lib/balance/settings.js';
import type { DecisionView } from '../../lib/manage/api.js';
import { ManageClient } from '../../lib/manage/client.js';
import { untilMade } from '../../lib/manage/creation.js';
import { ManageServer } from '../../lib/manage/server.js';
import { FakeDoor, run } from '../support/cli-door.js';
import { passUntil, SteppedClock } from '../support/hand-clock.js';
import { until } from '../support/wait.js';
import { HOT_VOLUME, PlayedDesk, volumeView } from '../support/played-desk.js';

const desk = new PlayedDesk();
const server = await ManageServer.start({ host: '127.0.0.1', port: 0, desk, log: silentLog });
const manage = (...args: string[]): string[] => [...args, '--manage', server.url];

t.test('volumes', async (t) => {
  const made = await run(manage('volume', 'create', 'data', '--size', '64M', '--home', 'm3', '--json'));
  t.equal(made.code, 0, made.stderr);
  t.match(JSON.parse(made.stdout), { name: 'data', home: 'm3' });
  t.match(desk.asked.at(-1), { name: 'data', size: 64 * 1024 ** 2, home: 'm3' });
  const again = await run(manage('volume', 'create', 'data', '--size', '64M'));
  t.equal(again.code, 1);
  t.equal(again.stderr, 'blockferry: there is a volume data already\n');
  t.match((await run(manage('volume', 'list'))).stdout, /^VOLUME +SIZE[\s\S]*^data +64M +disk +m3/m);
  t.match((await run(manage('volume', 'show', 'disk'))).stdout, /held by +m1 16/);
  const gone = await run(manage('volume', 'show', 'nothing'));
  t.equal(gone.code, 1);
  t.equal(gone.stderr, 'blockferry: there is no volume nothing; see volume list\n');
  t.equal((await run(manage('volume', 'delete', 'data'))).code, 0);
});

t.test('kinds of volume', async (t) => {
  const kind = ['--block-size', '4096', '--removable', '--read-only', '--serial', 'S 1', '--vendor', 'ACME'];
  const made = await run(manage('volume', 'create', 'odd', '--size', '64M', ...kind, '--product', 'Floppy'));
  t.equal(made.code, 0, made.stderr);
  t.match(desk.asked.at(-1), { blockSize: 4096, removable: true, readOnly: true, serial: 'S 1' });
  t.match(desk.asked.at(-1), { vendor: 'ACME', product: 'Floppy' });
  const [odd] = desk.held.splice(-1, 1, {
    ...volumeView('odd', 'm2', {}),
    ...{ blockSize: 4096, removable: true, readOnly: true, vendor: 'ACME', product: 'Floppy' },
  });
  t.ok(odd);
  t.match((await run(manage('volume', 'list'))).stdout, /^odd +64M +4K blocks, removable, read-only +m2/m);
  t.match((await run(manage('volume', 'list'))).stdout, /^disk +64M +disk +m1/m);
  t.match((await run(manage('volume', 'show', 'odd'))).stdout, /vendor, product +ACME, Floppy/);
  t.equal((await run(manage('volume', 'delete', 'odd'))).code, 0);
});

t.test('a full volume is waited for', async (t) => {
  const create = (name: string, ...more: string[]) =>
    manage('volume', 'create', name, '--size', '64M', '--full', ...more);
  const made = await run(create('solid', '--json'));
  t.equal(made.code, 0, made.stderr);
  t.match(JSON.parse(made.stdout), { name: 'solid', full: true, allocating: null });
  t.match(desk.asked.at(-1), { full: true });
  t.match((await run(manage('volume', 'list'))).stdout, /^solid +64M +full +m2/m);
  t.match((await run(manage('volume', 'show', 'solid'))).stdout, /^space +all of it is allocated$/m);
  t.match((await run(manage('volume', 'show', 'disk'))).stdout, /^space +taken as it is written$/m);

  desk.fits = false;
  const refused = await run(create('large', '--json'));
  t.match(refused, {
    code: 1,
    stdout: '',
    stderr: 'blockferry: volume large could not be made; make it smaller\n',
  });
  desk.fits = true;

  const door = new FakeDoor();
  const running = run(create('left'), door);
  await until('Ctrl-C is heard', () => door.isHeard);
  door.signal('SIGINT');
  const { code, stderr } = await running;
  t.equal(code, 1);
  t.match(
    stderr,
    /goes on being allocated; look with 'blockferry volume show left', stop it with 'blockferry volume delete left'/,
  );
  const left = desk.held.at(-1);
  if (left !== undefined) left.allocating = 0;
  t.match(
    (await run(manage('volume', 'show', 'left'))).stdout,
    /^space +32M allocated so far: not there yet$/m,
  );
  desk.held.splice(-2, 2);
});

t.test('a home that makes no file, as it is away, is not waited for for ever', async (t) => {
  const clock = new SteppedClock();
  const begun = volumeView('lonely', 'm2', {});
  let looks = 0;
  const desk = { volume: () => Promise.resolve(begun) };
  const made = untilMade(desk, begun, clock, () => void (looks += 1));
  t.equal(await passUntil(clock, 100, made), begun);
  t.ok(looks > 3, `${looks} looks`);
});

t.test('a move is followed to its end, and reported as scripts expect', async (t) => {
  desk.ending = 'done';
  const sinceMs = performance.now();
  const moved = await run(manage('move', 'disk', '--to', 'm2', '--extents', '0-7', '--rate', '1M', '--json'));
  t.ok(
    performance.now() - sinceMs > 2.5 * PROGRESS_INTERVAL_MS,
    'three looks, none sooner than there is news',
  );
  t.equal(moved.code, 0, moved.stderr);
  t.strictSame(JSON.parse(moved.stdout), {
    volume: 'disk',
    from: 'm1',
    to: 'm2',
    extents: 16,
    bytesCopied: 64 * 1024 ** 2,
    bytesRecopied: 4096,
    restarts: 1,
    seconds: 2.5,
    sessions: 2,
    stallMs: { max: 12.5 },
  });
  t.match(desk.asked.at(-1), { extents: { first: 0, last: 7 }, rate: 1024 ** 2, handover: 'ask' });
  t.match(
    (await run(manage('move', 'disk', '--to', 'm2'))).stdout,
    /moved from m1 to m2 in 2.50 s: 16 extents/,
  );

  desk.ending = 'failed';
  const failed = await run(manage('move', 'disk', '--to', 'm2', '--json'));
  t.equal(failed.code, 1);
  t.equal(failed.stdout, '');
  t.equal(
    failed.stderr,
    'blockferry: the move of disk to m2 failed: the disk of m2 is full; mend that, then ask for the move again\n',
  );

  const left = await run(manage('move', 'disk', '--to', 'm2', '--no-wait'));
  t.equal(left.code, 0);
  t.equal(desk.looks, 0, '--no-wait does not look');
});

t.test('Ctrl-C leaves the move alone and says how to look', async (t) => {
  const door = new FakeDoor();
  const running = run(manage('move', 'disk', '--to', 'm2'), door);
  await until('it looks at the move', () => desk.looks > 0);
  door.signal('SIGINT');
  const { code, stderr } = await running;
  t.equal(code, 1);
  t.match(stderr, /goes on; look with 'blockferry moves', stop it with 'blockferry moves --cancel move-1'/);
});

t.test('the other commands', async (t) => {
  t.match((await run(manage('status'))).stdout, /^group g at 127\.0\.0\.1:3260[\s\S]*^m3 +127[\s\S]*^disk /m);
  t.match(JSON.parse((await run(manage('status', '--json'))).stdout), {
    group: 'g',
    volumes: [{ name: 'disk' }],
  });
  t.equal((await run(manage('sessions'))).stdout, 'no sessions\nno answer from m3\n');
  t.match((await run(manage('route', 'disk'))).stdout, /home m1, epoch 3\n[\s\S]*0-15 +16 +m1/);
  t.match((await run(manage('moves'))).stdout, /move-1 +disk +m1 +m2 +active +4\/16/);
  t.match((await run(manage('moves', '--cancel', 'move-1'))).stdout, /cancelled/);
  t.match((await run(manage('drain', 'm9'))).stderr, /there is no member m9; the group has m1, m2, m3/);
});

t.test('how the group balances itself', async (t) => {
  t.match((await run(manage('balance'))).stdout, /POLICY +heat\nwindow +30.00 s\n/);
  const changed = await run(
    manage('balance', '--policy', 'share', '--window', '5s', '--weight', 'm1=2.5', '--weight', 'm2=0').concat(
      ...['--member-label', 'm1:kind=database', '--whole-volumes', '--json'],
    ),
  );
  t.equal(changed.code, 0, changed.stderr);
  t.match(JSON.parse(changed.stdout), {
    settings: { policy: 'share', windowMs: 5000, splitsVolumes: false, coolDownMs: 600_000 },
    members: { m1: { weight: 2.5, labels: { kind: 'database' } }, m2: { weight: 0, labels: {} } },
  });
  t.match((await run(manage('balance'))).stdout, /^m1 +2.5 +kind=database$/m);
  const preset = await run(manage('balance', '--preset', 'demonstration', '--moves', '7', '--json'));
  t.match(JSON.parse(preset.stdout), { settings: { ...DEMONSTRATION_SETTINGS, movesMax: 7 } });
  for (const [args, wrong] of [
    [['--policy', 'best'], /--policy 'best' is none of none, share, latency-gap, heat/],
    [['--window', '5'], /--window '5' is no time such as/],
    [['--weight', 'm1'], /--weight 'm1' is not MEMBER=WEIGHT/],
    [['--member-label', 'm1=x'], /is not MEMBER:KEY=VALUE/],
    [['--share-high', 'x'], /is no number/],
    [['--share-high', '0.5'], /--share-high '0.5' is not between 1 and 100/],
    [['--window', '100ms'], /--window '100ms' is not between 500 and 86400000 ms/],
    [['--cool-down', '300us'], /--cool-down '300us' is no whole number of ms/],
    [['--moves', '65'], /--moves '65' is not between 1 and 64/],
    [['--weight', 'm1=5000'], /--weight 'm1=5000' is neither 0 nor between 0.001 and 1000/],
    [['--whole-volumes', '--split-volumes'], /exclude each other/],
  ] as const) {
    const refused = await run(manage('balance', ...args));
    t.equal(refused.code, 2, args.join(' '));
    t.match(refused.stderr, wrong);
  }
});

t.test('where a volume may be', async (t) => {
  t.match(
    (await run(manage('volume', 'set', 'disk', '--pin', '--label', 'kind=database'))).stdout,
    /pinned +yes/,
  );
  const shown = (await run(manage('volume', 'show', 'disk'))).stdout;
  t.match(shown, /pinned +yes\nlabels +kind=database\n/);
  const undone = await run(manage('volume', 'set', 'disk', '--unpin', '--label', 'kind=', '--json'));
  t.match(JSON.parse(undone.stdout), { name: 'disk', pinned: false, labels: {} });
  t.match(await run(manage('volume', 'set', 'disk')), { code: 2, stderr: /nothing to set/ });
  t.match(await run(manage('volume', 'set', 'disk', '--pin', '--unpin')), { code: 2, stderr: /exclude/ });
  t.match(await run(manage('volume', 'set', 'disk', '--label', 'K=v')), { code: 2, stderr: /KEY=VALUE/ });
  t.match(await run(manage('volume', 'set', 'none', '--pin')), { code: 1, stderr: /no volume none/ });
  const [disk] = desk.held;
  Object.assign(disk as object, { pinned: true, unreadable: 'placements/disk is not JSON' });
  t.match(
    (await run(manage('volume', 'show', 'disk'))).stdout,
    /pinned +yes, since what was said of it cannot be read \(placements\/disk is not JSON\)/,
  );
  Object.assign(disk as object, { pinned: false, unreadable: '' });
  desk.balanceView.unreadable['disk'] = 'placements/disk is not JSON';
  t.match((await run(manage('balance'))).stdout, /CANNOT BE READ\ndisk +placements\/disk is not JSON\n/);
  delete desk.balanceView.unreadable['disk'];
});

t.test('decisions are explained', async (t) => {
  t.equal((await run(manage('moves', '--explain'))).stdout, 'no decisions yet\n');
  const predicted = { measure: 1.2, latencyMsBefore: 9, latencyMsAfter: 3, payBackMs: 1500 };
  const candidate = {
    volume: 'disk',
    from: 'm1',
    to: 'm2',
    requestsPerSecond: 812.4,
    bytes: 4 * 1024 ** 2,
    predicted,
  };
  desk.decided.push({
    ...{ id: 'd', atMs: 0, lastAtMs: 61_000, times: 3, by: 'm1', policy: 'heat', verdict: 'act' },
    measure: { name: 'utilisation of m1', value: 0.98, limit: 0.5 },
    reason: 'utilisation of m1 is 0.98 (limit 0.50)',
    moves: [
      {
        ...candidate,
        extents: { first: 3, last: 3 },
        reason: 'it is hot',
        after: null,
        move: 'move-7',
        refusal: '',
        brought: { gainMs: 5.8, predictedGainMs: 6, loadChange: 1.67 },
      },
      {
        ...candidate,
        extents: null,
        reason: 'so is this',
        after: null,
        move: null,
        refusal: 'the route has changed',
        brought: null,
      },
    ],
    alternatives: [
      {
        ...candidate,
        extents: { first: 4, last: 9 },
        because: 'cools down',
        predicted: { ...predicted, payBackMs: null },
      },
    ],
    before: { imbalance: 3, requestsPerSecond: 900, latencyMs: 9 },
    outcome: { measuredAtMs: 9000, after: { imbalance: 1.11, requestsPerSecond: 2400, latencyMs: 3.2 } },
    unmeasured: '',
  });
  const { stdout } = await run(manage('moves', '--explain'));
  for (const told of [
    /^1970-01-01 00:00:00 m1, heat: moves, 3 times until 1970-01-01 00:01:01$/m,
    /measured {3}utilisation of m1 is 0.98 \(limit 0.50\)/,
    /moved {6}disk 3-3 \(1 extent\) from m1 to m2, 812\/s, 4M\n +it is hot \(move move-7\)/,
    /predicted: measure 1.20, latency 9.00 ms to 3.00 ms, pays back in 1.50 s/,
    /measured: {2}5.80 ms won of 6.00 predicted, \+167 % requests meanwhile/,
    /dropped {4}disk from m1 to m2, 812\/s, 4M\n +the route has changed/,
    /outcome {4}imbalance 3.00 to 1.11\n +latency 9.00 ms to 3.20 ms\n +requests 900\/s to 2400\/s/,
    /not {8}disk 4-9 \(6 extents\) from m1 to m2, 812\/s, 4M: cools down/,
  ])
    t.match(stdout, told);
  t.match(JSON.parse((await run(manage('moves', '--explain', '--json'))).stdout), [{ id: 'd', times: 3 }]);
  const [decided] = desk.decided as [DecisionView];
  const explained = async (changes: Partial<DecisionView>): Promise<string> => {
    desk.decided[0] = { ...decided, ...changes };
    return (await run(manage('moves', '--explain'))).stdout;
  };
  t.match(await explained({ outcome: null }), /outcome {4}not measured yet\n/);
  t.match(
    await explained({ outcome: null, unmeasured: 'm1 was started anew' }),
    /outcome {4}not measured: m1 was started anew\n/,
  );
  t.notMatch(await explained({ outcome: null, moves: [] }), /outcome/, 'nothing was moved');
  t.match(await run(manage('moves', '--explain', '--cancel', 'move-1')), { code: 2 });
  desk.decided.length = 0;
});

t.test('a trace is recorded', async (t) => {
  const file = join(t.testdir(), 'trace.csv');
  const recorded = await run(manage('record', file, '--seconds', '1', '--json'));
  t.equal(recorded.code, 0, recorded.stderr);
  const said = JSON.parse(recorded.stdout) as { requests: number; dropped: number };
  const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
  t.equal(lines[0], 'time_ms,volume,op,offset,length');
  t.equal(lines[1], '12.5,disk,read,4096,512');
  t.equal(lines.length, said.requests + 1);
  t.ok(said.dropped > 0, 'what is missing is said');
  t.equal(desk.looks, said.requests, 'each time from where it was');
  t.match(await run(manage('record', file)), { code: 1, stderr: /choose another name/ });
  t.match(await run(manage('record', file, '--seconds', 'x')), { code: 2 });
});

t.test('loads: members by their share, then what is hot', async (t) => {
  const { stdout } = await run(manage('loads'));
  t.match(stdout, /^MEMBER +AGE +SHARE +X FAIR +READS\/S/);
  t.match(stdout, /^m1 +1.50 s +100% +1.00 +900 +100 [^\n]* 1G$/m);
  t.match(stdout, /^m2 +100 ms \(stale\) +- +- /m);
  t.match(stdout, /^m3 +not known yet$/m);
  t.match(stdout, /^disk +m1 +1000 +90% +4K +random-read, bursty +0.25 ms +2 +7 \(600\/s\) 3 \(9.5\/s\)$/m);
  const document = JSON.parse((await run(manage('loads', '--json'))).stdout) as unknown;
  t.match(document, {
    from: 'm1',
    members: [{ name: 'm1', share: 1, vector: { volumes: [HOT_VOLUME] } }, {}, {}],
  });
  const door = new FakeDoor();
  const watching = run(manage('loads', '--watch', '--json'), door);
  await until('two documents are out', () => door.out.split('\n').length > 2);
  door.signal('SIGINT');
  await watching;
  for (const line of door.out.trim().split('\n'))
    t.strictSame(JSON.parse(line), document, 'a document a line');
});

t.test('the door of the API', async (t) => {
  const call = (init: { method?: string; path: string; headers?: Record<string, string>; body?: string }) =>
    new Promise<{ status: number; body: string }>((resolve, reject) => {
      const { port } = new URL(server.url);
      const sent = request({
        host: '127.0.0.1',
        port,
        method: init.method ?? 'GET',
        path: init.path,
        headers: init.headers,
      });
      sent.on('error', reject);
      sent.on('response', (response) => {
        let body = '';
        response.on('data', (chunk: Buffer) => (body += chunk.toString()));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      });
      sent.end(init.body);
    });
  const json = { 'content-type': 'application/json' };

  for (const host of ['localhost:1', '[::1]:1', '[0:0:0:0:0:0:0:1]'])
    t.equal((await call({ path: '/v1/status', headers: { host } })).status, 200, host);
  const rebound = await call({ path: '/v1/status', headers: { host: 'evil.example:3280' } });
  t.equal(rebound.status, 400, 'a foreign Host is refused');
  t.match(rebound.body, /"code":"INVALID"/);
  t.equal(
    (await call({ path: '/v1/status', headers: { origin: 'http://evil.example' } })).status,
    400,
    'so is a page',
  );
  for (const path of ['/v1/nothing', '/v1/%zz', `/v1/volumes/${'x'.repeat(200)}`]) {
    const { status, body } = await call({ path });
    t.equal(status, 404, path);
    t.strictSame(JSON.parse(body), {
      error: { code: 'NOT_FOUND', message: `there is no GET ${path}`, hint: 'begin with GET /v1/status' },
    });
  }
  const bad: readonly string[] = [
    '{',
    '[]',
    '{"name":"UP","size":1}',
    '{"name":"a","size":-1}',
    '{"name":"a","size":1,"x":1}',
  ];
  for (const body of bad) {
    const answer = await call({ method: 'POST', path: '/v1/volumes', headers: json, body });
    t.equal(answer.status, 400, `${body} is refused`);
    t.ok((JSON.parse(answer.body) as { error: { message: string } }).error.message, 'with a message');
  }
  const large = await call({
    method: 'POST',
    path: '/v1/volumes',
    headers: json,
    body: `"${'x'.repeat(70_000)}"`,
  });
  t.equal(large.status, 413, 'a large body');
  const form = { 'content-type': 'text/plain' };
  t.equal(
    (await call({ method: 'POST', path: '/v1/moves', headers: form, body: '{}' })).status,
    415,
    'a form',
  );
  await t.rejects(
    ManageServer.start({ host: '127.0.0.1', port: Number(new URL(server.url).port), desk, log: silentLog }),
    { code: 'BUSY' },
    'a port in use',
  );
});

t.test('who connects and asks for nothing holds few connections, and not for long', async (t) => {
  const own = await ManageServer.start({ host: '127.0.0.1', port: 0, desk, log: silentLog });
  t.teardown(() => own.stop());
  let open = 0;
  const dial = (begun: string): Socket => {
    const socket = connect(Number(new URL(own.url).port), '127.0.0.1');
    socket.on('connect', () => void ((open += 1), socket.write(begun)));
    socket.on('error', () => undefined); // reset instead of closed
    socket.on('close', () => (open -= 1));
    socket.resume();
    return socket;
  };
  const ask = 'GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n';
  const sinceMs = performance.now();
  for (let i = 0; i < MANAGE_CONNECTIONS_MAX; i++) dial(['', ask, `${ask}\r\n`][i % 3] ?? '');
  await until('they are there', () => open === MANAGE_CONNECTIONS_MAX);
  const late = dial('');
  await once(late, 'close');
  t.equal(open, MANAGE_CONNECTIONS_MAX, 'one more is not kept');
  await until('they are closed', () => open === 0);
  const tookMs = performance.now() - sinceMs;
  t.ok(tookMs < MANAGE_REQUEST_DEADLINE_MS, `after ${Math.round(tookMs)} ms`);
  t.equal((await new ManageClient(own.url).status()).group, 'g', 'and others have their turn');
});

t.test('an answer that is not ours is not believed', async (t) => {
  const { createServer } = await import('node:http');
  const impostor = createServer((_, response) => response.end('{"hello":1}'));
  await new Promise<void>((resolve) => impostor.listen(0, '127.0.0.1', resolve));
  t.teardown(() => impostor.close());
  const { port } = impostor.address() as { port: number };
  await t.rejects(new ManageClient(`http://127.0.0.1:${port}`).status(), { code: 'PROTOCOL' });
});

t.test('the server stops', () => server.stop());
