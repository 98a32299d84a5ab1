/** Accepted sockets that share one read buffer: what they receive, how they pause and end, and who counts them. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import t from 'tap';
import { readInto } from '../../lib/base/accepted-socket.js';
import { until } from '../support/wait.js';

interface Accepting {
  readonly server: Server;
  readonly port: number;
  /** In the order in which they came. */
  readonly sockets: Socket[];
  readonly texts: string[];
}

async function accepting(readBuffer: Buffer): Promise<Accepting> {
  const sockets: Socket[] = [];
  const texts: string[] = [];
  const server = createServer({ pauseOnConnect: true }, (accepted) => {
    const at = sockets.length;
    texts.push('');
    sockets.push(readInto(accepted, readBuffer, (chunk) => (texts[at] += chunk.toString())));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port, sockets, texts };
}

t.test('two connections share a buffer and neither sees the bytes of the other', async (t) => {
  const { server, port, sockets, texts } = await accepting(Buffer.alloc(7));
  const clients = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')];
  await until('two sockets are accepted', () => sockets.length === 2);
  const expected = ['', ''];
  for (let i = 0; i < 200; i++) {
    for (const [at, client] of clients.entries()) {
      const text = `${at}:${i} `;
      // Which client became which socket is the system's choice: told by the first byte.
      expected[at] += text;
      client.write(text);
    }
  }
  const [first = '', second = ''] = expected;
  await until('both texts are there', () => texts.join('').length === first.length + second.length);
  t.strictSame([...texts].sort(), [first, second].sort());
  for (const client of clients) client.destroy();
  server.close();
  await once(server, 'close');
});

t.test('pause holds bytes back, resume brings them, and the end is heard', async (t) => {
  const { server, port, sockets, texts } = await accepting(Buffer.alloc(64 * 1024));
  const client = connect(port, '127.0.0.1');
  await until('a socket is accepted', () => sockets.length === 1);
  const [socket] = sockets as [Socket];
  socket.pause();
  client.write('late');
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(texts[0], '');
  socket.resume();
  await until('the late text is there', () => texts[0] === 'late');
  socket.write('and back');
  const [answer] = (await once(client, 'data')) as [Buffer];
  t.equal(answer.toString(), 'and back');
  const ended = once(socket, 'end');
  client.end();
  await ended;
  server.close();
  await once(server, 'close');
});

t.test('the server still counts: close waits for the connection, maxConnections holds', async (t) => {
  const { server, port, sockets } = await accepting(Buffer.alloc(1024));
  server.maxConnections = 1;
  const client = connect(port, '127.0.0.1');
  await until('a socket is accepted', () => sockets.length === 1);
  const refused = connect(port, '127.0.0.1');
  refused.on('error', () => undefined);
  await once(refused, 'close');
  t.equal(sockets.length, 1);
  let isClosed = false;
  server.close(() => (isClosed = true));
  await new Promise((resolve) => setTimeout(resolve, 30));
  t.notOk(isClosed, 'not while the connection lives');
  client.destroy();
  await until('it is closed', () => isClosed);
});

t.test('a socket that is gone already is returned as it is', async (t) => {
  const { server, port } = await accepting(Buffer.alloc(16));
  const gone = connect(port, '127.0.0.1');
  await once(gone, 'connect');
  gone.destroy();
  t.equal(
    readInto(gone, Buffer.alloc(16), () => undefined),
    gone,
  );
  server.close();
  await once(server, 'close');
});

t.test('where Node does not show what it keeps, the socket receives all the same', async (t) => {
  let text = '';
  const server = createServer({ pauseOnConnect: true }, (accepted) => {
    const shown = accepted as Socket & { _server: unknown };
    const counter = shown._server;
    shown._server = undefined;
    readInto(accepted, Buffer.alloc(16), (chunk) => (text += chunk.toString()));
    shown._server = counter;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.write('by events');
  await until('the text is there', () => text === 'by events');
  t.equal(text, 'by events');
  client.destroy();
  server.close();
  await once(server, 'close');
});
