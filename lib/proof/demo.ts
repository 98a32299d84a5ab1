/** What `make demo` is judged by: each limit, what was found, and whether it holds. Pure; bin/demo.ts plays it. */
import { formatSize } from '../base/units.js';
import { plural } from '../cli/output.js';
import type { WorkloadReport } from '../iscsi/initiator/report.js';
import type { Line } from './figures.js';

/** A command may wait so long. A hand-over takes some 50 ms; a machine that has other work, or a disk that is slow to make
 *  a batch durable, makes it more, and an initiator would begin to worry far later. */
const STALL_MS_MAX = 1000;

type Judged = Pick<WorkloadReport, 'ok' | 'errors' | 'wrongCount'>;

export interface DemoFindings {
  /** Where the volume was to go, one after the other, and how often it arrived. */
  readonly route: readonly string[];
  readonly moved: number;
  readonly filled: Judged;
  readonly loaded: Judged & Pick<WorkloadReport, 'longestStallMs'>;
  readonly verified: Judged;
  /** Bytes on disk for the volume, by member. */
  readonly space: ReadonlyMap<string, number>;
}

export function judgeDemo({ route, moved, filled, loaded, verified, space }: DemoFindings): Line[] {
  const home = route.at(-1) ?? '';
  const taken = [...space].map(([member, bytes]) => `${member} ${formatSize(bytes)}`).join(', ');
  return [
    { text: `all of ${route.length} moves are committed: ${moved} are`, holds: moved === route.length },
    noFault('the fill', filled),
    noFault('the load', loaded),
    noFault('every block read once more', verified),
    {
      text: `the longest stall is below ${STALL_MS_MAX} ms: ${Math.round(loaded.longestStallMs)} ms`,
      holds: loaded.longestStallMs < STALL_MS_MAX,
    },
    {
      text: `only ${home} keeps space on disk: ${taken}`,
      holds: [...space].every(([member, bytes]) => (member === home) === bytes > 0),
    },
  ];
}

function noFault(what: string, { ok, errors, wrongCount }: Judged): Line {
  const found = `${plural(errors, 'error')}, ${plural(wrongCount, 'wrong block')}`;
  return { text: `${what}: no error, no wrong block: ${found}`, holds: ok };
}
