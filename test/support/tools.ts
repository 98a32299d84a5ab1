/** The foreign initiators that integration tests use. A tool that is missing skips its test, with the reason. */
import { findProgram, findQemuModule } from '../../lib/bench/tools.js';

/**
 * For tap's `skip` option: false when every tool is there, else the reason.
 * @example t.test('discovery', { skip: needs('iscsi-ls') }, ...)
 */
export function needs(...tools: readonly string[]): string | false {
  const missing = tools.filter((tool) => findProgram(tool) === undefined);
  if (missing.length > 0) return `${missing.join(', ')} not installed: run 'make tools'`;
  // QEMU's iSCSI driver is a module of its own in Debian (qemu-block-extra).
  if (tools.some((tool) => tool.startsWith('qemu-')) && findQemuModule('block-iscsi.so') === undefined) {
    return "QEMU's iSCSI driver is not installed: run 'make tools'";
  }
  return false;
}
