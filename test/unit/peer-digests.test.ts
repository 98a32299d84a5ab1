/** Digests of peer frames: who wants them gets them, a frame with any bit flipped is not acted on, and I/O outlives it. */
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { BlockferryError } from '../../lib/base/errors.js';
import { submitAndWait } from '../../lib/block/device.js';
import { PeerStatus, PeerType } from '../../lib/peer/contract.js';
import {
  ControlType,
  FRAME_HEADER_BYTES,
  FrameHeader,
  addDigests,
  encodeHeader,
} from '../../lib/peer/frame.js';
import { decodeHello, encodeHello, negotiate, HELLO_MAGIC } from '../../lib/peer/hello.js';
import { HolderService } from '../../lib/peer/holder-service.js';
import type { Hub } from '../../lib/peer/hub.js';
import { FrameParser } from '../../lib/peer/parser.js';
import { RemoteSlot } from '../../lib/peer/remote-slot.js';
import { MemberIds } from '../../lib/routing/member-ids.js';
import { Route } from '../../lib/routing/route.js';
import { VolumeTraffic } from '../../lib/load/traffic.js';
import { LocalSlot } from '../../lib/volume/local-slot.js';
import { Volume } from '../../lib/volume/volume.js';
import {
  FlippingWire,
  echo,
  makeHub,
  settledVolume,
  write,
  type Handler,
  type HubChoices,
} from '../support/peer-rig.js';
import { RamDevice } from '../support/ram-device.js';

/** What is in the header, by its first byte: a flip of each kind must be seen for what it is. */
const FIELDS = {
  ...{ payloadBytes: 2, type: 4, flags: 5, status: 6, reserved: 7, requestId: 8, volumeId: 12, extent: 16 },
  ...{ token: 20, epoch: 24, offsetBytes: 32, lengthBytes: 40, payloadDigest: 44, headerDigest: 48 },
};

/** a dials b over a wire that can flip bits; b has no address of a. */
async function makeWired(t: Test, handle: Handler, a: HubChoices, b: HubChoices) {
  const near = makeHub('a', echo, a);
  const far = makeHub('b', handle, b);
  const wire = new FlippingWire(await far.listen('127.0.0.1', 0));
  near.setAddress('b', await wire.listen());
  t.teardown(async () => {
    await Promise.all([near.close(), far.close()]);
    wire.close();
  });
  return { near, far, wire };
}

async function send(hub: Hub, bytes: number): Promise<number> {
  const request = write(bytes, 4096);
  await request.through(hub, 'b');
  return request.status;
}

t.test('a parser gives its reader no frame with a flipped bit', async (t) => {
  const payload = Buffer.from('sixteen bytes...');
  const header = new FrameHeader();
  Object.assign(header, {
    type: PeerType.WRITE,
    payloadBytes: payload.length,
    epoch: 2 ** 40,
    requestId: 77,
  });
  const frame = Buffer.alloc(FRAME_HEADER_BYTES + payload.length);
  encodeHeader(header, frame, 0);
  payload.copy(frame, FRAME_HEADER_BYTES);
  addDigests(frame, 0, payload);
  /** What the reader was told, and what the parser said. */
  const read = (bytes: Buffer, cutAt: number): string => {
    const told: string[] = [];
    const sink = {
      begin: () => (told.push('begin'), null),
      end: (_: FrameHeader, got: Buffer) => void told.push(got.toString()),
    };
    const parser = new FrameParser(sink, 1024);
    try {
      parser.push(Buffer.from(bytes.subarray(0, cutAt)));
      parser.push(Buffer.from(bytes.subarray(cutAt)));
    } catch (error) {
      if (!(error instanceof BlockferryError) || error.code !== 'PROTOCOL') throw error;
      told.push(error.message);
    }
    return told.join();
  };
  for (const cutAt of [0, 30, 60]) {
    t.equal(read(frame, cutAt), `begin,${payload.toString()}`, `whole, cut at ${cutAt}`);
    const wrong = new Map<string, number>();
    for (let bit = 0; bit < frame.length * 8; bit++) {
      const flipped = Buffer.from(frame);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const said = read(flipped, cutAt);
      wrong.set(said, (wrong.get(said) ?? 0) + 1);
    }
    t.strictSame(
      Object.fromEntries(wrong),
      {
        'peer frame: the digest of its header is wrong': FRAME_HEADER_BYTES * 8,
        'begin,peer frame: the digest of its payload is wrong': payload.length * 8,
      },
      'every bit of the header, then every bit of the payload',
    );
  }
});

t.test('digests are used when either end wants them', async (t) => {
  const self = (digests: boolean) => ({ group: 'g', name: 'a', incarnation: 'i', verifier: '', digests });
  for (const ours of [false, true]) {
    for (const theirs of [false, true]) {
      const hello = decodeHello(HELLO_MAGIC, encodeHello(self(theirs), 0));
      const wanted = { version: 1, digests: ours || theirs };
      t.strictSame(negotiate(self(ours), hello), wanted, `we ${ours}, they ${theirs}`);
      const { near, far, wire } = await makeWired(t, echo, { digests: ours }, { digests: theirs });
      t.equal(await send(near, 100), PeerStatus.OK);
      t.equal(near.stats()[0]?.digests, wanted.digests, 'by the dialler');
      t.equal(far.stats()[0]?.digests, wanted.digests, 'and by the other end');
      wire.flip = { type: PeerType.WRITE, isAnswer: false, byte: FRAME_HEADER_BYTES + 50, bit: 3 };
      const after = await send(near, 100);
      t.equal(after, wanted.digests ? PeerStatus.LINK_LOST : PeerStatus.OK, 'and it shows');
    }
  }
  t.throws(() => decodeHello(HELLO_MAGIC, Buffer.from('{"digests":1}')), { code: 'PROTOCOL' });
});

t.test('a flipped frame ends the link and nothing of it is acted on', async (t) => {
  const served: string[] = [];
  const said: string[] = [];
  const log = pino({ level: 'info' }, { write: (line) => void said.push(line) });
  const serve: Handler = (request) => {
    served.push(
      `${request.type} ${request.volumeId} ${request.offsetBytes} ${request.payload.toString('hex')}`,
    );
    request.answer(PeerStatus.OK, request.payload);
  };
  const { near, wire } = await makeWired(t, serve, { digests: true, log }, { log });
  t.equal(await send(near, 8), PeerStatus.OK);
  const right = served[0];
  const payload = { first: FRAME_HEADER_BYTES, last: FRAME_HEADER_BYTES + 7 };
  for (const isAnswer of [false, true]) {
    for (const [name, byte] of Object.entries({ ...FIELDS, ...payload })) {
      served.length = said.length = 0;
      wire.flip = { type: PeerType.WRITE, isAnswer, byte, bit: byte % 8 };
      const what = `${name} of ${isAnswer ? 'an answer' : 'a request'}`;
      t.equal(await send(near, 8), PeerStatus.LINK_LOST, what);
      t.equal(await send(near, 8), PeerStatus.OK, 'the link is made again');
      t.strictSame(new Set(served), new Set([right]), 'only whole requests were served');
      t.equal(served.length, isAnswer ? 2 : 1);
      const part = byte < FRAME_HEADER_BYTES ? 'header' : 'payload';
      t.match(said.join(''), new RegExp(`"why":"peer frame: the digest of its ${part} is wrong"`));
    }
  }
});

t.test('the handshake is covered whether digests are wanted or not', async (t) => {
  for (const [type, bytes] of [
    [ControlType.HELLO, [4, FRAME_HEADER_BYTES + 20]],
    [ControlType.WELCOME, [20, FRAME_HEADER_BYTES + 60]],
    [ControlType.READY, [24, 48]], // 24: the round, which a fence goes by
  ] as const) {
    for (const byte of bytes) {
      const { near, wire } = await makeWired(t, echo, {}, {});
      wire.flip = { type, isAnswer: false, byte, bit: 0 };
      // Who has sent READY takes the link for open.
      if (type === ControlType.READY) t.equal(await send(near, 8), PeerStatus.LINK_LOST);
      t.equal(await send(near, 8), PeerStatus.OK, `frame ${type}, byte ${byte}: dialled again`);
      t.equal(wire.flip, null, 'the bit was flipped');
      t.equal(near.stats()[0]?.digests, false);
    }
  }
});

t.test("a volume's I/O outlives flipped frames", async (t) => {
  const extentBytes = 64 * 1024;
  const geometry = { sizeBytes: 4 * extentBytes, blockBytes: 512, extentBytes };
  const ids = new MemberIds();
  const route = Route.fromRecords(ids, { epoch: 1, home: 'b', base: 'b', extents: 4 }, 1, new Map());
  const ram = new RamDevice(geometry.sizeBytes);
  const local = new LocalSlot(new VolumeTraffic(systemClock, 4096));
  local.opened(ram);
  const held = new Volume(geometry, route, ids.idOf('b'), local, () => local);
  const holder = new HolderService({
    volumeById: () => held,
    serving: true,
    refresh: (_id, done) => setImmediate(done),
  });
  const handle: Handler = (request) => holder.handle(request);
  const { near, wire } = await makeWired(t, handle, { digests: true }, {});
  const remote = new RemoteSlot(near, 'b', settledVolume(geometry.blockBytes), systemClock);
  const volume = new Volume(
    geometry,
    route,
    ids.idOf('a'),
    new LocalSlot(new VolumeTraffic(systemClock, 4096)),
    () => remote,
  );
  const blockBytes = 32 * 1024; // more than goes through the slab
  const blocks = geometry.sizeBytes / blockBytes;
  for (const [type, isAnswer, byte] of [
    [PeerType.WRITE, false, FIELDS.offsetBytes + 1],
    [PeerType.WRITE, false, FRAME_HEADER_BYTES + 4000],
    [PeerType.WRITE, true, FIELDS.status],
    [PeerType.READ, false, FIELDS.lengthBytes + 1],
    [PeerType.READ, true, FIELDS.requestId],
    [PeerType.READ, true, FRAME_HEADER_BYTES + 8191],
  ] as const) {
    const content = (block: number): Buffer => Buffer.alloc(blockBytes, (block + byte) & 0xff);
    const back = Buffer.alloc(geometry.sizeBytes);
    const each = (op: 'read' | 'write') =>
      Promise.all(
        Array.from({ length: blocks }, (_, block) => {
          const at = block * blockBytes;
          const data = op === 'write' ? content(block) : back.subarray(at, at + blockBytes);
          return submitAndWait(volume, op, at, blockBytes, data);
        }),
      );
    wire.flip = { type, isAnswer, byte, bit: 4 };
    await each('write');
    await each('read');
    t.equal(wire.flip, null, 'the bit was flipped');
    const wanted = Buffer.concat(Array.from({ length: blocks }, (_, block) => content(block)));
    t.ok(back.equals(wanted) && ram.bytes.equals(wanted), `frame ${type}, byte ${byte}: every byte is right`);
  }
});
