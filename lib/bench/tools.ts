/** Which foreign programs are installed. A case whose tools are missing is skipped with this file's reason. */
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Each with the Debian package that has it. */
const PACKAGES = {
  tgtd: 'tgt',
  tgtadm: 'tgt',
  'iscsi-perf': 'libiscsi-bin',
  fio: 'fio',
  'qemu-img': 'qemu-utils',
  'block-iscsi.so': 'qemu-block-extra',
  'qemu-storage-daemon': 'qemu-system-common',
  perf: 'linux-perf',
  dd: 'coreutils',
} as const;

export type ToolName = keyof typeof PACKAGES;

/** Where administrators' programs live, which a user's PATH may not name. */
const MORE_FOLDERS = ['/usr/sbin', '/sbin'];
/** Where QEMU's drivers live: modules, and not executable. */
const MODULE_FOLDERS = ['/usr/lib/x86_64-linux-gnu/qemu', '/usr/lib/aarch64-linux-gnu/qemu', '/usr/lib/qemu'];

/** The path of a tool, or undefined. */
export function findTool(name: ToolName): string | undefined {
  return name.endsWith('.so') ? findQemuModule(name) : findProgram(name);
}

export function findProgram(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...MORE_FOLDERS];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

export function findQemuModule(name: string): string | undefined {
  return MODULE_FOLDERS.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** Undefined when all are there, or a line that says what to install. */
export function whatIsMissing(names: readonly ToolName[]): string | undefined {
  const missing = names.filter((name) => findTool(name) === undefined);
  if (missing.length === 0) return undefined;
  const packages = [...new Set(missing.map((name) => PACKAGES[name]))];
  return `${missing.join(', ')} not installed (Debian: apt-get install ${packages.join(' ')})`;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
