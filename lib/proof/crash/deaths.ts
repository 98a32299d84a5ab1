/** Which members died, read from what the process that starts them again has logged, beside who was to die. Pure. */
import { z } from 'zod';

/** Of its log at the level 'warn': a line for each process that ended, whoever ended it. */
const Death = z.object({
  member: z.string(),
  how: z.string(),
  msg: z.string().startsWith('the member died'),
});

/** How each member's processes ended, one after the other. */
function deathsIn(log: string): Map<string, string[]> {
  const deaths = new Map<string, string[]>();
  for (const line of log.split('\n')) {
    const death = Death.safeParse(jsonOf(line)).data;
    if (death !== undefined) deaths.set(death.member, [...(deaths.get(death.member) ?? []), death.how]);
  }
  return deaths;
}

/**
 * One line for each member that did not die as often as it was killed. Fewer is wrong as well: a death that is not seen
 * here is one that nobody would miss.
 *
 * @param asked how often each member was killed on purpose
 */
export function deathFaults(log: string, asked: ReadonlyMap<string, number>): string[] {
  const deaths = deathsIn(log);
  return [...new Set([...asked.keys(), ...deaths.keys()])].sort().flatMap((member) => {
    const how = deaths.get(member) ?? [];
    const wanted = asked.get(member) ?? 0;
    if (how.length === wanted) return [];
    return [`${member} died ${how.length} times (${how.join(', ')}), ${wanted} of them asked for`];
  });
}

/** What is no JSON is not the supervising process's: a member's last words, say. */
function jsonOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
