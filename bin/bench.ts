/** `make bench` and `make bench-scale`; and, forked by them, the processes that load and serve. Ships no command of its own. */
import { BlockferryError, describeError } from '../lib/base/errors.js';
import { runBench } from '../lib/bench/main.js';
import { runColdProcess } from '../lib/bench/cold-process.js';
import { runLoadProcess } from '../lib/bench/load-process.js';
import { runNullProcess } from '../lib/bench/null-process.js';
import { runSlotProcess } from '../lib/bench/slot-process.js';
import { runCopyProcess } from '../lib/bench/tcp-copy.js';

const [role = '', ...args] = process.argv.slice(2);

try {
  if (role === 'load-process') runLoadProcess();
  else if (role === 'null-process') await runNullProcess(Number(args[0]), Number(args[1]));
  else if (role === 'slot-process')
    await runSlotProcess(args[0] ?? '', Number(args[1]), args[2] === 'counted');
  else if (role === 'cold-process') await runColdProcess(args[0] ?? '');
  else if (role === 'copy-process') await runCopyProcess(args[0] ?? '');
  else process.exitCode = await runBench(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${describeError(error)}\n`);
  process.exitCode = error instanceof BlockferryError && error.code === 'USAGE' ? 2 : 1;
}
