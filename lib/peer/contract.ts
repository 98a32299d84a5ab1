/**
 * What members say to each other, as the rest of Blockferry sees it: requests with a fixed header and a payload, sent
 * over a link and answered once. Framing, negotiation, budgets and deadlines are the business of this folder's other
 * files. Objects instead of promises, since forwarded I/O goes this way.
 */
import { NO_BYTES } from '../base/bytes.js';
import type { PageMap } from '../block/page-map.js';

/** Request types on the wire. Each names who serves it. */
export const PeerType = {
  // the holder of the extent (holder-service.ts)
  READ: 1,
  WRITE: 2,
  DISCARD: 3,
  ZERO: 4,
  FLUSH: 5,
  // the destination of a move (migration/)
  MOVE_OPEN: 16, // JSON: the volume and who sends it; the destination opens its file and dials back
  EXTENT_BEGIN: 17, // an attempt (token) on an extent starts: what the destination had there is given back
  COPY: 18,
  MIRROR_WRITE: 19,
  MIRROR_DISCARD: 20,
  MIRROR_ZERO: 21,
  MOVE_SYNC: 22, // make the volume's file durable
  EXTENT_ABORT: 23, // give the attempt's bytes back
  COMMITTED: 24, // the route has the new epoch: read it
  // any member (sessions, management); JSON in, JSON out
  FENCE: 32,
  QUERY: 33,
  RESERVED: 34, // reservations of a volume have changed: they are read, and the commands that they end have ended
  VACATE: 35, // the home is the sender: answered when no session of the volume is left here
  LOAD: 36, // load vectors of members: the sender's own, and in a large group what it has heard
  // the holder again
  LBA_STATUS: 41, // whether a range of extents held there takes space: JSON, a Provisioning
  USAGE: 42, // what that member's file of the volume takes: JSON, a Usage
  // the home of a volume (access/): commands of sessions at other members; the token is the nexus, the extent the command
  COMMAND_READ: 48, // a READ: where and how much stand in the header
  COMMAND_WRITE: 49,
  COMMAND: 50, // any other: its CDB, then its data-out; lengthBytes is what the initiator meant to send
  COMMAND_ENDS: 51, // nobody waits for its answer any more: what takes long stops; answered when it is over
  NEXUS_BEGAN: 52, // JSON: who it is
  NEXUS_ENDED: 53, // answered when nothing can reach the medium in its name
  TASK_SET: 54, // JSON: a task management function that concerns every session of the unit
  TASKS_END: 55, // from the home to any member: the sessions there end their commands of the unit
  // the home of a volume, for copies that another home makes (access/): the token is the visit
  GUEST_BEGAN: 64, // JSON: in whose name; answered with the process that has let it in
  GUEST_READ: 65,
  GUEST_WRITE: 66,
  GUEST_CLEAR: 67, // the range reads as zeros
  GUEST_ENDED: 68, // to the member that let it in, home or not: answered when nothing of it can reach the medium
} as const;
export type PeerTypeCode = (typeof PeerType)[keyof typeof PeerType];

/** What the home of a volume serves for sessions at other members. */
const FOR_THE_HOME: ReadonlySet<number> = new Set([
  PeerType.COMMAND_READ,
  PeerType.COMMAND_WRITE,
  PeerType.COMMAND,
  PeerType.COMMAND_ENDS,
  PeerType.NEXUS_BEGAN,
  PeerType.NEXUS_ENDED,
  PeerType.TASK_SET,
]);

export function isForTheHome(type: number): boolean {
  return FOR_THE_HOME.has(type);
}

/** What the home of a volume serves for copies that another home makes. */
const OF_A_GUEST: ReadonlySet<number> = new Set([
  PeerType.GUEST_BEGAN,
  PeerType.GUEST_READ,
  PeerType.GUEST_WRITE,
  PeerType.GUEST_CLEAR,
  PeerType.GUEST_ENDED,
]);

export function isOfGuest(type: number): boolean {
  return OF_A_GUEST.has(type);
}

/**
 * A fence waits until what absent members sent is over, and so do RESERVED and VACATE; were they waited for in their turn, two
 * members that take each other for absent would wait for ever, and so would one for itself. They do nothing to the bytes of a
 * volume, and neither does a question. What a home does for a session or a copy elsewhere may need the very link that would
 * wait for it, where that member holds extents: the home itself keeps count of it (access/visitors.ts, access/copy-guests.ts).
 */
const NEED_NOT_BE_OVER = new Set<number>([
  PeerType.FENCE,
  PeerType.QUERY,
  PeerType.RESERVED,
  PeerType.VACATE,
  PeerType.TASKS_END,
  ...FOR_THE_HOME,
  ...OF_A_GUEST,
]);

export function mustBeOver(type: number): boolean {
  return !NEED_NOT_BE_OVER.has(type);
}

/**
 * How many requests one after the other may have to be answered before one of that type is: a command at its home needs a
 * holder, what a holder is asked for may have to be mirrored, and the rest ends where it goes. A copy to another home needs
 * that home first: so few are sent at once that they are no matter (access/copy-lanes.ts).
 */
export function reachOf(type: number): number {
  return REACHES[type] ?? 0;
}

const REACHES = new Uint8Array(256);
const { READ, WRITE, DISCARD, ZERO, FLUSH } = PeerType;
for (const type of [READ, WRITE, DISCARD, ZERO, FLUSH]) REACHES[type] = 1;
for (const type of [...FOR_THE_HOME, ...OF_A_GUEST]) REACHES[type] = 2;

/** How a request ended. Anything but OK may carry a one-line text as its payload. */
export const PeerStatus = {
  OK: 0,
  STALE: 1, // not by the current epoch, which stands in the answer's epoch field
  NO_SPACE: 2,
  IO_ERROR: 3,
  UNAVAILABLE: 4, // shutting down, not ready
  REFUSED: 5, // malformed or out of place; retrying is no use
  NOT_FOUND: 6,
  ABORTED: 7, // not done on purpose: whoever asked may ask again
  NOT_GOOD: 8, // a command was answered otherwise than GOOD: the payload says how
  // never on the wire: made by the sender's own link
  LINK_LOST: 100, // the link broke before the answer: it may or may not have been done
  DEADLINE: 101,
} as const;

/** Its payload comes in the answer, as long as lengthBytes. */
export function isRead(type: number): boolean {
  return type === PeerType.READ || type === PeerType.COMMAND_READ || type === PeerType.GUEST_READ;
}

/** The fields of a request's fixed header, by the same names on both sides. */
export interface PeerHeader {
  type: number;
  volumeId: number;
  /** Extent index; the number of a command, where it goes to the home; 0 where it means nothing. */
  extent: number;
  /** The sender's epoch for that volume (I4). Below 2^53. */
  epoch: number;
  /** Which attempt of a move on this extent: late messages of older ones are refused. Or which nexus, or visit. Below 2^32. */
  token: number;
  /** Byte offset in the volume, below 2^53. */
  offsetBytes: number;
  /** Length of the range (a READ's payload comes in the answer). At most PEER_PAYLOAD_BYTES_MAX for data. */
  lengthBytes: number;
  fua: boolean;
}

/** A request on its way out; reusable after it was answered. */
export abstract class PeerRequest implements PeerHeader {
  type: number = 0;
  volumeId = 0;
  extent = 0;
  epoch = 0;
  token = 0;
  offsetBytes = 0;
  lengthBytes = 0;
  fua = false;
  /** Sent after the header; must not change until answered. */
  payload: Buffer = NO_BYTES;
  /** Instead of `payload`: the request's range of a mapped device. Only while PeerHub.takesMapped(). */
  map: PageMap | null = null;
  /** Where a READ's bytes go; the answer's payload must be exactly this long. Empty: the payload is given to answered(). */
  into: Buffer = NO_BYTES;
  /** Milliseconds before it fails with DEADLINE and the link is closed; 0: the default of limits.ts. */
  deadlineMs = 0;

  /** What follows the header, wherever it stands. */
  get payloadBytes(): number {
    return this.map === null ? this.payload.length : this.lengthBytes;
  }

  /**
   * Exactly once, and never inside send(). `payload` is what the answer carried (empty when it went to `into`); a view,
   * to be used or copied before returning. `epoch` is the answer's epoch field.
   */
  abstract answered(status: number, payload: Buffer, epoch: number): void;
}

/** A request that came in. Answer it exactly once, now or later. */
export interface IncomingRequest extends PeerHeader {
  /** The member that sent it, '' for the management process. */
  readonly from: string;
  /** Which process of that member. */
  readonly incarnation: string;
  /** Stays valid until the request is answered. */
  readonly payload: Buffer;
  /** A buffer of lengthBytes for a READ's data that answer() sends without another copy. */
  allocateAnswer(): Buffer;
  /** A READ's data can leave from where a device has it mapped, within this turn of the loop: by answerMapped(). */
  readonly takesMapped: boolean;
  /** Answers a READ with its range of a mapped device. Only while takesMapped. */
  answerMapped(map: PageMap, epoch: number): void;
  answer(status: number, payload?: Buffer, epoch?: number): void;
}

/** Serves incoming requests; one per process. Malformed or unexpected ones are answered REFUSED. */
export interface PeerService {
  handle(request: IncomingRequest): void;
}

/** Where a member's peer port is. */
export interface PeerAddress {
  readonly host: string;
  readonly port: number;
}

/** Every link of this process to the others: dials when needed, dials again with back-off when lost. */
export interface PeerHub {
  /**
   * Sends to a member over the link that suits the request: bulk goes over another link than the rest.
   * A member that cannot be reached answers LINK_LOST (after at most a dial deadline), one that has no address too.
   */
  send(member: string, request: PeerRequest): void;
  /** Whether a request with so much of a mapped device would leave in this turn of the loop, and so may be sent. */
  takesMapped(member: string, type: PeerTypeCode, lengthBytes: number): boolean;
  /** Makes sure that we have a link that *we* dialled to this member, so that there are two with the one it dials. */
  connect(member: string): void;
  /** The write verifier that a member, perhaps this one, last said it has; '' when it has said none. */
  verifierOf(member: string): string;
  /** The address book: null forgets the member and closes its links. */
  setAddress(member: string, address: PeerAddress | null): void;
  close(): Promise<void>;
}

/** For setImmediate: answers a request that no link will take. */
export function answerLost(request: PeerRequest): void {
  request.answered(PeerStatus.LINK_LOST, NO_BYTES, 0);
}
