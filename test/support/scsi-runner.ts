/** Plays the transport's part of lib/scsi/task.ts in the plainest way, so that a test is CDB in, outcome out. */
import type { BlockDevice } from '../../lib/block/device.js';
import { type IoError, submitAndWait } from '../../lib/block/device.js';
import { DiskServer } from '../../lib/scsi/disk-server.js';
import { RefusedIo, type Sense, senseOfIoError } from '../../lib/scsi/sense.js';
import {
  type DeviceServer,
  type ScsiNexus,
  ScsiStatus,
  ScsiTask,
  type TaskPlan,
} from '../../lib/scsi/task.js';

export const IDENTITY = {
  serial: 'a1b2c3d4e5f60718',
  naa: '3a1b2c3d4e5f6071',
  iqn: 'iqn.2026-11.test:disk',
} as const;

/** An initiator port, as the transport would name it. */
export function nexusOf(name: string): ScsiNexus & { aborts: number } {
  return {
    initiatorName: name,
    initiatorPortName: `${name},i,0x800000000001`,
    aborts: 0,
    abortTasks(done) {
      this.aborts += 1;
      setImmediate(done);
    },
  };
}

export const NEXUS = nexusOf('iqn.2026-11.test:initiator');

export class RunnerTask extends ScsiTask {
  outcomes: { status: number; sense: Sense | null }[] = [];
  whenFinished: (() => void) | null = null;

  override finish(status: number, sense: Sense | null): void {
    this.outcomes.push({ status, sense });
    this.whenFinished?.();
  }
}

export interface Outcome {
  readonly plan: TaskPlan;
  readonly status: number;
  readonly sense: Sense | null;
  readonly dataIn: Buffer;
  readonly dataOutBytes: number;
  readonly fua: boolean;
}

export interface Runner {
  readonly server: DeviceServer;
  /** Sends one command; `dataOut` is what the initiator offers, cut to what the command needs. */
  run(cdbHex: string | Buffer, dataOut?: Buffer, lun?: number, nexus?: ScsiNexus): Promise<Outcome>;
  /** The task of the last command. */
  last(): ScsiTask;
}

/** Moves the data of a 'read' or 'write' and finishes the task, as a transport does. */
async function transfer(
  device: BlockDevice,
  task: ScsiTask,
  plan: 'read' | 'write',
  offered: Buffer,
): Promise<void> {
  try {
    if (plan === 'read') {
      const data = Buffer.alloc(task.transferBytes);
      await submitAndWait(device, 'read', task.offsetBytes, data.length, data);
      task.dataIn = data;
    } else {
      const data = offered.subarray(0, task.transferBytes);
      await submitAndWait(device, 'write', task.offsetBytes, data.length, data, task.fua);
    }
    task.finish(ScsiStatus.GOOD, null);
  } catch (error) {
    if (error instanceof RefusedIo) task.finish(error.status, error.sense);
    else task.finish(ScsiStatus.CHECK_CONDITION, senseOfIoError(error as IoError));
  }
}

export function scsiRunner(
  device: BlockDevice,
  server: DeviceServer = new DiskServer({ device, identity: IDENTITY }),
): Runner {
  let task = new RunnerTask();
  const run = async (
    cdb: string | Buffer,
    offered = Buffer.alloc(0),
    lun = 0,
    nexus = NEXUS,
  ): Promise<Outcome> => {
    const own = (task = new RunnerTask());
    const bytes = typeof cdb === 'string' ? Buffer.from(cdb.replaceAll(' ', ''), 'hex') : cdb;
    own.cdb = Buffer.concat([bytes, Buffer.alloc(Math.max(0, 16 - bytes.length))]);
    own.lun = lun;
    own.nexus = nexus;
    own.expectedDataOutBytes = offered.length;
    // A reused own still holds what the last command left; prepare() has to clear it.
    Object.assign(own, {
      dataOutBytes: 99,
      offsetBytes: 99,
      transferBytes: 99,
      fua: true,
      dataIn: Buffer.alloc(9),
    });
    const finished = new Promise<void>((resolve) => (own.whenFinished = resolve));
    const plan = server.prepare(own);
    if (plan === 'control') {
      own.dataOut = offered.subarray(0, own.dataOutBytes);
      server.execute(own);
    } else if (plan !== 'finished') {
      const refusal = plan === 'write' ? server.refusalOf(own, plan) : null;
      if (refusal !== null) own.finish(refusal.status, refusal.sense);
      else await transfer(device, own, plan, offered);
    }
    await finished;
    await new Promise((resolve) => setImmediate(resolve));
    const [outcome] = own.outcomes;
    if (outcome === undefined || own.outcomes.length !== 1)
      throw new Error(`finished ${own.outcomes.length} times`);
    const { dataIn, dataOutBytes, fua } = own;
    return { plan, ...outcome, dataIn, dataOutBytes, fua };
  };
  return { server, run, last: () => task };
}

/** "5/24/00" for a CHECK CONDITION, else the status: outcomes as tests compare them. */
export function said({ status, sense }: Pick<Outcome, 'status' | 'sense'>): string {
  if (status === ScsiStatus.GOOD) return 'GOOD';
  if (sense === null) return `status ${status.toString(16)}`;
  const hex = (value: number): string => value.toString(16).padStart(2, '0');
  return `${sense.senseKey.toString(16)}/${hex(sense.asc)}/${hex(sense.ascq)}`;
}

/** The outcomes that tests expect, as said() writes them. */
export const SAID = {
  GOOD: 'GOOD',
  INVALID_OPCODE: '5/20/00',
  LBA_OUT_OF_RANGE: '5/21/00',
  INVALID_FIELD_IN_CDB: '5/24/00',
  LUN_NOT_SUPPORTED: '5/25/00',
  INVALID_FIELD_IN_PARAMETER_LIST: '5/26/00',
  PARAMETER_LIST_LENGTH_ERROR: '5/1a/00',
  NO_MEDIUM: '2/3a/00',
  REMOVAL_PREVENTED: '5/53/02',
  MEDIUM_MAY_HAVE_CHANGED: '6/28/00',
  SANITIZE_IN_PROGRESS: '2/04/1b',
  SANITIZE_FAILED: '3/31/03',
  UNIT_WAS_RESET: '6/29/03',
  MODE_PARAMETERS_CHANGED: '6/2a/01',
  SAVING_PARAMETERS_NOT_SUPPORTED: '5/39/00',
  WRITE_PROTECTED: '7/27/00',
  MISCOMPARE: 'e/1d/00',
} as const;
