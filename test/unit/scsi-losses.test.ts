/** A unit whose device has lost what it had acknowledged: who is told, by which commands, and how often (I1). */
import t from 'tap';
import type { BlockIo } from '../../lib/block/device.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import type { ScsiNexus, ScsiTask } from '../../lib/scsi/task.js';
import { RamDevice } from '../support/ram-device.js';
import { BLOCK, cdb10, cdb16, hex } from '../support/scsi-rig.js';
import { IDENTITY, nexusOf, said, scsiRunner } from '../support/scsi-runner.js';

const WRITE_ERROR = '3/0c/00';
const SYNC = cdb16('91', 0, 0, 0);

/** A RAM disk that finds out by its next flush what it has lost. */
class LossyDisk extends RamDevice {
  losses = 0;
  admitted = 0;
  /** What who comes now was not there for; by default all. */
  lossesBefore: number | null = null;
  private undiscovered = 0;

  lose(): void {
    this.undiscovered += 1;
  }

  admit(): number {
    this.admitted += 1;
    return this.lossesBefore ?? this.losses;
  }

  /** What happens with the next flush. */
  whenFlushed: (() => void) | null = null;
  /** Flushes wait here while it is set. */
  waiting: BlockIo[] | null = null;

  override submit(io: BlockIo): void {
    if (io.op !== 'flush') return super.submit(io);
    if (this.waiting !== null) return void this.waiting.push(io);
    this.losses += this.undiscovered;
    this.undiscovered = 0;
    this.whenFlushed?.();
    this.whenFlushed = null;
    super.submit(io);
  }

  flushAll(): void {
    const waiting = this.waiting ?? [];
    this.waiting = null;
    for (const io of waiting) this.submit(io);
  }
}

interface Unit {
  readonly disk: LossyDisk;
  /** What the nexus is answered. */
  ask(nexus: ScsiNexus, cdb: string, dataOut?: Buffer): Promise<string>;
  begin(name: string): ScsiNexus;
  end(nexus: ScsiNexus): void;
  /** The task of the last command. */
  last(): ScsiTask;
}

function unit(removable = false): Unit {
  const disk = new LossyDisk(1024 * BLOCK, BLOCK);
  const server = new DiskServer({ device: disk, identity: IDENTITY, options: { removable } });
  const { run, last } = scsiRunner(disk, server);
  return {
    disk,
    last,
    ask: async (nexus, cdb, dataOut) => said(await run(cdb, dataOut, 0, nexus)),
    begin: (name) => {
      const nexus = nexusOf(`iqn.2026-11.test:${name}`);
      server.nexusBegan(nexus);
      return nexus;
    },
    end: (nexus) => server.nexusEnded(nexus),
  };
}

t.test('each initiator is told once, whoever finds it', async (t) => {
  const { disk, ask, begin } = unit();
  const [a, b] = [begin('a'), begin('b')];
  t.equal(await ask(a, SYNC), 'GOOD');
  disk.lose();
  t.equal(await ask(a, cdb10('2a', 0, 0, 1), Buffer.alloc(BLOCK)), 'GOOD', 'a write promises nothing');
  t.equal(await ask(a, SYNC), WRITE_ERROR);
  t.equal(await ask(a, SYNC), 'GOOD', 'what was written again is durable');
  t.equal(await ask(b, SYNC), WRITE_ERROR);
  t.equal(await ask(b, SYNC), 'GOOD');
  disk.lose();
  t.equal(await ask(b, SYNC), WRITE_ERROR, 'the next loss');
});

t.test('a new session does not settle it', async (t) => {
  const { disk, ask, begin, end } = unit();
  const [a, b] = [begin('a'), begin('b')];
  disk.lose();
  await ask(a, SYNC);
  for (const nexus of [a, b]) end(nexus);
  t.equal(await ask(begin('b'), SYNC), WRITE_ERROR);
  t.equal(await ask(begin('a'), SYNC), 'GOOD', 'it was told before');
  t.equal(await ask(begin('late'), SYNC), 'GOOD', 'it was not there');
});

t.test('flushes that were under way together fail together', async (t) => {
  const { disk, ask, begin } = unit();
  const a = begin('a');
  disk.lose();
  disk.waiting = [];
  const flushes = [ask(a, SYNC), ask(a, SYNC)];
  disk.flushAll();
  t.same(await Promise.all(flushes), [WRITE_ERROR, WRITE_ERROR]);
  t.equal(await ask(a, SYNC), 'GOOD');
});

t.test('initiators without number cost bounded memory', async (t) => {
  const { disk, ask, begin, end } = unit();
  const first = begin('first');
  for (let i = 0; i < 1_100; i++) end(begin(`passing ${i}`));
  disk.lose();
  await ask(begin('finder'), SYNC);
  t.equal(await ask(first, SYNC), WRITE_ERROR, 'who has a session is remembered');
  t.equal(await ask(begin('passing 0'), SYNC), 'GOOD', 'forgotten');
  t.equal(await ask(begin('passing 1099'), SYNC), WRITE_ERROR, 'remembered');
});

/** Overwrites all of it, once, with zeros. */
const OVERWRITE = Buffer.from('0100000100', 'hex');

t.test('a medium that has lost some of its erasure is not sanitized', async (t) => {
  const { disk, ask, begin } = unit();
  const a = begin('a');
  const sanitize = `48 01 ${'00 '.repeat(5)} 00 ${hex(OVERWRITE.length, 2)} 00`;
  disk.whenFlushed = () => disk.lose();
  t.equal(await ask(a, sanitize, OVERWRITE), '3/31/03');
  disk.lose();
  t.equal(await ask(a, sanitize, OVERWRITE), 'GOOD', 'what was lost before it is erased');
});

t.test('who has followed the home is told of what was lost on the way', async (t) => {
  const { disk, ask, begin, end } = unit();
  disk.lossesBefore = 0;
  const a = begin('a');
  disk.lose();
  t.equal(await ask(a, SYNC), WRITE_ERROR);
  t.equal(await ask(begin('b'), SYNC), WRITE_ERROR);
  end(a);
  t.equal(await ask(begin('a'), SYNC), 'GOOD');
  t.equal(disk.admitted, 2, 'each initiator once');
});

/** MODE SELECT(6): the caching page without WCE. */
const CACHE_OFF = Buffer.from(`00 00 00 00 08 12 ${'00 '.repeat(18)}`.replaceAll(' ', ''), 'hex');

t.test('every command that makes all durable says so', async (t) => {
  const commands: readonly (readonly [string, string, Buffer?])[] = [
    ['SYNCHRONIZE CACHE(10)', cdb10('35', 0, 0, 0)],
    ['SYNCHRONIZE CACHE(16)', SYNC],
    ['START STOP UNIT, stop', '1b 00 00 00 00 00'],
    ['START STOP UNIT, eject', '1b 00 00 00 02 00'],
    ['MODE SELECT(6) that turns the cache off', `15 10 00 00 ${hex(CACHE_OFF.length, 2)} 00`, CACHE_OFF],
  ];
  for (const [name, cdb, dataOut] of commands) {
    const { disk, ask, begin } = unit(true);
    const a = begin('a');
    disk.lose();
    t.equal(await ask(a, cdb, dataOut), WRITE_ERROR, name);
    t.equal(await ask(a, cdb, dataOut), 'GOOD', `${name} again`);
  }
});

t.test('who does not wait for a flush is told by the next', async (t) => {
  const { disk, ask, begin } = unit();
  const a = begin('a');
  disk.lose();
  t.equal(await ask(a, cdb16('91', 0x02, 0, 0)), 'GOOD', 'IMMED');
  t.equal(await ask(a, SYNC), WRITE_ERROR);
});

t.test('who is let go before a flush has ended is told by the next', async (t) => {
  const { disk, ask, begin, last } = unit();
  const a = begin('a');
  disk.lose();
  disk.waiting = [];
  void ask(a, SYNC);
  last().letGo?.();
  disk.flushAll();
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve)); // its end, if it had one
  t.equal(await ask(a, SYNC), WRITE_ERROR);
  t.equal(await ask(a, SYNC), 'GOOD');
});
