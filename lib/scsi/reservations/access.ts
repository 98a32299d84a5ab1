/**
 * Who may do what while a unit is reserved: SPC-4 table 65, SBC-4 table 13 (persistent reservations), SPC-2 table 10
 * (RESERVE). Asked for every command of a unit that is reserved, and for none of one that is not.
 */
import { byteAt } from '../cdb.js';
import {
  holdsReservation,
  isAllRegistrants,
  isRegistrantsOnly,
  letsRead,
  registrationOf,
  type Reservations,
} from './state.js';

/** How a command stands to the reservations of others. */
export type Access =
  /** Never in conflict with a persistent reservation. */
  | 'always'
  /** The same, and allowed under RESERVE of another too. */
  | 'anybody'
  /** The same, but in conflict with RESERVE of anybody, its own included (SPC-2 5.5.1). */
  | 'persistent'
  /** It looks at the medium: allowed where reading is shared. */
  | 'read'
  /** It changes the medium or the unit. */
  | 'write';

/** By operation code; what is not here changes something. */
const ACCESS = new Map<number, Access>([
  [0x03, 'anybody'], // REQUEST SENSE
  [0x12, 'anybody'], // INQUIRY
  [0x17, 'anybody'], // RELEASE (6): of another's reservation it does nothing
  [0x57, 'anybody'], // RELEASE (10)
  [0xa0, 'anybody'], // REPORT LUNS
  [0x00, 'always'], // TEST UNIT READY
  [0x16, 'anybody'], // RESERVE (6): its own rules (changes.ts), by the state when its turn comes
  [0x56, 'anybody'], // RESERVE (10)
  [0x25, 'always'], // READ CAPACITY (10)
  [0x4d, 'always'], // LOG SENSE
  [0x84, 'always'], // RECEIVE COPY RESULTS and after
  [0x5e, 'persistent'], // PERSISTENT RESERVE IN
  [0x5f, 'persistent'], // PERSISTENT RESERVE OUT: its own rules besides
  [0x08, 'read'], // READ (6)
  [0x28, 'read'],
  [0xa8, 'read'],
  [0x88, 'read'],
  [0x2f, 'read'], // VERIFY
  [0xaf, 'read'],
  [0x8f, 'read'],
  [0x34, 'read'], // PRE-FETCH
  [0x90, 'read'],
  [0x37, 'read'], // READ DEFECT DATA
  [0xb7, 'read'],
  [0x1a, 'read'], // MODE SENSE
  [0x5a, 'read'],
]);

const MAINTENANCE_IN = 0xa3;
const REPORT_SUPPORTED_OPERATION_CODES = 0x0c;
const REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS = 0x0d;
const SERVICE_ACTION_IN_16 = 0x9e;
const GET_LBA_STATUS = 0x12;
const MAINTENANCE_READS = new Set([
  REPORT_SUPPORTED_OPERATION_CODES,
  REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS,
]);
const PREVENT_ALLOW = 0x1e;
const START_STOP_UNIT = 0x1b;

function accessOf(cdb: Buffer): Access {
  const opcode = byteAt(cdb, 0);
  const serviceAction = byteAt(cdb, 1) & 0x1f;
  switch (opcode) {
    case MAINTENANCE_IN: // REPORT TARGET PORT GROUPS besides
      return MAINTENANCE_READS.has(serviceAction) ? 'read' : 'always';
    case SERVICE_ACTION_IN_16: // READ CAPACITY (16) besides
      return serviceAction === GET_LBA_STATUS ? 'read' : 'always';
    case PREVENT_ALLOW: // PREVENT = 0 takes nothing from anybody
      return (byteAt(cdb, 4) & 0x03) === 0 ? 'anybody' : 'write';
    case START_STOP_UNIT: // START = 1 and no power condition, whatever LOEJ says
      return (byteAt(cdb, 4) & 0xf1) === 0x01 ? 'always' : 'write';
    default:
      return ACCESS.get(opcode) ?? 'write';
  }
}

/** Whether RESERVATION CONFLICT is the answer to a command of this nexus. */
export function isConflict(state: Reservations, initiatorPort: string, cdb: Buffer): boolean {
  return isBarred(state, initiatorPort, accessOf(cdb));
}

/** The same, by what is to be done. */
export function isBarred(state: Reservations, initiatorPort: string, access: Access): boolean {
  if (access === 'anybody') return false;
  const { persistent, reservedBy } = state;
  if (reservedBy !== null && (reservedBy !== initiatorPort || access === 'persistent')) return true;
  if (persistent === null || access === 'always' || access === 'persistent') return false;
  if (holdsReservation(state, initiatorPort)) return false;
  const isShared = isRegistrantsOnly(persistent.type) || isAllRegistrants(persistent.type);
  if (isShared && registrationOf(state, initiatorPort) !== undefined) return false;
  return access === 'write' || !letsRead(persistent.type);
}
