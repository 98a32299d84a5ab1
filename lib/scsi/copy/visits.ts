/**
 * The units at which a copy is at work, besides the one that it was sent to: each is reached where it is served, by this
 * process or by another (access/copy-visit.ts), and judges there what it lets the copy do.
 */
import { type BlockIo, IoError, type Provisioning } from '../../block/device.js';
import type { DiskUnit } from '../unit.js';
import { Guest } from './guest.js';

/** Who copies. */
export interface Copying {
  readonly initiatorName: string;
  /** False once nobody waits for the end of it. */
  readonly isWanted: boolean;
}

/** A copy at one unit. */
export interface Visit {
  /**
   * Reads, writes or discards one piece. Fails with RefusedIo where the unit does not let it be, with NotReachable where the
   * unit cannot be had, or the initiator is not logged in to it. A read of nothing asks for that alone.
   */
  submit(io: BlockIo): void;
  /** Whether provisioning() knows holes; otherwise all is mapped. */
  readonly knowsHoles: boolean;
  /** See BlockDevice. What may not be read is no hole: it is read, and refused. */
  provisioning(offsetBytes: number, lengthBytes: number): Provisioning;
  /** The copy has ended, and each of its pieces. */
  end(): void;
}

/** The unit cannot be had, or not by this initiator. */
export class NotReachable extends IoError {
  constructor() {
    super('unavailable', 'the copy does not reach the unit');
  }
}

/** A visit to a unit that is served here, and nowhere else. */
export class VisitHere implements Visit {
  readonly knowsHoles = true;

  constructor(
    private readonly unit: DiskUnit,
    /** Null: the initiator is not logged in. */
    private readonly guest: Guest | null,
  ) {}

  submit(io: BlockIo): void {
    if (this.guest === null) io.complete(new NotReachable());
    else if (io.lengthBytes === 0) io.complete(null);
    else this.guest.submit(io);
  }

  provisioning(offsetBytes: number, lengthBytes: number): Provisioning {
    return provisioningFor(this.guest, this.unit, offsetBytes, lengthBytes);
  }

  end(): void {
    this.guest?.leave();
  }
}

/** Of a unit that is served here, as a guest may know it. */
export function provisioningFor(
  guest: Guest | null,
  unit: DiskUnit,
  offsetBytes: number,
  lengthBytes: number,
): Provisioning {
  const isReadable = guest?.refusalOf('read') === null;
  return isReadable ? unit.device.provisioning(offsetBytes, lengthBytes) : { mapped: true, lengthBytes };
}

export class Visits {
  private readonly visits = new Map<DiskUnit, Visit>();

  constructor(private readonly copying: Copying) {}

  at(unit: DiskUnit): Visit {
    const visit = this.visits.get(unit) ?? unit.visit(this.copying);
    this.visits.set(unit, visit);
    return visit;
  }

  end(): void {
    for (const visit of this.visits.values()) visit.end();
  }
}
