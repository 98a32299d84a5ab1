/**
 * Commands that the device server takes, drawn from its own table, so that a new command is fuzzed from its first day on:
 * every field that is looked at is filled, mostly with what makes sense, and data goes with it where it needs some.
 */
import { NO_BYTES } from '../../base/bytes.js';
import type { Chance } from '../../base/chance.js';
import type { Command } from '../../scsi/command.js';
import { COMMANDS } from '../../scsi/dispatch.js';
import { drawData, LBAS_MAX, writeField } from './draws.js';
import { parametersOf } from './parameters.js';

export interface DrawnCommand {
  /** Sixteen bytes. */
  readonly cdb: Buffer;
  readonly dataOut: Buffer;
  /** What the initiator takes; 0 where it sends. */
  readonly dataInBytes: number;
}

/** Where LBA and number of blocks stand: [first byte, bytes]. */
interface BlockFields {
  readonly lba: readonly [number, number];
  readonly blocks: readonly [number, number];
}

const of6: BlockFields = { lba: [1, 3], blocks: [4, 1] };
const of10: BlockFields = { lba: [2, 4], blocks: [7, 2] };
const of12: BlockFields = { lba: [2, 4], blocks: [6, 4] };
const of16: BlockFields = { lba: [2, 8], blocks: [10, 4] };
const BLOCK_FIELDS: ReadonlyMap<number, BlockFields> = new Map([
  ...[0x08, 0x0a].map((opcode) => [opcode, of6] as const),
  ...[0x28, 0x2a, 0x2e, 0x2f, 0x34, 0x35, 0x41].map((opcode) => [opcode, of10] as const),
  ...[0xa8, 0xaa, 0xae, 0xaf].map((opcode) => [opcode, of12] as const),
  ...[0x88, 0x8a, 0x8b, 0x8e, 0x8f, 0x90, 0x91, 0x93].map((opcode) => [opcode, of16] as const),
  [0x89, { lba: [2, 8], blocks: [13, 1] }],
  [0x9c, { lba: [2, 8], blocks: [12, 2] }],
]);

const READS: readonly number[] = [0x08, 0x28, 0xa8, 0x88];
const WRITES: readonly number[] = [0x0a, 0x2a, 0xaa, 0x8a];
/** They bring as many blocks as they name. */
const BRINGS_BLOCKS: ReadonlySet<number> = new Set([...WRITES, 0x2e, 0xae, 0x8e, 0x8b, 0x9c]);
const VERIFIES: ReadonlySet<number> = new Set([0x2f, 0xaf, 0x8f]);
const WRITE_SAMES: ReadonlySet<number> = new Set([0x41, 0x93]);
const COMPARE_AND_WRITE = 0x89;
/** What stands in the way of everybody's commands for a while is drawn less often: that of so many. */
const RARE: ReadonlyMap<number, number> = new Map([
  [0x48, 0.04],
  [0x1b, 0.2],
  [0x5f, 0.4],
  [0x16, 0.1],
  [0x56, 0.1],
]);

const BYTES_MAX = 8 * 512;

/** @param blockBytes of the unit */
export function drawCommand(chance: Chance, blockBytes: number): DrawnCommand {
  if (chance.happens(0.35)) {
    const opcode = chance.pick(chance.happens(0.5) ? READS : WRITES);
    return fill(chance, COMMANDS.find((command) => command.opcode === opcode) as Command, blockBytes);
  }
  for (;;) {
    const command = chance.pick(COMMANDS);
    if (chance.happens(RARE.get(command.opcode) ?? 1)) return fill(chance, command, blockBytes);
  }
}

/** A WRITE (10) or (16) that nothing is wrong with, of some length. */
export function drawWrite(chance: Chance, blockBytes: number, bytesMax: number): DrawnCommand {
  const opcode = chance.pick([0x2a, 0x8a]);
  const cdb = Buffer.alloc(16);
  cdb[0] = opcode;
  if (chance.happens(0.02)) cdb[1] = 0x08; // FUA
  const blocks = chance.within(1, Math.max(1, Math.floor(bytesMax / blockBytes)));
  writeField(cdb, (BLOCK_FIELDS.get(opcode) as BlockFields).lba, chance.below(LBAS_MAX));
  writeField(cdb, (BLOCK_FIELDS.get(opcode) as BlockFields).blocks, blocks);
  return { cdb, dataOut: drawData(chance, blocks * blockBytes), dataInBytes: 0 };
}

function fill(chance: Chance, command: Command, blockBytes: number): DrawnCommand {
  const cdb = fillByUsage(chance, command);
  const fields = BLOCK_FIELDS.get(command.opcode);
  if (fields === undefined) return withParameters(chance, cdb, blockBytes);
  const blocks = chance.happens(0.05) ? 0 : chance.within(1, Math.max(2, BYTES_MAX / blockBytes));
  writeField(cdb, fields.lba, chance.below(LBAS_MAX));
  writeField(cdb, fields.blocks, blocks);
  const bringsBlocks = blocksBrought(cdb, blocks);
  const dataOut = drawData(chance, bringsBlocks * blockBytes);
  const dataInBytes = READS.includes(command.opcode) ? blocks * blockBytes : 0;
  return { cdb, dataOut, dataInBytes };
}

function blocksBrought(cdb: Buffer, blocks: number): number {
  const [opcode = 0, flags = 0] = cdb;
  if (BRINGS_BLOCKS.has(opcode)) return blocks;
  if (opcode === COMPARE_AND_WRITE) return 2 * blocks;
  // NDOB of WRITE SAME (16): no data comes.
  if (WRITE_SAMES.has(opcode)) return (flags & 0x01) === 0 ? 1 : 0;
  // BYTCHK: none, each block's own, or one for all.
  if (VERIFIES.has(opcode)) return [0, blocks, 0, 1][(flags >> 1) & 3] ?? 0;
  return 0;
}

/** Fields by the usage map: flags are mostly clear, numbers mostly small. */
function fillByUsage(chance: Chance, { usage, serviceAction }: Command): Buffer {
  const cdb = Buffer.alloc(16);
  cdb[0] = usage[0] as number;
  for (let at = 1; at < usage.length;) {
    let end = at + 1;
    while (usage[at] === 0xff && usage[end] === 0xff && end < usage.length) end += 1;
    if (end - at > 1 || usage[at] === 0xff) writeField(cdb, [at, Math.min(6, end - at)], drawNumber(chance));
    else if (chance.happens(0.25)) cdb[at] = chance.below(256) & (usage[at] as number);
    at = end;
  }
  // The usage map has the service action as it is: in bits 4 to 0 of byte 1 (SPC-4 4.2.5.2).
  if (serviceAction !== undefined) cdb[1] = ((cdb[1] as number) & 0xe0) | serviceAction;
  cdb[usage.length - 1] = 0; // CONTROL
  return cdb;
}

function drawNumber(chance: Chance): number {
  return chance.pick([0, 1, 8, 24, 36, 96, 255, 252, 512, 4096, chance.below(0x10000)]);
}

/** Parameter lists, and allocation lengths that somebody takes. */
function withParameters(chance: Chance, cdb: Buffer, blockBytes: number): DrawnCommand {
  const list = parametersOf(chance, cdb, blockBytes);
  if (list === null)
    return { cdb, dataOut: NO_BYTES, dataInBytes: chance.pick([0, 36, 255, 255, 4096, 65536]) };
  return { cdb, dataOut: list, dataInBytes: 0 };
}
