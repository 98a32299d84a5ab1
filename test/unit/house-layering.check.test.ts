/**
 * The rules of the house, proved from the sources: of lib/ and bin/ no import cycle, and no import against the layering; of
 * tests, too, a role comment on every file, and no file that has outgrown its reader. Runs none of them.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import t from 'tap';
import ts from 'typescript';
import { ROOT } from '../support/root.js';

/** A folder (or a composition root of its own) imports only from what stands before it. ARCHITECTURE.md has the same list. */
const LAYERS = [
  'lib/base',
  'lib/load',
  'lib/balance',
  'lib/iscsi/wire',
  'lib/block',
  'lib/scsi',
  'lib/storage',
  'lib/volume',
  'lib/peer',
  'lib/iscsi/target',
  'lib/iscsi/initiator',
  'lib/group',
  'lib/routing',
  'lib/access',
  'lib/migration',
  'lib/member',
  'lib/serve',
  'lib/manage',
  'lib/supervisor',
  'lib/sim',
  'lib/simulate',
  'lib/cli',
  'lib/bench',
  'lib/proof',
  'lib/index',
  'bin',
];

/** What I/O goes through: who only says what is wanted, or plans it, knows none of it. */
const DATA_PATH = ['lib/block', 'lib/scsi', 'lib/storage', 'lib/volume'];

/**
 * Pairs that the order alone would allow: these layers meet only at block/, or know nothing of each other, as
 * ARCHITECTURE.md says of each folder.
 */
const FORBIDDEN: Record<string, readonly string[]> = {
  'lib/block': ['lib/iscsi/wire'],
  'lib/scsi': ['lib/iscsi/wire'],
  'lib/storage': ['lib/iscsi/wire', 'lib/scsi'],
  'lib/volume': ['lib/iscsi/wire', 'lib/scsi', 'lib/storage'],
  'lib/peer': ['lib/iscsi/wire', 'lib/scsi', 'lib/storage'],
  'lib/iscsi/target': ['lib/storage', 'lib/volume', 'lib/peer'],
  'lib/iscsi/initiator': ['lib/storage', 'lib/volume', 'lib/peer', 'lib/iscsi/target'],
  'lib/group': [...DATA_PATH, 'lib/iscsi/wire', 'lib/peer', 'lib/iscsi/target', 'lib/iscsi/initiator'],
  'lib/routing': ['lib/iscsi/initiator', 'lib/storage'],
  'lib/access': [
    'lib/iscsi/initiator',
    'lib/iscsi/target',
    'lib/iscsi/wire',
    'lib/storage',
    'lib/volume',
    'lib/group',
  ],
  'lib/migration': ['lib/access', 'lib/iscsi/initiator', 'lib/iscsi/target', 'lib/iscsi/wire', 'lib/storage'],
  'lib/serve': ['lib/group', 'lib/member', 'lib/migration', 'lib/peer', 'lib/routing'],
  'lib/manage': [
    ...DATA_PATH,
    'lib/iscsi/wire',
    'lib/iscsi/target',
    'lib/iscsi/initiator',
    'lib/migration',
    'lib/member',
  ],
  'lib/supervisor': ['lib/block', 'lib/scsi', 'lib/volume', 'lib/migration', 'lib/member'],
  'lib/simulate': [
    ...DATA_PATH,
    'lib/peer',
    'lib/iscsi/wire',
    'lib/iscsi/target',
    'lib/iscsi/initiator',
    'lib/migration',
    'lib/member',
  ],
  'lib/cli': [...DATA_PATH, 'lib/migration'],
};

const LINES_MAX = 400;
/** Tests are read case by case. */
const TEST_LINES_MAX = 600;
/** Of ARCHITECTURE.md. */
const FOLDERS_HEADING = '## The folders';
const MISSION_HEADING = '## Where each part of the mission lives';

/** Path from the root → text. */
type Sources = Map<string, string>;

function readSources(...folders: readonly string[]): Sources {
  const sources: Sources = new Map();
  for (const top of folders) {
    for (const entry of readdirSync(join(ROOT, top), { recursive: true, encoding: 'utf8' })) {
      if (/\.[cm]?ts$/.test(entry))
        sources.set(join(top, entry), readFileSync(join(ROOT, top, entry), 'utf8'));
    }
  }
  return sources;
}

/** The layer of a file: the longest entry of LAYERS that is its folder, or itself without '.ts'. */
function layerOf(path: string): string | undefined {
  let best: string | undefined;
  for (const layer of LAYERS) {
    const inside = path === `${layer}.ts` || path.startsWith(`${layer}/`);
    if (inside && layer.length > (best?.length ?? 0)) best = layer;
  }
  return best;
}

/** What each text imports: several rules ask, and to parse takes time. */
const importedBy = new Map<string, string[]>();

/** The project's own files that `path` imports, types included: a cycle of types confuses a reader as well. */
function importsOf(path: string, text: string): string[] {
  let names = importedBy.get(text);
  names ??= ts.preProcessFile(text, true, true).importedFiles.map((file) => file.fileName);
  importedBy.set(text, names);
  return names
    .filter((name) => name.startsWith('.'))
    .map((name) => normalize(join(dirname(path), name)).replace(/\.js$/, '.ts'));
}

function findLayeringFaults(sources: Sources): string[] {
  const faults: string[] = [];
  for (const [path, text] of sources) {
    const from = layerOf(path);
    if (from === undefined) faults.push(`${path} stands in no layer`);
    for (const imported of importsOf(path, text)) {
      const to = layerOf(imported);
      if (!sources.has(imported)) faults.push(`${path} imports ${imported}, which does not exist`);
      if (from === undefined || to === undefined) continue;
      const upward = LAYERS.indexOf(to) > LAYERS.indexOf(from);
      if (upward || FORBIDDEN[from]?.includes(to))
        faults.push(`${path} (${from}) imports ${imported} (${to})`);
    }
  }
  return faults;
}

/** The first import cycle as "a → b → a", or undefined. Depth first; a file on the current path closes a cycle. */
function findCycle(sources: Sources): string | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): string | undefined => {
    if (done.has(file)) return undefined;
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file].join(' → ');
    path.push(file);
    for (const next of importsOf(file, sources.get(file) ?? '')) {
      const cycle = visit(next);
      if (cycle !== undefined) return cycle;
    }
    path.pop();
    done.add(file);
    return undefined;
  };
  for (const file of sources.keys()) {
    const cycle = visit(file);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

function findShapeFaults(sources: Sources): string[] {
  const faults: string[] = [];
  for (const [path, text] of sources) {
    const body = text.replace(/^#!.*\n/, '');
    if (!/^\/\*\*\s*\*?\s*\S/.test(body))
      faults.push(`${path} does not open with a comment that tells its role`);
    const lines = text.split('\n').length - 1;
    const linesMax = path.startsWith('test/') ? TEST_LINES_MAX : LINES_MAX;
    if (lines > linesMax) faults.push(`${path} has ${lines} lines, more than ${linesMax}`);
  }
  return faults;
}

t.test('the checker finds what it looks for', async (t) => {
  const role = '/** A file. */\n';
  const planted = (files: Record<string, string>): Sources =>
    new Map(Object.entries(files).map(([path, text]) => [path, role + text]));

  t.strictSame(
    findLayeringFaults(
      planted({ 'lib/scsi/a.ts': "import type { B } from '../volume/b.js';", 'lib/volume/b.ts': '' }),
    ),
    ['lib/scsi/a.ts (lib/scsi) imports lib/volume/b.ts (lib/volume)'],
    'an import against the order',
  );
  t.strictSame(
    findLayeringFaults(
      planted({ 'lib/volume/a.ts': "export * from '../storage/b.js';", 'lib/storage/b.ts': '' }),
    ).length,
    1,
    'an import along the order that is forbidden all the same',
  );
  t.strictSame(
    findLayeringFaults(planted({ 'lib/cli/a.ts': "const m = import('../base/b.js');", 'lib/base/b.ts': '' })),
    [],
    'an import down the order is fine, a dynamic one too',
  );
  t.equal(findLayeringFaults(planted({ 'lib/odd/a.ts': '' })).length, 1, 'a folder that no layer names');
  t.equal(
    findLayeringFaults(planted({ 'lib/base/a.ts': "import './gone.js';" })).length,
    1,
    'an import of nothing',
  );
  t.equal(
    findCycle(
      planted({
        'lib/base/a.ts': "import './b.js';",
        'lib/base/b.ts': "import type { C } from './c.js';",
        'lib/base/c.ts': "export { a } from './b.js';",
      }),
    ),
    'lib/base/b.ts → lib/base/c.ts → lib/base/b.ts',
    'a cycle, of types as well',
  );
  t.equal(
    findCycle(
      planted({
        'lib/base/a.ts': "import './b.js'; import './c.js';",
        'lib/base/b.ts': "import './c.js';",
        'lib/base/c.ts': '',
      }),
    ),
    undefined,
    'a diamond is no cycle',
  );
  t.equal(
    findShapeFaults(new Map([['lib/base/a.ts', 'export const a = 1;\n']])).length,
    1,
    'no role comment',
  );
  t.equal(findShapeFaults(planted({ 'lib/base/a.ts': '\n'.repeat(LINES_MAX) })).length, 1, 'too long a file');
  const long = (lines: number): string[] =>
    findShapeFaults(planted({ 'test/unit/a.test.ts': '\n'.repeat(lines) }));
  t.same(
    [long(LINES_MAX).length, long(TEST_LINES_MAX).length],
    [0, 1],
    'a test may be longer, but not for ever',
  );
});

t.test('lib and bin keep the rules of the house', async (t) => {
  const sources = readSources('lib', 'bin');
  t.ok(sources.size > 10 && sources.has('bin/blockferry.cts'), `${sources.size} files were read`);
  t.strictSame(findLayeringFaults(sources), [], 'no import against the layering');
  t.equal(findCycle(sources), undefined, 'no import cycle');
  t.strictSame(findShapeFaults(sources), [], 'every file tells its role and fits its reader');
});

/** The rows of the table below a heading of ARCHITECTURE.md, that of its columns' names left out. */
function rowsBelow(heading: string): string[] {
  const [, after = ''] = readFileSync(join(ROOT, 'ARCHITECTURE.md'), 'utf8').split(`${heading}\n`);
  const [section = ''] = after.split('\n## ');
  return section.split('\n').filter((line) => line.startsWith('|') && line.includes('`'));
}

t.test('ARCHITECTURE.md lists the folders in the order in which they may import', (t) => {
  const names = rowsBelow(FOLDERS_HEADING).flatMap((row) =>
    [...(row.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map(([, name = '']) => name.replace(/\.ts$/, '')),
  );
  t.strictSame([...new Set(names)], LAYERS);
  t.end();
});

t.test('tests tell their roles and fit their reader, too', async (t) => {
  const sources = readSources('test');
  t.ok(sources.size > 100, `${sources.size} files were read`);
  t.strictSame(findShapeFaults(sources), []);
});

t.test('every part of the mission has files and tests that are there', (t) => {
  const rows = rowsBelow(MISSION_HEADING);
  t.ok(rows.length >= 12, 'the table is there');
  for (const row of rows) {
    const [, part = '', files = '', tests = ''] = row.split('|');
    for (const [cell, prefix] of [
      [files, 'lib/'],
      [tests, 'test/'],
    ] as const) {
      const paths = [...cell.matchAll(/`([^`]+)`/g)].map(([, path = '']) => path);
      t.ok(paths.length > 0, `${part.trim()}: ${prefix}`);
      for (const path of paths) t.ok(path.startsWith(prefix) && existsSync(join(ROOT, path)), path);
    }
  }
  t.end();
});
