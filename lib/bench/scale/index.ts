/** `make bench-scale`: what grows with what, in steps of ten. The curves say whether anything is linear that must not be. */
import type { BenchSettings } from '../case.js';
import type { Curve } from '../report.js';
import { measureRoutes } from './routes.js';
import { measureSessions } from './sessions.js';
import { measureVolumes } from './volumes.js';

type Part = (settings: BenchSettings, progress: (text: string) => void) => Promise<Curve[]>;

const PARTS: readonly Part[] = [measureRoutes, measureSessions, measureVolumes];

export async function measureScale(
  settings: BenchSettings,
  signal: AbortSignal,
  progress: (text: string) => void,
): Promise<Curve[]> {
  const curves: Curve[] = [];
  for (const part of PARTS) if (!signal.aborted) curves.push(...(await part(settings, progress)));
  return curves;
}
