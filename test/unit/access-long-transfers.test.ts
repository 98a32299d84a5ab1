/** A READ or WRITE of more than one request takes to the home: it goes in pieces, and is answered once, by all of them. */
import t from 'tap';
import { HOME_COMMAND_BYTES_MAX } from '../../lib/base/limits.js';
import { BlockIo } from '../../lib/block/device.js';
import { PeerStatus, PeerType } from '../../lib/peer/contract.js';
import { RefusedIo } from '../../lib/scsi/sense.js';
import { pattern } from '../support/device-suite.js';
import { BUSY, READY, STATE_CHANGED, twoMembers, type World } from '../support/errand-rig.js';
import { cdb16 } from '../support/scsi-rig.js';
import { nexusOf } from '../support/scsi-runner.js';
import { turns, until } from '../support/wait.js';

const MiB = 1024 * 1024;
const DISK = 9 * MiB;
const AT = 3;
/** Two pieces and a rest. */
const SOME = 2 * HOME_COMMAND_BYTES_MAX + 512;
const MOST = 8 * MiB;

const write = (lengthBytes: number): string => cdb16('8a', 0, AT, lengthBytes / 512);
const read = (lengthBytes: number): string => cdb16('88', 0, AT, lengthBytes / 512);
const written = ({ disk }: World, lengthBytes: number): Buffer =>
  disk.bytes.subarray(AT * 512, AT * 512 + lengthBytes);

/** The lengths of what comes to the disk. */
function lengthsOf({ disk }: World): number[] {
  const lengths: number[] = [];
  const submit = disk.submit.bind(disk);
  disk.submit = (io) => {
    lengths.push(io.lengthBytes);
    submit(io);
  };
  return lengths;
}

/** Whether nobody waits for it any more is the test's to say. */
class AbortableIo extends BlockIo {
  isAborted = false;
  readonly outcomes: (Error | null)[] = [];

  override get isWanted(): boolean {
    return !this.isAborted;
  }

  protected override completed(error: Error | null): void {
    this.outcomes.push(error);
  }
}

t.test('a long WRITE and READ, in pieces that each fit a request', async (t) => {
  for (const lengthBytes of [HOME_COMMAND_BYTES_MAX + 512, SOME, MOST]) {
    const { world, other } = twoMembers(DISK);
    const lengths = lengthsOf(world);
    const session = other.session('a');
    const data = pattern(lengthBytes, 5);
    t.equal(await session.says(write(lengthBytes), data), 'GOOD');
    t.ok(written(world, lengthBytes).equals(data), `${lengthBytes} bytes`);
    t.equal(world.disk.bytes[AT * 512 + lengthBytes], 0, 'and no more');
    const { status, dataIn } = await session.run(
      read(lengthBytes),
      undefined,
      0,
      nexusOf('iqn.2026-11.test:a'),
    );
    t.equal(status, 0);
    t.ok(dataIn.equals(data));
    const pieces = Math.ceil(lengthBytes / HOME_COMMAND_BYTES_MAX);
    t.equal(lengths.length, 2 * pieces);
    t.equal(Math.max(...lengths), HOME_COMMAND_BYTES_MAX);
  }
});

t.test('each piece is durable where the command says so', async (t) => {
  const { world, other } = twoMembers(DISK);
  const fua = cdb16('8a', 0x08, AT, SOME / 512);
  t.equal(await other.session('a').says(fua, pattern(SOME, 5)), 'GOOD');
  t.equal(world.disk.fuaCount, 3);
});

t.test('what the home says of the first piece is said before anything is written', async (t) => {
  const { world, home, other } = twoMembers(DISK);
  const [session, holder] = [other.session('a'), home.session('b')];
  t.equal(await session.says(READY), 'GOOD');
  world.move('m3');
  world.start('m3');
  home.hear();
  other.hear();
  t.equal(await session.says(write(SOME), pattern(SOME, 5)), STATE_CHANGED);
  t.equal(world.disk.writes, 0);
  world.move('m1');
  for (const place of world.members.values()) place.hear();
  t.equal(await holder.says(READY), STATE_CHANGED);
  t.equal(await holder.says('16 00 00 00 00 00'), 'GOOD', 'RESERVE (6)');
  t.equal(await session.says(READY), STATE_CHANGED);
  t.equal(await session.says(write(SOME), pattern(SOME, 5)), 'status 18');
  t.equal(world.disk.writes, 0);
});

t.test('a piece that is in doubt ends the command, once the home says that it is over (I8)', async (t) => {
  const { world, other } = twoMembers(DISK);
  const session = other.session('a');
  t.equal(await session.says(READY), 'GOOD');
  let [sent, isBack] = [0, false];
  world.peers.fate = (_member, { type }) => {
    if (type === PeerType.COMMAND_ENDS) return isBack ? null : PeerStatus.LINK_LOST;
    if (type !== PeerType.COMMAND_WRITE) return null;
    sent += 1;
    return sent === 2 ? PeerStatus.LINK_LOST : null;
  };
  let answer = '';
  const writing = session.says(write(MOST), pattern(MOST, 5)).then((outcome) => (answer = outcome));
  await until('the second piece has gone', () => sent >= 2);
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.equal(answer, '', 'it may still be under way');
  isBack = true;
  t.equal(await writing, BUSY);
  t.equal(sent, 2, 'nothing was sent after it');
  t.equal(world.disk.writes, 1);
});

t.test('an abort ends it with the piece that is under way', async (t) => {
  const { world, other } = twoMembers(DISK);
  const device = other.access.nexusBegan(nexusOf('iqn.2026-11.test:a'));
  world.disk.held = [];
  const io = new AbortableIo();
  device.submit(io.prepare('write', 0, MOST, pattern(MOST, 5)));
  await until('a piece is at the disk', () => world.disk.writes > 0);
  await turns();
  t.equal(world.disk.writes, 1, 'one at a time');
  io.isAborted = true;
  await turns();
  t.same(io.outcomes, [], 'what is at the disk runs to its end');
  world.disk.release();
  await until('it has ended', () => io.outcomes.length > 0);
  await turns();
  t.equal(world.disk.writes, 1);
  t.equal(io.outcomes.length, 1);
  t.ok(io.outcomes[0] instanceof RefusedIo);
});

t.test('a home that is about to go waits for no more than a piece', async (t) => {
  const { world, home, other } = twoMembers(DISK);
  const [session, atHome] = [other.session('a'), home.session('b')];
  t.equal(await session.says(READY), 'GOOD');
  world.disk.held = [];
  const first = session.says(write(MOST), pattern(MOST, 5));
  await until('a piece is at the disk', () => world.disk.writes > 0);
  home.access.stand('held');
  const second = atHome.says(write(MOST), pattern(MOST, 6));
  home.busy = 1; // which waits here, as one
  const quiet = home.access.quieten();
  await turns();
  world.disk.release();
  t.equal(await quiet, true);
  t.equal(world.disk.writes, 1);
  world.move('m2');
  home.hear();
  other.hear();
  t.equal(await first, STATE_CHANGED, 'the rest of it comes to the new home');
  t.equal(await second, STATE_CHANGED);
  t.equal(world.disk.writes, 1);
  t.equal(await session.says(write(MOST), pattern(MOST, 5)), 'GOOD');
  t.equal(await atHome.says(write(MOST), pattern(MOST, 6)), 'GOOD', 'in pieces from here');
  t.ok(written(world, MOST).equals(pattern(MOST, 6)));
});

t.test('what is held in the midst goes on where the home stays', async (t) => {
  const { world, home } = twoMembers(DISK);
  const session = home.session('a');
  home.access.stand('held');
  const writing = session.says(write(MOST), pattern(MOST, 5));
  await turns();
  t.equal(world.disk.writes, 0);
  home.access.stand('here');
  t.equal(await writing, 'GOOD');
  t.ok(written(world, MOST).equals(pattern(MOST, 5)));
});
