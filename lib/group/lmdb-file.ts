/**
 * Whether an LMDB file holds all that it should. LMDB maps it, so a page that its end was cut off with kills the process
 * (SIGBUS). Knows the format of the pages (mdb.c), none of the rows.
 */
import { fstatSync, readSync } from 'node:fs';
import { sleep, systemClock } from '../base/clock.js';

/** An MDB_page_header: number, transaction, padding, flags at 18, twice the number of nodes at 20. */
const HEADER_BYTES = 24;
const FLAGS_OFFSET = 18;
const NODES_OFFSET = 20;
const P_BRANCH = 0x01;
const P_LEAF = 0x02;

/** An MDB_node: four bytes of size or page, flags, length of the key, the key, the data. */
const NODE_FLAGS_OFFSET = 4;
const KEY_BYTES_OFFSET = 6;
const KEY_OFFSET = 8;
const F_BIGDATA = 0x01;
const F_SUBDATA = 0x02;
/** In an MDB_ovpage, what stands for data that has pages of its own. */
const PAGES_OFFSET = 16;
/** In an MDB_db, which describes a tree. */
const ROOT_OFFSET = 40;
/** The root of a tree without a page. */
const NO_PAGE = 2n ** 64n - 1n;

/** In an MDB_meta, after the header: the page's size, the trees of free pages and of data, the last page, the transaction. */
const PAGE_BYTES_OFFSET = 24;
const TREE_OFFSETS = [24, 72];
const LAST_PAGE_OFFSET = 120;
const TRANSACTION_OFFSET = 128;
const META_BYTES = 136;
const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 65_536;
/** Other processes commit while we look, or create the file. */
const LOOKS_MAX = 10;
const LOOK_AGAIN_MS = 100;

/** All that the newest transaction reaches is there. An empty file is one that somebody is about to create. */
export async function isWhole(file: number): Promise<boolean> {
  for (let look = 0; look < LOOKS_MAX; look++) {
    const metas = readMetas(file);
    if (hasAll(file, metas)) return true;
    // Pages of a snapshot may be written over once it is the last but one: then it is looked at anew.
    await sleep(systemClock, LOOK_AGAIN_MS);
    if (readMetas(file).equals(metas)) return false;
  }
  return true; // for those who go on committing to it
}

/** Both, one after the other, as far as the file goes. */
function readMetas(file: number): Buffer {
  const metas = Buffer.alloc(2 * META_BYTES);
  let bytes = readSync(file, metas, 0, META_BYTES, HEADER_BYTES);
  if (bytes === META_BYTES) {
    bytes += readSync(
      file,
      metas,
      META_BYTES,
      META_BYTES,
      HEADER_BYTES + metas.readUInt32LE(PAGE_BYTES_OFFSET),
    );
  }
  return metas.subarray(0, bytes);
}

/**
 * Every page up to the last is in the file, or is a free one: a transaction may take pages at the end and give them back
 * before anything is written to them, so a short file can be whole.
 */
function hasAll(file: number, metas: Buffer): boolean {
  const { size } = fstatSync(file); // asked after the meta pages: a file only grows
  if (size === 0 || metas.length < 2 * META_BYTES) return size === 0;
  const [first, second] = [metas.subarray(0, META_BYTES), metas.subarray(META_BYTES)];
  const transaction = (meta: Buffer): bigint => meta.readBigUInt64LE(TRANSACTION_OFFSET);
  const newest = transaction(second) > transaction(first) ? second : first;
  const pageBytes = first.readUInt32LE(PAGE_BYTES_OFFSET);
  if (pageBytes < PAGE_BYTES_MIN || pageBytes > PAGE_BYTES_MAX) return false;
  const pages = Math.floor(size / pageBytes);
  if (newest.readBigUInt64LE(LAST_PAGE_OFFSET) < pages) return true;
  try {
    return hasTrees(file, newest, pageBytes, pages);
  } catch (error) {
    if (error instanceof RangeError) return false; // a node that is not within its page
    throw error;
  }
}

/** Every page that is in use is one of the first `pages`. */
function hasTrees(file: number, meta: Buffer, pageBytes: number, pages: number): boolean {
  const wanted = TREE_OFFSETS.map((offset) => meta.readBigUInt64LE(offset + ROOT_OFFSET));
  const page = Buffer.alloc(pageBytes);
  let looked = 0;
  for (let number = wanted.pop(); number !== undefined; number = wanted.pop()) {
    if (number === NO_PAGE) continue;
    if (number >= pages || ++looked > pages) return false;
    readSync(file, page, 0, pageBytes, Number(number) * pageBytes);
    for (const extent of pagesOf(page)) {
      if (extent.from !== NO_PAGE && extent.from + extent.count > pages) return false;
      if (extent.isTree) wanted.push(extent.from);
    }
  }
  return true;
}

/** What the nodes of a page name. */
function* pagesOf(page: Buffer): Generator<{ from: bigint; count: bigint; isTree: boolean }> {
  const flags = page.readUInt16LE(FLAGS_OFFSET);
  if ((flags & (P_BRANCH | P_LEAF)) === 0) throw new RangeError('no page of a tree');
  const nodes = page.readUInt16LE(NODES_OFFSET) >> 1;
  for (let i = 0; i < nodes; i++) {
    const at = HEADER_BYTES + page.readUInt16LE(HEADER_BYTES + 2 * i);
    if ((flags & P_BRANCH) !== 0) {
      yield { from: BigInt(page.readUIntLE(at, 6)), count: 1n, isTree: true };
      continue;
    }
    const nodeFlags = page.readUInt16LE(at + NODE_FLAGS_OFFSET);
    const data = at + KEY_OFFSET + page.readUInt16LE(at + KEY_BYTES_OFFSET);
    if ((nodeFlags & F_BIGDATA) !== 0) {
      const count = page.readBigUInt64LE(data + PAGES_OFFSET);
      yield { from: page.readBigUInt64LE(data), count, isTree: false };
    } else if ((nodeFlags & F_SUBDATA) !== 0) {
      yield { from: page.readBigUInt64LE(data + ROOT_OFFSET), count: 1n, isTree: true };
    }
  }
}
