/** How commands speak: one JSON document or a table on stdout, one line of failure on stderr. Decides no exit code. */
import { createRequire } from 'node:module';
import type Cli3 from 'cli-table3';
import type { CliDoor } from './door.js';

/** Loaded at the first table: a start with --json, which a script waits for, does without it. */
const loadTable = (): typeof Cli3 => createRequire(import.meta.url)('cli-table3') as typeof Cli3;

/** Writes `value` as the command's one JSON document, or what `forPeople` makes of it. */
export function emit<T>(door: CliDoor, json: boolean, value: T, forPeople: (value: T) => string): void {
  door.stdout.write(json ? `${JSON.stringify(value)}\n` : `${forPeople(value).trimEnd()}\n`);
}

/**
 * Rows under headings, without ruled lines, so that it pastes and greps well.
 * @param name stands after the first heading, as it is: what the rows are of
 */
export function table(
  headings: readonly string[],
  rows: readonly (readonly (string | number)[])[],
  name?: string,
): string {
  const none = '';
  const Table = loadTable();
  const drawn = new Table({
    head: [...headings.map((heading) => heading.toUpperCase()), ...(name === undefined ? [] : [name])],
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
    chars: {
      top: none,
      'top-mid': none,
      'top-left': none,
      'top-right': none,
      bottom: none,
      'bottom-mid': none,
      'bottom-left': none,
      'bottom-right': none,
      left: none,
      'left-mid': none,
      mid: none,
      'mid-mid': none,
      right: none,
      'right-mid': none,
      middle: none,
    },
  });
  drawn.push(...rows.map((row) => row.map(String)));
  return drawn
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** "1.24 s", "83 ms": a duration for people. */
export function formatMs(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return ms >= 10 ? `${ms.toFixed(0)} ms` : `${ms.toFixed(2)} ms`;
}

/** "kind=database, tier=gold"; '' for none. */
export function describeLabels(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(', ');
}

/** "3 volumes", "1 volume". */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
