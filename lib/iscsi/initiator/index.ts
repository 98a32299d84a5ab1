/** The initiator harness as others import it (package export "./initiator"). */
export { parseCapacity, parseSense, describeStatus } from './cdb.js';
export type { Capacity, LbaRange, SenseSummary } from './cdb.js';
export { InitiatorTask } from './command.js';
export { Connection, type ConnectionSink, type ReceivedPdu } from './connection.js';
export { discover, type DiscoveredTarget } from './discovery.js';
export type { CommandResult } from './execute.js';
export { Initiator, type ExecuteOptions, type InitiatorEvents } from './initiator.js';
export { Ledger, type LedgerGeometry, type WrongBlock } from './ledger.js';
export { LoginRefused, logIn, type LoggedIn } from './login.js';
export { DEFAULT_OFFER, settle, type Dial, type InitiatorOptions, type Settings } from './options.js';
export {
  allocPatternBuffer,
  describeContent,
  fillBlock,
  inspectBlock,
  wordsOf,
  type BlockContent,
} from './pattern.js';
export type { Recovery } from './recovery.js';
export { formatIscsiUrl, formatPortal, parseIscsiUrl, parseTargetAddress } from './url.js';
export type { IscsiUrl, PortalAddress, TargetAddress } from './url.js';
export { runFill, runLoad, runVerify } from './workload.js';
export type { LoadedUnit, LoadOptions, Progress, WorkloadOptions, WorkloadReport } from './workload.js';
