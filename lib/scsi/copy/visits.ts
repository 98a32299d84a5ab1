/**
 * The units at which a copy is at work, besides the one that it was sent to: each is reached where it is served, by this
 * process or by another (access/copy-visit.ts), and judges there what it lets the copy do.
 */
import type { BlockIo, Provisioning } from '../../block/device.js';
import type { DiskUnit } from '../unit.js';
import { Guest } from './guest.js';
import { type Copying, NotReachable, type Visit } from './visit.js';

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
    const visit = this.visits.get(unit) ?? this.begin(unit);
    this.visits.set(unit, visit);
    return visit;
  }

  private begin(unit: DiskUnit): Visit {
    if (unit.visit !== null) return unit.visit(this.copying);
    return new VisitHere(unit, Guest.enter(unit, this.copying.initiatorName));
  }

  end(): void {
    for (const visit of this.visits.values()) visit.end();
  }
}
