/** What a member answers its peers: forwarded I/O, its side of moves, fences, and questions of the management process. */
import { z } from 'zod';
import { describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { GuestService } from '../access/guest-service.js';
import type { HomeService } from '../access/home-service.js';
import type { Destination } from '../migration/destination.js';
import { PeerStatus, PeerType, type IncomingRequest, type PeerService } from '../peer/contract.js';
import { isHolderRequest, type HolderService } from '../peer/holder-service.js';
import type { EveryPath } from './every-path.js';
import type { Fencer } from './fencer.js';
import type { LoadExchange } from './load-exchange.js';
import type { SharedReservations } from './shared-reservations.js';

/** The parts that answer; given once the member has started. */
export interface MemberParts {
  readonly holder: HolderService;
  readonly home: HomeService;
  readonly guests: GuestService;
  /** Null: each volume is served by its home alone. */
  readonly everyPath: EveryPath | null;
  readonly destination: Destination;
  readonly fencer: Fencer;
  readonly reservations: SharedReservations;
  readonly loads: LoadExchange;
  /** Answers of QUERY, by what is asked. */
  readonly queries: Readonly<Record<string, (question: unknown) => unknown>>;
}

const Query = z.object({ what: z.string().max(64) });

export class MemberService implements PeerService {
  private parts: MemberParts | null = null;

  constructor(private readonly log: Logger) {}

  /** From here on requests are served; before, they are answered UNAVAILABLE. */
  open(parts: MemberParts): void {
    this.parts = parts;
  }

  close(): void {
    this.parts = null;
  }

  handle(request: IncomingRequest): void {
    const { parts } = this;
    if (parts === null) {
      request.answer(PeerStatus.UNAVAILABLE, Buffer.from('starting or stopping'));
    } else if (isHolderRequest(request)) {
      parts.holder.handle(request);
    } else if (![parts.home, parts.guests, parts.destination].some((part) => part.handle(request))) {
      this.control(parts, request).catch((error: unknown) => {
        this.log.warn(
          { from: request.from, type: request.type, error: describeError(error) },
          'a peer was refused',
        );
        request.answer(PeerStatus.REFUSED, Buffer.from(describeError(error).slice(0, 512)));
      });
    }
  }

  private async control(parts: MemberParts, request: IncomingRequest): Promise<void> {
    if (request.type === PeerType.FENCE) {
      await parts.fencer.serve(request);
    } else if (request.type === PeerType.VACATE) {
      await parts.fencer.serveVacate(request);
    } else if (request.type === PeerType.RESERVED) {
      await parts.reservations.serve(request);
    } else if (request.type === PeerType.LOAD) {
      parts.loads.serve(request);
    } else if (request.type === PeerType.TASKS_END && parts.everyPath !== null) {
      await parts.everyPath.end(request);
    } else if (request.type === PeerType.QUERY) {
      const question: unknown = JSON.parse(request.payload.toString('utf8'));
      const { what } = Query.parse(question);
      const answer = parts.queries[what];
      if (answer === undefined) request.answer(PeerStatus.NOT_FOUND, Buffer.from(`no answer to '${what}'`));
      else request.answer(PeerStatus.OK, Buffer.from(JSON.stringify(answer(question))));
    } else {
      request.answer(PeerStatus.REFUSED, Buffer.from(`request type ${request.type}`));
    }
  }
}
