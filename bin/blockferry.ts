/** The blockferry program: gives the command line its process. Started by blockferry.cjs. */
import { readFileSync } from 'node:fs';
import { commands } from '../lib/cli/commands.js';
import { processDoor } from '../lib/cli/door.js';
import { runCli } from '../lib/cli/main.js';

/** package.json stands one folder above bin/ in the sources, two above dist/bin/. */
function readVersion(): string {
  for (const path of ['../../package.json', '../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as Record<
        string,
        string
      >;
      if (name === 'blockferry' && version !== undefined) return version;
    } catch {
      // not there: the other place
    }
  }
  return 'unknown';
}

// Whoever reads the output has gone (`| head`), or the disk that it goes to is full: as good as Ctrl-C, which a group answers
// by stopping in order. A command that is over but for that is told by its exit code alone.
let hasFailedOutput = false;
process.stdout.once('error', ({ code }: NodeJS.ErrnoException) => {
  process.stdout.on('error', () => undefined); // it has been said
  if (code !== 'EPIPE') {
    process.stderr.write(`blockferry: standard output: ${code ?? 'failed'}\n`);
    hasFailedOutput = true;
    process.exitCode = 1;
  }
  if (code === 'EPIPE' || process.listenerCount('SIGINT') > 0) process.kill(process.pid, 'SIGINT');
});

// A log that nobody reads any more, or that the full disk does not take, keeps nobody from serving.
process.stderr.on('error', () => undefined);

// Where nothing is left that could bring what a command waits for, its process ends, and with 0, since it was imported.
const unfinished = (): void => {
  process.stderr.write(
    'blockferry: the command has ended before it was done; this is a defect, please report it\n',
  );
  process.exitCode = 1;
};
process.once('beforeExit', unfinished);
const exitCode = await runCli(process.argv.slice(2), processDoor, commands, readVersion());
process.off('beforeExit', unfinished);
process.exitCode = exitCode === 0 && hasFailedOutput ? 1 : exitCode;
