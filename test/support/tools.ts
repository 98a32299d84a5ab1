/** The foreign initiators that integration tests use. A tool that is missing skips its test, with the reason. */
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

function isInstalled(tool: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** QEMU's iSCSI driver is a module of its own in Debian (qemu-block-extra). */
function qemuSpeaksIscsi(): boolean {
  const folders = ['/usr/lib/x86_64-linux-gnu/qemu', '/usr/lib/aarch64-linux-gnu/qemu', '/usr/lib/qemu'];
  return folders.some((folder) => existsSync(join(folder, 'block-iscsi.so')));
}

/**
 * For tap's `skip` option: false when every tool is there, else the reason.
 * @example t.test('discovery', { skip: needs('iscsi-ls') }, ...)
 */
export function needs(...tools: readonly string[]): string | false {
  const missing = tools.filter((tool) => !isInstalled(tool));
  if (missing.length > 0) return `${missing.join(', ')} not installed: run 'make tools'`;
  if (tools.some((tool) => tool.startsWith('qemu-')) && !qemuSpeaksIscsi()) {
    return "QEMU's iSCSI driver is not installed: run 'make tools'";
  }
  return false;
}
