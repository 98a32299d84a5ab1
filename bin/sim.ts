/** `make sim`: groups simulated from seeds (lib/sim). Ships no command of its own. */
import { BlockferryError, describeError } from '../lib/base/errors.js';
import { runSim } from '../lib/sim/main.js';

try {
  process.exitCode = await runSim(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${describeError(error)}\n`);
  process.exitCode = error instanceof BlockferryError && error.code === 'USAGE' ? 2 : 1;
}
