/** How long what another member holds is waited for. */
import t from 'tap';
import { systemClock } from '../../lib/base/clock.js';
import { FORWARD_PATIENCE_MS, FORWARD_RETRY_MS, PEER_REQUEST_DEADLINE_MS } from '../../lib/base/limits.js';
import { BlockIo, type IoError } from '../../lib/block/device.js';
import { PeerStatus, type PeerHub, type PeerRequest } from '../../lib/peer/contract.js';
import { VolumeTraffic } from '../../lib/load/traffic.js';
import { RemoteSlot, type RemoteVolume } from '../../lib/peer/remote-slot.js';
import { MemberIds } from '../../lib/routing/member-ids.js';
import { Route } from '../../lib/routing/route.js';
import { LocalSlot } from '../../lib/volume/local-slot.js';
import { Volume } from '../../lib/volume/volume.js';
import { SteppedClock } from '../support/hand-clock.js';
import { agreeingHub, settledVolume } from '../support/peer-rig.js';
import { RamDevice } from '../support/ram-device.js';
import { until } from '../support/wait.js';

const BLOCK = Buffer.alloc(512);
const origin = { again: () => undefined };

class Asked extends BlockIo {
  ended: IoError | null | undefined = undefined;
  private wanted = true;

  override get isWanted(): boolean {
    return this.wanted;
  }
  override set isWanted(wanted: boolean) {
    this.wanted = wanted;
  }

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

/** m1's volume, of which m2, who is away, holds extents; and how often m2 is asked. */
function away() {
  const clock = new SteppedClock();
  const asked = { count: 0 };
  const send = (_: string, request: PeerRequest): void => {
    asked.count += 1;
    request.answered(PeerStatus.LINK_LOST, Buffer.alloc(0), 1);
  };
  const ids = new MemberIds();
  const whole = Route.fromRecords(ids, { epoch: 1, home: 'm1', base: 'm1', extents: 8 }, 1, new Map());
  const route = whole.applying(whole.withHolder([2, 3], 'm2'), 2);
  const local = new LocalSlot(new VolumeTraffic(clock, 65536));
  const here = new RamDevice(8 * 65536);
  local.opened(here);
  const settled: RemoteVolume = { ...settledVolume(), refresh: (_, done) => done() };
  const slot = new RemoteSlot({ ...agreeingHub(() => ''), send }, 'm2', settled, clock);
  const geometry = { sizeBytes: 8 * 65536, blockBytes: 512, extentBytes: 65536 };
  const volume = new Volume(geometry, route, ids.idOf('m1'), local, () => slot);
  const ios = [new Asked().prepare('flush', 0, 0), new Asked().prepare('write', 2 * 65536, 512, BLOCK)];
  return { clock, asked, here, volume, route, ios };
}

t.test('a flush waits for a holder who is away as long as a write does, and asks him alone', async (t) => {
  const { clock, asked, here, volume, route, ios } = away();
  for (const io of ios) volume.submit(io);
  clock.pass(FORWARD_PATIENCE_MS / 2);
  t.equal(here.counts.flush, 1, 'what is here is durable, once');
  t.ok(asked.count > 100, 'he is asked again and again');
  volume.adopt(route.applying(route.withHolder([3], 'm1'), 3));
  clock.pass(FORWARD_PATIENCE_MS / 2);
  t.equal(here.counts.flush, 2, 'once more by the route that followed');
  t.same(
    ios.map((io) => io.ended),
    [undefined, undefined],
  );
  clock.pass(2 * FORWARD_RETRY_MS);
  t.match(
    ios.map((io) => io.ended),
    [{ code: 'unavailable' }, { code: 'unavailable' }],
  );
});

t.test('nor is he asked for a flush that nobody waits for any more', async (t) => {
  const { clock, asked, volume, ios } = away();
  const [flush] = ios as [Asked];
  volume.submit(flush);
  clock.pass(100);
  flush.isWanted = false;
  clock.pass(2 * FORWARD_RETRY_MS);
  t.match(flush.ended, { code: 'aborted' });
  const { count } = asked;
  clock.pass(60_000);
  t.equal(asked.count, count);
});
