/**
 * COMPARE AND WRITE by several hosts while their volume moves, home and all: each counts one number up, and every step
 * that was answered GOOD counts once. In a hand-over some are still at the old home while others are at the new one.
 */
import t from 'tap';
import { parseSense } from '../../lib/iscsi/initiator/cdb.js';
import { Initiator } from '../../lib/iscsi/initiator/index.js';
import { startGroup } from '../support/group.js';

const BLOCK = 512;
const HOSTS = 4;
const MOVES = ['m2', 'm3', 'm1'] as const;
const MISCOMPARE = 0x0e;
const RETRIED = [0x06, 0x0b]; // UNIT ATTENTION, ABORTED COMMAND

/** COMPARE AND WRITE (SBC-3 5.2) of one block. */
const COMPARE_AND_WRITE = Buffer.from('89000000000000000000000000010000', 'hex');

function blockOf(count: number, host: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.writeUInt32BE(count, 0);
  block.writeUInt32BE(host, BLOCK - 4);
  return block;
}

/** Counts until told to stop; how often it was answered GOOD, and what could not be known. */
async function count(host: number, url: string, goesOn: () => boolean) {
  // Half of them leave once their commands are answered, half do not leave before they have to.
  const disk = await Initiator.connect(url, {
    initiatorName: `iqn.2026-11.test:host-${host}`,
    onLogoutRequest: host % 2 === 0 ? 'drain' : 'ignore',
  });
  let good = 0;
  const strange: string[] = [];
  while (goesOn()) {
    const there = await disk.read(0, 1);
    const dataOut = Buffer.concat([there, blockOf(there.readUInt32BE(0) + 1, host)]);
    const { status, sense } = await disk.execute(COMPARE_AND_WRITE, { dataOut });
    const key = parseSense(sense)?.key ?? 0;
    if (status === 0) good += 1;
    else if (key !== MISCOMPARE && !RETRIED.includes(key)) strange.push(`status ${status}, key ${key}`);
  }
  const resent = disk.recoveries.reduce((sum, recovery) => sum + recovery.resent, 0);
  await disk.close();
  return { good, strange, resent };
}

t.test('hosts that count together while their volume moves', async (t) => {
  const group = await startGroup(t, { volumes: { disk: '32M' } });
  let isOver = false;
  const hosts = Array.from({ length: HOSTS }, (_, host) => count(host, group.url('disk'), () => !isOver));
  for (const to of MOVES) await group.json('move', 'disk', '--to', to);
  isOver = true;
  const counted = await Promise.all(hosts);
  const good = counted.reduce((sum, host) => sum + host.good, 0);
  const resent = counted.reduce((sum, host) => sum + host.resent, 0);
  for (const { strange } of counted) t.strictSame(strange, []);
  const disk = await Initiator.connect(group.url('disk'));
  const found = (await disk.read(0, 1)).readUInt32BE(0);
  await disk.close();
  t.comment(`${good} steps of ${HOSTS} hosts over ${MOVES.length} moves, ${resent} commands sent again`);
  t.ok(good > HOSTS * MOVES.length, `${good} steps`);
  // A step that was done and not answered is sent again, and finds that it was done.
  t.ok(
    found >= good && found <= good + resent,
    `the number is ${found} after ${good} steps and ${resent} sent again`,
  );
});
