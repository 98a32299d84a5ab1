/** `make sim`: groups simulated from seeds (lib/sim). Ships no command of its own. */
import { runAsProcess } from '../lib/bench/frame.js';
import { runSim } from '../lib/sim/main.js';

await runAsProcess(() => runSim(process.argv.slice(2)));
