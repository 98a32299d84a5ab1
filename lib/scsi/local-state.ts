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
  sanitizeFailure: SanitizeFailure | null = null;
  private sanitizeRun: SanitizeRun | null = null;
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
    const isHarmless = (passes & (Passes.NO_MEDIUM | Passes.SANITIZE_FAILURE)) !== 0;
    if (this.sanitizeFailure !== null && !isHarmless) return SENSE.SANITIZE_FAILED;
    return null;
  }

  nexusBegan(nexus: ScsiNexus): void {
    this.attentions.set(nexus, []);
  }

  nexusEnded(nexus: ScsiNexus): void {
    this.attentions.delete(nexus);
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
      this.sanitizeRun === null &&
      this.sanitizeFailure === null &&
      [...this.attentions.values()].every((waiting) => waiting.length === 0);
  }
}
