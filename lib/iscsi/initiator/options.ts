/** What a user of the initiator can choose, the defaults, and the doors it reaches the world through. */
import { systemClock, type Clock } from '../../base/clock.js';
import { initiatorIqn } from '../../base/iscsi-names.js';
import {
  INITIATOR_LOGIN_DEADLINE_MS,
  INITIATOR_PING_MS,
  INITIATOR_READ_BUFFER_BYTES,
  INITIATOR_RECOVERY_DEADLINE_MS,
  INITIATOR_SEND_BUFFER_BYTES,
  RECV_DATA_SEGMENT_BYTES,
} from '../../base/limits.js';
import { tcp, type NetSocket, type SocketReader } from '../../base/net.js';
import { systemRandom, type Random } from '../../base/random.js';
import type { NegotiationOffer } from '../wire/negotiation-rules.js';
import type { ChapIdentity } from './chap.js';
import type { PortalAddress } from './url.js';

/** Opens a TCP connection; the door that tests replace. */
export type Dial = (address: PortalAddress, onread: SocketReader) => NetSocket;

export const dialTcp: Dial = (address, onread) => tcp.connect(address, onread);

export interface InitiatorOptions {
  /** Default: one for all that do not say who they are. */
  initiatorName?: string;
  initiatorAlias?: string;
  /**
   * Twelve hexadecimal digits that every login of it uses, as the Linux kernel's do: the same SCSI initiator port, which
   * keeps its reservations. Null: drawn anew at each login, as libiscsi does (RFC 7143 10.1.1 allows both).
   */
  isid?: string | null;
  /** What is offered at login; each key alone may be given. */
  offer?: Partial<NegotiationOffer>;
  /** Start the login with SecurityNegotiation and AuthMethod=None, as most initiators do, or go straight on. */
  firstStage?: 'security' | 'operational';
  /** Who we are to the target, by CHAP; null: AuthMethod=None. */
  chap?: ChapIdentity | null;
  /** One attempt to connect and log in, redirects not counted. */
  loginDeadlineMs?: number;
  /** From the loss of a session to giving up; 0: a lost session is never recovered. */
  recoveryDeadlineMs?: number;
  /** Silence after which a NOP-Out is sent; twice as much loses the session. 0: never. */
  pingMs?: number;
  /**
   * When asked to log out (event 1): at once, as libiscsi does, or when every sent command is answered. The others are
   * wrong on purpose: not at all, at once but sending commands on, or by closing the connection.
   */
  onLogoutRequest?: 'at-once' | 'drain' | 'ignore' | 'write-on' | 'hang-up';
  /** What each connection reads into and gathers its PDUs in: less for thousands of connections that say little. */
  readBufferBytes?: number;
  /** At least a PDU with INITIATOR_COPY_BYTES_MAX of data. */
  sendBufferBytes?: number;
  clock?: Clock;
  random?: Random;
  dial?: Dial;
}

/** InitiatorOptions with nothing left open. */
export type Settings = Required<InitiatorOptions> & { offer: NegotiationOffer };

export const DEFAULT_OFFER: NegotiationOffer = {
  headerDigest: ['None'],
  dataDigest: ['None'],
  authMethod: ['None'],
  taskReporting: ['RFC3720'],
  maxConnections: 1,
  initialR2T: false,
  immediateData: true,
  maxRecvDataSegmentLength: RECV_DATA_SEGMENT_BYTES,
  maxBurstLength: 1024 * 1024,
  firstBurstLength: 256 * 1024,
  defaultTime2Wait: 0,
  defaultTime2Retain: 0,
  maxOutstandingR2T: 4,
  dataPDUInOrder: true,
  dataSequenceInOrder: true,
  errorRecoveryLevel: 0,
  iSCSIProtocolLevel: 1,
};

export function settle(options: InitiatorOptions): Settings {
  return {
    initiatorName: initiatorIqn('default'),
    initiatorAlias: '',
    isid: null,
    firstStage: 'security',
    chap: null,
    loginDeadlineMs: INITIATOR_LOGIN_DEADLINE_MS,
    recoveryDeadlineMs: INITIATOR_RECOVERY_DEADLINE_MS,
    pingMs: INITIATOR_PING_MS,
    onLogoutRequest: 'at-once',
    readBufferBytes: INITIATOR_READ_BUFFER_BYTES,
    sendBufferBytes: INITIATOR_SEND_BUFFER_BYTES,
    clock: systemClock,
    random: systemRandom,
    dial: dialTcp,
    ...options,
    offer: { ...DEFAULT_OFFER, ...options.offer, ...(options.chap && { authMethod: ['CHAP'] }) },
  };
}
