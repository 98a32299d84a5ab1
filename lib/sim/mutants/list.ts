/**
 * The planted bugs: each a change of one place of the engine, as it is compiled. The simulation must find every one; whoever
 * changes such a place changes its mutant with it (a test tells). They are data: planting is plant.ts's, judging main.ts's.
 */
import { MOVE_MUTANTS } from './moves.js';
import type { Mutant } from './mutant.js';
import { SERVING_MUTANTS } from './serving.js';

export const MUTANTS: readonly Mutant[] = [...MOVE_MUTANTS, ...SERVING_MUTANTS];
