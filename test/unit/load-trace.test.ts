/** The recording of requests: what is kept, what is counted as lost, and that nothing is recorded for nobody. */
import t from 'tap';
import { TRACE_IDLE_MS } from '../../lib/base/limits.js';
import { TraceRing } from '../../lib/load/trace-ring.js';
import { VolumeTraffic } from '../../lib/load/traffic.js';
import { TraceRecorder } from '../../lib/member/trace-recorder.js';
import { ManualClock } from '../support/target-rig.js';

t.test('a ring keeps what it has room for, and counts the rest', (t) => {
  let nowMs = 100;
  const ring = new TraceRing({ wallMs: () => nowMs++ }, 3);
  for (let i = 0; i < 5; i++) ring.add(7, i % 2 === 0, i * 4096, 512);
  t.strictSame(ring.take(), {
    requests: [
      [100, 7, true, 0, 512],
      [101, 7, false, 4096, 512],
      [102, 7, true, 8192, 512],
    ],
    dropped: 2,
  });
  t.strictSame(ring.take(), { requests: [], dropped: 0 });
  ring.add(2 ** 32 - 1, false, 2 ** 52, 2 ** 30);
  t.match(ring.take().requests, [[103, 2 ** 32 - 1, false, 2 ** 52, 2 ** 30]]);
  t.end();
});

t.test('a recording begins when it is asked for, and ends when nobody asks any more', (t) => {
  const clock = new ManualClock();
  const volume = (name: string, id: number) => ({
    record: { name, id },
    traffic: new VolumeTraffic(clock, 4096),
  });
  const volumes = [volume('a', 1)];
  const recorder = new TraceRecorder(clock, () => volumes);
  volumes[0]?.traffic.began(true, 0, 512);
  t.match(recorder.take(), { requests: [], dropped: 0 }, 'nothing was recorded before');
  volumes[0]?.traffic.began(true, 512, 512);
  volumes.push(volume('b', 2));
  volumes[1]?.traffic.began(false, 0, 512);
  const first = recorder.take();
  t.match(
    first.requests.map(([, ...rest]) => rest),
    [[1, true, 512, 512]],
    'a new volume from the next call on',
  );
  t.strictSame(first.volumes, { 1: 'a' });
  volumes[1]?.traffic.began(false, 4096, 1024);
  t.match(recorder.take(), { volumes: { 2: 'b' }, requests: [[Number, 2, false, 4096, 1024]] });
  clock.move(TRACE_IDLE_MS + 1);
  for (const { traffic } of volumes) t.equal(traffic.tap, null, 'nobody asks: nothing is recorded');
  volumes[0]?.traffic.began(true, 0, 512);
  t.match(recorder.take().requests, []);
  recorder.close();
  t.equal(volumes[0]?.traffic.tap, null);
  t.end();
});
