/** Integers in byte buffers, against Buffer's own methods. */
import fc from 'fast-check';
import t from 'tap';
import * as bytes from '../../lib/base/bytes.js';

type Reader = (from: Buffer, at: number) => number;
type Writer = (into: Buffer, value: number, at: number) => unknown;

interface Kind {
  readonly name: string;
  readonly size: number;
  readonly read: Reader;
  readonly put: Writer;
  readonly bufferReads: Reader;
  readonly bufferWrites: Writer;
}

const KINDS: readonly Kind[] = [
  {
    ...{ name: '8', size: 1, read: bytes.uint8, put: bytes.putUint8 },
    bufferReads: (from, at) => from.readUInt8(at),
    bufferWrites: (into, value, at) => into.writeUInt8(value, at),
  },
  {
    ...{ name: '16', size: 2, read: bytes.uint16, put: bytes.putUint16 },
    bufferReads: (from, at) => from.readUInt16BE(at),
    bufferWrites: (into, value, at) => into.writeUInt16BE(value, at),
  },
  {
    ...{ name: '24', size: 3, read: bytes.uint24, put: bytes.putUint24 },
    bufferReads: (from, at) => from.readUIntBE(at, 3),
    bufferWrites: (into, value, at) => into.writeUIntBE(value, at, 3),
  },
  {
    ...{ name: '32', size: 4, read: bytes.uint32, put: bytes.putUint32 },
    bufferReads: (from, at) => from.readUInt32BE(at),
    bufferWrites: (into, value, at) => into.writeUInt32BE(value, at),
  },
  {
    ...{ name: '32 little-endian', size: 4, read: bytes.uint32Le, put: bytes.putUint32Le },
    bufferReads: (from, at) => from.readUInt32LE(at),
    bufferWrites: (into, value, at) => into.writeUInt32LE(value, at),
  },
];

const LENGTH = 12;
const content = fc.uint8Array({ minLength: LENGTH, maxLength: LENGTH }).map((array) => Buffer.from(array));

for (const { name, size, read, put, bufferReads, bufferWrites } of KINDS) {
  t.test(`${name} bits are what Buffer reads and writes`, async (t) => {
    const value = fc.integer({ min: 0, max: 2 ** (8 * size) - 1 });
    const edges = fc.constantFrom(0, 1, 0x7f, 0x80, 2 ** (8 * size - 1), 2 ** (8 * size) - 1);
    const isSame = fc.property(
      ...([content, fc.oneof(value, edges), fc.nat(LENGTH - size)] as const),
      (before, number, at) => {
        const ours = Buffer.from(before);
        const its = Buffer.from(before);
        put(ours, number, at);
        bufferWrites(its, number, at);
        return read(before, at) === bufferReads(before, at) && ours.equals(its) && read(ours, at) === number;
      },
    );
    t.doesNotThrow(() => fc.assert(isSame, { seed: 20261129 }));
  });

  t.test(`${name} bits: what does not fit is refused, and nothing written`, async (t) => {
    const into = Buffer.alloc(LENGTH, 0x55);
    for (const at of [LENGTH - size + 1, LENGTH, LENGTH + 1]) {
      t.throws(() => read(into, at), RangeError, `read at ${at}`);
      t.throws(() => put(into, 1, at), RangeError, `written at ${at}`);
    }
    for (const value of [-1, 2 ** (8 * size), 1.5, NaN, Infinity])
      t.throws(() => put(into, value, 0), RangeError, String(value));
    t.ok(into.equals(Buffer.alloc(LENGTH, 0x55)));
  });
}

t.test('64 bits are two halves', async (t) => {
  const into = Buffer.alloc(8);
  for (const value of [0, 1, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1]) {
    bytes.putUint64(into, value, 0);
    t.equal(into.readBigUInt64BE(0), BigInt(value));
    t.equal(bytes.uint64(into, 0), value);
  }
  t.throws(() => bytes.putUint64(into, -1, 0), RangeError);
  t.throws(() => bytes.putUint64(into, 2 ** 64, 0), RangeError);
  t.throws(() => bytes.uint64(into, 1), RangeError);
});
