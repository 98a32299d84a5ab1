/**
 * Who keeps the reservations of a unit, and brings what comes of a change to its nexuses. A single image keeps them in
 * memory, as long as its process runs; the members of a group share them (member/shared-reservations.ts).
 */
import { SENSE } from '../sense.js';
import type { UnitState } from '../state.js';
import type { ScsiNexus } from '../task.js';
import { type Change, type Notice, nexusLost } from './changes.js';
import { NO_RESERVATIONS, type Reservations } from './state.js';

/** Initiators of one unit that are remembered, with or without a session: more than a unit has hosts. */
const INITIATORS_REMEMBERED_MAX = 1024;

export interface ReservationKeeper {
  /** This process among those of a group; '' where there is none. */
  readonly incarnation: string;
  /** They are there after a loss of power: what APTPL asks for. */
  readonly survivePowerLoss: boolean;
  /** As this member knows it; NO_RESERVATIONS itself while nothing was ever reserved, so that asking costs nothing. */
  readonly state: Reservations;
  /** The unit's nexuses at this member: before anything else. */
  attach(nexuses: Nexuses): void;
  /**
   * Applies `make` to what holds for everybody. Calls back when each nexus of the unit goes by what came of it and what was
   * to be aborted has ended; with null when nothing was done.
   * @param written it stands: what is left is to wait for others, who may wait for the very command that asked for it
   */
  change(
    make: (state: Reservations) => Change,
    done: (change: Change | null) => void,
    written?: () => void,
  ): void;
  /** The same, tried until it is kept, and before what is asked for after it; here it holds at once. */
  insist(make: (state: Reservations) => Change): void;
  /** A nexus is not among those of the unit any more. */
  ended(nexus: ScsiNexus): void;
}

/** A copy that another unit makes, where it acts as a nexus of this one. */
export interface GuestNexus extends ScsiNexus {
  /** Something of it is under way here. */
  readonly isAtWork: boolean;
}

/** The nexuses of a unit at this member. */
export class Nexuses {
  private readonly all = new Set<ScsiNexus>();
  /** By initiator, whatever its sessions: how many losses of the unit's device it knows of, or was not there to suffer. */
  private readonly lossesKnown = new Map<string, number>();
  /** Copies that come from other units → the nexus that each of them acts as. */
  private readonly guests = new Map<GuestNexus, ScsiNexus>();

  constructor(private readonly unit: Pick<UnitState, 'attend' | 'setPrevented'>) {}

  /** @param admit called where its initiator was not here before: how many losses of the unit's device cannot be its own */
  add(nexus: ScsiNexus, admit: () => number): void {
    this.all.add(nexus);
    if (!this.lossesKnown.has(nexus.initiatorName)) this.knowsLosses(nexus, admit());
  }

  delete(nexus: ScsiNexus): void {
    this.all.delete(nexus);
  }

  /** How many losses of the unit's device an initiator knows of; undefined: it has never had a session here. */
  lossesKnownTo({ initiatorName }: ScsiNexus): number | undefined {
    return this.lossesKnown.get(initiatorName);
  }

  /** How many of them every initiator that was ever here knows of; Infinity where none was. */
  get lossesKnownToAll(): number {
    return Math.min(...this.lossesKnown.values());
  }

  knowsLosses({ initiatorName }: ScsiNexus, losses: number): void {
    this.lossesKnown.delete(initiatorName);
    this.lossesKnown.set(initiatorName, losses);
    if (this.lossesKnown.size <= INITIATORS_REMEMBERED_MAX) return;
    for (const name of this.lossesKnown.keys()) {
      if (this.of(name).length > 0) continue;
      this.lossesKnown.delete(name);
      return;
    }
  }

  /** The unit was served elsewhere until now: what was lost before is that home's to tell. */
  forgetLosses(losses: number): void {
    for (const name of this.lossesKnown.keys()) this.lossesKnown.set(name, losses);
  }

  /** A copy that comes from another unit and acts here as `nexus`: aborted like it and with it, and told nothing. */
  addGuest(guest: GuestNexus, nexus: ScsiNexus): void {
    this.guests.set(guest, nexus);
  }

  deleteGuest(guest: GuestNexus): void {
    this.guests.delete(guest);
  }

  /** Those of one initiator, whatever its port. */
  of(initiatorName: string): ScsiNexus[] {
    return [...this.all].filter((nexus) => nexus.initiatorName === initiatorName);
  }

  /** One of the same initiator port with the same process. */
  hasAnother({ initiatorPortName, incarnation }: ScsiNexus): boolean {
    return [...this.all].some(
      (nexus) => nexus.initiatorPortName === initiatorPortName && nexus.incarnation === incarnation,
    );
  }

  /** What they are to hear of before their next commands. */
  tell(notices: readonly Notice[]): void {
    for (const { initiatorPort, notice } of notices) {
      for (const nexus of this.all)
        if (nexus.initiatorPortName === initiatorPort) this.unit.attend(nexus, SENSE[notice]);
    }
  }

  /**
   * What PREEMPT AND ABORT does to these initiator ports: aborts every command of theirs, and they do not keep the medium
   * in any more (SPC-4 5.13.11.2.6 h). Calls back when none of them can reach the medium.
   */
  abort(initiatorPorts: readonly string[], done: () => void): void {
    const isOne = ({ initiatorPortName }: ScsiNexus): boolean => initiatorPorts.includes(initiatorPortName);
    const preempted = [...this.all].filter(isOne);
    for (const nexus of preempted) this.unit.setPrevented(nexus, false, () => undefined);
    abortAll([...preempted, ...[...this.guests.keys()].filter(isOne)], done);
  }

  /** Something of a copy that comes from another unit is under way here. */
  get hasGuestsAtWork(): boolean {
    return [...this.guests.keys()].some(({ isAtWork }) => isAtWork);
  }

  abortGuests(done: () => void): void {
    abortAll([...this.guests.keys()], done);
  }

  /** Ends what acts as a nexus that is not among these any more; calls back when none of it can reach the medium. */
  abortGuestsOf(nexus: ScsiNexus, done: () => void): void {
    abortAll(
      [...this.guests].filter(([, host]) => host === nexus).map(([guest]) => guest),
      done,
    );
  }
}

function abortAll(nexuses: readonly ScsiNexus[], done: () => void): void {
  let left = nexuses.length + 1;
  const one = (): void => {
    left -= 1;
    if (left === 0) done();
  };
  for (const nexus of nexuses) nexus.abortTasks(one);
  one();
}

/** The process that has the session of a nexus. */
export function processOf({ incarnation }: ScsiNexus, keeper: ReservationKeeper): string {
  return incarnation ?? keeper.incarnation;
}

/** RESERVE ends with its nexus (SPC-2 5.5.1), which is not among these any more: nobody else would ever release it. */
export function releaseOf(nexus: ScsiNexus, keeper: ReservationKeeper, nexuses: Nexuses): void {
  const { initiatorPortName } = nexus;
  const { reservedBy, reservedAt } = keeper.state;
  const at = processOf(nexus, keeper);
  if (reservedBy !== initiatorPortName || reservedAt !== at || nexuses.hasAnother(nexus)) return;
  keeper.insist((state) => nexusLost(state, initiatorPortName, at));
}

export class LocalKeeper implements ReservationKeeper {
  readonly incarnation = '';
  readonly survivePowerLoss: boolean = false;
  state = NO_RESERVATIONS;
  private nexuses!: Nexuses;

  attach(nexuses: Nexuses): void {
    this.nexuses = nexuses;
  }

  change(
    make: (state: Reservations) => Change,
    done: (change: Change | null) => void,
    written?: () => void,
  ): void {
    const change = make(this.state);
    if (change.kind !== 'done') return done(change);
    this.state = change.state;
    written?.();
    this.nexuses.tell(change.notices);
    this.nexuses.abort(change.aborts, () => done(change));
  }

  insist(make: (state: Reservations) => Change): void {
    this.change(make, () => undefined);
  }

  ended(nexus: ScsiNexus): void {
    releaseOf(nexus, this, this.nexuses);
  }
}
