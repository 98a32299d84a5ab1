/**
 * The home's side of the commands of sessions at other members. A member that is not home says so, with the epoch by which
 * it is not (I4), and never sends a command on.
 */
import type { z } from 'zod';
import { PeerStatus, PeerType, isForTheHome, type IncomingRequest } from '../peer/contract.js';
import type { AccessServer } from './access-server.js';
import { NexusBegan, parseMessage, TaskSet } from './messages.js';

/** Where the units of this member are found. */
export interface AccessUnits {
  /** Undefined: no such volume, or each is served by its home alone. */
  accessOf(volumeId: number): AccessServer | undefined;
  /** Of serving: a new one begins with each loss of the lease. */
  readonly term: number;
  /** Whether the member may serve, by its clock (I4): after a pause of the process, sockets come before timers. */
  mayServe(): boolean;
  /** Reads the volume's route from the store, then calls back. */
  refresh(volumeId: number, done: () => void): void;
}

export class HomeService {
  /** By volume: what came while its route was being read, after that for which it is, and in this order. */
  private readonly waiting = new Map<number, (() => void)[]>();

  constructor(
    private readonly units: AccessUnits,
    private readonly incarnation: string,
  ) {}

  /** False: it is not for the home of a volume. */
  handle(request: IncomingRequest): boolean {
    if (!isForTheHome(request.type)) return false;
    this.take(request);
    return true;
  }

  /** In the order of their arrival: COMMAND_ENDS says that a command is over, which must not come after it (I8). */
  private take(request: IncomingRequest): void {
    const { volumeId } = request;
    const waiting = this.waiting.get(volumeId);
    if (waiting !== undefined) return void waiting.push(this.inThisTerm(request, () => this.take(request)));
    const unit = this.units.accessOf(volumeId);
    if (unit !== undefined && request.epoch <= unit.epoch()) return this.serve(request);
    const later = [this.inThisTerm(request, () => this.serve(request))];
    this.waiting.set(volumeId, later);
    this.units.refresh(volumeId, () => {
      this.waiting.delete(volumeId);
      for (const go of later) go();
    });
  }

  /**
   * What waits here goes on in the term of serving in which it came, or not at all: who has sent it may have taken it for
   * undone since, when this member lost its lease, and newer commands may stand behind it (I8).
   */
  private inThisTerm(request: IncomingRequest, go: () => void): () => void {
    const { term } = this.units;
    return () => (term === this.units.term ? go() : request.answer(PeerStatus.UNAVAILABLE));
  }

  private serve(request: IncomingRequest): void {
    const unit = this.units.accessOf(request.volumeId);
    if (unit === undefined)
      return request.answer(PeerStatus.REFUSED, Buffer.from('it is served by its home'));
    if (!this.units.mayServe()) return request.answer(PeerStatus.UNAVAILABLE);
    if (unit.standing === 'held') {
      const go = this.inThisTerm(request, () => this.serve(request));
      return unit.hold({ go, isWanted: true, isCommand: false });
    }
    if (unit.standing === 'elsewhere') return request.answer(PeerStatus.STALE, undefined, unit.epoch());
    const { visitors } = unit;
    switch (request.type) {
      case PeerType.NEXUS_BEGAN: {
        const began = parsed(NexusBegan, request);
        if (began === null) return;
        return visitors.add(request, began, () =>
          request.answer(PeerStatus.OK, Buffer.from(this.incarnation)),
        );
      }
      case PeerType.NEXUS_ENDED:
        return visitors.remove(request, () => request.answer(PeerStatus.OK));
      case PeerType.COMMAND_ENDS:
        return visitors.endCommand(request, () => request.answer(PeerStatus.OK));
      case PeerType.TASK_SET: {
        const taskSet = parsed(TaskSet, request);
        if (taskSet === null) return;
        return unit.endTaskSet(taskSet.what, request.from, true, (isDone) =>
          request.answer(isDone ? PeerStatus.OK : PeerStatus.UNAVAILABLE),
        );
      }
    }
    visitors.serve(request);
  }
}

/** The payload, or null when the request was answered REFUSED. */
export function parsed<T>(schema: z.ZodType<T>, request: IncomingRequest): T | null {
  const message = parseMessage(schema, request.payload);
  if (message === null) request.answer(PeerStatus.REFUSED, Buffer.from('malformed'));
  return message;
}
