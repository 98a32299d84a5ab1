/**
 * The home's side of the copies that other homes make (EXTENDED COPY): whom it lets in, and each piece that they read or
 * write. What cannot be served now is sent again, so nothing waits here, and the end of a copy overtakes none of its pieces.
 */
import { CLEAR_PIECE_BYTES_MAX } from '../base/limits.js';
import { BlockIo, type BlockOp, type IoError } from '../block/device.js';
import { isOfGuest, PeerStatus, PeerType, type IncomingRequest } from '../peer/contract.js';
import { isInRange } from '../peer/request-range.js';
import type { Guest } from '../scsi/copy/guest.js';
import { refusalOf } from '../scsi/refusal.js';
import { RefusedIo } from '../scsi/sense.js';
import type { DiskUnit } from '../scsi/unit.js';
import type { CopyGuests } from './copy-guests.js';
import { parsed } from './home-service.js';
import { CopyOf, formatNotGood, type GuestEnded } from './messages.js';

/** A unit at this member, as copies come to it. */
export interface GuestPlace {
  readonly guests: CopyGuests;
  readonly disk: DiskUnit;
  epoch(): number;
  readonly isHome: boolean;
  /** It is home, knows the unit, and is not about to give it away. */
  readonly isServedHere: boolean;
  /** It came so lately that initiators may be on their way to it. */
  readonly isNewHome: boolean;
  /** Tells the home of the initiator's sessions at this member, where there are any that stay when it moves. */
  introduce(initiatorName: string): void;
}

/** Where the units of this member are found. */
export interface GuestUnits {
  /** Undefined: no such volume. */
  guestPlaceOf(volumeId: number): GuestPlace | undefined;
  /** See AccessUnits. */
  mayServe(): boolean;
  /** Reads the volume's route from the store, then calls back. */
  refresh(volumeId: number, done: () => void): void;
}

const OP_OF_TYPE = new Map<number, BlockOp>([
  [PeerType.GUEST_READ, 'read'],
  [PeerType.GUEST_WRITE, 'write'],
  [PeerType.GUEST_CLEAR, 'discard'],
]);

export class GuestService {
  constructor(
    private readonly units: GuestUnits,
    private readonly incarnation: string,
  ) {}

  /** False: it is nothing of a copy. */
  handle(request: IncomingRequest): boolean {
    if (!isOfGuest(request.type)) return false;
    const place = this.units.guestPlaceOf(request.volumeId);
    if (request.type === PeerType.GUEST_ENDED) this.end(request, place);
    else if (place === undefined || request.epoch > place.epoch()) this.catchUp(request);
    else this.serve(request, place);
    return true;
  }

  private end(request: IncomingRequest, place: GuestPlace | undefined): void {
    const copy = parsed(CopyOf, request);
    if (copy === null) return;
    const answer = (wasAborted: boolean): void => {
      const ended: GuestEnded = { incarnation: this.incarnation, wasAborted };
      request.answer(PeerStatus.OK, Buffer.from(JSON.stringify(ended)));
    };
    if (place === undefined) return answer(false);
    // It goes on to the next home, which may not have heard of them yet.
    if (!place.isHome) place.introduce(copy.initiatorName);
    place.guests.end(request, answer);
  }

  /** The copy knows of a later route. */
  private catchUp(request: IncomingRequest): void {
    this.units.refresh(request.volumeId, () => undefined);
    request.answer(PeerStatus.UNAVAILABLE);
  }

  private serve(request: IncomingRequest, place: GuestPlace): void {
    if (!this.units.mayServe()) return request.answer(PeerStatus.UNAVAILABLE);
    if (!place.isHome) return request.answer(PeerStatus.STALE, undefined, place.epoch());
    if (request.type === PeerType.GUEST_BEGAN) return this.letIn(request, place);
    if (!place.isServedHere) return request.answer(PeerStatus.UNAVAILABLE);
    const guest = place.guests.find(request);
    if (guest === undefined) request.answer(PeerStatus.NOT_FOUND);
    else new PieceIo(request, place.disk, guest).begin();
  }

  private letIn(request: IncomingRequest, { guests, isServedHere, isNewHome }: GuestPlace): void {
    const copy = parsed(CopyOf, request);
    if (copy === null) return;
    const { initiatorName } = copy;
    if (!guests.isLoggedIn(initiatorName))
      return request.answer(isNewHome ? PeerStatus.UNAVAILABLE : PeerStatus.NOT_FOUND);
    if (!isServedHere) return request.answer(PeerStatus.UNAVAILABLE);
    if (!guests.letIn(request, initiatorName)) return request.answer(PeerStatus.NOT_FOUND);
    request.answer(PeerStatus.OK, Buffer.from(this.incarnation));
  }
}

/** One piece. */
class PieceIo extends BlockIo {
  constructor(
    private readonly request: IncomingRequest,
    private readonly disk: DiskUnit,
    private readonly guest: Guest,
  ) {
    super();
  }

  begin(): void {
    const { request, disk, guest } = this;
    const op = OP_OF_TYPE.get(request.type);
    if (op === undefined || !isInRange(request, disk.device, op, CLEAR_PIECE_BYTES_MAX))
      return request.answer(PeerStatus.REFUSED, Buffer.from('no such range'));
    const data = op === 'read' ? request.allocateAnswer() : request.payload;
    guest.submit(this.prepare(op, request.offsetBytes, request.lengthBytes, data));
  }

  protected override completed(error: IoError | null): void {
    const { request, op, data } = this;
    if (error === null) return request.answer(PeerStatus.OK, op === 'read' ? data : undefined);
    // Held back until this member has its lease again, and dropped: it goes again, as far as the copy may go on.
    if (!(error instanceof RefusedIo) && error.code === 'aborted' && this.guest.isAborted)
      return request.answer(PeerStatus.UNAVAILABLE);
    const { status, sense } = refusalOf(error);
    request.answer(PeerStatus.NOT_GOOD, formatNotGood({ status, sense }, false));
  }
}
