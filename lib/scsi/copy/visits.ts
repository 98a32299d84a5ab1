/**
 * The other units at which a copy is at work. There it is its initiator, by a nexus that this has with them: where it is
 * not logged in it has nothing to read or write, what is reserved from it is so from the copy, and what ends its commands
 * (PREEMPT AND ABORT, the end of its session) ends the copy, and waits for that.
 */
import { isBarred } from '../reservations/access.js';
import type { ScsiNexus } from '../task.js';
import type { DiskUnit } from '../unit.js';

export class Visits {
  /** A unit that is visited has ended it. */
  isAborted = false;
  private readonly guests = new Map<DiskUnit, ScsiNexus>();
  private readonly whenEnded: (() => void)[] = [];

  constructor(private readonly nexus: ScsiNexus) {}

  /** As whom the copy is at `unit`; null: its initiator is not there. */
  at(unit: DiskUnit): ScsiNexus | null {
    const known = this.guests.get(unit);
    if (known !== undefined) return known;
    const there = unit.nexuses.of(this.nexus.initiatorName);
    const mayWrite = there.find(
      ({ initiatorPortName }) => !isBarred(unit.reservations.state, initiatorPortName, 'write'),
    );
    const host = mayWrite ?? there[0];
    return host === undefined ? null : this.visit(unit, host);
  }

  /** The copy has ended, and none of its I/O is anywhere. */
  end(): void {
    for (const [unit, guest] of this.guests) unit.nexuses.deleteGuest(guest);
    for (const ended of this.whenEnded) ended();
  }

  private visit(unit: DiskUnit, nexus: ScsiNexus): ScsiNexus {
    const { initiatorName, initiatorPortName } = nexus;
    const guest: ScsiNexus = {
      initiatorName,
      initiatorPortName,
      abortTasks: (done) => {
        this.isAborted = true;
        this.whenEnded.push(done);
      },
    };
    unit.nexuses.addGuest(guest, nexus);
    this.guests.set(unit, guest);
    return guest;
  }
}
