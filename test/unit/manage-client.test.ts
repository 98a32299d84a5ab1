/** The client of the management API, and commands, before servers that are no group, or fail: what is said, how soon. */
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { silentLog } from '../../lib/base/log.js';
import { ManageClient } from '../../lib/manage/client.js';
import { ManageServer } from '../../lib/manage/server.js';
import { FakeDoor, run } from '../support/cli-door.js';
import { passUntil, SteppedClock } from '../support/hand-clock.js';
import { PlayedDesk } from '../support/played-desk.js';
import { until } from '../support/wait.js';

/** Where `server` listens, until the test is over. */
async function urlOf(t: Test, server: Server): Promise<string> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const answering = (t: Test, listener: RequestListener): Promise<string> =>
  urlOf(t, createHttpServer(listener));

t.test('a server that hangs up, as one without descriptors does', async (t) => {
  const url = await urlOf(
    t,
    createServer((socket) => socket.destroy()),
  );
  await t.rejects(new ManageClient(url).status(), { code: 'UNAVAILABLE', message: /closes the connection/ });
  const half = await answering(t, (_, response) => {
    response.write('{"group":', () => response.destroy());
  });
  await t.rejects(new ManageClient(half).status(), { code: 'UNAVAILABLE', message: /closes the connection/ });
});

t.test('an answer without an end is not kept', async (t) => {
  let sent = 0;
  const url = await answering(t, (_, response) => {
    const spaces = Buffer.alloc(1024 * 1024, ' ');
    const send = (): void => {
      sent += spaces.length;
      response.write(spaces);
    };
    response.on('drain', send);
    send();
  });
  await t.rejects(new ManageClient(url).loads(), { code: 'PROTOCOL', message: /\(more than 128M\)/ });
  t.ok(sent < 256 * 1024 ** 2, `${sent} bytes`);
});

t.test('what is no HTTP, or sends elsewhere', async (t) => {
  const other = await urlOf(
    t,
    createServer((socket) => socket.on('error', () => undefined).end('SSH-2.0-none\r\n')),
  );
  await t.rejects(new ManageClient(other).status(), { code: 'PROTOCOL', message: /\(not HTTP\)/ });
  const away = await answering(t, ({ url }, response) => {
    response.writeHead(302, { location: `${url}/on` }).end();
  });
  await t.rejects(new ManageClient(away).status(), { code: 'PROTOCOL', message: /\(status 302, not JSON\)/ });
});

t.test('an answer that does not come, or does not end, is waited for 15 s', async (t) => {
  let isAsked = false;
  for (const begins of [false, true]) {
    const clock = new SteppedClock();
    const url = await answering(t, (_, response) => {
      if (begins) response.write('[');
      isAsked = true;
    });
    const asked = new ManageClient(url, clock).volumes();
    asked.catch(() => undefined); // looked at below
    await until('it is asked', () => isAsked);
    const sinceMs = clock.nowMs();
    await t.rejects(passUntil(clock, 1000, asked), { code: 'UNAVAILABLE', message: /in time/ });
    t.ok(clock.nowMs() - sinceMs >= 14_000, 'not at once');
    isAsked = false;
  }
});

t.test('a client that is closed waits for nothing', async (t) => {
  let isAsked = false;
  const url = await answering(t, () => (isAsked = true));
  const client = new ManageClient(url, new SteppedClock());
  const asked = client.status();
  await until('it is asked', () => isAsked);
  client.close();
  await t.rejects(asked, { code: 'CANCELLED' });
  await t.rejects(client.status(), { code: 'CANCELLED' });
});

t.test('Ctrl-C ends what follows a group that hangs', async (t) => {
  let isAsked = false;
  const never = (): Promise<never> => {
    isAsked = true;
    return new Promise(() => undefined);
  };
  const desk = Object.assign(new PlayedDesk(), { status: never, loads: never, move: never, volume: never });
  const server = await ManageServer.start({ host: '127.0.0.1', port: 0, desk, log: silentLog });
  for (const [args, code, stderr] of [
    [['status', '--watch'], 0, ''],
    [['loads', '--watch', '--json'], 0, ''],
    [['move', 'disk', '--to', 'm2'], 1, /the move of disk to m2 goes on; look with/],
    [['volume', 'create', 'solid', '--size', '64M', '--full'], 1, /solid goes on being allocated; look with/],
  ] as const) {
    isAsked = false;
    const door = new FakeDoor();
    const running = run([...args, '--manage', server.url], door);
    await until('it waits for an answer', () => isAsked);
    const sinceMs = performance.now();
    door.signal('SIGINT');
    t.match(await running, { code, stderr }, args.join(' '));
    t.ok(performance.now() - sinceMs < 5_000, `${args.join(' ')}: at once`);
  }
  await server.stop();
});

t.test('what was recorded is kept, and named, when the group goes', async (t) => {
  const desk = new PlayedDesk();
  const server = await ManageServer.start({ host: '127.0.0.1', port: 0, desk, log: silentLog });
  const file = join(t.testdir(), 'trace.csv');
  const running = run(['record', file, '--manage', server.url]);
  await until('something is recorded', () => desk.looks > 1);
  await server.stop();
  t.match(await running, {
    code: 1,
    stderr: /^blockferry: no group at .*; what was asked until then is in .*trace.csv\n$/,
  });
  t.match(await readFile(file, 'utf8'), /^time_ms,.*\n12.5,disk,read,4096,512\n/);
});
