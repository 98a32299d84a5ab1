/** What leaves a connection in one write: whole PDUs, as many as keep both ends at work. */
import t from 'tap';
import { BATCH_PDUS_MAX } from '../../lib/base/limits.js';
import type { NetSocket } from '../../lib/base/net.js';
import { BufferPool, Span } from '../../lib/iscsi/target/buffer-pool.js';
import { Output } from '../../lib/iscsi/target/output.js';
import { PduWriter } from '../../lib/iscsi/target/pdu-writer.js';
import { BHS_BYTES, DIGEST_BYTES } from '../../lib/iscsi/wire/bhs.js';
import { until } from '../support/wait.js';

const DATA_BYTES = 4096;

/** A socket that notes how many bytes were given to it between a cork and its end. */
class Writes {
  readonly lengthsBytes: number[] = [];
  destroyed = false;
  writableLength = 0;

  cork(): void {
    this.lengthsBytes.push(0);
  }

  write(bytes: Uint8Array, taken?: (error?: Error | null) => void): boolean {
    const last = this.lengthsBytes.length - 1;
    this.lengthsBytes[last] = (this.lengthsBytes[last] ?? 0) + bytes.length;
    setImmediate(() => taken?.(null));
    return true;
  }

  uncork(): void {}
}

interface Started {
  readonly writes: Writes;
  /** How much was written whenever what is meant for others was to leave first. */
  readonly lengthsBefore: number[];
  readonly output: Output;
  readonly writer: PduWriter;
  /** A header and data, each where it stands, or both in one span. */
  sendOne(isWhole?: boolean): void;
}

function start(): Started {
  const writes = new Writes();
  const pool = new BufferPool();
  const lengthsBefore: number[] = [];
  const beforeAnswers = (): void => void lengthsBefore.push(writes.lengthsBytes.length);
  const output = new Output(writes as unknown as NetSocket, { pool, beforeAnswers }, () => undefined);
  const writer = new PduWriter(output);
  const data = pool.take(DATA_BYTES);
  data.hold();
  const sendOne = (isWhole = false): void => {
    const span = new Span();
    if (isWhole) {
      writer.reserve(span, DATA_BYTES);
      writer.send(span, DATA_BYTES);
    } else {
      writer.reserveHeader(span);
      writer.sendApart(span, data, 0, DATA_BYTES);
    }
  };
  return { writes, lengthsBefore, output, writer, sendOne };
}

t.test('a batch of many leaves in writes of some, no PDU cut in two', (t) => {
  for (const [digests, isWhole] of [
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ] as const) {
    const { writes, output, writer, sendOne } = start();
    writer.setDigests(digests, digests);
    output.beginBatch();
    for (let i = 0; i < 2 * BATCH_PDUS_MAX + 3; i++) sendOne(isWhole);
    t.equal(writes.lengthsBytes.length, 2, 'full writes leave at once, and the initiator has work');
    output.endBatch();
    const pduBytes = BHS_BYTES + DATA_BYTES + (digests ? 2 * DIGEST_BYTES : 0);
    t.same(
      writes.lengthsBytes.map((bytes) => bytes / pduBytes),
      [BATCH_PDUS_MAX, BATCH_PDUS_MAX, 3],
      `whole PDUs, whatever their parts${digests ? ', with digests' : ''}`,
    );
  }
  t.end();
});

t.test('what commands have asked of others leaves before each write of answers', async (t) => {
  const { writes, lengthsBefore, output, sendOne } = start();
  output.beginBatch();
  for (let i = 0; i < BATCH_PDUS_MAX + 1; i++) sendOne();
  t.same(lengthsBefore, [0], 'also in the middle of a batch');
  output.endBatch();
  output.beginBatch();
  output.endBatch();
  t.same(lengthsBefore, [0, 1], 'where there are none, nobody waits for them');
  sendOne();
  await until('it has left', () => writes.lengthsBytes.length > 2);
  t.same(lengthsBefore, [0, 1, 2]);
});

t.test('what completes outside of a batch leaves with the turn of the loop', async (t) => {
  const { writes, sendOne } = start();
  sendOne();
  sendOne();
  t.same(writes.lengthsBytes, [], 'nothing yet');
  await until('the turn has ended', () => writes.lengthsBytes.length > 0);
  t.same(writes.lengthsBytes, [2 * (BHS_BYTES + DATA_BYTES)], 'both in one write');
});
