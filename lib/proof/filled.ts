/** A volume that is full of what a ledger knows: where nothing was written, a verify has nothing to miss. */
import { BlockferryError } from '../base/errors.js';
import { runFill, type LoadedUnit, type WorkloadOptions } from '../iscsi/initiator/workload.js';

/** Writes every block of the range once. Rejects with IO where that does not go well. */
export async function fillWhole(unit: LoadedUnit, options: WorkloadOptions): Promise<void> {
  const { ok, errorTexts } = await runFill(unit, options);
  if (!ok) throw new BlockferryError('IO', `a volume cannot be filled: ${errorTexts.slice(0, 3).join('; ')}`);
}
