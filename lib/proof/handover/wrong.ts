/** Wrong initiators, and what becomes of them. */
import type { Line } from '../figures.js';

export function runWrongInitiators(
  _workFolder: string,
  _say: (text: string) => void,
): Promise<readonly Line[]> {
  return Promise.resolve([]);
}
