/**
 * The service actions of PERSISTENT RESERVE OUT (SPC-4 5.13.5 to 5.13.11), RESERVE and RELEASE (SPC-2 7.21, 7.16), and
 * what the end of a nexus does, as functions from what was to what is. Who keeps the result, and who tells the others, is
 * the owner's business.
 */
import { REGISTRATIONS_MAX } from '../../base/limits.js';
import { type NOTICES, SENSE, type Sense, invalidCdbField, invalidParameterField } from '../sense.js';
import {
  NO_KEY,
  holdsReservation,
  isAllRegistrants,
  isKnownType,
  isRegistrantsOnly,
  registrationOf,
  type PersistentReservation,
  type Registration,
  type Reservations,
} from './state.js';

/** SPC-4, PERSISTENT RESERVE OUT service action codes. */
export const ProutAction = {
  REGISTER: 0,
  RESERVE: 1,
  RELEASE: 2,
  CLEAR: 3,
  PREEMPT: 4,
  PREEMPT_AND_ABORT: 5,
  REGISTER_AND_IGNORE_EXISTING_KEY: 6,
  REGISTER_AND_MOVE: 7,
} as const;

export interface ProutRequest {
  readonly action: number;
  readonly initiatorPort: string;
  readonly scope: number;
  readonly type: number;
  readonly key: string;
  readonly serviceActionKey: string;
  readonly aptpl: boolean;
  /** SPEC_I_PT: of REGISTER alone. */
  readonly specifiesPorts: boolean;
  /** Of REGISTER: other initiator ports that are registered with it. Of REGISTER AND MOVE: the one it goes to. */
  readonly ports: readonly string[];
  /** Of REGISTER AND MOVE. */
  readonly unregisters: boolean;
}

/** A unit attention for another nexus. */
export interface Notice {
  readonly initiatorPort: string;
  readonly notice: (typeof NOTICES)[number];
}

export type Change =
  | {
      readonly kind: 'done';
      readonly state: Reservations;
      readonly notices: readonly Notice[];
      /** Nexuses whose commands are aborted (PREEMPT AND ABORT). */
      readonly aborts: readonly string[];
    }
  | { readonly kind: 'conflict' }
  | { readonly kind: 'refused'; readonly sense: Sense };

const CONFLICT: Change = { kind: 'conflict' };
/** In the parameter list of REGISTER (SPC-4 6.16.3). */
const SPEC_I_PT_AT = 20;
const TRANSPORT_IDS_AT = 28;

export function prout(state: Reservations, request: ProutRequest): Change {
  const { action, key, initiatorPort } = request;
  // Also of a RESERVE that came in between (SPC-2 5.5.1).
  if (state.reservedBy !== null) return CONFLICT;
  if (action === ProutAction.REGISTER || action === ProutAction.REGISTER_AND_IGNORE_EXISTING_KEY)
    return register(state, request);
  // SPC-4 5.13.5: every other needs a registration, with its key.
  if (registrationOf(state, initiatorPort)?.key !== key) return CONFLICT;
  switch (action) {
    case ProutAction.RESERVE:
      return reserve(state, request);
    case ProutAction.RELEASE:
      return release(state, request);
    case ProutAction.CLEAR:
      return clear(state, initiatorPort);
    case ProutAction.PREEMPT:
    case ProutAction.PREEMPT_AND_ABORT:
      return preempt(state, request);
    case ProutAction.REGISTER_AND_MOVE:
      return registerAndMove(state, request);
    default:
      return { kind: 'refused', sense: invalidCdbField(1, 4) };
  }
}

function done(state: Reservations, notices: readonly Notice[] = [], aborts: readonly string[] = []): Change {
  return { kind: 'done', state, notices, aborts };
}

function next(state: Reservations): number {
  return (state.generation + 1) >>> 0;
}

/** To every registrant but these. */
function tell(
  registrations: readonly Registration[],
  notice: Notice['notice'],
  except: (port: string) => boolean,
): Notice[] {
  return registrations
    .map(({ initiatorPort }) => initiatorPort)
    .filter((port) => !except(port))
    .map((initiatorPort) => ({ initiatorPort, notice }));
}

/** REGISTER (SPC-4 5.13.7), and REGISTER AND IGNORE EXISTING KEY. */
function register(state: Reservations, request: ProutRequest): Change {
  const { initiatorPort, key, serviceActionKey, aptpl, specifiesPorts, ports } = request;
  const known = registrationOf(state, initiatorPort);
  if (request.action === ProutAction.REGISTER && key !== (known?.key ?? NO_KEY)) return CONFLICT;
  if (known === undefined && serviceActionKey === NO_KEY) return done(state);
  // Only a nexus that is not registered yet may bring others along, and only such (SPC-4 table 67, notes c and b).
  if (known !== undefined && specifiesPorts)
    return { kind: 'refused', sense: invalidParameterField(SPEC_I_PT_AT) };
  if (serviceActionKey === NO_KEY) return unregister(state, request);
  const isTaken = ports.some((port) => registrationOf(state, port) !== undefined);
  if (isTaken) return { kind: 'refused', sense: invalidParameterField(TRANSPORT_IDS_AT) };
  const wanted = [...new Set([initiatorPort, ...ports])];
  const registrations = [
    ...state.registrations.map((one) => (one === known ? { ...one, key: serviceActionKey } : one)),
    ...(known === undefined ? wanted.map((port) => ({ initiatorPort: port, key: serviceActionKey })) : []),
  ];
  if (registrations.length > REGISTRATIONS_MAX)
    return { kind: 'refused', sense: SENSE.INSUFFICIENT_REGISTRATION_RESOURCES };
  return done({ ...state, generation: next(state), aptpl, registrations });
}

/** SPC-4 5.13.11.3. Its APTPL bit is as valid as another registration's (SPC-4 5.13.5). */
function unregister(state: Reservations, { initiatorPort, aptpl }: ProutRequest): Change {
  const registrations = state.registrations.filter((one) => one.initiatorPort !== initiatorPort);
  const { persistent } = state;
  const wasHeld = persistent !== null && holdsReservation(state, initiatorPort);
  const isLast = registrations.length === 0;
  const isReleased = wasHeld && (!isAllRegistrants(persistent.type) || isLast);
  const notices =
    isReleased && isRegistrantsOnly(persistent.type)
      ? tell(registrations, 'RESERVATIONS_RELEASED', () => false)
      : [];
  return done(
    {
      ...state,
      generation: next(state),
      aptpl,
      registrations,
      persistent: isReleased ? null : persistent,
    },
    notices,
  );
}

function reservationOf(type: number, initiatorPort: string): PersistentReservation {
  return { type, holder: isAllRegistrants(type) ? null : initiatorPort };
}

/** RESERVE (SPC-4 5.13.9). */
function reserve(state: Reservations, { initiatorPort, scope, type }: ProutRequest): Change {
  if (scope !== 0) return { kind: 'refused', sense: invalidCdbField(2, 7) };
  if (!isKnownType(type)) return { kind: 'refused', sense: invalidCdbField(2, 3) };
  const { persistent } = state;
  if (persistent === null) return done({ ...state, persistent: reservationOf(type, initiatorPort) });
  return holdsReservation(state, initiatorPort) && persistent.type === type ? done(state) : CONFLICT;
}

/** RELEASE (SPC-4 5.13.11.2). */
function release(state: Reservations, { initiatorPort, scope, type }: ProutRequest): Change {
  const { persistent } = state;
  if (persistent === null || !holdsReservation(state, initiatorPort)) return done(state);
  if (scope !== 0 || persistent.type !== type) {
    return { kind: 'refused', sense: SENSE.INVALID_RELEASE_OF_PERSISTENT_RESERVATION };
  }
  const isShared = isAllRegistrants(type) || isRegistrantsOnly(type);
  const isSelf = (port: string): boolean => port === initiatorPort;
  const notices = isShared ? tell(state.registrations, 'RESERVATIONS_RELEASED', isSelf) : [];
  return done({ ...state, persistent: null }, notices);
}

/** CLEAR (SPC-4 5.13.11.6). */
function clear(state: Reservations, initiatorPort: string): Change {
  const isSelf = (port: string): boolean => port === initiatorPort;
  return done(
    { ...state, generation: next(state), registrations: [], persistent: null },
    tell(state.registrations, 'RESERVATIONS_PREEMPTED', isSelf),
  );
}

/** PREEMPT and PREEMPT AND ABORT (SPC-4 5.13.11.4, 5.13.11.5). */
function preempt(state: Reservations, request: ProutRequest): Change {
  const { serviceActionKey, scope, type, initiatorPort } = request;
  const { persistent } = state;
  const holderKey =
    persistent?.holder === null || persistent === null
      ? undefined
      : registrationOf(state, persistent.holder)?.key;
  const isAll = persistent !== null && persistent.holder === null;
  const takesAll = isAll && serviceActionKey === NO_KEY;
  if (serviceActionKey === NO_KEY && !isAll) return { kind: 'refused', sense: invalidParameterField(8) };
  const takesOver = takesAll || (holderKey !== undefined && holderKey === serviceActionKey);
  if (takesOver && scope !== 0) return { kind: 'refused', sense: invalidCdbField(2, 7) };
  if (takesOver && !isKnownType(type)) return { kind: 'refused', sense: invalidCdbField(2, 3) };
  const isHit = (one: Registration): boolean => takesAll || one.key === serviceActionKey;
  if (!takesAll && !state.registrations.some(isHit)) return CONFLICT;
  const isSelf = (port: string): boolean => port === initiatorPort;
  // Who takes the reservation over stays registered; who removes its own key does not, and is not told (SPC-4 5.13.11.2.5).
  const isLeft = (one: Registration): boolean => !isHit(one) || (takesOver && isSelf(one.initiatorPort));
  const registrations = state.registrations.filter(isLeft);
  const gone = state.registrations.filter((one) => !isLeft(one) && !isSelf(one.initiatorPort));
  const notices = tell(gone, 'REGISTRATIONS_PREEMPTED', () => false);
  // What all registrants hold ends with the last of them (SPC-4 5.13.10).
  const left = isAll && registrations.length === 0 ? null : persistent;
  const after = takesOver ? reservationOf(type, initiatorPort) : left;
  if (takesOver && persistent !== null && persistent.type !== type)
    notices.push(...tell(registrations, 'RESERVATIONS_RELEASED', isSelf));
  // Of the nexus that asks nothing is aborted: that would end this command, too.
  const aborts = request.action === ProutAction.PREEMPT_AND_ABORT ? gone.map((one) => one.initiatorPort) : [];
  return done({ ...state, generation: next(state), registrations, persistent: after }, notices, aborts);
}

/** REGISTER AND MOVE (SPC-4 5.13.8). */
function registerAndMove(state: Reservations, request: ProutRequest): Change {
  const { initiatorPort, serviceActionKey, aptpl, ports, unregisters } = request;
  const { persistent } = state;
  const [to] = ports;
  if (persistent === null) return { kind: 'refused', sense: invalidCdbField(1, 4) };
  if (persistent.holder !== initiatorPort) return CONFLICT;
  if (serviceActionKey === NO_KEY) return { kind: 'refused', sense: invalidParameterField(8) };
  if (to === undefined || to === initiatorPort) return { kind: 'refused', sense: invalidParameterField(24) };
  const others = state.registrations.filter(
    (one) => one.initiatorPort !== to && !(unregisters && one.initiatorPort === initiatorPort),
  );
  const registrations = [...others, { initiatorPort: to, key: serviceActionKey }];
  if (registrations.length > REGISTRATIONS_MAX)
    return { kind: 'refused', sense: SENSE.INSUFFICIENT_REGISTRATION_RESOURCES };
  return done({
    ...state,
    generation: next(state),
    aptpl,
    registrations,
    persistent: { type: persistent.type, holder: to },
  });
}

/**
 * RESERVE (6) and (10) (SPC-2 7.21), beside persistent reservations as SPC-4 5.13.3 has it (CRH 1): a registrant that holds
 * the reservation, or shares it, already has what it asks for.
 * @param at the process that has the session; of several from one port it is the last to have asked
 */
export function reserveUnit(state: Reservations, initiatorPort: string, at: string): Change {
  const { reservedBy, reservedAt, registrations } = state;
  if (reservedBy === null && registrations.length > 0)
    return hasItAlready(state, initiatorPort) ? done(state) : CONFLICT;
  if (reservedBy !== null && reservedBy !== initiatorPort) return CONFLICT;
  const isSame = reservedBy !== null && reservedAt === at;
  return done(isSame ? state : { ...state, reservedBy: initiatorPort, reservedAt: at });
}

/** RELEASE (6) and (10): of a unit that another has reserved it does nothing, and that is no error (SPC-2 7.16). */
export function releaseUnit(state: Reservations, initiatorPort: string): Change {
  if (state.reservedBy === initiatorPort) return done(unreserved(state));
  if (state.reservedBy !== null || state.registrations.length === 0) return done(state);
  return hasItAlready(state, initiatorPort) ? done(state) : CONFLICT;
}

function hasItAlready(state: Reservations, initiatorPort: string): boolean {
  const { persistent } = state;
  if (registrationOf(state, initiatorPort) === undefined) return false;
  if (persistent === null) return false;
  return holdsReservation(state, initiatorPort) || isRegistrantsOnly(persistent.type);
}

/** A nexus with the process `at` is lost, maybe the one that RESERVE gave the unit to (SPC-2 5.5.1). Registrations stay. */
export function nexusLost(state: Reservations, initiatorPort: string, at: string): Change {
  const isIts = state.reservedBy === initiatorPort && state.reservedAt === at;
  return done(isIts ? unreserved(state) : state);
}

/** RESERVE ends with a reset; persistent reservations do not (SPC-4 5.13.1). */
export function unitReset(state: Reservations): Change {
  return done(unreserved(state));
}

function unreserved(state: Reservations): Reservations {
  return { ...state, reservedBy: null, reservedAt: '' };
}
