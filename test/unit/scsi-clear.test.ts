/** WRITE SAME, UNMAP, SYNCHRONIZE CACHE and PRE-FETCH: what they do to the medium, and what they refuse. */
import t from 'tap';
import { PIECE_BYTES_MAX, UNMAP_BLOCKS_MAX, WRITE_SAME_BLOCKS_MAX } from '../../lib/base/limits.js';
import type { BlockIo } from '../../lib/block/device.js';
import { NullDevice } from '../../lib/block/null-device.js';
import { pattern } from '../support/device-suite.js';
import { BLOCK, BLOCKS, cdb10, cdb16, heldExcept, hex, rig } from '../support/scsi-rig.js';
import { SAID, said, scsiRunner } from '../support/scsi-runner.js';

const SIZE = BLOCKS * BLOCK;

const WRITE_SAMES = [
  {
    name: 'WRITE SAME(10)',
    cdb: (flags: number, lba: number, blocks: number) => cdb10('41', flags, lba, blocks),
  },
  {
    name: 'WRITE SAME(16)',
    cdb: (flags: number, lba: number, blocks: number) => cdb16('93', flags, lba, blocks),
  },
];
const UNMAP = 0x08;
const ANCHOR = 0x10;
const ZEROS = Buffer.alloc(BLOCK);

for (const { name, cdb } of WRITE_SAMES) {
  t.test(name, async (t) => {
    const block = pattern(BLOCK, 33);
    for (const [lba, blocks] of [
      [0, 1],
      [7, 5000],
      [BLOCKS - 3, 3],
      [0, BLOCKS],
    ] as const) {
      const { ram, run } = rig();
      const outcome = await run(cdb(0, lba, blocks), block);
      t.equal(said(outcome), SAID.GOOD, `${blocks} at ${lba}`);
      t.equal(outcome.dataOutBytes, BLOCK);
      t.ok(heldExcept(ram, lba, Buffer.alloc(blocks * BLOCK, block)), 'these blocks and no others');
    }

    const { ram, run } = rig();
    t.equal(said(await run(cdb(0, 10, 20), ZEROS)), SAID.GOOD);
    t.same([ram.counts.zero, ram.counts.discard], [1, 0], 'zeros are a run of zeros');
    t.equal(said(await run(cdb(UNMAP, 10, 20), ZEROS)), SAID.GOOD);
    t.same([ram.counts.zero, ram.counts.discard], [1, 1], 'with UNMAP a discard');
    t.ok(heldExcept(ram, 10, Buffer.alloc(20 * BLOCK)));
    t.equal(said(await run(cdb(UNMAP, 10, 20), block)), SAID.GOOD);
    t.ok(heldExcept(ram, 10, Buffer.alloc(20 * BLOCK, block)), 'UNMAP of anything but zeros writes it');

    for (const lba of [0, BLOCKS - 3]) {
      const toTheEnd = rig();
      t.equal(said(await toTheEnd.run(cdb(0, lba, 0), block)), SAID.GOOD);
      const written = Buffer.alloc((BLOCKS - lba) * BLOCK, block);
      t.ok(heldExcept(toTheEnd.ram, lba, written), '0 blocks: to the end of the medium');
    }
    t.equal(said(await run(cdb(0, BLOCKS, 0), block)), SAID.LBA_OUT_OF_RANGE, 'there is no first block');
    t.equal(said(await run(cdb(0, BLOCKS + 1, 0), block)), SAID.LBA_OUT_OF_RANGE);
    t.equal(said(await run(cdb(0, BLOCKS - 1, 2), block)), SAID.LBA_OUT_OF_RANGE);
    t.equal(said(await run(cdb(0, 0xffffffff, 0), block)), SAID.LBA_OUT_OF_RANGE);
    t.equal(said(await run(cdb(ANCHOR, 0, 1), ZEROS)), SAID.INVALID_FIELD_IN_CDB, 'ANCHOR without UNMAP');
    t.equal(said(await run(cdb(ANCHOR | UNMAP, 0, 1), ZEROS)), SAID.INVALID_FIELD_IN_CDB, 'ANCHOR');
    for (const flag of [0x02, 0x04]) {
      t.equal(said(await run(cdb(flag, 0, 1), ZEROS)), SAID.INVALID_FIELD_IN_CDB, 'LBDATA, PBDATA');
    }
    for (let protect = 1; protect < 8; protect++) {
      t.equal(
        said(await run(cdb(protect << 5, 0, 1), ZEROS)),
        SAID.INVALID_FIELD_IN_CDB,
        `protection ${protect}`,
      );
    }
    t.equal(said(await run(cdb(0, 0, 1), ZEROS.subarray(256))), SAID.INVALID_FIELD_IN_CDB, 'half a block');
    const two = Buffer.alloc(2 * BLOCK);
    t.equal(said(await run(cdb(0, 0, 1), two)), SAID.INVALID_FIELD_IN_CDB, 'two blocks');
    t.equal(said(await rig(true).run(cdb(UNMAP, 0, 1), ZEROS)), SAID.WRITE_PROTECTED);
  });
}

t.test('WRITE SAME(16) with NDOB needs no data', async (t) => {
  const { ram, run } = rig();
  const outcome = await run(cdb16('93', 0x01, 4, 4));
  t.equal(said(outcome), SAID.GOOD);
  t.equal(outcome.dataOutBytes, 0);
  t.ok(heldExcept(ram, 4, Buffer.alloc(4 * BLOCK)));
  t.equal(said(await run(cdb16('93', 0x09, 4, 4))), SAID.GOOD);
  t.equal(ram.counts.discard, 1);
});

t.test('WRITE SAME beyond its maximum length is an invalid field, also where it names none', async (t) => {
  const { run } = scsiRunner(new NullDevice(2 * WRITE_SAME_BLOCKS_MAX * BLOCK, BLOCK));
  t.equal(said(await run(cdb16('93', 0x01, 0, WRITE_SAME_BLOCKS_MAX))), SAID.GOOD);
  t.equal(said(await run(cdb16('93', 0x01, 0, WRITE_SAME_BLOCKS_MAX + 1))), SAID.INVALID_FIELD_IN_CDB);
  t.equal(said(await run(cdb16('93', 0x01, WRITE_SAME_BLOCKS_MAX, 0))), SAID.GOOD);
  t.equal(said(await run(cdb16('93', 0x01, WRITE_SAME_BLOCKS_MAX - 1, 0))), SAID.INVALID_FIELD_IN_CDB);
});

t.test('what takes long ends where it is not wanted any more', async (t) => {
  const PIECES = 12;
  /** A unit with something that happens when its device has been given so many pieces. */
  const unitWhere = (at: number, happens: () => void) => {
    const device = new NullDevice(PIECES * PIECE_BYTES_MAX, BLOCK);
    const { sizeBytes, blockBytes, readOnly } = device;
    const seen = { pieces: 0 };
    const submit = (io: BlockIo): void => {
      if (io.op === 'write' && ++seen.pieces === at) happens();
      device.submit(io);
    };
    return { seen, ...scsiRunner({ sizeBytes, blockBytes, readOnly, submit }) };
  };
  const all = cdb16('93', 0, 0, 0);
  const block = pattern(BLOCK, 4);

  const whole = unitWhere(-1, () => undefined);
  t.equal(said(await whole.run(all, block)), SAID.GOOD);
  t.equal(whole.seen.pieces, PIECES);

  const aborted = unitWhere(3, () => (aborted.last().isEnding = true));
  t.equal(said(await aborted.run(all, block)), 'b/00/00', 'it ends behind the piece under way');
  t.equal(aborted.seen.pieces, 3);

  const erased = unitWhere(6, () => void erased.run('48 82 0000000000 0000 00'));
  t.equal(
    said(await erased.run(all, block)),
    SAID.SANITIZE_IN_PROGRESS,
    'it writes nothing behind what erases all',
  );
  t.equal(erased.seen.pieces, 6);
});

t.test('a long WRITE SAME lets others run, and stops at the first failure', async (t) => {
  const { ram, faults, run } = rig();
  faults.add({ ops: ['write'], skip: 2, action: { kind: 'fail', code: 'no-space' } });
  let turns = 0;
  const count = (): void => {
    turns += 1;
    if (turns < 100) setImmediate(count);
  };
  setImmediate(count);
  const outcome = await run(cdb16('93', 0, 0, BLOCKS), pattern(BLOCK, 2));
  t.equal(said(outcome), '7/27/07');
  t.equal(ram.counts.write, 2);
  t.ok(turns >= 2, `${turns} turns of the loop in between`);
});

/** An UNMAP parameter list; the two lengths are right unless told otherwise. */
function unmapList(
  ranges: readonly (readonly [lba: number, blocks: number])[],
  descriptorBytes = 16 * ranges.length,
): Buffer {
  const list = Buffer.alloc(8 + 16 * ranges.length);
  list.writeUInt16BE(list.length - 2, 0);
  list.writeUInt16BE(descriptorBytes, 2);
  ranges.forEach(([lba, blocks], i) => {
    list.writeBigUInt64BE(BigInt(lba), 8 + 16 * i);
    list.writeUInt32BE(blocks, 16 + 16 * i);
  });
  return list;
}

const unmapCdb = (length: number, flags = 0): string =>
  `42 ${hex(flags, 2)} 00000000 00 ${hex(length, 4)} 00`;

t.test('UNMAP', async (t) => {
  const { ram, run } = rig();
  const list = unmapList([
    [3, 2],
    [100, 0],
    [BLOCKS - 1, 1],
  ]);
  t.equal(said(await run(unmapCdb(list.length), list)), SAID.GOOD);
  const expected = pattern(SIZE, 1);
  expected.fill(0, 3 * BLOCK, 5 * BLOCK).fill(0, SIZE - BLOCK);
  t.ok(ram.bytes.equals(expected), 'its ranges and no others');
  t.equal(ram.counts.discard, 2, 'a range of no blocks is nothing');

  t.equal(said(await run(unmapCdb(0))), SAID.GOOD, 'no list');
  for (let length = 1; length < 8; length++) {
    t.equal(
      said(await run(unmapCdb(length), list)),
      SAID.PARAMETER_LIST_LENGTH_ERROR,
      `${length} bytes of a header`,
    );
  }
  t.equal(
    said(await run(unmapCdb(24), list.subarray(0, 7))),
    SAID.PARAMETER_LIST_LENGTH_ERROR,
    'less came than was said',
  );
  t.equal(said(await run(unmapCdb(8), unmapList([]))), SAID.GOOD, 'a header alone');
  t.equal(said(await run(unmapCdb(list.length, 1), list)), SAID.INVALID_FIELD_IN_CDB, 'ANCHOR');
  t.equal(said(await rig(true).run(unmapCdb(list.length), list)), SAID.WRITE_PROTECTED);
});

t.test('UNMAP ignores a descriptor that is cut short', async (t) => {
  const both = unmapList([
    [10, 1],
    [20, 1],
  ]);
  for (const [name, length, list] of [
    ['by the parameter list length', 39, both],
    [
      'by the descriptor data length',
      40,
      unmapList(
        [
          [10, 1],
          [20, 1],
        ],
        31,
      ),
    ],
    ['by the data that came', 40, both.subarray(0, 30)],
  ] as const) {
    const { ram, run } = rig();
    t.equal(said(await run(unmapCdb(length), list)), SAID.GOOD, name);
    t.ok(heldExcept(ram, 10, ZEROS), 'only the first was done');
  }
});

t.test('UNMAP does nothing of a list in which anything is wrong', async (t) => {
  const wrong: readonly [string, Buffer, string][] = [
    [
      'past the end',
      unmapList([
        [0, 1],
        [BLOCKS, 1],
      ]),
      SAID.LBA_OUT_OF_RANGE,
    ],
    [
      'over the end',
      unmapList([
        [0, 1],
        [BLOCKS - 1, 2],
      ]),
      SAID.LBA_OUT_OF_RANGE,
    ],
    [
      'far away',
      unmapList([
        [0, 1],
        [2 ** 52, 1],
      ]),
      SAID.LBA_OUT_OF_RANGE,
    ],
    [
      '257 descriptors',
      unmapList(Array.from({ length: 257 }, () => [0, 1] as const)),
      SAID.INVALID_FIELD_IN_PARAMETER_LIST,
    ],
    [
      'too many blocks',
      unmapList(Array.from({ length: 200 }, () => [0, BLOCKS] as const)),
      SAID.INVALID_FIELD_IN_PARAMETER_LIST,
    ],
  ];
  t.ok(200 * BLOCKS > UNMAP_BLOCKS_MAX);
  for (const [name, list, expected] of wrong) {
    const { ram, run } = rig();
    t.equal(said(await run(unmapCdb(list.length), list)), expected, name);
    t.ok(heldExcept(ram, 0, Buffer.alloc(0)), 'nothing was unmapped');
  }
});

t.test('SYNCHRONIZE CACHE', async (t) => {
  for (const cdb of [
    (flags: number, lba: number, blocks: number) => cdb10('35', flags, lba, blocks),
    (flags: number, lba: number, blocks: number) => cdb16('91', flags, lba, blocks),
  ]) {
    const { ram, faults, run } = rig();
    t.equal(said(await run(cdb(0, 0, 0))), SAID.GOOD);
    t.equal(said(await run(cdb(0, 5, 1))), SAID.GOOD);
    t.equal(ram.counts.flush, 2);
    t.equal(said(await run(cdb(0, BLOCKS, 1))), SAID.LBA_OUT_OF_RANGE);
    t.equal(said(await run(cdb(0, BLOCKS + 1, 0))), SAID.LBA_OUT_OF_RANGE);
    t.equal(ram.counts.flush, 2);

    const pause = faults.add({ ops: ['flush'], action: { kind: 'pause' } });
    t.equal(said(await run(cdb(0x02, 0, 0))), SAID.GOOD, 'IMMED does not wait');
    t.equal(pause.heldCount, 1, 'but the flush is under way');
    const waiting = run(cdb(0, 0, 0));
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(pause.heldCount, 2);
    pause.remove();
    t.equal(said(await waiting), SAID.GOOD, 'without IMMED it waits');
    faults.add({ ops: ['flush'], action: { kind: 'fail', code: 'medium-write' } });
    t.equal(said(await run(cdb(0, 0, 0))), '3/0c/00', 'a flush that failed is said');
    t.equal(said(await run(cdb(0x02, 0, 0))), SAID.GOOD);
  }
  t.equal(said(await rig(true).run(cdb10('35', 0, 0, 0))), SAID.GOOD, 'harmless on a read-only device');
});

t.test('PRE-FETCH', async (t) => {
  const { run } = rig();
  for (const cdb of [
    (lba: number, blocks: number) => cdb10('34', 0x02, lba, blocks),
    (lba: number, blocks: number) => cdb16('90', 0, lba, blocks),
  ]) {
    t.equal(said(await run(cdb(0, 1))), SAID.GOOD);
    t.equal(said(await run(cdb(0, 0))), SAID.GOOD);
    t.equal(said(await run(cdb(BLOCKS - 1, 2))), SAID.LBA_OUT_OF_RANGE);
    t.equal(said(await run(cdb(BLOCKS + 1, 0))), SAID.LBA_OUT_OF_RANGE);
  }
});
