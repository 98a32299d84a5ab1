/**
 * The contract of lib/block/device.ts as a suite that every BlockDevice passes: RAM, sparse file, volume, remote extent.
 * It looks only at what a submitter can see; what stays after a crash is each implementation's own test.
 */
import fc from 'fast-check';
import type { Test } from 'tap';
import {
  type BlockDevice,
  BlockIo,
  type BlockOp,
  type IoError,
  submitAndWait,
} from '../../lib/block/device.js';

/** A device under test, writable, at least 256 KiB, never written before; close() gives back what it holds. */
export interface OpenedDevice {
  readonly device: BlockDevice;
  close(): Promise<void>;
}

export type MakeDevice = () => Promise<OpenedDevice>;

/** Change it to try other runs; a failure prints the one that matters. */
const SEED = 20261123;

/** Counts its completions, so that a device which completes twice is caught. */
class CountedIo extends BlockIo {
  completions = 0;
  error: IoError | null = null;
  private settle: (() => void) | null = null;

  /** Resolves once the device has completed this request and has had a moment to do it again. */
  async submitTo(device: BlockDevice): Promise<void> {
    this.completions = 0;
    const done = new Promise<void>((resolve) => (this.settle = resolve));
    device.submit(this);
    await done;
    await new Promise((resolve) => setImmediate(resolve));
  }

  protected override completed(error: IoError | null): void {
    this.completions += 1;
    this.error = error;
    this.settle?.();
  }
}

/** `length` bytes that differ by position and by `tag`. */
export function pattern(length: number, tag: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (Math.imul(i + 1, 31) + Math.imul(tag, 97) + (i >>> 8)) & 0xff;
  return bytes;
}

export async function readBytes(
  device: Pick<BlockDevice, 'submit'>,
  offset: number,
  length: number,
): Promise<Buffer> {
  // Filled with rubbish first: a device that leaves the buffer alone must not pass for one that read zeros.
  const into = Buffer.alloc(length, 0xee);
  await submitAndWait(device, 'read', offset, length, into);
  return into;
}

export function writeBytes(
  device: Pick<BlockDevice, 'submit'>,
  offset: number,
  data: Buffer,
  fua = false,
): Promise<void> {
  return submitAndWait(device, 'write', offset, data.length, data, fua);
}

/** Offsets in blocks worth trying: the edges, odd ones, and either side of 4 KiB and 64 KiB borders. */
function interestingBlocks(device: BlockDevice): number[] {
  const perPage = Math.max(1, 4096 / device.blockBytes);
  const perChunk = 65536 / device.blockBytes;
  const last = device.sizeBytes / device.blockBytes - 3;
  return [0, 1, 3, perPage - 1, perPage + 1, perChunk - 2, perChunk - 1, perChunk, last].filter(
    (b) => b >= 0,
  );
}

async function readsItsWrites(t: Test, device: BlockDevice): Promise<void> {
  const { blockBytes } = device;
  for (const [index, block] of interestingBlocks(device).entries()) {
    for (const fua of [false, true]) {
      const data = pattern(3 * blockBytes, index * 2 + Number(fua));
      await writeBytes(device, block * blockBytes, data, fua);
      const back = await readBytes(device, block * blockBytes, data.length);
      t.ok(back.equals(data), `blocks ${block}..${block + 3} read back${fua ? ' after FUA' : ''}`);
    }
  }
}

async function untouchedReadsZero(t: Test, device: BlockDevice): Promise<void> {
  const length = Math.min(device.sizeBytes, 1 << 20);
  t.ok(
    (await readBytes(device, 0, length)).every((byte) => byte === 0),
    'the front is zeros',
  );
  const tail = await readBytes(device, device.sizeBytes - device.blockBytes, device.blockBytes);
  t.ok(
    tail.every((byte) => byte === 0),
    'the last block is zeros',
  );
}

async function clears(t: Test, device: BlockDevice, op: 'discard' | 'zero'): Promise<void> {
  const { blockBytes } = device;
  const data = pattern(65536 + 6 * blockBytes, 7);
  for (const fua of [false, true]) {
    await writeBytes(device, blockBytes, data);
    // Odd at both ends, so that no part of the answer is a whole page by luck.
    const from = 3 * blockBytes;
    const length = data.length - 5 * blockBytes;
    await submitAndWait(device, op, from, length, undefined, fua);
    const expected = Buffer.from(data);
    expected.fill(0, from - blockBytes, from - blockBytes + length);
    const back = await readBytes(device, blockBytes, data.length);
    t.ok(back.equals(expected), `${op} clears its range and nothing beside it${fua ? ' (FUA)' : ''}`);
  }
}

async function refusesBeyondTheEnd(t: Test, device: BlockDevice): Promise<void> {
  const { blockBytes, sizeBytes } = device;
  const last = pattern(blockBytes, 9);
  await writeBytes(device, sizeBytes - blockBytes, last);
  const io = new CountedIo();
  for (const op of ['read', 'write', 'discard', 'zero'] as const satisfies readonly BlockOp[]) {
    for (const offset of [sizeBytes - blockBytes, sizeBytes, sizeBytes + blockBytes]) {
      const data = op === 'read' || op === 'write' ? Buffer.alloc(2 * blockBytes, 0xaa) : undefined;
      await io.prepare(op, offset, 2 * blockBytes, data).submitTo(device);
      t.equal(io.error?.code, 'out-of-range', `${op} at ${offset - sizeBytes} from the end`);
      t.equal(io.completions, 1, 'completed once');
    }
  }
  t.ok(
    (await readBytes(device, sizeBytes - blockBytes, blockBytes)).equals(last),
    'the last block is unharmed',
  );
}

async function reusesOneRequest(t: Test, device: BlockDevice): Promise<void> {
  const io = new CountedIo();
  const data = pattern(device.blockBytes, 3);
  const back = Buffer.alloc(device.blockBytes);
  await io.prepare('write', 0, data.length, data).submitTo(device);
  t.same([io.error, io.completions], [null, 1], 'write');
  await io.prepare('flush', 0, 0).submitTo(device);
  t.same([io.error, io.completions], [null, 1], 'flush');
  await io.prepare('read', 0, back.length, back).submitTo(device);
  t.same([io.error, io.completions], [null, 1], 'read');
  t.ok(back.equals(data), 'the same bytes');
}

async function keepsConcurrentRequestsApart(t: Test, device: BlockDevice): Promise<void> {
  const { blockBytes } = device;
  const count = 32;
  const size = 3 * blockBytes;
  const all = Array.from({ length: count }, (_, i) => i);
  await Promise.all(all.map((i) => writeBytes(device, i * size, pattern(size, i), i % 5 === 0)));
  const [backs] = await Promise.all([
    Promise.all(all.map((i) => readBytes(device, i * size, size))),
    submitAndWait(device, 'flush', 0, 0),
  ]);
  const wrong = all.filter((i) => !backs[i]?.equals(pattern(size, i)));
  t.same(wrong, [], 'each range holds its own bytes');
}

interface Step {
  readonly op: BlockOp;
  readonly block: number;
  readonly blocks: number;
  readonly tag: number;
}

const STEPS = fc.array(
  fc.record<Step>({
    op: fc.constantFrom('read', 'write', 'write', 'discard', 'zero', 'flush'),
    block: fc.nat(500),
    blocks: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 100, max: 300 })),
    tag: fc.nat(255),
  }),
  { minLength: 1, maxLength: 24 },
);

/** Does one step to the device and to the model; throws where they differ. */
async function applyStep(device: BlockDevice, model: Buffer, step: Step): Promise<void> {
  const { blockBytes } = device;
  const from = Math.min(step.block * blockBytes, model.length - blockBytes);
  const length = Math.min(step.blocks * blockBytes, model.length - from);
  if (step.op === 'read') {
    const back = await readBytes(device, from, length);
    if (!back.equals(model.subarray(from, from + length)))
      throw new Error(`read of ${from}+${length} differs`);
  } else if (step.op === 'write') {
    const data = pattern(length, step.tag);
    await writeBytes(device, from, data, step.tag % 2 === 0);
    data.copy(model, from);
  } else if (step.op === 'flush') {
    await submitAndWait(device, 'flush', 0, 0);
  } else {
    await submitAndWait(device, step.op, from, length);
    model.fill(0, from, from + length);
  }
}

async function followsTheModel(make: MakeDevice): Promise<void> {
  const property = fc.asyncProperty(STEPS, async (steps) => {
    const { device, close } = await make();
    try {
      const model = Buffer.alloc(Math.min(device.sizeBytes, 256 * 1024));
      for (const step of steps) await applyStep(device, model, step);
      const back = await readBytes(device, 0, model.length);
      if (!back.equals(model)) throw new Error('the device differs from the model at the end');
    } finally {
      await close();
    }
  });
  await fc.assert(property, { seed: SEED, numRuns: 30 });
}

/**
 * Runs the whole contract against devices from `make`, each test on a fresh one.
 * @param name what the device is, for the test's title
 */
export async function deviceSuite(t: Test, name: string, make: MakeDevice): Promise<void> {
  const on = (title: string, body: (t: Test, device: BlockDevice) => Promise<void>): Promise<unknown> =>
    t.test(`${name}: ${title}`, async (t) => {
      const { device, close } = await make();
      try {
        await body(t, device);
      } finally {
        await close();
      }
    });
  await on('what was never written reads as zeros', untouchedReadsZero);
  await on('a read sees the write before it', readsItsWrites);
  await on('a discarded range reads as zeros', (t, device) => clears(t, device, 'discard'));
  await on('a zeroed range reads as zeros', (t, device) => clears(t, device, 'zero'));
  await on('nothing beyond the end is touched', refusesBeyondTheEnd);
  await on('a request can be used again', reusesOneRequest);
  await on('concurrent requests keep apart', keepsConcurrentRequestsApart);
  await t.test(`${name}: any sequence agrees with a byte array (seed ${SEED})`, async () => {
    await followsTheModel(make);
  });
}
