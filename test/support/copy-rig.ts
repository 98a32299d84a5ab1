/** Parameter lists of EXTENDED COPY from the standard's tables, and units in one process that copies may reach. */
import { systemClock } from '../../lib/base/clock.js';
import { FaultDevice } from './fault-device.js';
import { GateDevice } from './gate-device.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import type { DeviceServer, ScsiNexus } from '../../lib/scsi/task.js';
import type { DiskUnit } from '../../lib/scsi/unit.js';
import { pattern } from './device-suite.js';
import { RamDevice } from './ram-device.js';
import { hex } from './scsi-rig.js';
import { IDENTITY, nexusOf, type Outcome, RunnerTask, said, scsiRunner } from './scsi-runner.js';
import { until } from './wait.js';

export interface SegmentFields {
  readonly blocks?: number;
  readonly from?: number;
  readonly to?: number;
  readonly source?: number;
  readonly destination?: number;
  readonly flags?: number;
}

/** A block to block segment descriptor. */
export function segment(fields: SegmentFields): string {
  const { blocks = 1, from = 0, to = 0, source = 0, destination = 0, flags = 0 } = fields;
  const lbas = hex(from, 16) + hex(to, 16);
  return `02${hex(flags, 2)}0018${hex(source, 4)}${hex(destination, 4)}0000${hex(blocks, 4)}${lbas}`;
}

/** An identification descriptor CSCD descriptor: the unit with that designator, NAA by default. */
export function cscd(designator: string, kind = '0103', flags = 0, blockBytes = 512): string {
  const bytes = designator.length / 2;
  return `e4${hex(flags, 2)}0000${kind}00${hex(bytes, 2)}${designator.padEnd(40, '0')}00${hex(blockBytes, 6)}`;
}

export interface HeaderFields {
  readonly id?: number;
  /** LIST ID USAGE. */
  readonly usage?: number;
  readonly inline?: number;
}

/** The header, and the lists behind it. */
export function copyList(
  cscds: readonly string[],
  segments: readonly string[],
  { id = 1, usage = 0, inline = 0 }: HeaderFields = {},
): Buffer {
  const [cscdList, segmentList] = [cscds.join(''), segments.join('')];
  const lengths = `${hex(cscdList.length / 2, 4)}00000000${hex(segmentList.length / 2, 8)}${hex(inline, 8)}`;
  return Buffer.from(`${hex(id, 2)}${hex(usage << 3, 2)}${lengths}${cscdList}${segmentList}`, 'hex');
}

export const copyCdb = (lengthBytes: number): string => `83 00 0000000000000000 ${hex(lengthBytes, 8)} 00 00`;
export const receive = (action: number, id = 0, length = 1024): string =>
  `84 ${hex(action, 2)} ${hex(id, 2)} 00000000000000 ${hex(length, 8)} 00 00`;

/** EXTENDED COPY with this list, begun. */
export function beginCopy(server: DeviceServer, list: Buffer, nexus: ScsiNexus): RunnerTask {
  const task = new RunnerTask();
  task.cdb = Buffer.from(copyCdb(list.length).replaceAll(' ', ''), 'hex');
  task.nexus = nexus;
  task.expectedDataOutBytes = list.length;
  if (server.prepare(task) !== 'control') throw new Error('the copy was refused');
  task.dataOut = list;
  server.execute(task);
  return task;
}

/** How it ends. */
export async function endOf(task: RunnerTask): Promise<string> {
  await until('the command ends', () => task.outcomes.length > 0);
  return task.outcomes.map(said).join();
}

/** A command of a session whose home may have moved: until it has been told that. */
export async function again<T>(command: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await command();
    } catch (error) {
      if (!String(error).includes('6/2A/06')) throw error;
    }
  }
}

/** A unit of patterned RAM. */
export class CopyUnit {
  readonly ram: RamDevice;
  readonly faults: FaultDevice;
  readonly server: DiskServer;
  readonly run: ReturnType<typeof scsiRunner>['run'];
  /** Whether other units may reach it. */
  isHere = true;

  constructor(
    readonly naa: string,
    all: readonly CopyUnit[],
    seed: number,
    sizeBytes: number,
    blockBytes = 512,
  ) {
    this.ram = new RamDevice(sizeBytes, blockBytes);
    pattern(sizeBytes, seed).copy(this.ram.bytes);
    this.faults = new FaultDevice(this.ram, systemClock);
    const others = (): DiskUnit[] => all.filter((unit) => unit.isHere).map(({ server }) => server.unit);
    const device = new GateDevice(this.faults);
    this.server = new DiskServer({ device, identity: { ...IDENTITY, naa }, others });
    this.run = scsiRunner(device, this.server).run;
  }

  /** EXTENDED COPY with this list. */
  copy(list: Buffer, nexus: ScsiNexus = HOST): Promise<Outcome> {
    return this.run(copyCdb(list.length), list, 0, nexus);
  }

  /** The same, begun: a task that the test can abort. */
  begin(list: Buffer, nexus: ScsiNexus = HOST): RunnerTask {
    return beginCopy(this.server, list, nexus);
  }

  /** [lba, lba + blocks) as the medium holds it. */
  held(lba: number, blocks: number): Buffer {
    const { blockBytes, bytes } = this.ram;
    return Buffer.from(bytes.subarray(lba * blockBytes, (lba + blocks) * blockBytes));
  }
}

/** The initiator that is logged in to every unit. */
export const HOST = nexusOf('iqn.2026-11.test:host');

export const NAA_A = '3aaaaaaaaaaaaaaa';
export const NAA_B = '3bbbbbbbbbbbbbbb';
export const SIZE = 4 * 1024 * 1024;

/** Two units of 4 MiB, each of which may be reached from the other. */
export function twoUnits(blockBytesOfB = 512): [CopyUnit, CopyUnit] {
  const units: CopyUnit[] = [];
  const a = new CopyUnit(NAA_A, units, 1, SIZE);
  const b = new CopyUnit(NAA_B, units, 2, SIZE, blockBytesOfB);
  units.push(a, b);
  for (const { server } of units) server.nexusBegan(HOST);
  return [a, b];
}
