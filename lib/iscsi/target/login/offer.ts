/**
 * What this target wants of a session. Each value has its reason; the rules that weigh it against the initiator's are in
 * wire/.
 */
import { RECV_DATA_SEGMENT_BYTES } from '../../../base/limits.js';
import type { NegotiationOffer } from '../../wire/negotiation.js';

export const TARGET_OFFER: NegotiationOffer = {
  // Either is fine with us: the initiator's order of preference decides.
  headerDigest: ['None', 'CRC32C'],
  dataDigest: ['None', 'CRC32C'],
  authMethod: ['None'],
  taskReporting: ['RFC3720'],
  maxConnections: 1,
  // Unsolicited data saves a round trip; an initiator that asks for R2Ts gets them.
  initialR2T: false,
  immediateData: true,
  maxRecvDataSegmentLength: RECV_DATA_SEGMENT_BYTES,
  // Long sequences: one R2T, or one F bit, for 1 MiB.
  maxBurstLength: 4 * RECV_DATA_SEGMENT_BYTES,
  firstBurstLength: RECV_DATA_SEGMENT_BYTES,
  // Nothing of a lost session is kept (ErrorRecoveryLevel 0), so nobody has to wait for it.
  defaultTime2Wait: 0,
  defaultTime2Retain: 0,
  maxOutstandingR2T: 4,
  dataPDUInOrder: true,
  dataSequenceInOrder: true,
  errorRecoveryLevel: 0,
  iSCSIProtocolLevel: 1,
};
