/**
 * `make handover`, `make crash`, `make conformance`, `make fuzz`, `make balance`; and, forked by them, the processes that load.
 * Ships no command of its own.
 */
import { BlockferryError } from '../lib/base/errors.js';
import { runAsProcess } from '../lib/bench/frame.js';
import { runBalanceProof } from '../lib/proof/balance/main.js';
import { runConformance } from '../lib/proof/conformance/main.js';
import { runCrashProof } from '../lib/proof/crash/main.js';
import { runFuzzProof } from '../lib/proof/fuzz/main.js';
import { runHandoverProof } from '../lib/proof/handover/main.js';
import { runLoadedProcess } from '../lib/proof/loaded-process.js';

const [role = '', ...args] = process.argv.slice(2);

// Whoever was started is ended at 'exit', which a signal alone does not bring.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

await runAsProcess(async () => {
  if (role === 'loaded-process') return runLoadedProcess();
  if (role === 'handover') return runHandoverProof(args);
  if (role === 'crash') return runCrashProof(args);
  if (role === 'conformance') return runConformance(args);
  if (role === 'fuzz') return runFuzzProof(args);
  if (role === 'balance') return runBalanceProof(args);
  throw new BlockferryError('USAGE', `'${role}' is none of handover, crash, conformance, fuzz, balance`);
});
