/**
 * The source's view of the destination of one extent: requests with the attempt's token, and promises for those that
 * are steps rather than I/O.
 */
import type { PageMap } from '../block/page-map.js';
import { PeerRequest, PeerStatus, type PeerHub, type PeerTypeCode } from '../peer/contract.js';

const AWAY = new Set<number>([PeerStatus.LINK_LOST, PeerStatus.DEADLINE, PeerStatus.UNAVAILABLE]);

/** A step the destination did not do. `status` is a PeerStatus. */
export class DestinationError extends Error {
  override readonly name = 'DestinationError';
  constructor(
    readonly status: number,
    detail: string,
  ) {
    super(detail);
  }

  /** It cannot be reached, or is not ready: later it may be. */
  get isAway(): boolean {
    return AWAY.has(this.status);
  }
}

/** Whether it was the destination that failed. */
export function isDestinations(error: unknown): boolean {
  return (
    error instanceof DestinationError || (error instanceof Error && error.cause instanceof DestinationError)
  );
}

const STATUS_TEXT = new Map<number, string>([
  [PeerStatus.STALE, 'refused an old attempt'],
  [PeerStatus.NO_SPACE, 'has no space left'],
  [PeerStatus.IO_ERROR, 'failed to write'],
  [PeerStatus.UNAVAILABLE, 'is not ready'],
  [PeerStatus.REFUSED, 'refused the request'],
  [PeerStatus.NOT_FOUND, 'does not know the volume'],
  [PeerStatus.LINK_LOST, 'cannot be reached'],
  [PeerStatus.DEADLINE, 'did not answer in time'],
]);

/** "m2 has no space left (write: ENOSPC)" */
export function describeStatus(member: string, status: number, detail: string): string {
  const what = STATUS_TEXT.get(status) ?? `answered status ${status}`;
  return detail === '' ? `${member} ${what}` : `${member} ${what} (${detail})`;
}

class Step extends PeerRequest {
  constructor(
    private readonly member: string,
    private readonly resolve: (payload: Buffer) => void,
    private readonly reject: (error: DestinationError) => void,
  ) {
    super();
  }

  override answered(status: number, payload: Buffer): void {
    if (status === PeerStatus.OK) this.resolve(Buffer.from(payload));
    else
      this.reject(
        new DestinationError(status, describeStatus(this.member, status, payload.toString('utf8'))),
      );
  }
}

export interface StepFields {
  readonly extent?: number;
  readonly token?: number;
  readonly epoch?: number;
  readonly offsetBytes?: number;
  readonly lengthBytes?: number;
  readonly payload?: Buffer;
  readonly map?: PageMap;
  readonly deadlineMs?: number;
}

export class DestinationLink {
  constructor(
    readonly hub: PeerHub,
    readonly member: string,
    readonly volumeId: number,
  ) {}

  /** Whether a step with so much of a mapped device may be sent. */
  takesMapped(type: PeerTypeCode, lengthBytes: number): boolean {
    return this.hub.takesMapped(this.member, type, lengthBytes);
  }

  /** Sends one step, in this turn of the loop; rejects with DestinationError. */
  step(type: PeerTypeCode, fields: StepFields = {}): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const request = new Step(this.member, resolve, reject);
      Object.assign(request, fields);
      request.type = type;
      request.volumeId = this.volumeId;
      this.hub.send(this.member, request);
    });
  }
}
