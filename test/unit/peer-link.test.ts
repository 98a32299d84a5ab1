/** Two hubs on loopback in one process: requests both ways, lost links, deadlines, budgets, hostile bytes. */
import fc from 'fast-check';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { pino } from 'pino';
import t from 'tap';
import { systemClock, sleep } from '../../lib/base/clock.js';
import {
  PEER_BYTES_MAX,
  PEER_DIAL_WAIT_MS,
  PEER_PAYLOAD_BYTES_MAX,
  PEER_REQUESTS_MAX,
} from '../../lib/base/limits.js';
import { SeededRandom } from '../../lib/base/random.js';
import { ask, askJson } from '../../lib/peer/ask.js';
import { PeerStatus, PeerType, type IncomingRequest } from '../../lib/peer/contract.js';
import {
  ControlType,
  FRAME_HEADER_BYTES,
  FrameHeader,
  addDigests,
  decodeHeader,
  encodeHeader,
} from '../../lib/peer/frame.js';
import { HELLO_MAGIC, encodeHello } from '../../lib/peer/hello.js';
import type { Hub } from '../../lib/peer/hub.js';
import { Pulse } from '../../lib/peer/pulse.js';
import { cutShort } from '../support/hand-clock.js';
import { echo, makeHub, write, type Handler } from '../support/peer-rig.js';
import { until } from '../support/wait.js';

/** Two hubs that know each other; a dials b on demand and b dials a. */
async function makePair(
  t: Tap.Test,
  handleA: Handler,
  handleB: Handler,
  clock = systemClock,
): Promise<[Hub, Hub, number, number]> {
  const a = makeHub('a', handleA, { clock });
  const b = makeHub('b', handleB);
  t.teardown(() => Promise.all([a.close(), b.close()]));
  const [at, bt] = [await a.listen('127.0.0.1', 0), await b.listen('127.0.0.1', 0)];
  a.setAddress('b', bt);
  b.setAddress('a', at);
  return [a, b, at.port, bt.port];
}

namespace Tap {
  export type Test = typeof t;
}

t.test('every field of a request arrives, and the answer comes back', async (t) => {
  const seen: Record<string, unknown>[] = [];
  const [a] = await makePair(t as Tap.Test, echo, (request) => {
    const { type, volumeId, extent, epoch, token, offsetBytes, lengthBytes, fua, from } = request;
    seen.push({ type, volumeId, extent, epoch, token, offsetBytes, lengthBytes, fua, from });
    request.answer(PeerStatus.STALE, Buffer.from('old'), 2 ** 53 - 1);
  });
  const fields = {
    type: PeerType.DISCARD,
    volumeId: 0xfffffffe,
    extent: 3_000_000,
    epoch: 2 ** 40 + 5,
    token: 0xffffffff,
    offsetBytes: 2 ** 44 + 512,
    lengthBytes: 0xffffff00,
    fua: true,
  };
  const answer = await ask(a, 'b', fields, Buffer.from('x'));
  t.match(answer, { status: PeerStatus.STALE, epoch: 2 ** 53 - 1 });
  t.equal(answer.payload.toString(), 'old');
  t.same(seen, [{ ...fields, from: 'a' }]);
  await t.rejects(askJson(a, 'b', { type: PeerType.QUERY }), { code: 'STALE', message: 'member b: old' });
});

t.test('large payloads go both ways over both kinds of link, and arrive whole', async (t) => {
  const store = Buffer.alloc(8 * 1024 * 1024);
  const serve: Handler = (request) => {
    if (request.type === PeerType.READ) {
      const data = request.allocateAnswer();
      store.copy(data, 0, request.offsetBytes, request.offsetBytes + request.lengthBytes);
      request.answer(PeerStatus.OK, data);
    } else {
      // Later: the payload must stay valid until then.
      setTimeout(() => {
        request.payload.copy(store, request.offsetBytes);
        request.answer(PeerStatus.OK);
      }, 2);
    }
  };
  const [a, b] = await makePair(t as Tap.Test, echo, serve);
  b.connect('a');
  const random = new SeededRandom(3);
  const expected = Buffer.alloc(store.length);
  for (let at = 0; at < expected.length; at += 4) expected.writeUInt32LE(random.uint32(), at);
  const writeAll = async (chunk: number): Promise<void> => {
    const writes = [];
    for (let at = 0; at < store.length; at += chunk) {
      const request = write(chunk, at);
      request.payload = expected.subarray(at, at + chunk);
      writes.push(request.through(a, 'b').then(() => request.status));
    }
    t.ok((await Promise.all(writes)).every((status) => status === PeerStatus.OK));
  };
  for (const chunk of [4096, 64 * 1024, PEER_PAYLOAD_BYTES_MAX]) {
    store.fill(0);
    await writeAll(chunk);
    t.ok(store.equals(expected), `written by ${chunk}`);
    const back = Buffer.alloc(store.length);
    const reads = [];
    for (let at = 0; at < store.length; at += chunk) {
      const request = write(0, at);
      request.type = PeerType.READ;
      request.lengthBytes = chunk;
      request.into = back.subarray(at, at + chunk);
      reads.push(request.through(a, 'b'));
    }
    await Promise.all(reads);
    t.ok(back.equals(expected), `read by ${chunk}`);
  }
  const links = b.stats();
  t.ok(
    links.some((link) => link.isDialled && link.bytesIn > PEER_PAYLOAD_BYTES_MAX),
    'bulk took the link b dialled',
  );
  t.ok(links.every((link) => link.rttMs >= 0));
});

t.test('a lost link answers every request exactly once, never inside send()', async (t) => {
  const held: IncomingRequest[] = [];
  const [a, b, , port] = await makePair(t as Tap.Test, echo, (request) => void held.push(request));
  const requests = Array.from({ length: PEER_REQUESTS_MAX + 50 }, () => write(512));
  const done = requests.map((request) => request.through(a, 'b'));
  const room = (PEER_REQUESTS_MAX * 3) / 4; // what they may bring about finds some left
  await until('as many as may be are there', () => held.length >= room);
  t.equal(held.length, room, 'the rest waits in the sender');
  await b.close();
  await Promise.all(done);
  await sleep(systemClock, 5);
  t.ok(requests.every((request) => request.answers === 1 && request.status === PeerStatus.LINK_LOST));
  t.notOk(requests.some((request) => request.insideSend));
  for (const request of held) request.answer(PeerStatus.OK);
  const nobody = write(1);
  await nobody.through(a, 'nobody');
  t.match(nobody, { answers: 1, status: PeerStatus.LINK_LOST, insideSend: false });
  const successor = makeHub('b', echo, { incarnation: 'b-2' });
  t.teardown(() => successor.close());
  await successor.listen('127.0.0.1', port);
  const after = write(1);
  await after.through(a, 'b');
  t.equal(after.status, PeerStatus.OK, 'dialled again');
});

t.test('the byte budget holds requests back and lets them go', async (t) => {
  let bytes = 0;
  let most = 0;
  const [a] = await makePair(t as Tap.Test, echo, (request) => {
    bytes += request.payload.length;
    most = Math.max(most, bytes);
    setTimeout(() => {
      bytes -= request.payload.length;
      request.answer(PeerStatus.OK);
    }, 1);
  });
  const requests = Array.from({ length: 64 }, () => write(PEER_PAYLOAD_BYTES_MAX));
  await Promise.all(requests.map((request) => request.through(a, 'b')));
  t.ok(requests.every((request) => request.status === PeerStatus.OK));
  t.ok(most <= PEER_BYTES_MAX && most > PEER_PAYLOAD_BYTES_MAX, `${most} bytes at once`);
});

t.test('an overdue request fails with DEADLINE and takes the link with it', async (t) => {
  const [a] = await makePair(t as Tap.Test, echo, (request) => {
    if (request.type !== PeerType.FLUSH) request.answer(PeerStatus.OK);
  });
  const slow = write(0);
  slow.type = PeerType.FLUSH;
  slow.deadlineMs = 100;
  const other = write(0);
  other.type = PeerType.FLUSH;
  const startMs = systemClock.nowMs();
  const otherDone = other.through(a, 'b');
  await slow.through(a, 'b');
  t.equal(slow.status, PeerStatus.DEADLINE);
  t.ok(systemClock.nowMs() - startMs >= 100);
  await otherDone;
  t.equal(other.status, PeerStatus.LINK_LOST);
});

t.test('I8: a hello waits until the requests of the lost link are done', async (t) => {
  const held: IncomingRequest[] = [];
  const log: string[] = [];
  const b = makeHub('b', (request) => {
    if (request.type === PeerType.WRITE && held.length === 0) held.push(request);
    else {
      log.push(`served ${request.from}`);
      request.answer(PeerStatus.OK);
    }
  });
  const address = await b.listen('127.0.0.1', 0);
  // It finds sooner that nobody lets it in.
  const first = makeHub('a', echo, { clock: cutShort(PEER_DIAL_WAIT_MS, 250) });
  const second = makeHub('a', echo, { incarnation: 'a-2' });
  t.teardown(() => Promise.all([first.close(), second.close(), b.close()]));
  first.setAddress('b', address);
  second.setAddress('b', address);
  const late = write(512);
  const lateDone = late.through(first, 'b');
  await until('a request is held', () => held.length > 0);
  // The predecessor's link is still open at b: nothing has told b that the process is gone.
  const newer = write(512);
  const newerDone = newer.through(second, 'b');
  await sleep(systemClock, 60);
  t.same(log, [], 'nothing of the successor is served while a write of its predecessor may still land');
  await lateDone;
  t.equal(late.status, PeerStatus.LINK_LOST, 'the old link is closed at once');
  log.push('old write landed');
  held[0]?.answer(PeerStatus.OK);
  await newerDone;
  t.same(log, ['old write landed', 'served a']);
  const zombie = write(512);
  await zombie.through(first, 'b');
  t.equal(zombie.status, PeerStatus.LINK_LOST, 'a replaced incarnation is refused');
  t.same(log, ['old write landed', 'served a']);
});

t.test('I8: one broken link takes the other, and the next hello fences both', async (t) => {
  const held: IncomingRequest[] = [];
  let served = 0;
  const [a, b] = await makePair(t as Tap.Test, echo, (request) => {
    if (request.type === PeerType.COPY) held.push(request);
    else {
      served += 1;
      request.answer(PeerStatus.OK);
    }
  });
  b.connect('a');
  await until('a link stands', () => b.stats().length > 0);
  await write(1).through(a, 'b');
  served = 0;
  const copy = write(128 * 1024);
  copy.type = PeerType.COPY;
  copy.deadlineMs = 100;
  await copy.through(a, 'b');
  t.equal(copy.status, PeerStatus.DEADLINE);
  const after = write(1);
  const afterDone = after.through(a, 'b');
  await sleep(systemClock, 50);
  t.equal(served, 0, 'the copy may still land: nothing newer is served');
  held[0]?.answer(PeerStatus.OK);
  await afterDone;
  t.equal(after.status, PeerStatus.OK);
});

/** Sends bytes to a port, and resolves with what came back when the other side has closed. */
function talk(port: number, bytes: Buffer, cutAt = bytes.length): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const got: Buffer[] = [];
    const socket: Socket = connect({ host: '127.0.0.1', port });
    socket.on('data', (chunk: Buffer) => got.push(chunk));
    socket.on('close', () => resolve(Buffer.concat(got)));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error);
    });
    socket.write(bytes.subarray(0, cutAt));
    if (cutAt < bytes.length) setTimeout(() => socket.end(bytes.subarray(cutAt)), 1);
    else socket.end();
  });
}

function frame(type: number, payload: Buffer, change: (header: FrameHeader) => void = () => {}): Buffer {
  const header = new FrameHeader();
  header.type = type;
  header.payloadBytes = payload.length;
  header.token = HELLO_MAGIC;
  change(header);
  const bytes = Buffer.alloc(FRAME_HEADER_BYTES + payload.length);
  encodeHeader(header, bytes, 0);
  payload.copy(bytes, FRAME_HEADER_BYTES);
  addDigests(bytes, 0, payload);
  return bytes;
}

function refusalText(bytes: Buffer): string {
  const header = new FrameHeader();
  if (bytes.length < FRAME_HEADER_BYTES) return `only ${bytes.length} bytes`;
  decodeHeader(bytes, 0, header);
  return header.type === ControlType.REFUSAL
    ? bytes.subarray(FRAME_HEADER_BYTES).toString()
    : `type ${header.type}`;
}

t.test('I8: what an absent process had sent is over when endAbsent() resolves', async (t) => {
  const held: IncomingRequest[] = [];
  const [a, b] = await makePair(t as Tap.Test, echo, (request) => void held.push(request));
  const request = write(512);
  const answered = request.through(a, 'b');
  await until('a request is held', () => held.length > 0);
  const present = { name: 'a', incarnation: 'a-1' };
  await b.endAbsent([present]);
  t.equal(b.stats().length, 1, 'who is present is left alone');
  let isOver = false;
  const ending = b.endAbsent([{ ...present, incarnation: 'a-2' }]).then(() => (isOver = true));
  await answered;
  t.equal(request.status, PeerStatus.LINK_LOST, 'its sender is told at once');
  await sleep(systemClock, 20);
  t.notOk(isOver, 'but the request is still in service');
  held[0]?.answer(PeerStatus.OK);
  await ending;
  const again = write(512);
  const served = again.through(a, 'b');
  await until('two requests are held', () => held.length >= 2);
  held[1]?.answer(PeerStatus.OK);
  await served;
  t.equal(again.status, PeerStatus.OK, 'it may connect anew');
});

for (const name of ['FENCE', 'RESERVED', 'VACATE'] as const) {
  t.test(`I8: two of ${name} that take the other for absent do not wait for each other`, async (t) => {
    const held: IncomingRequest[] = [];
    const type = PeerType[name];
    const [a, b] = await makePair(t as Tap.Test, echo, (request) => void held.push(request));
    const asked = ask(a, 'b', { type }, Buffer.from('{}'));
    await until('a request is held', () => held.length > 0);
    await b.endAbsent([]); // in service of just such a request
    t.equal((await asked).status, PeerStatus.LINK_LOST);
    const again = ask(a, 'b', { type }, Buffer.from('{}'));
    await until('two requests are held', () => held.length >= 2);
    held[1]?.answer(PeerStatus.OK);
    t.equal((await again).status, PeerStatus.OK, 'nor does the next link wait for it');
    held[0]?.answer(PeerStatus.OK);
  });
}

t.test('a stranger is told why and turned away', async (t) => {
  const logged: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => void logged.push(line) });
  const b = makeHub('b', echo, { log });
  t.teardown(() => b.close());
  const { port } = await b.listen('127.0.0.1', 0);
  const hello = (change: object): Buffer => {
    const json = JSON.parse(
      encodeHello({ group: 'g', name: 'a', incarnation: 'a-1', verifier: '', digests: false }, 0).toString(),
    ) as object;
    return frame(ControlType.HELLO, Buffer.from(JSON.stringify({ ...json, ...change })));
  };
  const say = async (bytes: Buffer): Promise<string> => refusalText(await talk(port, bytes));
  t.match(await say(hello({ versionMin: 2, versionMax: 9 })), /peer protocol 2 to 9 is not spoken here/);
  t.match(logged, [/turned away/], 'and so is whoever reads the log');
  t.match(logged, [/peer protocol 2 to 9 is not spoken here \(1 to 1\)/]);
  t.match(await say(hello({ group: 'other' })), /this is group 'g', not 'other'/);
  t.match(await say(hello({ member: '../etc' })), /hello's member is wrong/);
  t.match(await say(frame(ControlType.HELLO, Buffer.from('{}'), (h) => (h.token = 1))), /wrong magic number/);
  t.match(await say(frame(ControlType.READY, Buffer.alloc(0))), /out of place/);
  t.match(await say(frame(PeerType.WRITE, Buffer.from('x'))), /a request before the hello/);
  t.match(
    await say(Buffer.from('GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8.0.0\r\nAccept: */*\r\n\r\n')),
    /peer frame/,
  );
  t.match(
    await say(frame(ControlType.HELLO, Buffer.alloc(2000, 32))),
    /a payload of 2000 bytes, at most 1024/,
  );
  const early = Buffer.concat([hello({}), frame(PeerType.WRITE, Buffer.from('x'))]);
  t.equal(await say(early), 'peer frame: a request before the hello');
});

t.test(
  'I11: who says hello under one name after the other is refused in the end, a member never',
  async (t) => {
    const b = makeHub('b');
    const a = makeHub('a');
    t.teardown(() => Promise.all([a.close(), b.close()]));
    const { port } = await b.listen('127.0.0.1', 0);
    const helloOf = (name: string): Buffer =>
      frame(
        ControlType.HELLO,
        encodeHello({ group: 'g', name, incarnation: `${name}-1`, verifier: '', digests: false }, 0),
      );
    let said = '';
    let names = 0;
    for (; names < 1000 && !said.includes('too many members'); names++)
      said = refusalText(await talk(port, helloOf(`s${names}`)));
    t.match(said, /'s\d+' is not one of the group's/);
    t.ok(names > 64, `${names} names`);
    b.setAddress('a', await a.listen('127.0.0.1', 0));
    a.setAddress('b', { host: '127.0.0.1', port });
    const request = write(8);
    await request.through(a, 'b');
    t.equal(request.status, PeerStatus.OK, 'the address book knows it');
  },
);

t.test('I11: hostile bytes, however cut, cost a closed connection and nothing else', async (t) => {
  let served = 0;
  const [a, , , port] = await makePair(t as Tap.Test, echo, (request) => {
    served += 1;
    request.answer(PeerStatus.OK);
  });
  await write(1).through(a, 'b');
  const hello = frame(
    ControlType.HELLO,
    encodeHello({ group: 'g', name: '', incarnation: 'm', verifier: '', digests: false }, 0),
  );
  const ready = frame(ControlType.READY, Buffer.alloc(0));
  const seed = 20261123;
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ minLength: FRAME_HEADER_BYTES, maxLength: 300 }),
      fc.boolean(),
      fc.nat(),
      async (noise, isGreeted, cut) => {
        // Greeted: a valid frame's start with a hostile rest, so that it is not just the first check that refuses.
        const bytes = isGreeted ? Buffer.concat([hello, ready, Buffer.from(noise)]) : Buffer.from(noise);
        await talk(port, bytes, cut % bytes.length);
        const request = write(8);
        await request.through(a, 'b');
        return request.status === PeerStatus.OK;
      },
    ),
    { seed, numRuns: 60 },
  );
  t.ok(served >= 60, `seed ${seed}`);
  const huge = frame(PeerType.READ, Buffer.alloc(0), (h) => (h.lengthBytes = PEER_PAYLOAD_BYTES_MAX + 1));
  const answerToNothing = frame(PeerType.READ, Buffer.alloc(0), (h) => (h.isAnswer = true));
  for (const bad of [huge, answerToNothing, hello, ready]) {
    await talk(port, Buffer.concat([hello, ready, bad]));
  }
});

t.test('a member at the wrong address is not taken for another', async (t) => {
  const [a, b, , port] = await makePair(t as Tap.Test, echo, echo, cutShort(PEER_DIAL_WAIT_MS, 250));
  a.setAddress('c', { host: '127.0.0.1', port });
  const request = write(1);
  await request.through(a, 'c');
  t.equal(request.status, PeerStatus.LINK_LOST);
  a.setAddress('b', null);
  const gone = write(1);
  await gone.through(a, 'b');
  t.equal(gone.status, PeerStatus.LINK_LOST, 'a forgotten member');
  t.equal(b.stats().length, 0);
});

t.test('the management process asks, and is asked nothing', async (t) => {
  const b = makeHub('b', (request) =>
    request.answer(PeerStatus.OK, Buffer.from(JSON.stringify({ from: request.from }))),
  );
  const m = makeHub('', echo, { incarnation: 'manage' });
  t.teardown(() => Promise.all([b.close(), m.close()]));
  m.setAddress('b', await b.listen('127.0.0.1', 0));
  t.same(await askJson(m, 'b', { type: PeerType.QUERY }, { what: 'stats' }), { from: '' });
});

t.test('a taken port is BUSY', async (t) => {
  const server: Server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const b = makeHub('b');
  await t.rejects(b.listen('127.0.0.1', (server.address() as AddressInfo).port), { code: 'BUSY' });
});

t.test('a silent end is dead, a stall of our own loop is not silence', async (t) => {
  const pulse = new Pulse();
  pulse.start(0);
  let clockMs = 0;
  const run = (ticks: number, stepMs: number): void => {
    for (let i = 0; i < ticks; i++) pulse.tick((clockMs += stepMs));
  };
  run(40, 200);
  t.notOk(pulse.isDead(false), 'nothing is awaited');
  t.ok(pulse.isPingDue);
  pulse.heard();
  pulse.pinged(clockMs);
  run(1, 60_000);
  t.notOk(pulse.isDead(true), 'one tick that came a minute late is one tick');
  run(30, 200);
  t.ok(pulse.isDead(false), 'six seconds without an answer to the ping');
  pulse.heard();
  t.notOk(pulse.isDead(true));
});
