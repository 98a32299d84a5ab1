/** The package's public face: the initiator harness, and the errors it speaks in. Servers are started by the command. */
export { BlockferryError, describeError, type ErrorCode } from './base/errors.js';
export * from './iscsi/initiator/index.js';
