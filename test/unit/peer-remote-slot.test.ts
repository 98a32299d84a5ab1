/** How long what another member holds is waited for. */
import t from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { PEER_REQUEST_DEADLINE_MS } from '../../lib/base/limits.js';
import { BlockIo, type IoError } from '../../lib/block/device.js';
import { PeerStatus, type PeerHub, type PeerRequest } from '../../lib/peer/contract.js';
import { RemoteSlot } from '../../lib/peer/remote-slot.js';
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
