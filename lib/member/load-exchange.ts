/**
 * The exchange of load vectors between members: tells the others at the end of each window, and puts what they tell on the
 * board. Nobody is asked for anything, and nobody waits for an answer: who was not told this time is told the next.
 */
import { z } from 'zod';
import type { Clock } from '../base/clock.js';
import { LOADS_BYTES_MAX, MEMBERS_KNOWN_MAX } from '../base/limits.js';
import type { Random } from '../base/random.js';
import type { Entry, LoadBoard } from '../load/board.js';
import { chooseListeners, chooseNews, fitting } from '../load/gossip.js';
import { LoadVector } from '../load/vector.js';
import { PeerRequest, PeerStatus, PeerType, type IncomingRequest, type PeerHub } from '../peer/contract.js';

/** The payload of a LOAD request. */
const Told = z.object({
  loads: z
    .array(
      z.object({
        vector: LoadVector,
        /** When it was sent: milliseconds since it was measured. */
        ageMs: z.number().min(0).max(Number.MAX_SAFE_INTEGER),
      }),
    )
    .max(MEMBERS_KNOWN_MAX),
});

export interface LoadExchangeOptions {
  readonly self: string;
  readonly board: LoadBoard;
  readonly hub: Pick<PeerHub, 'send'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: Random;
  /** The members of the group besides this one. */
  others(): readonly string[];
  /** The last round trip to a member, 0 where none is known. */
  roundTripMs(member: string): number;
}

export class LoadExchange {
  /** One message to a member at a time: one that does not answer is told nothing meanwhile. */
  private readonly outstanding = new Set<string>();
  private toldMs = -Infinity;

  constructor(private readonly options: LoadExchangeOptions) {}

  /** A window of this member is over. */
  finished(vector: LoadVector): void {
    const { self, board, clock, random, others } = this.options;
    board.learn(vector, 0, self);
    const names = others();
    const nowMs = clock.nowMs();
    const payload = encode(chooseNews(board.entries(), self, names.length + 1, this.toldMs), nowMs);
    this.toldMs = nowMs;
    for (const member of chooseListeners(names, random)) this.tell(member, payload);
  }

  private tell(member: string, payload: Buffer): void {
    if (this.outstanding.has(member)) return;
    this.outstanding.add(member);
    const request = new LoadRequest(() => this.outstanding.delete(member));
    request.type = PeerType.LOAD;
    request.payload = payload;
    this.options.hub.send(member, request);
  }

  /** Answers a LOAD request. Throws where it is malformed. */
  serve(request: IncomingRequest): void {
    const { self, board, roundTripMs } = this.options;
    const { loads } = Told.parse(JSON.parse(request.payload.toString('utf8')));
    const transitMs = roundTripMs(request.from) / 2;
    for (const { vector, ageMs } of loads) {
      // Of itself a member knows better.
      if (vector.member !== self) board.learn(vector, ageMs + transitMs, request.from);
    }
    request.answer(PeerStatus.OK);
  }
}

/** As many as one message takes, in their order. Names are ASCII and so is the rest: a character is a byte. */
function encode(entries: readonly Entry[], nowMs: number): Buffer {
  const texts = entries.map(({ vector, measuredMs }) =>
    JSON.stringify({ vector, ageMs: Math.max(0, Math.round(nowMs - measuredMs)) }),
  );
  return Buffer.from(`{"loads":[${fitting(texts, LOADS_BYTES_MAX, (text) => text.length + 1).join(',')}]}`);
}

class LoadRequest extends PeerRequest {
  constructor(private readonly done: () => void) {
    super();
  }

  override answered(): void {
    this.done();
  }
}
