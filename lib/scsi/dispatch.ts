/** The table of all commands: operation code, then service action. What is not in it is not implemented. */
import { assert } from '../base/assert.js';
import { byteAt } from './cdb.js';
import type { Command } from './command.js';
import { atomicCommands } from './commands/atomic.js';
import { cacheCommands } from './commands/cache.js';
import { extendedCopyCommand } from './commands/extended-copy.js';
import { getLbaStatusCommand } from './commands/get-lba-status.js';
import { inquiryCommand } from './commands/inquiry.js';
import { logSenseCommand } from './commands/log-sense.js';
import { mediumCommands } from './commands/medium.js';
import { modeSelectCommands } from './commands/mode-select.js';
import { modeSenseCommands } from './commands/mode-sense.js';
import { otherReserveActions, persistentReserveCommands } from './commands/persistent-reserve.js';
import { readCapacityCommands } from './commands/read-capacity.js';
import { readDefectDataCommands } from './commands/read-defect-data.js';
import { readWriteCommands } from './commands/read-write.js';
import { receiveCopyCommands } from './commands/receive-copy.js';
import { reportFunctionsCommand } from './commands/report-functions.js';
import { reportLunsCommand } from './commands/report-luns.js';
import { reportPortGroupsCommand } from './commands/report-port-groups.js';
import { reportOpcodesCommand } from './commands/report-opcodes.js';
import { reserveCommands } from './commands/reserve.js';
import { otherSanitizeActions, sanitizeCommands } from './commands/sanitize.js';
import { sendDiagnosticCommand } from './commands/send-diagnostic.js';
import { unitStateCommands } from './commands/unit-state.js';
import { unmapCommand } from './commands/unmap.js';
import { verifyCommands } from './commands/verify.js';
import { writeSameCommands } from './commands/write-same.js';

/** A new family takes its place here. */
export const COMMANDS: readonly Command[] = [
  ...unitStateCommands,
  ...mediumCommands,
  inquiryCommand,
  ...modeSenseCommands,
  ...modeSelectCommands,
  logSenseCommand,
  sendDiagnosticCommand,
  ...readCapacityCommands,
  getLbaStatusCommand,
  ...readWriteCommands,
  ...verifyCommands,
  ...atomicCommands,
  ...cacheCommands,
  unmapCommand,
  ...writeSameCommands,
  ...sanitizeCommands,
  extendedCopyCommand,
  ...receiveCopyCommands,
  ...readDefectDataCommands,
  ...persistentReserveCommands,
  ...reserveCommands,
  reportLunsCommand,
  reportOpcodesCommand(() => COMMANDS),
  reportFunctionsCommand,
  reportPortGroupsCommand,
];

/** What answers for the service actions that a command with its own rule about them does not have. Nobody is told of it. */
const OTHER_ACTIONS: readonly Command[] = [otherSanitizeActions, ...otherReserveActions];

/** One operation code: the command itself, or those that share it, by service action. */
interface Entry {
  readonly command: Command | null;
  readonly byServiceAction: (Command | null)[];
  readonly otherActions: Command | null;
}

/** SERVICE ACTION, bits 4–0 of byte 1, in every CDB that is not of variable length (SPC-4 4.2.5.2). */
const SERVICE_ACTION = 0x1f;

function buildTable(commands: readonly Command[]): readonly (Entry | null)[] {
  const table = new Array<Entry | null>(256).fill(null);
  for (const command of commands) {
    const known = table[command.opcode] ?? null;
    assert(command.usage[0] === command.opcode, `usage of ${command.name}`);
    if (command.serviceAction === undefined) {
      assert(known === null, `${command.name} takes an operation code that is taken`);
      table[command.opcode] = { command, byServiceAction: [], otherActions: null };
    } else {
      const entry = known ?? {
        command: null,
        byServiceAction: new Array<Command | null>(32).fill(null),
        otherActions: OTHER_ACTIONS.find(({ opcode }) => opcode === command.opcode) ?? null,
      };
      assert(entry.byServiceAction[command.serviceAction] === null, `${command.name} takes a service action`);
      entry.byServiceAction[command.serviceAction] = command;
      table[command.opcode] = entry;
    }
  }
  return table;
}

const TABLE = buildTable(COMMANDS);

/**
 * The command of a CDB, or null. An unknown service action is answered like an unknown operation code where no rule says
 * otherwise: initiators then take the whole command for one that is not implemented, which is what it is.
 */
export function lookUp(cdb: Buffer): Command | null {
  const entry = TABLE[byteAt(cdb, 0)] ?? null;
  if (entry === null) return null;
  return entry.command ?? entry.byServiceAction[byteAt(cdb, 1) & SERVICE_ACTION] ?? entry.otherActions;
}
