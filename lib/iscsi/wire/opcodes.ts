/** The numbers of RFC 7143 that stand in headers: opcodes, reasons, statuses. No layout: that is each PDU's own file. */

/** RFC 7143 11.2.1.2: the low six bits of byte 0. */
export const Opcode = {
  NOP_OUT: 0x00,
  SCSI_COMMAND: 0x01,
  TASK_MANAGEMENT_REQUEST: 0x02,
  LOGIN_REQUEST: 0x03,
  TEXT_REQUEST: 0x04,
  DATA_OUT: 0x05,
  LOGOUT_REQUEST: 0x06,
  SNACK_REQUEST: 0x10,
  NOP_IN: 0x20,
  SCSI_RESPONSE: 0x21,
  TASK_MANAGEMENT_RESPONSE: 0x22,
  LOGIN_RESPONSE: 0x23,
  TEXT_RESPONSE: 0x24,
  DATA_IN: 0x25,
  LOGOUT_RESPONSE: 0x26,
  R2T: 0x31,
  ASYNC_MESSAGE: 0x32,
  REJECT: 0x3f,
} as const;

/** "No tag": unsolicited, or not part of an exchange (RFC 7143 11.2.1.8, 11.7.4, 11.18). */
export const RESERVED_TAG = 0xffffffff;

/** RFC 7143 11.3.1.1 (ATTR) */
export const TaskAttribute = { UNTAGGED: 0, SIMPLE: 1, ORDERED: 2, HEAD_OF_QUEUE: 3, ACA: 4 } as const;

/** RFC 7143 11.4.3 */
export const ScsiResponseCode = { COMPLETED: 0x00, TARGET_FAILURE: 0x01 } as const;

/** RFC 7143 11.5.1 */
export const TaskManagementFunction = {
  ABORT_TASK: 1,
  ABORT_TASK_SET: 2,
  CLEAR_ACA: 3,
  CLEAR_TASK_SET: 4,
  LOGICAL_UNIT_RESET: 5,
  TARGET_WARM_RESET: 6,
  TARGET_COLD_RESET: 7,
  TASK_REASSIGN: 8,
} as const;

/** RFC 7143 11.6.1 */
export const TaskManagementResponseCode = {
  COMPLETE: 0,
  NO_TASK: 1,
  NO_LUN: 2,
  STILL_ALLEGIANT: 3,
  NO_REASSIGN: 4,
  NOT_SUPPORTED: 5,
  NOT_AUTHORIZED: 6,
  REJECTED: 255,
} as const;

/** RFC 7143 11.9.1 */
export const AsyncEvent = {
  SCSI: 0,
  /** Log out within Parameter3 seconds. */
  LOGOUT_REQUEST: 1,
  /** This connection will be dropped: CID in Parameter1, Time2Wait in Parameter2, Time2Retain in Parameter3. */
  CONNECTION_DROP: 2,
  /** Every connection of the session will be dropped: Time2Wait in Parameter2, Time2Retain in Parameter3. */
  SESSION_DROP: 3,
  NEGOTIATE: 4,
  VENDOR: 255,
} as const;

/** RFC 7143 11.12.3: stages of the login phase, as CSG and NSG. */
export const LoginStage = { SECURITY: 0, OPERATIONAL: 1, FULL_FEATURE: 3 } as const;

/** RFC 7143 11.13.5: Status-Class in the high byte, Status-Detail in the low one. */
export const LoginStatus = {
  SUCCESS: 0x0000,
  MOVED_TEMPORARILY: 0x0101,
  MOVED_PERMANENTLY: 0x0102,
  INITIATOR_ERROR: 0x0200,
  AUTHENTICATION_FAILURE: 0x0201,
  AUTHORIZATION_FAILURE: 0x0202,
  NOT_FOUND: 0x0203,
  TARGET_REMOVED: 0x0204,
  UNSUPPORTED_VERSION: 0x0205,
  TOO_MANY_CONNECTIONS: 0x0206,
  MISSING_PARAMETER: 0x0207,
  CANNOT_INCLUDE_IN_SESSION: 0x0208,
  SESSION_TYPE_NOT_SUPPORTED: 0x0209,
  SESSION_DOES_NOT_EXIST: 0x020a,
  INVALID_DURING_LOGIN: 0x020b,
  TARGET_ERROR: 0x0300,
  SERVICE_UNAVAILABLE: 0x0301,
  OUT_OF_RESOURCES: 0x0302,
} as const;

/** RFC 7143 11.14.1 */
export const LogoutReason = { CLOSE_SESSION: 0, CLOSE_CONNECTION: 1, REMOVE_FOR_RECOVERY: 2 } as const;

/** RFC 7143 11.15.1 */
export const LogoutResponseCode = {
  CLOSED: 0,
  CID_NOT_FOUND: 1,
  RECOVERY_NOT_SUPPORTED: 2,
  CLEANUP_FAILED: 3,
} as const;

/** RFC 7143 11.17.1 */
export const RejectReason = {
  DATA_DIGEST_ERROR: 0x02,
  SNACK_REJECT: 0x03,
  PROTOCOL_ERROR: 0x04,
  COMMAND_NOT_SUPPORTED: 0x05,
  IMMEDIATE_COMMAND_REJECT: 0x06,
  TASK_IN_PROGRESS: 0x07,
  INVALID_DATA_ACK: 0x08,
  INVALID_PDU_FIELD: 0x09,
  LONG_OPERATION_REJECT: 0x0a,
  WAITING_FOR_LOGOUT: 0x0c,
} as const;

/** The name of a number in one of the tables above ("ABORT_TASK"), or its hexadecimal digits. */
export function nameOf(table: Readonly<Record<string, number>>, code: number): string {
  for (const name in table) if (table[name] === code) return name;
  return `0x${code.toString(16)}`;
}
