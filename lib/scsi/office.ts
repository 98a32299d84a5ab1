/**
 * Whether this process alone serves a unit, for commands that rest on it: what they have to themselves (block/claims.ts)
 * they have from the initiators of this process. The contract; where no other process ever serves the unit, SOLE.
 */
export interface Office {
  /** Calls back, now or later, when nobody else serves the unit and nobody else will before leave(). */
  enter(entered: () => void): void;
  /** Once for each that has entered. */
  leave(): void;
}

export const SOLE: Office = Object.freeze({
  enter: (entered: () => void) => entered(),
  leave: () => undefined,
});
