/** The state of a unit where it is served: facts that a keeper has, and what each nexus here is still to be told. */
import { assert } from '../base/assert.js';
import { sanitizeInProgress, type Sense, SENSE } from './sense.js';
import type { ScsiNexus } from './task.js';
import {
  DEFAULT_FACTS,
  DEFAULT_MODES,
  isSameModes,
  type Modes,
  Passes,
  type SanitizeFailure,
  type SanitizeOrder,
  type SanitizeRun,
  type UnitFacts,
  type UnitKeeper,
  type UnitState,
} from './state.js';

export class KeptUnitState implements UnitState {
  isQuiet = true;
  resets = 0;
  private sanitizeRun: SanitizeRun | null = null;
  /** How many do without the cache whatever WCE says. */
  private cacheSuspensions = 0;
  /** Who wants the medium to stay. */
  private readonly preventing = new Set<ScsiNexus>();
  /** Nexus → what it is still to be told, oldest first. */
  private readonly attentions = new Map<ScsiNexus, Sense[]>();

  constructor(private readonly keeper: UnitKeeper = new UnitMemory()) {
    keeper.attach((before) => this.changedElsewhere(before));
    this.settle();
  }

  get modes(): Modes {
    return this.keeper.facts.modes;
  }

  get writesThrough(): boolean {
    return this.cacheSuspensions > 0 || !this.modes.writeCache;
  }

  get hasMedium(): boolean {
    return this.keeper.facts.hasMedium;
  }

  get sanitizeFailure(): SanitizeFailure | null {
    const { sanitize } = this.keeper.facts;
    return typeof sanitize === 'string' ? sanitize : null;
  }

  private get sanitizeOrder(): SanitizeOrder | null {
    const { sanitize } = this.keeper.facts;
    return typeof sanitize === 'string' ? null : sanitize;
  }

  obstacle(nexus: ScsiNexus, passes: number): Sense | null {
    if ((passes & Passes.UNIT_ATTENTION) === 0) {
      const attention = this.attentions.get(nexus)?.shift();
      if (attention !== undefined) {
        this.settle();
        return attention;
      }
    }
    const isAllowed = (passes & Passes.SANITIZE) !== 0;
    if (this.isSanitizing && !isAllowed) return sanitizeInProgress(this.sanitizeRun?.progress ?? 0);
    if (!this.hasMedium && (passes & Passes.NO_MEDIUM) === 0) return SENSE.MEDIUM_NOT_PRESENT;
    const hasFailed = this.sanitizeFailure !== null && (passes & Passes.SANITIZE_FAILURE) === 0;
    return hasFailed && !isAllowed ? SENSE.SANITIZE_FAILED : null;
  }

  nexusBegan(nexus: ScsiNexus): void {
    this.attentions.set(nexus, []);
  }

  nexusEnded(nexus: ScsiNexus): void {
    this.attentions.delete(nexus);
    this.preventing.delete(nexus);
    this.settle();
  }

  attend(nexus: ScsiNexus, attention: Sense): void {
    const waiting = this.attentions.get(nexus);
    if (waiting?.includes(attention) === false) waiting.push(attention);
    this.settle();
  }

  setModes(by: ScsiNexus, change: (modes: Modes) => Modes, done: (isDone: boolean) => void): void {
    let isChanged = false;
    const make = (facts: UnitFacts): UnitFacts => {
      const modes = change(facts.modes);
      isChanged = !isSameModes(facts.modes, modes);
      return isChanged ? { ...facts, modes } : facts;
    };
    this.keeper.change(make, (isKept) => {
      if (isKept && isChanged) this.tell(SENSE.MODE_PARAMETERS_CHANGED, by);
      done(isKept);
    });
  }

  suspendCache(): void {
    this.cacheSuspensions += 1;
  }

  resumeCache(): void {
    assert(this.cacheSuspensions > 0, 'the cache is resumed more often than it was suspended');
    this.cacheSuspensions -= 1;
  }

  setPrevented(nexus: ScsiNexus, isPrevented: boolean, done: () => void): void {
    if (isPrevented) this.preventing.add(nexus);
    else this.preventing.delete(nexus);
    done();
  }

  eject(done: (outcome: Sense | null) => void): void {
    if (this.preventing.size > 0) return done(SENSE.MEDIUM_REMOVAL_PREVENTED);
    this.setMedium(false, done);
  }

  load(by: ScsiNexus, done: (outcome: Sense | null) => void): void {
    if (this.hasMedium) return done(null);
    if (this.preventing.size > 0) return done(SENSE.MEDIUM_REMOVAL_PREVENTED);
    this.setMedium(true, (outcome) => {
      if (outcome === null) this.tell(SENSE.MEDIUM_MAY_HAVE_CHANGED, by);
      done(outcome);
    });
  }

  beginSanitize(order: SanitizeOrder, begun: (run: SanitizeRun | null) => void): void {
    // From here on, not only once it is kept: nothing may land behind what is erased.
    const run: SanitizeRun = { progress: 0 };
    this.sanitizeRun = run;
    this.settle();
    this.keeper.change(
      (facts) => ({ ...facts, sanitize: order }),
      (isKept) => {
        if (!isKept) this.sanitizeRun = null;
        this.settle();
        begun(isKept ? run : null);
      },
    );
  }

  /** What is not said to be over would be done again after the next start, and over what is written meanwhile. */
  endSanitize(failure: SanitizeFailure | null, ended: () => void): void {
    this.keeper.insist(
      (facts) => ({ ...facts, sanitize: failure }),
      () => {
        this.sanitizeRun = null;
        this.settle();
        ended();
      },
    );
  }

  takeUpSanitize(): { readonly order: SanitizeOrder; readonly run: SanitizeRun } | null {
    const order = this.sanitizeOrder;
    if (order === null || this.sanitizeRun !== null) return null;
    const run = (this.sanitizeRun = { progress: 0 });
    return { order, run };
  }

  begin(): void {
    this.preventing.clear();
    for (const waiting of this.attentions.values()) waiting.length = 0;
    this.settle();
  }

  reset(attention: Sense, done: () => void): void {
    this.resets += 1;
    this.preventing.clear();
    // A reset takes the place of what was to be told before it (SAM-5 5.14.5).
    for (const waiting of this.attentions.values()) waiting.splice(0, waiting.length, attention);
    this.settle();
    const make = (facts: UnitFacts): UnitFacts =>
      isSameModes(facts.modes, DEFAULT_MODES) ? facts : { ...facts, modes: DEFAULT_MODES };
    this.keeper.insist(make, done);
  }

  /** It is under way, or was when the process died that did it. */
  private get isSanitizing(): boolean {
    return this.sanitizeRun !== null || this.sanitizeOrder !== null;
  }

  private setMedium(hasMedium: boolean, done: (outcome: Sense | null) => void): void {
    this.keeper.change(
      (facts) => (facts.hasMedium === hasMedium ? facts : { ...facts, hasMedium }),
      (isKept) => {
        this.settle();
        done(isKept ? null : SENSE.HOLDER_UNREACHABLE);
      },
    );
  }

  private changedElsewhere(before: UnitFacts): void {
    if (!isSameModes(before.modes, this.modes)) this.tell(SENSE.MODE_PARAMETERS_CHANGED, null);
    if (!before.hasMedium && this.hasMedium) this.tell(SENSE.MEDIUM_MAY_HAVE_CHANGED, null);
    this.settle();
  }

  /** Every nexus but `except`, once however often it happens before it is told. */
  private tell(attention: Sense, except: ScsiNexus | null): void {
    for (const [nexus, waiting] of this.attentions) {
      if (nexus !== except && !waiting.includes(attention)) waiting.push(attention);
    }
    this.settle();
  }

  private settle(): void {
    this.isQuiet =
      this.hasMedium &&
      !this.isSanitizing &&
      this.sanitizeFailure === null &&
      [...this.attentions.values()].every((waiting) => waiting.length === 0);
  }
}

/** Facts of a unit that this process alone serves: as after power on when it starts. */
export class UnitMemory implements UnitKeeper {
  facts = DEFAULT_FACTS;

  attach(): void {
    // nobody else changes them
  }

  change(make: (facts: UnitFacts) => UnitFacts, done: (isKept: boolean) => void): void {
    this.facts = make(this.facts);
    done(true);
  }

  insist(make: (facts: UnitFacts) => UnitFacts, done: () => void): void {
    this.change(make, done);
  }
}
