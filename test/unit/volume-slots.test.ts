/** The slots of a volume: what a drain waits for here, and how long what is elsewhere is waited for. */
import t from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { PEER_REQUEST_DEADLINE_MS } from '../../lib/base/limits.js';
import { BlockIo, type BlockDevice, type IoError } from '../../lib/block/device.js';
import { VolumeTraffic } from '../../lib/load/traffic.js';
import { PeerStatus, type PeerHub, type PeerRequest } from '../../lib/peer/contract.js';
import { RemoteSlot } from '../../lib/peer/remote-slot.js';
import { LocalSlot } from '../../lib/volume/local-slot.js';
import { agreeingHub, settledVolume } from '../support/peer-rig.js';
import { until } from '../support/wait.js';

const BLOCK = Buffer.alloc(512);
const origin = { again: () => undefined };

class Asked extends BlockIo {
  ended: IoError | null | undefined = undefined;

  protected override completed(error: IoError | null): void {
    this.ended = error;
  }
}

/** A device that answers when it is told to. */
class Slow implements BlockDevice {
  readonly sizeBytes = 1 << 20;
  readonly blockBytes = 512;
  readonly readOnly = false;
  readonly asked: BlockIo[] = [];

  submit(io: BlockIo): void {
    this.asked.push(io);
  }
}

t.test('a drain waits for reads and writes, and not for the disk to make anything durable', async (t) => {
  const slot = new LocalSlot(new VolumeTraffic(systemClock, 1 << 20));
  const device = new Slow();
  slot.opened(device);
  const flush = new Asked().prepare('flush', 0, 0);
  slot.submit(flush);
  await slot.drain();
  t.equal(slot.pinned, 0, 'the flush is under way, and holds nobody up');

  const write = new Asked().prepare('write', 0, BLOCK.length, BLOCK);
  slot.submit(write);
  let isDrained = false;
  const drained = slot.drain().then(() => (isDrained = true));
  await new Promise((resolve) => setImmediate(resolve));
  t.notOk(isDrained, 'a write does');
  for (const io of device.asked) io.complete(null);
  await drained;
  t.same([flush.ended, write.ended], [null, null]);
});

/** The deadlines of what a hub was given. */
function noting(): { hub: PeerHub; deadlinesMs: number[] } {
  const deadlinesMs: number[] = [];
  const send = (_: string, request: PeerRequest): void => {
    deadlinesMs.push(request.deadlineMs);
    setImmediate(() => request.answered(PeerStatus.OK, Buffer.alloc(0), 1));
  };
  return { hub: { ...agreeingHub(() => ''), send }, deadlinesMs };
}

const settled = (io: Asked): Promise<void> => until('it has ended', () => io.ended !== undefined);

t.test('what a disk elsewhere has to make durable may take its time, a plain write may not', async (t) => {
  const { hub, deadlinesMs } = noting();
  const slot = new RemoteSlot(hub, 'm2', settledVolume(), systemClock);
  const ask = async (io: Asked): Promise<number | undefined> => {
    slot.submit(io, 0, origin);
    await settled(io);
    return deadlinesMs.pop();
  };
  const longMs = 60_000; // Linux waits so long for a flush
  t.ok(((await ask(new Asked().prepare('flush', 0, 0))) ?? 0) > longMs);
  t.ok(((await ask(new Asked().prepare('write', 0, 512, BLOCK, true))) ?? 0) > longMs);
  t.equal(await ask(new Asked().prepare('write', 0, 512, BLOCK)), 0, `${PEER_REQUEST_DEADLINE_MS} ms`);
});
