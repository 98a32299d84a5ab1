/** `make mutants`: planted bugs that the simulation must find (lib/sim/mutants). Ships no command of its own. */
import { runAsProcess } from '../lib/bench/frame.js';
import { runMutants } from '../lib/sim/mutants/main.js';

await runAsProcess(() => runMutants(process.argv.slice(2)));
