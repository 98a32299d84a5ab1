/**
 * The copies that a unit works on, and what is held of those that have ended until RECEIVE COPY STATUS or RECEIVE COPY
 * FAILURE DETAILS asks for it (SPC-4 5.16): by I_T nexus and list identifier, of which a nexus has 256.
 */
import { COPIES_MAX } from '../../base/limits.js';
import type { Sense } from '../sense.js';
import type { ScsiNexus } from '../task.js';
import { type CopyList, ListIdUsage } from './parameter-list.js';

/** One copy. */
export class CopyRun {
  segmentsProcessed = 0;
  bytesWritten = 0;
  /** How it ended, null for GOOD; undefined while it is at work. */
  outcome: Sense | null | undefined = undefined;

  constructor(readonly list: CopyList) {}

  get isAtWork(): boolean {
    return this.outcome === undefined;
  }

  /** Its initiator means to ask for its outcome. */
  get isHeld(): boolean {
    return this.list.listIdUsage === ListIdUsage.HOLD;
  }
}

export class Copies {
  private readonly byNexus = new Map<ScsiNexus, Map<number, CopyRun>>();
  private atWork = 0;

  get isFull(): boolean {
    return this.atWork >= COPIES_MAX;
  }

  /** Null: its list identifier is that of another which is at work, and one of the two is to be held. */
  begin(nexus: ScsiNexus, list: CopyList): CopyRun | null {
    const run = new CopyRun(list);
    if (list.listIdUsage !== ListIdUsage.NONE) {
      const before = this.find(nexus, list.listIdentifier);
      // Of what is not held nobody asks: iscsi-dd has fifty of one identifier at work.
      if (before?.isAtWork === true && (before.isHeld || run.isHeld)) return null;
      const runs = this.byNexus.get(nexus) ?? new Map<number, CopyRun>();
      this.byNexus.set(nexus, runs.set(list.listIdentifier, run));
    }
    this.atWork += 1;
    return run;
  }

  end(nexus: ScsiNexus, run: CopyRun, outcome: Sense | null): void {
    const { listIdentifier } = run.list;
    this.atWork -= 1;
    run.outcome = outcome;
    if (!run.isHeld && this.find(nexus, listIdentifier) === run) this.discard(nexus, listIdentifier);
  }

  find(nexus: ScsiNexus, listIdentifier: number): CopyRun | undefined {
    return this.byNexus.get(nexus)?.get(listIdentifier);
  }

  discard(nexus: ScsiNexus, listIdentifier: number): void {
    this.byNexus.get(nexus)?.delete(listIdentifier);
  }

  /** I_T nexus loss. */
  forget(nexus: ScsiNexus): void {
    this.byNexus.delete(nexus);
  }

  /** A reset of the unit. */
  forgetAll(): void {
    this.byNexus.clear();
  }
}
