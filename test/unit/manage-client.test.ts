/** The client of the management API before servers that are no group, or fail: what it says, how soon, in how much memory. */
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { ManageClient } from '../../lib/manage/client.js';
import { passUntil, SteppedClock } from '../support/hand-clock.js';
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
