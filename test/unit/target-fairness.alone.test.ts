/** One greedy session must not keep the event loop for itself: the others get their turn in between. */
import t from 'tap';
import { TURN_BYTES_MAX } from '../../lib/base/limits.js';
import type { BlockIo } from '../../lib/block/device.js';
import { read10 } from '../support/target-initiator.js';
import { TargetRig } from '../support/target-rig.js';
import { until } from '../support/wait.js';

const BLOCK_BYTES = 512;
const BLOCKS_A_READ = 128;
const READS = 200;
const READS_A_TURN = TURN_BYTES_MAX / (BLOCKS_A_READ * BLOCK_BYTES);

t.test(
  'a session with 200 reads of 64 KiB in one go does not make another wait for all of them',
  async (t) => {
    const rig = await TargetRig.start();
    t.teardown(() => rig.stop());
    const greedy = await rig.session();
    const modest = await rig.session({}, '800000000002');
    const served: number[] = [];
    const serve = rig.device.submit.bind(rig.device);
    rig.device.submit = (io: BlockIo): void => {
      served.push(io.lengthBytes);
      serve(io);
    };
    // One write: all of it has come before anything is served, and the modest one's read too.
    greedy.socket.cork();
    for (let i = 0; i < READS; i++) {
      greedy.command({
        cdb: read10(0, BLOCKS_A_READ),
        read: true,
        expectedBytes: BLOCKS_A_READ * BLOCK_BYTES,
      });
    }
    greedy.socket.uncork();
    modest.command({ cdb: read10(0, 1), read: true, expectedBytes: BLOCK_BYTES });
    await until('all are served', () => served.length === READS + 1);
    const before = served.indexOf(BLOCK_BYTES);
    t.ok(before <= 3 * READS_A_TURN, `${before} reads of the greedy session came first`);
    t.equal(served.filter((lengthBytes) => lengthBytes > BLOCK_BYTES).length, READS, 'and none was lost');
  },
);

t.test(
  'a session that waits for its device leaves the event loop alone, and so does one that ended so',
  async (t) => {
    const rig = await TargetRig.start();
    t.teardown(() => rig.stop());
    const initiator = await rig.session();
    rig.device.holding = true;
    const blocks = (256 * 1024) / BLOCK_BYTES;
    for (let i = 0; i < 40; i++) {
      initiator.command({ cdb: read10(0, blocks), read: true, expectedBytes: blocks * BLOCK_BYTES });
    }
    initiator.command({ cdb: Buffer.alloc(6) }); // TEST UNIT READY: something is sent meanwhile
    await until('the device holds sixteen', () => rig.device.held.length >= 16);
    t.ok((await busyShare()) < 0.5, 'while its reads are at the device');
    initiator.close();
    t.ok((await busyShare()) < 0.5, 'after its connection has gone');
  },
);

/** Of the event loop's time, over the next 200 ms. */
async function busyShare(): Promise<number> {
  const before = performance.eventLoopUtilization();
  await new Promise((resolve) => setTimeout(resolve, 200));
  return performance.eventLoopUtilization(before).utilization;
}
