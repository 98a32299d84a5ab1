/** `make balance`: options, progress, and the lines of each scene. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { BlockferryError } from '../../base/errors.js';
import { wholeOf } from '../../base/units.js';
import { inWorkFolder, showProgress } from '../../bench/frame.js';
import { allHold, describeLine } from '../figures.js';
import { SCENES, type SceneResult } from './scenes.js';

/** @returns the process's exit code: 1 when a line is missed */
export async function runBalanceProof(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  const out = options.json ? process.stderr : process.stdout;
  const results: SceneResult[] = [];
  await inWorkFolder(options.folder, 'balance', async (workFolder) => {
    for (const [, scene] of options.scenes) {
      const result = await scene({ workFolder, quietMs: options.quietMs, say: showProgress });
      showProgress('');
      out.write(`${describe(result)}\n`);
      results.push(result);
    }
  });
  if (options.json) process.stdout.write(`${JSON.stringify({ results })}\n`);
  return allHold(results.flatMap(({ lines }) => lines)) ? 0 : 1;
}

function describe({ figures, lines, explanation }: SceneResult): string {
  const measured = Object.entries(figures).map(([name, value]) => `${name} ${Math.round(value * 100) / 100}`);
  return [
    ...lines.map(describeLine),
    `        ${measured.join(', ')}`,
    ...(explanation === undefined ? [] : [explanation]),
  ].join('\n');
}

function readOptions(args: readonly string[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      scenes: { type: 'string', default: Object.keys(SCENES).join(',') },
      'quiet-seconds': { type: 'string', default: '120' },
      folder: { type: 'string', default: '.' },
      json: { type: 'boolean', default: false },
    },
  });
  const scenes = values.scenes.split(',').map((name) => {
    const scene = SCENES[name];
    if (scene === undefined)
      throw new BlockferryError('USAGE', `--scenes '${name}' is none of ${Object.keys(SCENES).join(', ')}`);
    return [name, scene] as const;
  });
  return {
    scenes,
    quietMs: wholeOf('quiet-seconds', values['quiet-seconds']) * 1000,
    folder: resolve(values.folder),
    json: values.json,
  };
}
