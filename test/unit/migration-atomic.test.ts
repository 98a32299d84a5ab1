/** COMPARE AND WRITE over the edge of two extents, beside other initiators, while both move: each number is taken once. */
import t from 'tap';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import { MoveWorld } from '../support/move-world.js';
import { IDENTITY, SAID, said, scsiRunner } from '../support/scsi-runner.js';
import { hex } from '../support/scsi-rig.js';

const BLOCK = 512;

for (const seed of [1, 2, 3]) {
  t.test(`seed ${seed}`, async (t) => {
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
}
