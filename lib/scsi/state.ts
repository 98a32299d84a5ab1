/**
 * What of a unit changes, and what all its initiators share (I9): its modes, what stands in the way of commands, and what
 * each nexus has still to be told. The contract; kept-state.ts is what serves it.
 */
import type { Sense } from './sense.js';
import type { ScsiNexus } from './task.js';

/** The fields of mode pages that can be changed (mode-pages.ts). */
export interface Modes {
  /** WCE: a write may be acknowledged before it is durable. */
  readonly writeCache: boolean;
  /** D_SENSE: sense data in descriptor format. */
  readonly descriptorSense: boolean;
  /** SWP: no initiator may write. */
  readonly writeProtected: boolean;
}

export const DEFAULT_MODES: Modes = Object.freeze({
  writeCache: true,
  descriptorSense: false,
  writeProtected: false,
});

export function isSameModes(one: Modes, other: Modes): boolean {
  return (
    one.writeCache === other.writeCache &&
    one.descriptorSense === other.descriptorSense &&
    one.writeProtected === other.writeProtected
  );
}

/** Conditions that do not stand in a command's way (Command.passes), as bits. */
export const Passes = {
  /** INQUIRY, REPORT LUNS and REQUEST SENSE alone (SAM-5 5.14.3). */
  UNIT_ATTENTION: 0x01,
  /** What needs no medium. */
  NO_MEDIUM: 0x02,
  /** SANITIZE itself, after one that failed. */
  SANITIZE_FAILURE: 0x04,
  /** What is served during a sanitize operation, and after one that failed (SBC-4 4.11.2). */
  SANITIZE: 0x08,
} as const;

/** No condition stops the command. */
export const PASSES_ALL = 0xff;

/** A sanitize operation under way. */
export interface SanitizeRun {
  /** Of 65536. */
  progress: number;
}

/** Whether EXIT FAILURE MODE may end it (AUSE, SBC-4 4.11.4). */
export type SanitizeFailure = 'restricted' | 'unrestricted';

/** What a SANITIZE was told to do. */
export interface SanitizeOrder {
  /** Null: everything is erased. */
  readonly overwrite: Overwriting | null;
  /** How it fails, if it does. */
  readonly failure: SanitizeFailure;
}

/** The passes of OVERWRITE: each block begins with the pattern's first byte (SBC-4 5.30.2.2). */
export interface Overwriting {
  /** In hexadecimal digits. */
  readonly pattern: string;
  readonly passes: number;
  /** Inverted from pass to pass, so that the last one writes the pattern as it came. */
  readonly inverts: boolean;
}

/** What of a unit's state outlives its sessions and its home; plain data. */
export interface UnitFacts {
  readonly modes: Modes;
  readonly hasMedium: boolean;
  /** What is being done to the medium, or how that failed; null: neither. */
  readonly sanitize: SanitizeOrder | SanitizeFailure | null;
}

export const DEFAULT_FACTS: UnitFacts = Object.freeze({
  modes: DEFAULT_MODES,
  hasMedium: true,
  sanitize: null,
});

/** Who keeps the facts of a unit: in memory, or for all members of a group (member/shared-units.ts). */
export interface UnitKeeper {
  readonly facts: UnitFacts;
  /** Tells when somebody else has changed them. */
  attach(changed: (before: UnitFacts) => void): void;
  /** Applies `make` to the facts, in the order of calls; those themselves change nothing. False: it cannot be had now. */
  change(make: (facts: UnitFacts) => UnitFacts, done: (isKept: boolean) => void): void;
  /** The same, tried until it is kept. */
  insist(make: (facts: UnitFacts) => UnitFacts, done: () => void): void;
}

export interface UnitState {
  /** Nothing stands in the way of any command of anybody: the one look that READ and WRITE take. */
  readonly isQuiet: boolean;
  readonly modes: Modes;
  /** Why a command of `nexus` is not served now, null if it is. A unit attention condition is told once. */
  obstacle(nexus: ScsiNexus, passes: number): Sense | null;
  /** From here on `nexus` is told what happens to the unit. */
  nexusBegan(nexus: ScsiNexus): void;
  /** I_T nexus loss: what it had asked for ends (SAM-5 6.3.4). */
  nexusEnded(nexus: ScsiNexus): void;
  /** Something that only `nexus` is to be told. */
  attend(nexus: ScsiNexus, attention: Sense): void;
  /**
   * Applies `change` to the modes as they are when it is written down; the other nexuses are told (SPC-4 6.11). Calls back
   * once they hold, or with false: not now.
   */
  setModes(by: ScsiNexus, change: (modes: Modes) => Modes, done: (isDone: boolean) => void): void;
  /** Whatever is written has to be durable when it is acknowledged: the write cache is off, or suspended. */
  readonly writesThrough: boolean;
  /** From here on it is so whatever WCE says, until resumeCache(), once for each; nobody is told. */
  suspendCache(): void;
  resumeCache(): void;
  /** The medium is loaded: always, but for a removable unit. */
  readonly hasMedium: boolean;
  /** `nexus` wants the medium to stay, or does not mind any more; until its end, or a reset (SPC-4 6.15). */
  setPrevented(nexus: ScsiNexus, isPrevented: boolean, done: () => void): void;
  /** Takes the medium out, if it is in, unless a nexus wants it to stay. */
  eject(done: (outcome: Sense | null) => void): void;
  /**
   * Puts it back, if it is out; every nexus but `by` is told that it may be another one. Who prevents removal keeps the
   * tray as it is: SPC-4 6.15 leaves that open, and libiscsi's PreventAllow.Eject wants it so.
   */
  load(by: ScsiNexus, done: (outcome: Sense | null) => void): void;
  /** How the last sanitize operation failed, null when it did not or that was left behind. */
  readonly sanitizeFailure: SanitizeFailure | null;
  /**
   * From here on only what may be then is served (Passes.SANITIZE); a reset does not change that (SBC-4 4.11.3). Calls
   * back once a home that dies would do it again, or with null: it cannot be begun now.
   */
  beginSanitize(order: SanitizeOrder, begun: (run: SanitizeRun | null) => void): void;
  endSanitize(failure: SanitizeFailure | null, ended: () => void): void;
  /** The operation that another process did not end, to be done again from its beginning; null: none, or it is under way. */
  takeUpSanitize(): { readonly order: SanitizeOrder; readonly run: SanitizeRun } | null;
  /** Another process has served the unit until now: what was to be told, or was asked for, here is of the time before. */
  begin(): void;
  /** How often it was reset here: a command that began before has been aborted, whether or not it knows yet. */
  readonly resets: number;
  /** A logical unit reset (SAM-5 6.3.3): everything as after power on, and every nexus is told `attention`. */
  reset(attention: Sense, done: () => void): void;
}
