/**
 * Asserts that stay on in production. A broken invariant is a defect in Blockferry, never bad input:
 * bad input is answered with a BlockferryError (errors.ts) or a protocol status.
 */

/** Thrown when something that must always hold does not; the process should not go on serving from that state. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/** Throws InvariantError with `message` unless `condition` holds. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/**
 * What assert throws. For the way of every I/O, behind an `if`: there a text with values in it would be put together each
 * time, to be thrown away.
 */
export function violated(message: string): never {
  throw new InvariantError(message);
}

/** The numbered invariants of ARCHITECTURE.md, so that a failure names the rule it breaks. */
export type InvariantId = 'I1' | 'I2' | 'I3' | 'I4' | 'I5' | 'I6' | 'I7' | 'I8' | 'I9' | 'I10' | 'I11';

/** Like assert, for a numbered invariant. */
export function invariant(id: InvariantId, condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(`${id}: ${message}`);
}

/** For the default branch of an exhaustive switch. */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable value ${String(value)}`);
}
