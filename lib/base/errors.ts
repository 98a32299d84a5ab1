/**
 * The one catalogue of errors that people and programs see: a stable code, what is wrong, and how to mend it.
 * Errors are told apart by `code`, never by their text.
 */

/** Stable codes; scripts may depend on them. */
export type ErrorCode =
  | 'USAGE' // wrong arguments
  | 'NOT_FOUND' // no such volume, member, move, file
  | 'EXISTS' // the name is taken
  | 'BUSY' // a move is under way, a folder or port is in use
  | 'INVALID' // a value that cannot be: a size, a record, an answer
  | 'CONFLICT' // somebody else changed it first (compare-and-swap lost)
  | 'NO_SPACE' // the disk is full
  | 'IO' // the operating system failed a file or socket
  | 'UNAVAILABLE' // nobody answers there, or not in time
  | 'PROTOCOL' // the other side broke the protocol
  | 'STALE' // the epoch is not the current one
  | 'CANCELLED' // stopped on purpose
  | 'INTERNAL'; // a defect

export class BlockferryError extends Error {
  override readonly name = 'BlockferryError';

  /**
   * @param code what kind of failure
   * @param message what is wrong, one line, no trailing full stop
   * @param hint how to mend it, one line, or absent where nothing useful can be said
   */
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly hint?: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** "message; hint" in one line, for stderr. */
  get line(): string {
    return this.hint === undefined ? this.message : `${this.message}; ${this.hint}`;
  }
}

/** Any thrown thing as one line of text. */
export function describeError(error: unknown): string {
  if (error instanceof BlockferryError) return error.line;
  if (error instanceof Error) return error.message;
  return String(error);
}

/** Any thrown thing as an Error. */
export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** The errno name ("ENOSPC") of a Node system error, or '' for anything else. */
export function errnoOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : '';
}

/** The error of a listener whose address somebody else has, or of who was told of it. */
export function isAddressInUse(error: unknown): error is BlockferryError {
  return error instanceof BlockferryError && errnoOf(error.cause) === 'EADDRINUSE';
}
