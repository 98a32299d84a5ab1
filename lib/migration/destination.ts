/**
 * The destination's side of moves: receives attempts on extents it does not hold yet, writes what it is sent, and makes
 * it durable when asked, and before that where it is much. Whether an attempt is over says its source (a commit may be on
 * its way), or the group: a source that has left it commits nothing it began before (batch.ts). A member that starts again
 * has joined anew before it cleans up.
 */
import { z } from 'zod';
import { type ByteRange, hullOf } from '../base/byte-range.js';
import type { Clock, Timer } from '../base/clock.js';
import { describeError } from '../base/errors.js';
import { MOVE_BATCH_BYTES, ORPHANS_LOOK_MS } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import type { Waypoints } from '../base/waypoints.js';
import type { BlockOp } from '../block/device.js';
import { PeerStatus, PeerType, type IncomingRequest } from '../peer/contract.js';
import type { HeldFile } from './held-file.js';
import { Seal, type BeginAnswer, type SealAnswer } from './messages.js';
import { ReceivedWrite, Reception, Receptions } from './reception.js';

/** What the destination needs of its member. */
export interface DestinationVolumes {
  readonly incarnation: string;
  /** How long this process's event loop has had nothing to do, ever. */
  loopIdleMs(): number;
  /** Current by the store when its epoch is at least `epoch`; undefined: no such volume. */
  current(volumeId: number, epoch: number): Promise<DestinationVolume | undefined>;
  /** Reads the route, not before this is called. False: the store did not answer, and it may be an old one. */
  reread(volumeId: number): Promise<boolean>;
  /** Whether that process of a member is in the group, as far as this member has heard. */
  isPresent(member: string, incarnation: string): boolean;
  /** Whether it has left, by the store, not before this is called. Rejects when that does not answer. */
  hasLeft(member: string, incarnation: string): Promise<boolean>;
  /** Dials the member that will send the bulk. */
  connect(member: string): void;
}

export interface DestinationVolume {
  readonly extentBytes: number;
  readonly sizeBytes: number;
  readonly epoch: number;
  holdsHere(extent: number): boolean;
  /** It is being given away from here, or it has been and this member is not sure yet. */
  isLeaving(extent: number): boolean;
  /** The holder's name. */
  holderAt(extent: number): string;
  /** The extent is about to be received: its space here is not given back any more. */
  expect(extent: number): void;
  /** Nothing is received there any more: its space is given back, sooner or later. */
  giveBack(extents: readonly number[]): void;
  /** The file, once it is open; rejects when it cannot be. */
  file(): Promise<HeldFile>;
  /** Nothing in it matters: where it can make nothing durable any more and no extent is held here, the next is a new one. */
  leaveSpentFile(): Promise<void>;
}

const OP_OF_TYPE = new Map<number, BlockOp>([
  [PeerType.COPY, 'write'],
  [PeerType.MIRROR_WRITE, 'write'],
  [PeerType.MIRROR_DISCARD, 'discard'],
  [PeerType.MIRROR_ZERO, 'zero'],
]);

const OpenMessage = z.object({ volume: z.string().max(64), from: z.string().max(64) });

export class Destination {
  private readonly receptions = new Receptions();
  /** Bytes of copies that a file has taken since it was last asked to make them durable. */
  private readonly unsynced = new WeakMap<HeldFile, number>();
  private looking: Timer | null = null;
  private isClosed = false;

  constructor(
    private readonly volumes: DestinationVolumes,
    private readonly clock: Clock,
    private readonly log: Logger,
    private readonly waypoints: Waypoints,
  ) {}

  /** True if the request was one of a move. */
  handle(request: IncomingRequest): boolean {
    const op = OP_OF_TYPE.get(request.type);
    if (op !== undefined) {
      this.write(request, op);
      return true;
    }
    const step = this.stepOf(request);
    if (step === null) return false;
    step.catch((error: unknown) => {
      this.log.warn({ type: request.type, error: describeError(error) }, 'a step of a move failed here');
      request.answer(PeerStatus.IO_ERROR, Buffer.from(describeError(error).slice(0, 512)));
    });
    return true;
  }

  private stepOf(request: IncomingRequest): Promise<void> | null {
    switch (request.type) {
      case PeerType.MOVE_OPEN:
        return this.openVolume(request);
      case PeerType.EXTENT_BEGIN:
        return this.begin(request);
      case PeerType.EXTENT_ABORT:
        return this.abort(request);
      case PeerType.MOVE_SYNC:
        return this.sync(request);
      case PeerType.COMMITTED:
        return this.committed(request);
      default:
        return null;
    }
  }

  private async openVolume(request: IncomingRequest): Promise<void> {
    const { from } = OpenMessage.parse(JSON.parse(request.payload.toString('utf8')));
    const volume = await this.volumes.current(request.volumeId, request.epoch);
    if (volume === undefined) {
      request.answer(PeerStatus.NOT_FOUND);
      return;
    }
    await volume.file();
    this.waypoints.reached('destination.opened');
    this.volumes.connect(from);
    request.answer(PeerStatus.OK);
  }

  private async begin(request: IncomingRequest): Promise<void> {
    const volume = await this.volumes.current(request.volumeId, request.epoch);
    if (!mayBegin(volume, request)) return;
    const { volumeId, extent } = request;
    const { receptions } = this;
    const present = (): Reception | undefined => receptions.get(volumeId, extent);
    let file: HeldFile;
    do {
      // Late messages of the attempt before are refused from here on, and its punch has ended.
      for (let last = present(); last !== undefined; last = present()) {
        await last.end();
        receptions.delete(volumeId, extent, last);
      }
      // Only now: an attempt that is aborted owes its space, and would be paid with what is received.
      volume.expect(extent);
      file = await volume.file();
    } while (present() !== undefined);
    const fromBytes = extent * volume.extentBytes;
    const toBytes = Math.min(fromBytes + volume.extentBytes, volume.sizeBytes);
    const source = { name: request.from, incarnation: request.incarnation };
    const reception = new Reception(source, request.token, file, fromBytes, toBytes);
    receptions.set(volumeId, extent, reception);
    this.lookLater();
    reception.isOver = true; // until it is empty
    reception.inFlight += 1;
    try {
      // Most often there is nothing; a punch would send the file's other writes to the thread pool meanwhile.
      if (file.dataRanges(fromBytes, toBytes - fromBytes).length > 0)
        await file.punch(fromBytes, toBytes - fromBytes);
    } catch (error) {
      volume.giveBack([extent]);
      throw error;
    } finally {
      reception.ended();
    }
    if (present() !== reception || reception.hasEnded) {
      request.answer(PeerStatus.STALE, undefined, volume.epoch); // given up, or another has begun meanwhile
      return;
    }
    reception.isOver = false;
    this.waypoints.reached('destination.begun');
    const answer: BeginAnswer = { loopIdleMs: this.volumes.loopIdleMs() };
    request.answer(PeerStatus.OK, Buffer.from(JSON.stringify(answer)));
  }

  private async abort(request: IncomingRequest): Promise<void> {
    const { volumeId, extent, token } = request;
    const reception = this.receptions.get(volumeId, extent);
    const isOurs = reception !== undefined && reception.token === token;
    const isDone = !isOurs || (await this.giveUp(volumeId, new Map([[extent, reception]])));
    request.answer(isDone ? PeerStatus.OK : PeerStatus.UNAVAILABLE);
  }

  /**
   * Ends attempts and gives their space back, unless an extent was committed to this member all the same: by the route as
   * the store has it after the end. False: the store does not say, and the space stays.
   */
  private async giveUp(volumeId: number, ended: ReadonlyMap<number, Reception>): Promise<boolean> {
    // They stay in their places meanwhile, so that the next attempts wait for them.
    await Promise.all([...ended.values()].map((reception) => reception.end()));
    if (!(await this.volumes.reread(volumeId))) return false;
    const volume = await this.volumes.current(volumeId, 0);
    for (const [extent, reception] of ended) {
      if (!this.receptions.delete(volumeId, extent, reception)) continue;
      if (volume?.holdsHere(extent) === false) volume.giveBack([extent]);
    }
    return true;
  }

  /** While anything is being received: a source that has left the group says nothing more. */
  private lookLater(): void {
    if (this.isClosed) return;
    this.looking ??= this.clock.after(ORPHANS_LOOK_MS, () => {
      this.looking = null;
      this.look().catch((error: unknown) =>
        this.log.warn({ error: describeError(error) }, 'attempts of a source that has left stay for now'),
      );
    });
  }

  private async look(): Promise<void> {
    try {
      for (const volumeId of this.receptions.volumes) {
        const { volumes } = this;
        const isOrphan = ({ source }: Reception): boolean =>
          !volumes.isPresent(source.name, source.incarnation);
        const orphans = new Map(
          [...this.receptions.of(volumeId)].filter(([, reception]) => isOrphan(reception)),
        );
        if (orphans.size === 0) continue;
        await this.endOrphans(volumeId, orphans);
      }
    } finally {
      if (this.receptions.volumes.length > 0) this.lookLater();
    }
  }

  /**
   * What this member has heard may be old; and a source that is there may have sealed its attempts a moment ago, with its
   * commit on the way. So they end first, and then the store is asked: a source that is not in it now has lost the place
   * that its commit compares. Of one that is, they stay, ended: it commits, or is refused and begins anew.
   */
  private async endOrphans(volumeId: number, orphans: ReadonlyMap<number, Reception>): Promise<void> {
    await Promise.all([...orphans.values()].map((reception) => reception.end()));
    const left = new Map<number, Reception>();
    for (const [extent, reception] of orphans) {
      const { name, incarnation } = reception.source;
      if (await this.volumes.hasLeft(name, incarnation)) left.set(extent, reception);
    }
    if (left.size === 0) return;
    this.log.info({ volumeId, extents: left.size }, 'the source of a move has left: its attempts end');
    await this.giveUp(volumeId, left);
  }

  close(): void {
    this.isClosed = true;
    this.looking?.cancel();
  }

  /**
   * Are these the attempts of this process? The answer names it. With `sync`, what was answered before is durable then.
   * What is in a file whose disk has lost something since is not sealed either way.
   */
  private async sync(request: IncomingRequest): Promise<void> {
    const { attempts, sync } = Seal.parse(JSON.parse(request.payload.toString('utf8')));
    const files = new Map<HeldFile, ByteRange>();
    for (const { extent, token } of attempts) {
      const reception = this.receptions.get(request.volumeId, extent);
      if (reception === undefined || reception.token !== token || reception.isOver) {
        request.answer(PeerStatus.STALE, Buffer.from(`extent ${extent} was not begun here`));
        return;
      }
      files.set(reception.file, hullOf(reception, files.get(reception.file)));
    }
    try {
      for (const [file, range] of files) {
        if (sync) await this.makeDurable(file, range);
        else if (file.isSpent) throw new Error('bytes did not reach the disk'); // since it was synced
      }
    } catch (error) {
      await this.loseWhatIsReceived(request);
      throw error;
    }
    this.waypoints.reached('destination.synced');
    const answer: SealAnswer = { incarnation: this.volumes.incarnation };
    request.answer(PeerStatus.OK, Buffer.from(JSON.stringify(answer)));
  }

  /**
   * A sync has failed, and what a disk has lost once it does not tell again (storage/flusher.ts): a file that holds nothing
   * but attempts of who asked for the sync is of no use. That source commits none of them, having been told; those of
   * another may have been sealed before, and be committed.
   */
  private async loseWhatIsReceived({ volumeId, from, incarnation }: IncomingRequest): Promise<void> {
    const { volumes } = this;
    const received = (): Reception[] => [...this.receptions.of(volumeId).values()];
    const isTheirs = ({ source }: Reception): boolean =>
      source.name === from && source.incarnation === incarnation;
    const areAllTheirs = (): boolean => received().every(isTheirs);
    if (!areAllTheirs()) return;
    await Promise.all(received().map((reception) => reception.end()));
    // What was committed here before is known then.
    if ((await volumes.reread(volumeId)) && areAllTheirs())
      await (await volumes.current(volumeId, 0))?.leaveSpentFile();
  }

  private async committed(request: IncomingRequest): Promise<void> {
    const { volumeId } = request;
    await this.volumes.reread(volumeId);
    const volume = await this.volumes.current(volumeId, 0);
    for (const [extent, reception] of [...this.receptions.of(volumeId)])
      if (volume?.holdsHere(extent) === true) this.receptions.delete(volumeId, extent, reception);
    this.waypoints.reached('destination.committed');
    request.answer(PeerStatus.OK);
  }

  /**
   * Of the file, what was received there: what initiators have written to the extents that are held here already need not be
   * durable, and would be written anew with every batch.
   */
  private makeDurable(file: HeldFile, { fromBytes, toBytes }: ByteRange): Promise<void> {
    this.unsynced.delete(file);
    return file.syncRange(fromBytes, toBytes - fromBytes);
  }

  /** What is more than most batches beside initiators have is made durable while more comes: the end waits for the rest. */
  private copied(file: HeldFile, lengthBytes: number): void {
    const bytes = (this.unsynced.get(file) ?? 0) + lengthBytes;
    this.unsynced.set(file, bytes);
    // A failure is the file's from now on, and the sync at the end of the batch tells of it (storage/flusher.ts).
    if (bytes <= MOVE_BATCH_BYTES) return;
    this.unsynced.delete(file);
    file.sync().catch(() => undefined);
  }

  /** The bulk: copies and mirrored writes. */
  private write(request: IncomingRequest, op: BlockOp): void {
    const reception = this.receptions.get(request.volumeId, request.extent);
    if (reception === undefined || reception.token !== request.token || reception.isOver) {
      request.answer(PeerStatus.STALE);
      return;
    }
    const endBytes = request.offsetBytes + request.lengthBytes;
    const inside =
      request.offsetBytes >= reception.fromBytes && endBytes <= reception.toBytes && request.lengthBytes > 0;
    if (!inside || (op === 'write' && request.payload.length !== request.lengthBytes)) {
      request.answer(PeerStatus.REFUSED, Buffer.from('outside the extent'));
      return;
    }
    reception.inFlight += 1;
    reception.file.submit(new ReceivedWrite(request, reception, op));
    if (request.type === PeerType.COPY) this.copied(reception.file, request.lengthBytes);
  }
}

/** Whether an attempt on the extent may begin here, from what is known of the route; answers where it may not. */
function mayBegin(
  volume: DestinationVolume | undefined,
  request: IncomingRequest,
): volume is DestinationVolume {
  const { extent } = request;
  if (volume === undefined || extent * volume.extentBytes >= volume.sizeBytes) {
    request.answer(PeerStatus.REFUSED, Buffer.from('no such volume or extent'));
    return false;
  }
  if (volume.holderAt(extent) !== request.from) {
    request.answer(PeerStatus.STALE, undefined, volume.epoch); // only the holder gives an extent away
    return false;
  }
  if (volume.isLeaving(extent)) {
    // Whoever waits for a lost answer of that commit looks whether the extent is still here: it must not be here again.
    request.answer(PeerStatus.UNAVAILABLE, Buffer.from('it has not quite left'));
    return false;
  }
  return true;
}
