/** What a planted bug is, and how it gets into the code. */
export interface Mutant {
  readonly name: string;
  /** What it breaks, as ARCHITECTURE.md numbers what must hold; '-': only "all is done in the end". */
  readonly invariant: string;
  readonly breaks: string;
  /** Below lib/, compiled. */
  readonly file: string;
  /** Stands in that file once. */
  readonly find: string;
  readonly replace: string;
}

/** @returns the file's text with the bug in it; null when the mutant does not fit any more */
export function plantIn(text: string, { find, replace }: Mutant): string | null {
  const parts = text.split(find);
  return parts.length === 2 ? parts.join(replace) : null;
}
