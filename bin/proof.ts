/** `make handover`, `make crash`, `make conformance`, `make fuzz`, `make balance`; and, forked by them, the processes that load. Ships no command of its own. */
import { BlockferryError, describeError } from '../lib/base/errors.js';
import { runBalanceProof } from '../lib/proof/balance/main.js';
import { runConformance } from '../lib/proof/conformance/main.js';
import { runCrashProof } from '../lib/proof/crash/main.js';
import { runFuzzProof } from '../lib/proof/fuzz/main.js';
import { runHandoverProof } from '../lib/proof/handover/main.js';
import { runLoadedProcess } from '../lib/proof/loaded-process.js';

const [role = '', ...args] = process.argv.slice(2);

// Whoever was started is ended at 'exit', which a signal alone does not bring.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

try {
  if (role === 'loaded-process') runLoadedProcess();
  else if (role === 'handover') process.exitCode = await runHandoverProof(args);
  else if (role === 'crash') process.exitCode = await runCrashProof(args);
  else if (role === 'conformance') process.exitCode = await runConformance(args);
  else if (role === 'fuzz') process.exitCode = await runFuzzProof(args);
  else if (role === 'balance') process.exitCode = await runBalanceProof(args);
  else throw new BlockferryError('USAGE', `'${role}' is none of handover, crash, conformance, fuzz, balance`);
} catch (error) {
  process.stderr.write(`${describeError(error)}\n`);
  process.exitCode = error instanceof BlockferryError && error.code === 'USAGE' ? 2 : 1;
}
