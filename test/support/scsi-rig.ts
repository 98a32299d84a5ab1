/**
 * A unit to try medium commands on: a patterned RAM disk behind a fault filter and the gate, and CDBs written from the
 * standard's tables, independent of the code under test.
 */
import { systemClock } from '../../lib/base/clock.js';
import { FaultDevice } from './fault-device.js';
import { GateDevice } from './gate-device.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import { pattern } from './device-suite.js';
import { RamDevice } from './ram-device.js';
import { IDENTITY, type Runner, scsiRunner } from './scsi-runner.js';

export const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
/** Bytes as "70 00 05", so that a difference can be read. */
export const shown = (bytes: Buffer): string => bytes.toString('hex').replace(/..(?=.)/g, '$& ');

/** The CDB of a family in its three sizes; byte 1 is `flags`. */
export const cdb10 = (opcode: string, flags: number, lba: number, blocks: number): string =>
  `${opcode} ${hex(flags, 2)} ${hex(lba, 8)} 00 ${hex(blocks, 4)} 00`;
export const cdb12 = (opcode: string, flags: number, lba: number, blocks: number): string =>
  `${opcode} ${hex(flags, 2)} ${hex(lba, 8)} ${hex(blocks, 8)} 00 00`;
export const cdb16 = (opcode: string, flags: number, lba: number, blocks: number): string =>
  `${opcode} ${hex(flags, 2)} ${hex(lba, 16)} ${hex(blocks, 8)} 00 00`;

export interface Rig extends Runner {
  readonly ram: RamDevice;
  readonly faults: FaultDevice;
}

/** How many blocks a rig has. */
export const BLOCKS = 8192;
export const BLOCK = 512;
const SIZE = BLOCKS * BLOCK;

/** A unit on a patterned RAM disk behind the gate, so that no command breaks the contract of a device unseen. */
export function rig(readOnly = false): Rig {
  const ram = new RamDevice(SIZE, BLOCK, readOnly);
  pattern(SIZE, 1).copy(ram.bytes);
  const faults = new FaultDevice(ram, systemClock);
  const server = new DiskServer({ device: new GateDevice(faults), identity: IDENTITY });
  return { ram, faults, ...scsiRunner(server.device, server) };
}

/** Whether the medium is the pattern of rig() but for [from, from + length) blocks, which hold `content`. */
export function heldExcept(ram: RamDevice, from: number, content: Buffer): boolean {
  const expected = pattern(SIZE, 1);
  content.copy(expected, from * BLOCK);
  return ram.bytes.equals(expected);
}
