/**
 * The facts of one logical unit: its device, its geometry and who it says it is. Immutable; commands read it. What
 * changes, and is the same for all initiators (I9), is in its state.
 */
import { assert } from '../base/assert.js';
import {
  COMPARE_AND_WRITE_BLOCKS_MAX,
  PRODUCT_DEFAULT,
  TRANSFER_BYTES_MAX,
  VENDOR_DEFAULT,
} from '../base/limits.js';
import { ClaimableDevice } from '../block/claims.js';
import type { BlockDevice } from '../block/device.js';
import { Copies } from './copy/copies.js';
import type { Copying, Visit } from './copy/visit.js';
import { KeptUnitState } from './kept-state.js';
import { type Office, SOLE } from './office.js';
import { LocalKeeper, Nexuses, type ReservationKeeper } from './reservations/keeper.js';
import type { Sense } from './sense.js';
import type { TargetPorts } from './target-ports.js';
import { Passes, type UnitState } from './state.js';
import type { ScsiTask } from './task.js';

/** What a volume answers wherever it is served (I9). */
export interface DiskIdentity {
  /** T10 vendor identification, at most 8 characters. */
  readonly vendor?: string;
  /** At most 16 characters. */
  readonly product?: string;
  /** Unit serial number (VPD 80h), printable ASCII. */
  readonly serial: string;
  /** Sixteen hexadecimal digits (VPD 83h). */
  readonly naa: string;
  readonly iqn: string;
}

export interface DiskOptions {
  /** The medium can be ejected (RMB, SPC-4 6.4.2). */
  readonly removable?: boolean;
  /** No initiator may write, whatever the device would take: a move goes on writing to it. */
  readonly readOnly?: boolean;
  /** Fully provisioned (SBC-4 4.7.2): every block has its space, and the device keeps it whatever is cleared. */
  readonly full?: boolean;
  /** Where the unit is reached through several target ports; by default it has one, which needs no telling apart. */
  readonly ports?: TargetPorts;
  /** MAXIMUM TRANSFER LENGTH, the most of a command that goes whole: a power of two; TRANSFER_BYTES_MAX by default. */
  readonly transferBytesMax?: number;
}

/** Of the page cache: what the medium likes to be written in (READ CAPACITY (16)). */
const PAGE_BYTES = 4096;
/** PRODUCT REVISION LEVEL (SPC-4 6.4.2). */
const REVISION = '0001';

/** ASCII, cut or padded with blanks to `length`, as SPC-4 4.3.1 wants its text fields. */
function paddedAscii(text: string, length: number): string {
  assert(/^[\x20-\x7e]*$/.test(text), `'${text}' is not printable ASCII`);
  return text.slice(0, length).padEnd(length, ' ');
}

/** What a unit is made of. */
export interface UnitParts {
  readonly device: BlockDevice;
  readonly identity: DiskIdentity;
  readonly options?: DiskOptions;
  /** By default one of its own. */
  readonly state?: UnitState;
  /** By default one of its own. */
  readonly reservations?: ReservationKeeper;
  /** The other units that there are: what can be copied from and to (copy/); none by default. */
  readonly others?: () => Iterable<DiskUnit>;
  /** How a copy that another unit of this process makes is at this one; by default this process serves it. */
  readonly visit?: (copying: Copying) => Visit;
  /** By default no other process ever serves the unit. */
  readonly office?: Office;
}

export class DiskUnit {
  readonly blockBytes: number;
  /** Capacity in logical blocks. */
  readonly blocks: number;
  /** LOGICAL BLOCKS PER PHYSICAL BLOCK EXPONENT (SBC-3 5.16.2). */
  readonly physicalExponent: number;
  /** MAXIMUM TRANSFER LENGTH in blocks. */
  readonly transferBlocksMax: number;
  /** What those take all the same that go in pieces, or bring nothing: not every host goes by VPD B0h. */
  readonly acceptedBlocksMax: number;
  /** MAXIMUM COMPARE AND WRITE LENGTH in blocks: its data is twice as long. */
  readonly compareAndWriteBlocksMax: number;
  /** MAXIMUM ATOMIC TRANSFER LENGTH and ATOMIC ALIGNMENT in blocks: what lies in one page. */
  readonly atomicBlocksMax: number;
  readonly removable: boolean;
  /** Fully provisioned; if not, it is thin, and LBPME says so (SBC-4 4.7.3). */
  readonly full: boolean;
  private readonly isProtected: boolean;
  /** Padded to their field lengths. */
  readonly vendor: string;
  readonly product: string;
  readonly revision: string;
  readonly serial: string;
  readonly naa: Buffer;
  readonly iqn: string;
  readonly ports: TargetPorts | null;
  readonly nexuses: Nexuses;
  readonly copies = new Copies();
  /** What all I/O of initiators goes through. */
  readonly device: ClaimableDevice;

  readonly state: UnitState;
  readonly reservations: ReservationKeeper;
  readonly others: () => Iterable<DiskUnit>;
  /** Null: this process alone serves it. */
  readonly visit: ((copying: Copying) => Visit) | null;
  readonly office: Office;

  constructor({ device, identity, ...parts }: UnitParts) {
    const { options = {} } = parts;
    this.state = parts.state ?? new KeptUnitState();
    this.reservations = parts.reservations ?? new LocalKeeper();
    this.others = parts.others ?? (() => []);
    this.visit = parts.visit ?? null;
    this.office = parts.office ?? SOLE;
    this.device = new ClaimableDevice(device);
    this.nexuses = new Nexuses(this.state);
    this.reservations.attach(this.nexuses);
    assert(/^[0-9a-f]{16}$/i.test(identity.naa), `'${identity.naa}' is not an eight-byte NAA designator`);
    this.blockBytes = device.blockBytes;
    this.blocks = Math.floor(device.sizeBytes / device.blockBytes);
    this.removable = options.removable ?? false;
    this.full = options.full ?? false;
    this.isProtected = device.readOnly || (options.readOnly ?? false);
    const physicalBytes = Math.max(PAGE_BYTES, device.blockBytes);
    this.physicalExponent = Math.log2(physicalBytes / device.blockBytes);
    assert(Number.isInteger(this.physicalExponent), `physical block of ${physicalBytes} bytes`);
    this.transferBlocksMax = (options.transferBytesMax ?? TRANSFER_BYTES_MAX) / device.blockBytes;
    this.acceptedBlocksMax = TRANSFER_BYTES_MAX / device.blockBytes;
    this.compareAndWriteBlocksMax = Math.min(COMPARE_AND_WRITE_BLOCKS_MAX, this.transferBlocksMax / 2);
    this.ports = options.ports ?? null;
    this.atomicBlocksMax = PAGE_BYTES / device.blockBytes;
    this.vendor = paddedAscii(identity.vendor ?? VENDOR_DEFAULT, 8);
    this.product = paddedAscii(identity.product ?? PRODUCT_DEFAULT, 16);
    this.revision = paddedAscii(REVISION, 4);
    this.serial = identity.serial;
    this.naa = Buffer.from(identity.naa, 'hex');
    this.iqn = identity.iqn;
  }

  /** No initiator may write: by its kind, or since one of them said so (SWP). */
  get readOnly(): boolean {
    return this.isProtected || this.state.modes.writeProtected;
  }

  /** Whatever is written has to be durable when it is acknowledged. Asked when it is submitted, since that may change. */
  get writesThrough(): boolean {
    return this.state.writesThrough;
  }

  /**
   * What has come in the way of a command since it was prepared, null if nothing has: its medium may be out, or the unit
   * being sanitized, and what was written now would outlive that. Unit attentions were told before.
   */
  obstacleSince(task: Pick<ScsiTask, 'nexus'>, passes = 0): Sense | null {
    return this.state.isQuiet ? null : this.state.obstacle(task.nexus, passes | Passes.UNIT_ATTENTION);
  }

  /** Whether [lba, lba + blocks) leaves the medium. */
  isBeyondEnd(lba: number, blocks: number): boolean {
    return lba > this.blocks - blocks;
  }

  /** The first LBA of [lba, …) that does not exist. */
  firstBeyondEnd(lba: number): number {
    return Math.max(lba, this.blocks);
  }
}
