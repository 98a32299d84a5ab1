/** What stands in a volume's file here and is not held here. */
import type { RoutedVolume } from '../routing/table.js';
import type { SparseFile } from '../storage/sparse-file.js';

/**
 * Makes holes of what a crash left: half-received attempts, or extents given away and not yet punched. Nothing can be
 * committed to this process before it first opens the file, so the route is current enough.
 */
export async function punchForeign(
  file: SparseFile,
  { route, record }: RoutedVolume,
  self: string,
): Promise<void> {
  const { extentBytes, sizeBytes } = record;
  for (const run of route.runs()) {
    if (run.holder === self) continue;
    const fromBytes = run.first * extentBytes;
    const toBytes = Math.min((run.last + 1) * extentBytes, sizeBytes);
    for (const data of file.dataRanges(fromBytes, toBytes - fromBytes)) {
      await file.punch(data.fromBytes, data.toBytes - data.fromBytes);
    }
  }
}
