/**
 * The contract between a transport (iscsi/target) and the SCSI device server: one ScsiTask per command.
 * It knows CDBs, data and status; it does not know PDUs, sockets or files.
 */
import { NO_BYTES } from '../base/bytes.js';
import type { BlockDevice } from '../block/device.js';
import type { Sense } from './sense.js';

/** SAM-5 5.3.1 */
export const ScsiStatus = {
  GOOD: 0x00,
  CHECK_CONDITION: 0x02,
  BUSY: 0x08,
  RESERVATION_CONFLICT: 0x18,
  TASK_SET_FULL: 0x28,
  TASK_ABORTED: 0x40,
} as const;

/** What the transport does after prepare(). */
export type TaskPlan =
  /** finish() was already called: an error found in the CDB, or nothing to do. */
  | 'finished'
  /** Gather dataOutBytes of parameter data (often none), then call execute(), which calls finish(). */
  | 'control'
  /** Read transferBytes at offsetBytes from the unit's device, in any pieces, then finish the task yourself. */
  | 'read'
  /** Gather transferBytes of data and write them at offsetBytes with `fua`, then finish the task yourself. */
  | 'write';

/** How a command ends that is not carried out. */
export interface Refusal {
  readonly status: number;
  readonly sense: Sense | null;
}

/** One I_T nexus as SCSI sees it; owned by the session. */
export interface ScsiNexus {
  readonly initiatorName: string;
  /** "name,i,0x…": the SCSI initiator port name (RFC 7143 4.2.7.1). */
  readonly initiatorPortName: string;
  /** The process of another member that has its session; left out: this one has. */
  readonly incarnation?: string;
  /** Ends its commands, a session's with TASK ABORTED (TAS 1); calls back when none of them can reach the medium. */
  abortTasks(done: () => void): void;
}

/** One command in flight. Reusable: prepare() sets every field below the line. */
export abstract class ScsiTask {
  /** At least 16 bytes; the transport's, valid until finish(). */
  cdb: Buffer = NO_BYTES;
  /** The eight-byte LUN as it stood in the PDU, as a number when it is a simple one, −1 otherwise (scsi/lun.ts). */
  lun = 0;
  nexus!: ScsiNexus;
  /** What the initiator means to send, 0 when nothing: set before prepare(). */
  expectedDataOutBytes = 0;

  // ---- set by prepare()
  /** Data-out the command needs: parameter list or payload. */
  dataOutBytes = 0;
  /** Where and how much, for 'read' and 'write'. */
  offsetBytes = 0;
  transferBytes = 0;
  fua = false;
  /** Only the CDB was looked at: whether the unit lets it be, by its state, is known where it is carried out. */
  isUnjudged = false;

  // ---- set by the transport before execute()
  dataOut: Buffer = NO_BYTES;

  // ---- set by execute()
  /** What goes to the initiator, already cut to the allocation length. */
  dataIn: Buffer = NO_BYTES;
  /**
   * Set where what the command began goes on without it, however long. The transport may then end the task before
   * finish(), and calls this: nothing is said of the task any more.
   */
  letGo: (() => void) | null = null;
  /** The same may take hours. */
  goesOnForHours = false;

  /** The transport waits for its end, and nobody for its answer: what takes long stops soon, and calls finish(). */
  isEnding = false;
  /** Set where what takes long is elsewhere, and has to be told. */
  whenEnding: (() => void) | null = null;

  markEnding(): void {
    this.isEnding = true;
    this.whenEnding?.();
  }

  /** False once the initiator hears nothing of what it does any more: what has not begun need not. */
  get isWanted(): boolean {
    return true;
  }

  /** Called exactly once per task, by the device server or, for 'read' and 'write', by the transport. */
  abstract finish(status: number, sense: Sense | null): void;
}

/** What a transport needs of the device behind one target name: every LUN of it. */
export interface DeviceServer {
  prepare(task: ScsiTask): TaskPlan;
  execute(task: ScsiTask): void;
  /**
   * Why a prepared write is not carried out, now that its data has come, null if it is: much may have happened since. So
   * may it before a piece of a read that nobody has judged. It sets `fua` anew, too: it is called just before the write.
   */
  refusalOf(task: ScsiTask, op: 'read' | 'write'): Refusal | null;
  /**
   * A nexus is there, before its first command.
   * @returns where its 'read' and 'write' tasks move their data
   */
  nexusBegan(nexus: ScsiNexus): BlockDevice;
  /**
   * No command of it is in flight any more, and none will come. Calls back when nothing else can reach the medium in its
   * name: what is copied to this unit from another.
   */
  nexusEnded(nexus: ScsiNexus, done?: () => void): void;
  /**
   * A logical unit or target reset (SAM-5 6.3.3): the transport ends the tasks of its own sessions.
   * @param done called once, when the unit is as after it for everybody; false: that cannot be had now
   */
  reset(done: (isDone: boolean) => void): void;
  /** CLEAR TASK SET (SAM-5 7.5), in the same way. */
  clearTaskSet(done: (isDone: boolean) => void): void;
  /** This process serves it from here on: what another one has left unfinished goes on. */
  resume(): void;
  /** Sense data as the unit is set to say it (D_SENSE, SPC-4 7.5.8). */
  encodeSense(sense: Sense): Buffer;
}
