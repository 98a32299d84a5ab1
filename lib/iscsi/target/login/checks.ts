/** What a Login Request may not be: each rule with its clause and its status (RFC 7143 6.3, 11.12, 11.13.5). Pure. */
import { ISCSI_NAME_BYTES_MAX } from '../../../base/limits.js';
import { addressFor } from '../../../base/net.js';
import type { LoginRequestPdu } from '../../wire/login.js';
import { LoginStage, LoginStatus } from '../../wire/opcodes.js';
import type { TextPair } from '../../wire/text-keys.js';
import type { ServedTarget, TargetAnswer, TargetDirectory } from '../directory.js';
import { redirectKeys } from '../redirect.js';

/** Who logs in, and to what; known from the first complete request on. */
export interface LoginSubject {
  readonly initiatorName: string;
  readonly isid: string;
  /** '' for a discovery session. */
  readonly iqn: string;
  readonly target: ServedTarget | null;
}

/** The login ends with this status. */
export interface Refusal {
  readonly status: number;
  /** For the log. */
  readonly reason: string;
  /** Keys that go with it (a redirect's). */
  readonly keys?: readonly TextPair[];
}

/** The only version there is (11.12.4). */
const VERSION = 0;

/** @param knownCid of the connection of the session with the request's TSIH and ISID, if there is one */
export function checkFirstRequest(
  pdu: LoginRequestPdu,
  knownCid: number | undefined,
  authRequired: boolean,
): Refusal | null {
  if (pdu.versionMin > VERSION) {
    return { status: LoginStatus.UNSUPPORTED_VERSION, reason: `version ${pdu.versionMin} is asked for` };
  }
  // A TSIH asks for another connection of a session, of which there is one (MaxConnections), or with the same CID to
  // reinstate that (6.3.4): then it counts as lost, and with it, at ErrorRecoveryLevel 0, its session. So the initiator begins
  // a new one, which sees to what is left of the old (6.3.5).
  if (pdu.tsih !== 0 && (knownCid === undefined || knownCid === pdu.cid)) {
    return {
      status: LoginStatus.SESSION_DOES_NOT_EXIST,
      reason: `no session to come back to has TSIH ${pdu.tsih}`,
    };
  }
  if (pdu.tsih !== 0)
    return { status: LoginStatus.TOO_MANY_CONNECTIONS, reason: 'a session has one connection' };
  if (authRequired && pdu.csg !== LoginStage.SECURITY) {
    return { status: LoginStatus.AUTHENTICATION_FAILURE, reason: 'the security stage was skipped' };
  }
  return null;
}

/** All requests of a login say the same about themselves (11.12). */
export function checkContinuity(pdu: LoginRequestPdu, first: LoginRequestPdu): Refusal | null {
  if (
    pdu.isid === first.isid &&
    pdu.cid === first.cid &&
    pdu.tsih === first.tsih &&
    pdu.cmdSN === first.cmdSN
  ) {
    return null;
  }
  return {
    status: LoginStatus.INVALID_DURING_LOGIN,
    reason: 'ISID, TSIH, CID or CmdSN changed during login',
  };
}

/** CSG is where we stand, and NSG lies ahead of it (11.12.3). */
export function checkStages(pdu: LoginRequestPdu, stage: number): Refusal | null {
  const wrong = (reason: string): Refusal => ({ status: LoginStatus.INVALID_DURING_LOGIN, reason });
  if (pdu.csg !== stage || (stage !== LoginStage.SECURITY && stage !== LoginStage.OPERATIONAL)) {
    return wrong(`stage ${pdu.csg} where ${stage} is due`);
  }
  if (!pdu.transit) return null;
  if (pdu.nsg !== LoginStage.OPERATIONAL && pdu.nsg !== LoginStage.FULL_FEATURE)
    return wrong(`next stage ${pdu.nsg}`);
  if (pdu.nsg <= pdu.csg) return wrong(`from stage ${pdu.csg} to ${pdu.nsg}`);
  // T with C is a contradiction (11.12.2).
  if (pdu.continues) return { status: LoginStatus.INITIATOR_ERROR, reason: 'T and C in one request' };
  return null;
}

/**
 * Who it is and what it wants, or why not. The names have to be in the first request (6.3).
 * @param localHost where it came
 */
export async function identify(
  isid: string,
  declared: ReadonlyMap<string, string>,
  directory: TargetDirectory,
  localHost: string,
): Promise<LoginSubject | Refusal> {
  const initiatorName = declared.get('InitiatorName');
  if (initiatorName === undefined) return missing('InitiatorName');
  if (!isName(initiatorName))
    return { status: LoginStatus.INITIATOR_ERROR, reason: 'InitiatorName is not a name' };
  const sessionType = declared.get('SessionType') ?? 'Normal';
  if (sessionType === 'Discovery') return { initiatorName, isid, iqn: '', target: null };
  if (sessionType !== 'Normal')
    return { status: LoginStatus.SESSION_TYPE_NOT_SUPPORTED, reason: 'SessionType is none that there is' };
  const iqn = declared.get('TargetName');
  if (iqn === undefined) return missing('TargetName');
  const answer = await directory.resolve(iqn);
  if (answer.kind !== 'serve') return notServed(answer, iqn, localHost);
  return { initiatorName, isid, iqn: answer.target.iqn, target: answer.target };
}

/** What an initiator is told of a target that is not here: where it is (11.13.5, Status-Class 1), or why it is nowhere. */
export function notServed(
  answer: Exclude<TargetAnswer, { kind: 'serve' }>,
  iqn: string,
  localHost: string,
): Refusal {
  switch (answer.kind) {
    case 'redirect': {
      const keys = redirectKeys(addressFor(answer.host, localHost), answer.port);
      return { status: LoginStatus.MOVED_TEMPORARILY, reason: 'redirected', keys };
    }
    case 'unknown':
      return {
        status: LoginStatus.NOT_FOUND,
        reason: `there is no target ${iqn.slice(0, ISCSI_NAME_BYTES_MAX)}`,
      };
    case 'unavailable':
      return { status: LoginStatus.SERVICE_UNAVAILABLE, reason: `${iqn} cannot be served now` };
  }
}

function missing(key: string): Refusal {
  return { status: LoginStatus.MISSING_PARAMETER, reason: `${key} is missing` };
}

/** Not the whole of RFC 3722: what cannot harm a log line or a record, and is not too long (4.2.7.1). */
function isName(name: string): boolean {
  if (Buffer.byteLength(name) > ISCSI_NAME_BYTES_MAX) return false;
  return !/[\p{C}\s]/u.test(name);
}
