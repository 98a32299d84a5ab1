/** Claims: whoever has a range has it alone, nobody starves, and the rest of the device goes on. */
import t from 'tap';
import { randomBelow, SeededRandom } from '../../lib/base/random.js';
import { type Claim, ClaimableDevice } from '../../lib/block/claims.js';
import { type BlockDevice, BlockIo, type IoError, submitAndWait } from '../../lib/block/device.js';
import { RamDevice } from '../support/ram-device.js';

const BLOCK = 512;
const BLOCKS = 8;

/** Does an I/O in two halves, each some turns after the other, so that one which is not alone is seen torn. */
class TornDevice implements BlockDevice {
  readonly blockBytes = BLOCK;
  readonly sizeBytes = BLOCK * BLOCKS;
  readonly readOnly = false;
  readonly ram = new RamDevice(this.sizeBytes, BLOCK);

  constructor(private readonly random: SeededRandom) {}

  submit(io: BlockIo): void {
    const half = io.lengthBytes / 2;
    this.later(() => {
      this.part(io, 0, half);
      this.later(() => {
        this.part(io, half, half);
        io.complete(null);
      });
    });
  }

  private part(io: BlockIo, at: number, lengthBytes: number): void {
    const medium = this.ram.bytes.subarray(io.offsetBytes + at, io.offsetBytes + at + lengthBytes);
    const data = io.data.subarray(at, at + lengthBytes);
    if (io.op === 'read') medium.copy(data);
    else data.copy(medium);
  }

  private later(work: () => void): void {
    const turn = (left: number): void => void (left === 0 ? work() : setImmediate(() => turn(left - 1)));
    turn(randomBelow(this.random, 4));
  }
}

function claimed(device: ClaimableDevice, offsetBytes: number, lengthBytes: number): Promise<Claim> {
  return new Promise((resolve) => device.claim(offsetBytes, lengthBytes, resolve));
}

/** Whether a promise is settled by the next turn of the loop. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  void promise.then(() => (settled = true));
  await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

t.test('nothing is torn or lost among readers, writers and claims', async (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new SeededRandom(seed);
    const torn = new TornDevice(random);
    const device = new ClaimableDevice(torn);
    let added = 0;
    const add = async (): Promise<void> => {
      const offsetBytes = randomBelow(random, BLOCKS - 1) * BLOCK;
      const claim = await claimed(device, offsetBytes, 2 * BLOCK);
      const data = Buffer.alloc(2 * BLOCK);
      await submitAndWait(claim, 'read', offsetBytes, data.length, data);
      t.equal(data[0], data[BLOCK - 1], 'a block read in a claim is whole');
      for (let at = 0; at < data.length; at++) data[at] = (data[at] as number) + 1;
      await submitAndWait(claim, 'write', offsetBytes, data.length, data);
      claim.release();
      added += 2;
    };
    const look = async (): Promise<void> => {
      const data = Buffer.alloc(BLOCK);
      await submitAndWait(device, 'read', randomBelow(random, BLOCKS) * BLOCK, BLOCK, data);
      t.ok(data.equals(Buffer.alloc(BLOCK, data[0])), 'a read sees all of a claim or nothing');
    };
    const worker = async (work: () => Promise<void>): Promise<void> => {
      for (let times = 0; times < 10; times++) await work();
    };
    await Promise.all([add, add, add, look, look].map(worker));
    const sum = Array.from({ length: BLOCKS }, (_, block) => torn.ram.bytes[block * BLOCK] as number);
    t.equal(
      sum.reduce((a, b) => a + b),
      added,
      'every addition is there',
    );
  }
});

t.test('a claim waits for what is in flight; what overlaps waits for the claim', async (t) => {
  const held: BlockIo[] = [];
  const ram = new RamDevice(BLOCKS * BLOCK, BLOCK);
  const device = new ClaimableDevice({
    ...{ blockBytes: BLOCK, sizeBytes: ram.sizeBytes, readOnly: false },
    submit: (io) => void held.push(io),
    mapped: () => ({}) as never,
  });
  const end = (): void => held.shift()?.complete(null);
  const write = (block: number): Promise<void> =>
    submitAndWait(device, 'write', block * BLOCK, BLOCK, Buffer.alloc(BLOCK));

  const elsewhere = write(7);
  const claim = claimed(device, 0, BLOCK);
  t.notOk(await isSettled(claim), 'something is in flight');
  t.equal(device.mapped(0, BLOCK, false), null, 'nothing is read past the claim');
  t.ok(device.mapped(BLOCK, BLOCK, false), 'what it does not cover is');
  const overlapping = write(0);
  const beside = write(1);
  t.equal(held.length, 2, 'what overlaps is held, even before the claim is granted');
  end();
  await elsewhere;
  const own = await claim;
  end();
  await beside;
  t.notOk(await isSettled(overlapping));

  const second = claimed(device, 0, BLOCK);
  own.release();
  t.notOk(await isSettled(second), 'what was held goes before the next claim');
  t.equal(held.length, 1);
  end();
  await overlapping;
  (await second).release();
  t.throws(() => own.release(), 'once');
  t.throws(() => own.submit(held[0] as BlockIo), 'not any more');
});

t.test('what is held behind a claim, and nobody waits for any more, need not wait for its end', async (t) => {
  const device = new ClaimableDevice(new RamDevice(BLOCKS * BLOCK, BLOCK));
  const claim = await claimed(device, 0, BLOCK);
  let isWanted = true;
  let ended = 0;
  class Read extends BlockIo {
    override get isWanted(): boolean {
      return isWanted;
    }
    protected override completed(error: IoError | null): void {
      ended += error?.code === 'aborted' ? 1 : 100;
    }
  }
  device.submit(new Read().prepare('read', 0, BLOCK, Buffer.alloc(BLOCK)));
  device.dropUnwanted();
  t.equal(ended, 0);
  isWanted = false;
  device.dropUnwanted();
  t.equal(ended, 1);
  claim.release();
  await submitAndWait(device, 'read', 0, BLOCK, Buffer.alloc(BLOCK));
  t.equal(ended, 1, 'once');
});

t.test('a flush neither waits for a claim nor keeps one waiting', async (t) => {
  const submitted: BlockIo[] = [];
  const device = new ClaimableDevice({
    ...{ blockBytes: BLOCK, sizeBytes: BLOCKS * BLOCK, readOnly: false },
    submit: (io) => void submitted.push(io),
  });
  const end = (): void => submitted.shift()?.complete(null);
  const flush = (): Promise<void> => submitAndWait(device, 'flush', 0, 0);
  const write = (): Promise<void> => submitAndWait(device, 'write', 0, BLOCK, Buffer.alloc(BLOCK));

  const first = flush();
  const claim = claimed(device, 0, BLOCK);
  t.ok(await isSettled(claim), 'it has no range to be alone in');
  const second = flush();
  t.equal(submitted.length, 2, 'it touches nothing that is claimed');
  (await claim).release();
  end();
  end();
  await Promise.all([first, second]);

  const [third, older] = [flush(), write()];
  const next = claimed(device, 0, BLOCK);
  end();
  await third;
  t.notOk(await isSettled(next), 'its end is not taken for that of a write');
  end();
  await older;
  t.ok(await isSettled(next));
});

t.test('draining waits for what is in flight, and holds nothing up', async (t) => {
  const submitted: BlockIo[] = [];
  const device = new ClaimableDevice({
    ...{ blockBytes: BLOCK, sizeBytes: BLOCKS * BLOCK, readOnly: false },
    submit: (io) => void submitted.push(io),
  });
  const end = (): void => submitted.shift()?.complete(null);
  const write = (block: number): Promise<void> =>
    submitAndWait(device, 'write', block * BLOCK, BLOCK, Buffer.alloc(BLOCK));
  const drained = (): Promise<void> => new Promise((resolve) => device.drain(resolve));

  t.ok(await isSettled(drained()), 'nothing is in flight');
  const older = write(0);
  const first = drained();
  const newer = write(0);
  t.equal(submitted.length, 2, 'what comes later is not held');
  t.notOk(await isSettled(first));
  end();
  await Promise.all([older, first]);

  const claim = claimed(device, 0, BLOCK);
  const held = write(0);
  const second = drained();
  end();
  await newer;
  (await claim).release();
  t.notOk(await isSettled(second), 'what a claim had held was there before it');
  end();
  await Promise.all([held, second]);
});

t.test('a claim whose I/O fails, or leaves it', async (t) => {
  const ram = new RamDevice(BLOCKS * BLOCK, BLOCK);
  const device = new ClaimableDevice(ram);
  const claim = await claimed(device, BLOCK, BLOCK);
  t.throws(() => claim.submit(new Silent().prepare('read', 0, BLOCK, Buffer.alloc(BLOCK))), 'before it');
  t.throws(() => claim.submit(new Silent().prepare('read', BLOCK, 2 * BLOCK, Buffer.alloc(2 * BLOCK))));
  claim.release();
  await submitAndWait(device, 'write', BLOCK, BLOCK, Buffer.alloc(BLOCK, 1));
  t.equal(ram.bytes[BLOCK], 1, 'released is released');
});

class Silent extends BlockIo {
  protected override completed(_error: IoError | null): void {}
}
