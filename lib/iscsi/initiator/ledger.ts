/**
 * What must be on the volume: for every block the last acknowledged generation and the last one issued. A read may bring
 * any generation from what was acknowledged when it was submitted up to what was issued when it was answered; anything
 * else is a lost, stale, misplaced or torn block. It judges; reading and writing is the workload's.
 *
 * Writes that failed, or were never answered, leave acknowledged < issued: the block may hold either. A read that shows
 * the newer one settles it, since a block cannot go back.
 *
 * The file: 64 bytes of header (magic, version, seed, block size, number of blocks, whether a run was under way), then
 * acknowledged and issued, a little-endian word per block each.
 */
import { constants } from 'node:fs';
import { open, rename, type FileHandle } from 'node:fs/promises';
import { putUint32Le, putUint8, uint32Le, uint8 } from '../../base/bytes.js';
import { BlockferryError, describeError, errnoOf } from '../../base/errors.js';
import { claimedGeneration, describeContent, inspectBlock, isBlock } from './pattern.js';

const FILE_MAGIC = 'blockferry ledger 1\n';
const FILE_HEADER_BYTES = 64;
/** At 8 bytes a block 4 GiB of ledger, in memory and on disk: 256 GiB in blocks of 512 bytes, 2 TiB in those of 4096. */
const BLOCKS_MAX = 512 * 1024 * 1024;
/** The system reads less than 2 GiB at once. */
const READ_BYTES_MAX = 1024 * 1024 * 1024;

/** One block that is not what it must be. */
export interface WrongBlock {
  readonly block: number;
  /** Where that is, as the target counts. */
  readonly lba: number;
  readonly kind: 'lost' | 'stale' | 'torn' | 'misplaced' | 'foreign' | 'phantom';
  /** Generations that would have been right, both included; 0 is "never written". */
  readonly expected: readonly [low: number, high: number];
  readonly found: string;
}

export interface LedgerGeometry {
  readonly seed: number;
  /** 512 or 4096; the unit of generations. */
  readonly blockBytes: number;
  readonly blocks: number;
}

export class Ledger {
  private readonly acknowledged: Uint32Array;
  private readonly issued: Uint32Array;
  /** There may have been writes that it does not know of: its last run did not end in order, or its seed was used before. */
  interrupted = false;

  constructor(readonly geometry: LedgerGeometry) {
    if (geometry.blocks > BLOCKS_MAX) {
      throw new BlockferryError(
        'USAGE',
        `a ledger holds at most ${BLOCKS_MAX} blocks`,
        'work on a range of the volume',
      );
    }
    this.acknowledged = new Uint32Array(geometry.blocks);
    this.issued = new Uint32Array(geometry.blocks);
  }

  /** Words of one block, as pattern.ts counts. */
  get blockWords(): number {
    return this.geometry.blockBytes / 4;
  }

  /** A write of this block is about to be submitted: its generation. One write of a block at a time. */
  issue(block: number): number {
    const generation = (this.issued[block] as number) + 1;
    this.issued[block] = generation;
    return generation;
  }

  /** The write of the last issued generation was answered GOOD. */
  acknowledge(block: number): void {
    this.acknowledged[block] = this.issued[block] as number;
  }

  /** The oldest generation that a read submitted now may bring. */
  floorOf(block: number): number {
    return this.acknowledged[block] as number;
  }

  /**
   * Judges one block that was read.
   * @param floor floorOf(block) when the read was submitted
   * @param lbasPerBlock only to name the lba: blockBytes of the ledger over those of the target
   */
  check(words: Uint32Array, at: number, block: number, floor: number, lbasPerBlock = 1): WrongBlock | null {
    const { seed } = this.geometry;
    const high = this.interrupted ? 0xffffffff : (this.issued[block] as number);
    const generation = claimedGeneration(words, at, seed, block);
    if (generation >= floor && generation <= high && generation > 0) {
      if (isBlock(words, at, this.blockWords, seed, block, generation)) {
        this.observe(block, generation);
        return null;
      }
    }
    return this.judge(words, at, block, floor, high, lbasPerBlock);
  }

  private observe(block: number, generation: number): void {
    if (generation > (this.acknowledged[block] as number)) this.acknowledged[block] = generation;
    if (generation > (this.issued[block] as number)) this.issued[block] = generation;
  }

  private judge(
    words: Uint32Array,
    at: number,
    block: number,
    low: number,
    high: number,
    lbas: number,
  ): WrongBlock | null {
    const content = inspectBlock(words, at, this.blockWords);
    const wrong = (kind: WrongBlock['kind']): WrongBlock => {
      return { block, lba: block * lbas, kind, expected: [low, high], found: describeContent(content) };
    };
    const ours = content.kind === 'pattern' && content.seed === this.geometry.seed >>> 0;
    // Nothing was ever acknowledged here: whatever stood there before may stand there still, but nothing of this run.
    if (low === 0 && !ours && content.kind !== 'torn') return null;
    switch (content.kind) {
      case 'zeros':
        return wrong('lost');
      case 'torn':
        return wrong('torn');
      case 'foreign':
        return wrong('foreign');
      case 'pattern':
        if (!ours) return wrong('foreign');
        if (content.block !== block) return wrong('misplaced');
        return wrong(content.generation < low ? 'stale' : 'phantom');
    }
  }

  /** How many blocks were ever written with success. */
  get writtenBlocks(): number {
    let written = 0;
    for (const generation of this.acknowledged) if (generation > 0) written += 1;
    return written;
  }

  // --- the file ------------------------------------------------------------------------------------------------------

  /** Writes the whole ledger beside `path` and puts it in its place. Throws IO. */
  async save(path: string): Promise<void> {
    try {
      await this.replace(path);
    } catch (cause) {
      const hint = 'name one where files can be made';
      const what = `the ledger ${path} cannot be written: ${describeError(cause)}`;
      throw new BlockferryError('IO', what, hint, { cause });
    }
  }

  private async replace(path: string): Promise<void> {
    const header = Buffer.alloc(FILE_HEADER_BYTES);
    header.write(FILE_MAGIC, 0, 'latin1');
    putUint32Le(header, this.geometry.seed >>> 0, 32);
    putUint32Le(header, this.geometry.blockBytes, 36);
    header.writeDoubleLE(this.geometry.blocks, 40);
    putUint8(header, this.interrupted ? 1 : 0, 48);
    const temporary = `${path}.new`;
    const file = await open(temporary, 'w');
    try {
      await file.writeFile(header);
      for (const part of [this.acknowledged, this.issued]) await file.writeFile(Buffer.from(part.buffer));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  }

  /** Reads a ledger; undefined when there is no such file. Throws INVALID when it is not one. */
  static async load(path: string): Promise<Ledger | undefined> {
    let file: FileHandle;
    try {
      file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK); // a pipe that nobody writes does not open otherwise
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
    try {
      const ledger = await Ledger.read(file);
      if (ledger !== undefined) return ledger;
    } finally {
      await file.close();
    }
    throw new BlockferryError(
      'INVALID',
      `${path} is not a ledger`,
      'give the file that an earlier run wrote',
    );
  }

  /** Undefined: it is something else. A device is, and would have no end. */
  private static async read(file: FileHandle): Promise<Ledger | undefined> {
    const stat = await file.stat();
    if (!stat.isFile() || stat.size < FILE_HEADER_BYTES) return undefined;
    const header = Buffer.alloc(FILE_HEADER_BYTES);
    await file.read(header, 0, FILE_HEADER_BYTES, 0);
    if (header.toString('latin1', 0, FILE_MAGIC.length) !== FILE_MAGIC) return undefined;
    const blocks = header.readDoubleLE(40);
    if (stat.size !== FILE_HEADER_BYTES + blocks * 8) return undefined;
    const ledger = new Ledger({ seed: uint32Le(header, 32), blockBytes: uint32Le(header, 36), blocks });
    ledger.interrupted = uint8(header, 48) !== 0;
    await fill(ledger.acknowledged, file, FILE_HEADER_BYTES);
    await fill(ledger.issued, file, FILE_HEADER_BYTES + blocks * 4);
    return ledger;
  }
}

async function fill(words: Uint32Array, file: FileHandle, fromBytes: number): Promise<void> {
  const bytes = new Uint8Array(words.buffer);
  for (let done = 0; done < bytes.length;) {
    const length = Math.min(bytes.length - done, READ_BYTES_MAX);
    const { bytesRead } = await file.read(bytes, done, length, fromBytes + done);
    if (bytesRead === 0) throw new BlockferryError('IO', 'the ledger has become shorter');
    done += bytesRead;
  }
}
