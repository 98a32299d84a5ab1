/** The recording of requests: what is kept, who has missed what, and that nothing is recorded for nobody. */
import t from 'tap';
import { TRACE_IDLE_MS, TRACE_ROWS_MAX } from '../../lib/base/limits.js';
import { SeededRandom } from '../../lib/base/random.js';
import { TraceRing } from '../../lib/load/trace-ring.js';
import { VolumeTraffic } from '../../lib/load/traffic.js';
import { traceOf } from '../../lib/manage/trace-view.js';
import { TraceRecorder } from '../../lib/member/trace-recorder.js';
import { PeerStatus, type PeerService } from '../../lib/peer/contract.js';
import { FakePeers } from '../support/fake-peers.js';
import { ManualClock } from '../support/target-rig.js';

t.test('a ring keeps the last rows, and knows how many of those before are gone', (t) => {
  let nowMs = 100;
  const ring = new TraceRing({ wallMs: () => nowMs++ }, 3);
  ring.add(7, true, 0, 512);
  t.strictSame(ring.from(0), { requests: [[100, 7, true, 0, 512]], dropped: 0 });
  for (let i = 1; i < 5; i++) ring.add(7, i % 2 === 0, i * 4096, 512);
  const last = [
    [102, 7, true, 8192, 512],
    [103, 7, false, 12288, 512],
    [104, 7, true, 16384, 512],
  ];
  t.strictSame(ring.from(0), { requests: last, dropped: 2 });
  t.strictSame(ring.from(2), { requests: last, dropped: 0 });
  t.strictSame(ring.from(4), { requests: last.slice(2), dropped: 0 });
  t.strictSame(ring.from(5), { requests: [], dropped: 0 });
  t.strictSame(ring.from(2 ** 53 - 1), { requests: [], dropped: 0 }, 'a row that is not there yet');
  ring.add(2 ** 32 - 1, false, 2 ** 52, 2 ** 30);
  t.match(ring.from(5).requests, [[105, 2 ** 32 - 1, false, 2 ** 52, 2 ** 30]]);
  t.equal(ring.end, 6);
  t.end();
});

/** A member with two volumes, as its recorder sees them. */
function recorded(clock: ManualClock, seed = 1) {
  const volumes = ['a', 'b'].map((name, i) => ({
    record: { name, id: i + 1 },
    traffic: new VolumeTraffic(clock, 4096),
  }));
  const [a, b] = volumes.map(({ traffic }) => traffic) as [VolumeTraffic, VolumeTraffic];
  const present = volumes.slice(0, 1);
  const recorder = new TraceRecorder(clock, new SeededRandom(seed), () => present);
  return { recorder, a, b, addB: () => present.push(...volumes.slice(1)) };
}

t.test('a recording begins when it is asked for, and ends when nobody asks any more', (t) => {
  const clock = new ManualClock();
  const { recorder, a, b, addB } = recorded(clock);
  a.began(true, 0, 512);
  const begun = recorder.read(null);
  t.match(begun, { requests: [], dropped: 0 }, 'nothing was recorded before');
  a.began(true, 512, 512);
  addB();
  b.began(false, 0, 512);
  const first = recorder.read(begun.next);
  t.match(
    first.requests.map(([, ...rest]) => rest),
    [[1, true, 512, 512]],
    'a new volume from the next call on',
  );
  t.strictSame(first.volumes, { 1: 'a' });
  b.began(false, 4096, 1024);
  const second = recorder.read(first.next);
  t.match(second, { volumes: { 2: 'b' }, requests: [[Number, 2, false, 4096, 1024]] });
  clock.move(TRACE_IDLE_MS + 1);
  for (const { tap } of [a, b]) t.equal(tap, null, 'nobody asks: nothing is recorded');
  a.began(true, 0, 512);
  const anew = recorder.read(null);
  t.match(anew.requests, []);
  a.began(true, 1024, 512);
  t.match(recorder.read(second.next).requests, [[Number, 1, true, 1024, 512]], 'all of the new recording');
  a.tap = { ring: new TraceRing(clock, 1), volume: 1 };
  recorder.read(anew.next);
  a.began(true, 2048, 512);
  t.match(
    recorder.read(anew.next).requests,
    [{}, [Number, 1, true, 2048, 512]],
    'a tap of another ring is renewed',
  );
  recorder.close();
  t.equal(a.tap, null);
  for (const after of [{ recording: '', row: 0 }, { recording: 'x', row: -1 }, { recording: 'x' }, 7])
    t.throws(() => recorder.answer({ what: 'trace', after }), JSON.stringify(after));
  t.match(recorder.answer({ what: 'trace' }), { requests: [], dropped: 0 });
  recorder.close();
  t.end();
});

t.test(
  'two readers have all requests each, and count for themselves what they came too late for',
  async (t) => {
    const clock = new ManualClock();
    const { recorder, a } = recorded(clock);
    const peers = new FakePeers(new SeededRandom(3));
    const service: PeerService = {
      handle: (request) => {
        const answer = recorder.answer(JSON.parse(request.payload.toString()));
        request.answer(PeerStatus.OK, Buffer.from(JSON.stringify(answer)));
      },
    };
    peers.join('m1', service);
    const hub = peers.hub('');
    const read = (after?: string) => traceOf(hub, ['m1', 'm2'], after);
    const offsets = ({ requests }: Awaited<ReturnType<typeof read>>): number[] =>
      requests.map((row) => row[3]);
    let [one, other] = [await read(), await read()];
    t.match(one, { requests: [], dropped: 0, silent: ['m2'] });
    a.began(true, 0, 512);
    one = await read(one.next);
    a.began(true, 512, 512);
    t.strictSame(offsets(one), [0]);
    other = await read(other.next);
    t.strictSame(offsets(other), [0, 512]);
    one = await read(one.next);
    t.strictSame(offsets(one), [512]);
    t.match(one, { requests: [[Number, 'a', true, 512, 512]], dropped: 0 });

    peers.lose('m1');
    a.began(true, 1024, 512);
    const missed = await traceOf(hub, [], one.next);
    one = await read(missed.next);
    t.match(one, { requests: [], silent: ['m1', 'm2'] });
    peers.join('m1', service);
    one = await read(one.next);
    t.strictSame(offsets(one), [1024], 'of a member that was silent or away it comes later');

    for (let i = 0; i < TRACE_ROWS_MAX; i++) a.began(false, i, 1);
    one = await read(one.next);
    t.match({ rows: one.requests.length, dropped: one.dropped }, { rows: TRACE_ROWS_MAX, dropped: 0 });
    other = await read(other.next);
    t.match({ rows: other.requests.length, dropped: other.dropped }, { rows: TRACE_ROWS_MAX, dropped: 1 });
    for (const after of ['', 'x', Buffer.from('[["NO",1]]').toString('base64url')])
      await t.rejects(read(after), { code: 'INVALID' }, after);
    recorder.close();
  },
);
