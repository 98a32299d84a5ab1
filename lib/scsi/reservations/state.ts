/**
 * What a unit knows of reservations (SPC-4 5.13, SPC-2 5.5.1), as data: the same at every member (I9). Immutable; what
 * changes it is in changes.ts, what it forbids in access.ts. It knows no sessions: an I_T nexus is named by its initiator
 * port, since all members are one target port.
 */

/** SCOPE 0h is the only one: the logical unit (SPC-4 table 46). TYPE (SPC-4 table 47). */
export const ReservationType = {
  WRITE_EXCLUSIVE: 1,
  EXCLUSIVE_ACCESS: 3,
  WRITE_EXCLUSIVE_REGISTRANTS_ONLY: 5,
  EXCLUSIVE_ACCESS_REGISTRANTS_ONLY: 6,
  WRITE_EXCLUSIVE_ALL_REGISTRANTS: 7,
  EXCLUSIVE_ACCESS_ALL_REGISTRANTS: 8,
} as const;

export interface Registration {
  /** SCSI initiator port name, "name,i,0x…" (RFC 7143 4.2.7.1). */
  readonly initiatorPort: string;
  /** RESERVATION KEY: sixteen hexadecimal digits, never zero. */
  readonly key: string;
}

export interface PersistentReservation {
  readonly type: number;
  /** The initiator port that holds it; null where every registrant does (types 7h and 8h). */
  readonly holder: string | null;
}

export interface Reservations {
  /** PRGENERATION: modulo 2^32. */
  readonly generation: number;
  /** APTPL of the last registration: they outlive a loss of power. */
  readonly aptpl: boolean;
  readonly registrations: readonly Registration[];
  readonly persistent: PersistentReservation | null;
  /** The initiator port that RESERVE (6) gave the unit to, or null. */
  readonly reservedBy: string | null;
  /** The process of a member that has the session of that: the reservation ends with it. '' for none, or no group. */
  readonly reservedAt: string;
}

export const NO_RESERVATIONS: Reservations = Object.freeze({
  generation: 0,
  aptpl: false,
  registrations: [],
  persistent: null,
  reservedBy: null,
  reservedAt: '',
});

export const NO_KEY = '0000000000000000';

export function isAllRegistrants(type: number): boolean {
  return (
    type === ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS ||
    type === ReservationType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS
  );
}

export function isRegistrantsOnly(type: number): boolean {
  return (
    type === ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY ||
    type === ReservationType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY
  );
}

/** Whether reading is shared under a type: the WRITE EXCLUSIVE ones. */
export function letsRead(type: number): boolean {
  return (
    type === ReservationType.WRITE_EXCLUSIVE ||
    type === ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY ||
    type === ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS
  );
}

export function isKnownType(type: number): boolean {
  return Object.values(ReservationType).some((known) => known === type);
}

export function registrationOf(state: Reservations, initiatorPort: string): Registration | undefined {
  return state.registrations.find((registration) => registration.initiatorPort === initiatorPort);
}

/** Whether a nexus is a persistent reservation holder (SPC-4 5.13.10). */
export function holdsReservation(state: Reservations, initiatorPort: string): boolean {
  const { persistent } = state;
  if (persistent === null) return false;
  if (persistent.holder !== null) return persistent.holder === initiatorPort;
  return registrationOf(state, initiatorPort) !== undefined;
}
