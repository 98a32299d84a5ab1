/**
 * Commands of several I/Os on extents that move. COMPARE AND WRITE over the edge of two, beside other initiators: each number
 * is taken once. EXTENDED COPY from some to others: what is copied is what was there.
 */
import t from 'tap';
import { submitAndWait } from '../../lib/block/device.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import { copyCdb, copyList, HOST, segment } from '../support/copy-rig.js';
import { pattern } from '../support/device-suite.js';
import { MoveWorld } from '../support/move-world.js';
import { IDENTITY, SAID, said, scsiRunner } from '../support/scsi-runner.js';
import { hex } from '../support/scsi-rig.js';

const BLOCK = 512;

for (const seed of [1, 2, 3]) {
  t.test(`COMPARE AND WRITE, seed ${seed}`, async (t) => {
    const world = new MoveWorld(seed);
    await world.start('m1', 'm2', 'm3');
    const [m1, m2, m3] = [world.member('m1'), world.member('m2'), world.member('m3')];
    const server = new DiskServer({ device: m1.volume, identity: IDENTITY });
    const { run } = scsiRunner(server.device, server);
    // The last block of an extent and the first of the next: soon these have two holders.
    const lba = world.extentBytes / BLOCK - 1;
    const block = (value: number): Buffer => Buffer.alloc(2 * BLOCK, value);
    const compare = `89 00 ${hex(lba, 16)} 000000 02 00 00`;
    await run(`2a 00 ${hex(lba, 8)} 00 0002 00`, block(0));
    let taken = 0;
    let isMoving = true;
    const count = async (): Promise<void> => {
      for (let value = 0; isMoving || value < taken;) {
        const outcome = await run(compare, Buffer.concat([block(value % 251), block((value + 1) % 251)]));
        if (said(outcome) === SAID.GOOD) taken += 1;
        else t.equal(said(outcome), SAID.MISCOMPARE);
        value = taken;
      }
    };
    const look = async (): Promise<void> => {
      while (isMoving) {
        const { dataIn } = await run(`28 00 ${hex(lba, 8)} 00 0002 00`);
        if (!dataIn.equals(Buffer.alloc(2 * BLOCK, dataIn[0]))) t.fail('a half is read');
      }
    };
    const counting = [count(), count(), look()];
    for (let round = 0; round < 4; round++) {
      await m1.give('m2', 1);
      await m1.give('m3', 0, 0);
      await m2.give('m1', 1);
      await m3.give('m1', 0, 0);
    }
    isMoving = false;
    await Promise.all(counting);
    t.ok(taken > 20, `${taken} numbers are taken beside the moves`);
    const { dataIn } = await run(`28 00 ${hex(lba, 8)} 00 0002 00`);
    t.ok(dataIn.equals(block(taken % 251)), 'none twice');
    t.ok(m1.volume.holdsHere(0) && m1.volume.holdsHere(1), 'it is back');
    await world.close();
  });

  t.test(`EXTENDED COPY, seed ${seed}`, async (t) => {
    const world = new MoveWorld(seed);
    await world.start('m1', 'm2', 'm3');
    const [m1, m2, m3] = [world.member('m1'), world.member('m2'), world.member('m3')];
    const server = new DiskServer({ device: m1.volume, identity: IDENTITY });
    server.nexusBegan(HOST);
    const { run } = scsiRunner(server.device, server);
    const half = Math.floor(world.sizeBytes / BLOCK / 2);
    const copy = async (from: number, to: number, blocks: number): Promise<string> => {
      const list = copyList([], [segment({ source: 0xffff, destination: 0xffff, from, to, blocks })]);
      return said(await run(copyCdb(list.length), list, 0, HOST));
    };
    let isMoving = true;
    let copies = 0;
    const copying = async (): Promise<void> => {
      while (isMoving) {
        // Into the second half and, a block further on, back from there.
        const content = pattern(half * BLOCK, (copies += 1));
        await submitAndWait(server.device, 'write', 0, content.length, content);
        t.equal(await copy(0, half, half), SAID.GOOD);
        t.equal(await copy(half, 1, half - 1), SAID.GOOD);
        const found = Buffer.alloc(2 * half * BLOCK);
        await submitAndWait(server.device, 'read', 0, found.length, found);
        const expected = Buffer.concat([content.subarray(0, BLOCK), content.subarray(0, -BLOCK), content]);
        if (!found.equals(expected)) t.fail(`copy ${copies} is not what was there`);
      }
    };
    const done = copying();
    for (let round = 0; round < 3; round++) {
      await m1.give('m2', 1);
      await m1.give('m3', 0, 0);
      await m2.give('m1', 1);
      await m3.give('m1', 0, 0);
    }
    isMoving = false;
    await done;
    t.ok(copies > 3, `${copies} copies beside the moves`);
    await world.close();
  });
}
