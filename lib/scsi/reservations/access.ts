/**
 * Who may do what while a unit is reserved: SPC-4 table 65, SBC-4 table 13 (persistent reservations), SPC-2 table 10
 * (RESERVE). Asked for every command of a unit that is reserved, and for none of one that is not.
 */
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
  /** Never either, but always with RESERVE, its own included (SPC-2 5.5.1). */
  | 'persistent'
  /** It looks at the medium: allowed where reading is shared. */
  | 'read'
  /** It changes the medium or the unit. */
  | 'write';

/** Whether RESERVATION CONFLICT is the answer to a command of this nexus. */
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
