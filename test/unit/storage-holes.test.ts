/** Where a part of a file holds data: never less than there is, and at a cost that does not grow with the file. */
import fc from 'fast-check';
import t from 'tap';
import { dataRangesWithin } from '../../lib/storage/holes.js';
import { NO_DATA, type NativeCalls } from '../../lib/storage/native.js';

const KIB = 1024;
const BLOCK = 4 * KIB;

/** A file as a list of blocks, true: data. Counts how many blocks SEEK_HOLE and SEEK_DATA walk over. */
class FakeFile implements NativeCalls {
  looks = 0;
  walkedToHole = 0;
  constructor(private readonly blocks: readonly boolean[]) {}
  readonly readNowait = (): number => -1;
  readonly beginsReads = false;
  readonly maps = { map: () => 0, unmap: () => undefined, forget: () => undefined, resident: () => false };
  readonly uncache = (): void => undefined;
  readonly syncRange = (): boolean => false;

  seekData(_fd: number, fromBytes: number): number {
    this.looks += 1;
    const first = Math.floor(fromBytes / BLOCK);
    if (this.blocks[first] === true) return fromBytes;
    const found = this.blocks.indexOf(true, first);
    return found === -1 ? NO_DATA : found * BLOCK;
  }

  lengthBytes(): number {
    return this.blocks.length * BLOCK;
  }

  seekHole(_fd: number, fromBytes: number): number {
    let at = Math.floor(fromBytes / BLOCK);
    if (this.blocks[at] !== true) return fromBytes;
    for (; this.blocks[at] === true; at++) this.walkedToHole += 1;
    return at * BLOCK;
  }
}

t.test('covers all data, in order, inside the range; a hole of two steps is never called data', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 60 })), { minLength: 1, maxLength: 12 }),
      fc.nat(),
      fc.nat(),
      (runs, a, b) => {
        const blocks = runs.flatMap(([isData, count]) => new Array<boolean>(count).fill(isData));
        const [first = 0, last = 0] = [a % blocks.length, b % blocks.length].sort((x, y) => x - y);
        const ranges = dataRangesWithin(new FakeFile(blocks), 3, first * BLOCK, (last + 1) * BLOCK);
        const said = blocks.map((_, i) =>
          ranges.some((range) => range.fromBytes <= i * BLOCK && (i + 1) * BLOCK <= range.toBytes),
        );
        let hole = 0;
        let before = first * BLOCK;
        for (const range of ranges) {
          if (range.fromBytes < before || range.toBytes <= range.fromBytes) return false;
          before = range.toBytes;
        }
        if (before > (last + 1) * BLOCK) return false;
        for (let i = first; i <= last; i++) {
          if (blocks[i] === true && said[i] !== true) return false;
          hole = blocks[i] === true ? 0 : hole + 1;
          if (hole > 32 && said[i] === true) return false;
        }
        return true;
      },
    ),
    { numRuns: 2000 },
  );
});

t.test('4 MiB of a file full of data cost 64 looks, wherever its first hole is', async (t) => {
  const full = new FakeFile(new Array<boolean>(100_000).fill(true));
  t.strictSame(dataRangesWithin(full, 3, 0, 4096 * KIB), [{ fromBytes: 0, toBytes: 4096 * KIB }]);
  t.equal(full.looks, 64);
  t.equal(full.walkedToHole, 0);
});

t.test('what a file that was cut has lost is data that cannot be read, not zeros', async (t) => {
  const cut = new FakeFile([...new Array<boolean>(20).fill(true), ...new Array<boolean>(20).fill(false)]);
  t.strictSame(dataRangesWithin(cut, 3, 25 * BLOCK, 40 * BLOCK), [], 'a hole at the end');
  t.strictSame(dataRangesWithin(cut, 3, 25 * BLOCK, 60 * BLOCK), [
    { fromBytes: 25 * BLOCK, toBytes: 60 * BLOCK },
  ]);
  t.strictSame(dataRangesWithin(cut, 3, 40 * BLOCK, 60 * BLOCK), [
    { fromBytes: 40 * BLOCK, toBytes: 60 * BLOCK },
  ]);
});
