/** The lean load of `make bench` against a target without storage: what it sends is what it was told to send. */
import { createHistogram } from 'node:perf_hooks';
import t from 'tap';
import { LeanLoad, type LoadCounters, type LoadSpec } from '../../lib/bench/lean-load.js';
import { endOf } from '../../lib/bench/load-process.js';
import { startNullServer } from '../../lib/bench/null-process.js';
import { Initiator, type InitiatorTask } from '../../lib/iscsi/initiator/index.js';
import { until } from '../support/wait.js';

const SIZE_BYTES = 1024 * 1024;
const READ_16 = 0x88;
const WRITE_16 = 0x8a;

/** What went out: operation code, byte offset and length of every command. */
interface Sent {
  readonly opcode: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** Notes every command of the initiator, and how many were outstanding at most. */
function listen(initiator: Initiator): { sent: Sent[]; inFlightMax: () => number } {
  const sent: Sent[] = [];
  let inFlight = 0;
  let most = 0;
  const submit = initiator.submit.bind(initiator);
  initiator.submit = (task: InitiatorTask): void => {
    sent.push({
      opcode: task.cdb[0] ?? 0,
      offsetBytes: Number(task.cdb.readBigUInt64BE(2)) * 512,
      lengthBytes: task.cdb.readUInt32BE(10) * 512,
    });
    most = Math.max(most, (inFlight += 1));
    const completed = task.completed.bind(task);
    task.completed = (error): void => {
      task.completed = completed;
      inFlight -= 1;
      completed(error);
    };
    submit(task);
  };
  return { sent, inFlightMax: () => most };
}

async function run(
  t: { teardown(end: () => unknown): void },
  spec: LoadSpec,
): Promise<{ sent: Sent[]; inFlightMax: number; counters: LoadCounters }> {
  const server = await startNullServer(1, SIZE_BYTES);
  const initiator = await Initiator.connect(server.urls[0] ?? '');
  t.teardown(async () => {
    await initiator.close();
    await server.close();
  });
  const heard = listen(initiator);
  const counters: LoadCounters = { ops: 0, errors: 0, errorText: '', histogramUs: createHistogram() };
  const load = new LeanLoad(initiator, spec, counters, 1);
  load.start();
  await load.ended;
  return { sent: heard.sent, inFlightMax: heard.inFlightMax(), counters };
}

t.test('a fill writes every place once, in order', async (t) => {
  const blockBytes = 64 * 1024;
  const spec = {
    queueDepth: 4,
    blockBytes,
    readPercent: 0,
    isRandom: false,
    opsMax: SIZE_BYTES / blockBytes,
  };
  const { sent, inFlightMax, counters } = await run(t, spec);
  t.strictSame(
    sent,
    Array.from({ length: 16 }, (_, i) => ({
      opcode: WRITE_16,
      offsetBytes: i * blockBytes,
      lengthBytes: blockBytes,
    })),
  );
  t.equal(inFlightMax, 4, 'as deep as it was told');
  t.match(counters, { ops: 16, errors: 0 });
  t.equal(counters.histogramUs.count, 16, 'every command has a latency');
});

t.test('a mix keeps its share and stays inside', async (t) => {
  const spec = { queueDepth: 32, blockBytes: 4096, readPercent: 70, isRandom: true, opsMax: 4000 };
  const { sent, inFlightMax, counters } = await run(t, spec);
  t.match(counters, { ops: 4000, errors: 0 });
  t.equal(inFlightMax, 32);
  const reads = sent.filter((command) => command.opcode === READ_16).length;
  t.ok(reads > 2680 && reads < 2920, `${reads} of 4000 are reads`);
  t.equal(
    sent.filter((command) => command.opcode === WRITE_16).length,
    4000 - reads,
    'the others are writes',
  );
  t.ok(sent.every((command) => command.offsetBytes % 4096 === 0 && command.lengthBytes === 4096));
  t.ok(sent.every((command) => command.offsetBytes + command.lengthBytes <= SIZE_BYTES));
  t.ok(new Set(sent.map((command) => command.offsetBytes)).size > 250, 'all over the 256 places');
});

t.test('it ends when it is told, after the last answer', async (t) => {
  const server = await startNullServer(2, SIZE_BYTES);
  t.teardown(() => server.close());
  t.equal(new Set(server.urls).size, 2, 'a target each');
  const initiator = await Initiator.connect(server.urls[1] ?? '');
  t.teardown(() => initiator.close());
  const counters: LoadCounters = { ops: 0, errors: 0, errorText: '', histogramUs: createHistogram() };
  const spec = { queueDepth: 8, blockBytes: 4096, readPercent: 100, isRandom: true };
  const load = new LeanLoad(initiator, spec, counters, 1);
  load.start();
  await until('it works', () => counters.ops >= 100);
  load.stop();
  await load.ended;
  const { ops } = counters;
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.equal(counters.ops, ops, 'nothing more is answered');
});

t.test('a failed command is counted and told', async (t) => {
  const spec = { queueDepth: 1, blockBytes: 4096, readPercent: 100, isRandom: false, opsMax: 2 };
  const server = await startNullServer(1, SIZE_BYTES);
  const initiator = await Initiator.connect(server.urls[0] ?? '');
  t.teardown(async () => {
    await initiator.close();
    await server.close();
  });
  // The target is half as large as the load believes.
  Object.defineProperty(initiator, 'capacity', {
    value: { sizeBytes: 4096 * 512, blockBytes: 512, blocks: 4096 },
  });
  const counters: LoadCounters = { ops: 0, errors: 0, errorText: '', histogramUs: createHistogram() };
  const load = new LeanLoad(initiator, { ...spec, blockBytes: SIZE_BYTES }, counters, 1);
  load.start();
  await load.ended;
  t.match(counters, { ops: 2, errors: 1, errorText: /LOGICAL BLOCK ADDRESS|OUT OF RANGE|21\/00|5\/21/i });
  t.match(
    endOf(counters),
    { failed: /^1 commands failed: ./ },
    'at the end, too, where nobody asks for figures',
  );
  t.equal(endOf({ errors: 0, errorText: '' }), 'ended');
});
