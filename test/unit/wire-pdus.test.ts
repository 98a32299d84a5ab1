/** Every PDU against vectors written by hand from the RFC; the framer at every cut, with digests, limits and pauses. */
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import t from 'tap';
import * as asyncMessage from '../../lib/iscsi/wire/async-message.js';
import { BHS_BYTES, decodeBhs, paddedLength } from '../../lib/iscsi/wire/bhs.js';
import * as dataIn from '../../lib/iscsi/wire/data-in.js';
import * as dataOut from '../../lib/iscsi/wire/data-out.js';
import { describePdu } from '../../lib/iscsi/wire/describe.js';
import { bundledCrc32c, crc32cJoiner, loadIsal } from '../../lib/base/crc32c.js';
import { dataCrc32c, headerCrc32c, writeDigest } from '../../lib/iscsi/wire/digests.js';
import { Framer, type FramerSink } from '../../lib/iscsi/wire/framer.js';
import * as login from '../../lib/iscsi/wire/login.js';
import * as logout from '../../lib/iscsi/wire/logout.js';
import * as nop from '../../lib/iscsi/wire/nop.js';
import * as r2t from '../../lib/iscsi/wire/r2t.js';
import * as reject from '../../lib/iscsi/wire/reject.js';
import * as scsi from '../../lib/iscsi/wire/scsi.js';
import * as taskManagement from '../../lib/iscsi/wire/task-management.js';
import * as text from '../../lib/iscsi/wire/text.js';

interface Vector {
  pdu: string;
  section: string;
  words: string[];
  data: string;
  fields: Record<string, unknown>;
}

const vectors = JSON.parse(readFileSync('fixtures/pdu/vectors.json', 'utf8')) as Vector[];
const codecs: Record<string, unknown> = {
  ...asyncMessage,
  ...dataIn,
  ...dataOut,
  ...login,
  ...logout,
  ...nop,
  ...r2t,
  ...reject,
  ...scsi,
  ...taskManagement,
  ...text,
};

const headerOf = (vector: Vector): Buffer => Buffer.from(vector.words.join('').replaceAll(' ', ''), 'hex');
const fieldsOf = (vector: Vector): Record<string, unknown> =>
  'cdb' in vector.fields
    ? { ...vector.fields, cdb: Buffer.from(String(vector.fields.cdb), 'hex') }
    : vector.fields;

/** A PDU as it stands on the wire, padded, with the digests asked for: by its own arithmetic, not the framer's. */
function wireBytes(header: Buffer, data: Buffer, headerDigest: boolean, dataDigest: boolean): Buffer {
  const parts = [header];
  const digestOf = (bytes: Buffer): Buffer => {
    const digest = Buffer.alloc(4);
    writeDigest(digest, 0, dataCrc32c(bytes));
    return digest;
  };
  if (headerDigest) parts.push(digestOf(header));
  if (data.length > 0) {
    const padded = Buffer.alloc(Math.ceil(data.length / 4) * 4);
    data.copy(padded);
    parts.push(padded);
    if (dataDigest) parts.push(digestOf(padded));
  }
  return Buffer.concat(parts);
}

interface Delivered {
  bhs: string;
  data: string;
  digestOk: boolean;
}

class Collector implements FramerSink {
  readonly delivered: Delivered[] = [];
  readonly errors: string[] = [];
  headers = 0;
  constructor(private readonly destination: (length: number) => Buffer | null = () => null) {}
  header(_bhs: Buffer, dataSegmentLength: number): Buffer | null {
    this.headers += 1;
    return this.destination(dataSegmentLength);
  }
  payload(bhs: Buffer, data: Buffer, digestOk: boolean): void {
    this.delivered.push({ bhs: bhs.toString('hex'), data: data.toString('hex'), digestOk });
  }
  framingError(reason: string): void {
    this.errors.push(reason);
  }
}

/** Pushes as a socket with one buffer does: when push() is back, the bytes are gone. */
function lend(framer: Framer, chunk: Buffer): void {
  const buffer = Buffer.from(chunk);
  framer.push(buffer);
  buffer.fill(0xee);
}

t.test('every PDU of RFC 7143 11 has a vector', async (t) => {
  const covered = new Set(vectors.map((vector) => vector.pdu));
  const decoders = Object.keys(codecs).filter((name) => name.startsWith('decode'));
  t.strictSame(decoders.map((name) => name.slice('decode'.length)).sort(), [...covered].sort());
});

for (const vector of vectors) {
  t.test(`${vector.pdu} (${vector.section})`, async (t) => {
    const header = headerOf(vector);
    const decode = codecs[`decode${vector.pdu}`] as (bhs: Buffer, at?: number) => object;
    const encode = codecs[`encode${vector.pdu}`] as (pdu: object, into: Buffer, at?: number) => void;
    t.strictSame(decode(header), fieldsOf(vector), 'decoded');
    t.strictSame(
      decode(Buffer.concat([Buffer.alloc(5, 0xee), header]), 5),
      fieldsOf(vector),
      'decoded at an offset',
    );
    const into = Buffer.alloc(BHS_BYTES + 10, 0xff);
    encode(fieldsOf(vector), into, 5);
    t.equal(
      into.toString('hex'),
      `${'ff'.repeat(5)}${header.toString('hex')}${'ff'.repeat(5)}`,
      'encoded in its place',
    );
    t.throws(() => decode(header.subarray(0, 8)), 'a cut header is not read');

    const common = decodeBhs(header);
    t.equal(common.dataSegmentLength, vector.data.length / 2);
    t.match(describePdu(header), new RegExp(`^[A-Z_0-9]+ .*itt=0x${common.initiatorTaskTag.toString(16)}`));

    const data = Buffer.from(vector.data, 'hex');
    const expected = { bhs: header.toString('hex'), data: vector.data, digestOk: true };
    for (const digests of [false, true]) {
      const wire = wireBytes(header, data, digests, digests);
      for (let cut = 0; cut <= wire.length; cut++) {
        const sink = new Collector();
        const framer = new Framer(sink, 8192);
        framer.setDigests(digests, digests);
        lend(framer, wire.subarray(0, cut));
        if (cut < wire.length && sink.delivered.length > 0) t.fail(`delivered after ${cut} bytes`);
        const inside = cut > 0 && cut < wire.length;
        if (framer.insidePdu !== inside) t.fail(`wrong about being inside at ${cut}`);
        lend(framer, wire.subarray(cut));
        t.strictSame(sink.delivered, [expected], `cut at ${cut}`);
      }
    }
  });
}

t.test('describePdu never throws, whatever the header', async (t) => {
  const seed = 20260101;
  t.comment(`seed ${seed}`);
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 0, maxLength: 64 }),
      (bytes) => describePdu(Buffer.from(bytes)).length > 0,
    ),
    { seed, numRuns: 500 },
  );
});

t.test('CRC32C: the vectors of RFC 7143 B.4, both implementations', async (t) => {
  const iscsiRead = Buffer.from(
    '01c00000000000000000000000000000140000000000040000000014000000182800000000000000' + '0200000000000000',
    'hex',
  );
  const cases: [string, Buffer, string][] = [
    ['check value', Buffer.from('123456789'), '839206e3'],
    ['32 zeros', Buffer.alloc(32), 'aa36918a'],
    ['32 ones', Buffer.alloc(32, 0xff), '43aba862'],
    ['rising', Buffer.from(Array.from({ length: 32 }, (_, i) => i)), '4e79dd46'],
    ['falling', Buffer.from(Array.from({ length: 32 }, (_, i) => 31 - i)), '5cdb3f11'],
    ['an iSCSI READ(10) header', iscsiRead, '563a96d9'],
  ];
  for (const [name, bytes, onTheWire] of cases) {
    for (const crc of [headerCrc32c(bytes, 0, bytes.length), dataCrc32c(bytes)]) {
      const digest = Buffer.alloc(4);
      writeDigest(digest, 0, crc);
      t.equal(digest.toString('hex'), onTheWire, name);
    }
    t.equal(
      dataCrc32c(bytes.subarray(5), dataCrc32c(bytes.subarray(0, 5))),
      dataCrc32c(bytes),
      `${name}, continued`,
    );
  }
});

t.test(
  'digests of data: two routines say the same, and two stretches in a row need no third look',
  async (t) => {
    const isal = loadIsal();
    if (isal === null) t.comment('libisal2 is not installed: only the routine that comes with us is tried');
    for (const secondBytes of [1, 3, 512, 4096]) {
      const joined = crc32cJoiner(secondBytes);
      fc.assert(
        fc.property(
          fc.uint8Array({ maxLength: 300 }),
          fc.uint8Array({ minLength: secondBytes, maxLength: secondBytes }),
          (first, second) => {
            const both = Buffer.concat([first, second]);
            const crc = headerCrc32c(both, 0, both.length);
            if (bundledCrc32c(both, 0) !== crc || bundledCrc32c(second, bundledCrc32c(first, 0)) !== crc)
              return false;
            // At odd addresses, too.
            const odd = Buffer.concat([Buffer.alloc(1), both]).subarray(1);
            if (isal !== null && isal(odd, 0) !== crc) return false;
            if (isal !== null && (isal(both, 0) !== crc || isal(second, isal(first, 0)) !== crc))
              return false;
            return joined(dataCrc32c(first), dataCrc32c(second)) >>> 0 === crc;
          },
        ),
        { numRuns: 50 },
      );
    }
  },
);

const pduArbitrary = fc.record({
  ahsWords: fc.constantFrom(0, 0, 0, 1, 4, 255),
  data: fc.oneof(fc.uint8Array({ maxLength: 64 }), fc.uint8Array({ minLength: 2000, maxLength: 3000 })),
  corruptData: fc.boolean(),
});

t.test('any stream, any cuts, any digests: the same PDUs, from views or into destinations', async (t) => {
  const seed = 4711;
  t.comment(`seed ${seed}`);
  const cuts = fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(
      fc.array(pduArbitrary, { minLength: 1, maxLength: 6 }),
      cuts,
      fc.boolean(),
      fc.boolean(),
      fc.boolean(),
      fc.boolean(),
      (pdus, cuts, headerDigest, dataDigest, intoDestination, pausing) => {
        const expected: Delivered[] = [];
        const wire = Buffer.concat(
          pdus.map(({ ahsWords, data, corruptData }, index) => {
            const header = Buffer.alloc(BHS_BYTES + ahsWords * 4, 0x5a);
            header.writeUInt32BE(((ahsWords << 24) | data.length) >>> 0, 4);
            header.writeUInt32BE(index, 16);
            const bytes = wireBytes(header, Buffer.from(data), headerDigest, dataDigest);
            const corrupt = corruptData && dataDigest && data.length > 0;
            const seen = Buffer.from(data);
            if (corrupt) {
              const at = bytes.length - 4 - paddedLength(data.length);
              bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
              seen.writeUInt8(seen.readUInt8(0) ^ 1, 0);
            }
            expected.push({ bhs: header.toString('hex'), data: seen.toString('hex'), digestOk: !corrupt });
            return bytes;
          }),
        );
        const sink = new Collector(intoDestination ? (length) => Buffer.alloc(length) : () => null);
        const framer = new Framer(sink, 4096);
        if (pausing) {
          const payload = sink.payload.bind(sink);
          sink.payload = (bhs, data, ok) => {
            payload(bhs, data, ok);
            framer.pause();
          };
        }
        framer.setDigests(headerDigest, dataDigest);
        for (let at = 0, i = 0; at < wire.length; i++) {
          const length = cuts[i % cuts.length] ?? 1;
          lend(framer, wire.subarray(at, at + length));
          at += length;
        }
        for (let i = 0; i < pdus.length; i++) framer.resume();
        t.strictSame(sink.delivered, expected);
        return sink.errors.length === 0 && !framer.insidePdu;
      },
    ),
    { seed, numRuns: 150 },
  );
});

const plainPdu = (length: number): Buffer => {
  const header = Buffer.alloc(BHS_BYTES);
  header.writeUInt32BE(length, 4);
  return Buffer.concat([header, Buffer.alloc(paddedLength(length), 7)]);
};

t.test('framer: limits, stops and switches', async (t) => {
  t.test('a data segment over the limit is refused before the sink hears of it', async (t) => {
    const sink = new Collector();
    const framer = new Framer(sink, 100);
    framer.push(plainPdu(100));
    framer.push(plainPdu(101).subarray(0, BHS_BYTES));
    framer.push(plainPdu(4));
    t.equal(sink.headers, 1);
    t.equal(sink.delivered.length, 1);
    t.match(sink.errors, ['data segment of 101 bytes, over the limit of 100']);
    t.ok(framer.stopped);
  });

  t.test('a wrong header digest ends the stream', async (t) => {
    const sink = new Collector();
    const framer = new Framer(sink, 100);
    framer.setDigests(true, false);
    const wire = wireBytes(Buffer.alloc(BHS_BYTES), Buffer.alloc(0), true, false);
    wire.writeUInt8(1, 20);
    framer.push(wire);
    t.strictSame([sink.headers, sink.errors], [0, ['header digest error']]);
  });

  t.test('whole PDUs are views of the chunk; a destination is filled in place', async (t) => {
    const chunk = Buffer.concat([plainPdu(8), plainPdu(4)]);
    const views: Buffer[] = [];
    const destination = Buffer.alloc(4);
    const sink: FramerSink = {
      header: (_bhs, length) => (length === 4 ? destination : null),
      payload: (bhs, data) => void views.push(bhs, data),
      framingError: (reason) => t.fail(reason),
    };
    new Framer(sink, 100).push(chunk);
    t.equal(views.length, 4);
    for (const view of views.slice(0, 3)) t.equal(view.buffer, chunk.buffer);
    t.equal(views[3], destination);
    t.equal(destination.toString('hex'), '07070707');
  });

  t.test('digests switched on in a callback hold from the next PDU of the same chunk', async (t) => {
    const sink = new Collector();
    const framer = new Framer(sink, 100);
    const header = Buffer.alloc(BHS_BYTES);
    header.writeUInt32BE(3, 4);
    const data = Buffer.from('abc');
    sink.header = () => {
      framer.setDigests(true, true);
      return null;
    };
    framer.push(Buffer.concat([wireBytes(header, data, false, false), wireBytes(header, data, true, true)]));
    t.strictSame(
      sink.delivered.map((pdu) => pdu.digestOk),
      [true, true],
    );
    t.notOk(framer.insidePdu);
  });

  t.test('pause in header() holds the payload back, even when there is none', async (t) => {
    for (const length of [0, 4]) {
      const sink = new Collector();
      const framer = new Framer(sink, 100);
      sink.header = () => {
        framer.pause();
        return null;
      };
      framer.push(plainPdu(length));
      t.equal(sink.delivered.length, 0);
      framer.resume();
      t.equal(sink.delivered.length, 1);
    }
  });

  t.test('stop in a callback drops the rest; a sink that throws is not called again', async (t) => {
    const stopping = new Collector();
    const framer = new Framer(stopping, 100);
    stopping.payload = () => framer.stop();
    framer.push(Buffer.concat([plainPdu(4), plainPdu(4)]));
    t.equal(stopping.headers, 1);

    const throwing = new Collector();
    throwing.payload = () => {
      throw new Error('lost');
    };
    const other = new Framer(throwing, 100);
    t.throws(() => other.push(Buffer.concat([plainPdu(4), plainPdu(4)])), { message: 'lost' });
    other.push(plainPdu(4));
    t.equal(throwing.headers, 1);
    t.ok(other.stopped);
  });

  t.test('resume and push inside a callback do not recurse', async (t) => {
    const sink = new Collector();
    const framer = new Framer(sink, 100);
    let depth = 0;
    sink.payload = () => {
      depth += 1;
      t.equal(depth, 1);
      framer.pause();
      framer.resume();
      if (sink.headers < 50) framer.push(plainPdu(4));
      depth -= 1;
    };
    framer.push(plainPdu(4));
    t.equal(sink.headers, 50);
  });

  t.test('a hundred thousand PDUs in one chunk do not grow the stack', async (t) => {
    const sink = new Collector();
    let count = 0;
    sink.payload = () => void (count += 1);
    new Framer(sink, 0).push(Buffer.alloc(BHS_BYTES * 100_000));
    t.equal(count, 100_000);
  });
});
