/** `make mutants`: planted bugs that the simulation must find (lib/sim/mutants). Ships no command of its own. */
import { BlockferryError, describeError } from '../lib/base/errors.js';
import { runMutants } from '../lib/sim/mutants/main.js';

try {
  process.exitCode = await runMutants(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${describeError(error)}\n`);
  process.exitCode = error instanceof BlockferryError && error.code === 'USAGE' ? 2 : 1;
}
