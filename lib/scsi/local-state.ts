/** The state of a unit that this process alone serves: in memory, as after power on when it starts. */
import { sanitizeInProgress, type Sense, SENSE } from './sense.js';
import type { ScsiNexus } from './task.js';
import {
  DEFAULT_MODES,
  type Modes,
  Passes,
  PASSES_ALL,
  type SanitizeFailure,
  type SanitizeRun,
  type UnitState,
} from './state.js';

export class LocalUnitState implements UnitState {
  isQuiet = true;
  modes = DEFAULT_MODES;
  hasMedium = true;
  sanitizeFailure: SanitizeFailure | null = null;
  private sanitizeRun: SanitizeRun | null = null;
  /** Who wants the medium to stay. */
  private readonly preventing = new Set<ScsiNexus>();
  /** Nexus → what it is still to be told, oldest first. */
  private readonly attentions = new Map<ScsiNexus, Sense[]>();

  obstacle(nexus: ScsiNexus, passes: number): Sense | null {
    if ((passes & Passes.UNIT_ATTENTION) === 0) {
      const attention = this.attentions.get(nexus)?.shift();
      if (attention !== undefined) {
        this.settle();
        return attention;
      }
    }
    if (passes === PASSES_ALL) return null;
    if (this.sanitizeRun !== null) return sanitizeInProgress(this.sanitizeRun.progress);
    if (!this.hasMedium && (passes & Passes.NO_MEDIUM) === 0) return SENSE.MEDIUM_NOT_PRESENT;
    const isHarmless = (passes & (Passes.NO_MEDIUM | Passes.SANITIZE_FAILURE)) !== 0;
    if (this.sanitizeFailure !== null && !isHarmless) return SENSE.SANITIZE_FAILED;
    return null;
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

  setModes(by: ScsiNexus, modes: Modes, done: () => void): void {
    const { writeCache, descriptorSense, writeProtected } = this.modes;
    const changed =
      writeCache !== modes.writeCache ||
      descriptorSense !== modes.descriptorSense ||
      writeProtected !== modes.writeProtected;
    this.modes = modes;
    if (changed) this.tell(SENSE.MODE_PARAMETERS_CHANGED, by);
    done();
  }

  setPrevented(nexus: ScsiNexus, isPrevented: boolean, done: () => void): void {
    if (isPrevented) this.preventing.add(nexus);
    else this.preventing.delete(nexus);
    done();
  }

  eject(done: (outcome: Sense | null) => void): void {
    if (this.preventing.size > 0) return done(SENSE.MEDIUM_REMOVAL_PREVENTED);
    this.hasMedium = false;
    this.settle();
    done(null);
  }

  load(by: ScsiNexus, done: (outcome: Sense | null) => void): void {
    if (this.hasMedium) return done(null);
    if (this.preventing.size > 0) return done(SENSE.MEDIUM_REMOVAL_PREVENTED);
    this.hasMedium = true;
    this.tell(SENSE.MEDIUM_MAY_HAVE_CHANGED, by);
    done(null);
  }

  beginSanitize(run: SanitizeRun): void {
    this.sanitizeRun = run;
    this.settle();
  }

  endSanitize(failure: SanitizeFailure | null): void {
    this.sanitizeRun = null;
    this.sanitizeFailure = failure;
    this.settle();
  }

  reset(attention: Sense): void {
    this.modes = DEFAULT_MODES;
    this.preventing.clear();
    // A reset takes the place of what was to be told before it (SAM-5 5.14.5).
    for (const waiting of this.attentions.values()) waiting.splice(0, waiting.length, attention);
    this.settle();
  }

  /** Every nexus but `except`, once however often it happens before it is told. */
  private tell(attention: Sense, except: ScsiNexus): void {
    for (const [nexus, waiting] of this.attentions) {
      if (nexus !== except && !waiting.includes(attention)) waiting.push(attention);
    }
    this.settle();
  }

  private settle(): void {
    this.isQuiet =
      this.hasMedium &&
      this.sanitizeRun === null &&
      this.sanitizeFailure === null &&
      [...this.attentions.values()].every((waiting) => waiting.length === 0);
  }
}
