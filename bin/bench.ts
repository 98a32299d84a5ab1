/** `make bench` and `make bench-scale`; and, forked by them, the processes that load and serve. Ships no command of its own. */
import { runColdProcess } from '../lib/bench/cold-process.js';
import { runAsProcess } from '../lib/bench/frame.js';
import { runBench } from '../lib/bench/main.js';
import { runLoadProcess } from '../lib/bench/load-process.js';
import { runNullProcess } from '../lib/bench/null-process.js';
import { runSlotProcess } from '../lib/bench/slot-process.js';
import { runCopyProcess } from '../lib/bench/tcp-copy.js';

const [role = '', ...args] = process.argv.slice(2);

await runAsProcess(async () => {
  if (role === 'load-process') return runLoadProcess();
  if (role === 'null-process') return runNullProcess(Number(args[0]), Number(args[1]));
  if (role === 'slot-process') return runSlotProcess(args[0] ?? '', Number(args[1]), args[2] === 'counted');
  if (role === 'cold-process') return runColdProcess(args[0] ?? '');
  if (role === 'copy-process') return runCopyProcess(args[0] ?? '');
  return runBench(process.argv.slice(2));
});
