/**
 * A batch of extents from OWNED(src) to OWNED(dst): put the interceptors in, bring every extent to MIRRORED, make the
 * destination durable, commit the route, take the interceptors out. The order of the steps is what keeps I1–I5:
 *
 *   1  gate shut, local I/O drained, interceptors in place           (rule 1)
 *   2  gate open, attempts and copies until every extent is MIRRORED (transfer.ts)
 *   3  destination synced while writes go on; then mirrored writes are durable when answered, and a second, short sync
 *      covers those answered before that. Beside the first, a source that gives its last extent syncs its own file: what its
 *      disk has lost nobody would hear of any more
 *   4  writes held; anything dirty again → back to 2. Now the destination has, durably, every acknowledged write (I3)
 *   5  is it still the process that received them?
 *   6  reads held too; nothing is in flight on the extents (I5), nothing is dirty (rule 8)
 *   7  the route is committed, if the destination's process is still the one that synced, this one has been in the
 *      group since before 5 (of a source that was not, the destination may have ended the attempts), and the move is still
 *      asked for: who hears late that it is over would give back and forth with the next one
 *   8  interceptors out: whoever waited resolves the route again; the source's bytes are given back
 *
 * A crash of the source before 7 leaves its route as it was, after 7 the destination is the holder and has everything.
 * A crash of the destination after 5 is seen at 7: a member that starts joins the group anew before it throws away what
 * it does not hold, and the commit compares that record.
 */
import { invariant } from '../base/assert.js';
import { sleep, type Clock } from '../base/clock.js';
import { BlockferryError, describeError } from '../base/errors.js';
import {
  MOVE_EXTENTS_IN_FLIGHT,
  MOVE_EXTENTS_IN_FLIGHT_ALONE,
  MOVE_HOLD_MS_MAX,
  MOVE_STEP_MS_MAX,
  READ_BACK_RETRY_MS,
} from '../base/limits.js';
import { MemberRecord, VERIFIER_CHARS_MAX, keys, parseRecord } from '../group/records.js';
import type { GroupStore, StoreCompare } from '../group/store.js';
import { PeerStatus, PeerType } from '../peer/contract.js';
import type { Route } from '../routing/route.js';
import type { RoutingTable } from '../routing/table.js';
import type { LocalSlot } from '../volume/local-slot.js';
import type { Volume } from '../volume/volume.js';
import { sayAborted } from './abort-notice.js';
import { DestinationError, type DestinationLink } from './destination-link.js';
import { Interceptor } from './interceptor.js';
import { SealAnswer, formatSeal } from './messages.js';
import { Transfer, type TransferContext } from './transfer.js';

/**
 * A store that answers and takes no commit (its disk is full) is asked so often. All I/O on the batch waits meanwhile, with the
 * pauses some 3 s: a forwarded one gives up after FORWARD_PATIENCE_MS, and an initiator not much later.
 */
const COMMIT_TRIES_MAX = 7;
/** After the first; twice as long after each that follows. */
const COMMIT_PAUSE_MS = 50;

/** How long what waits for a disk may go on without noticing that it need not. */
const LOOK_MS = 1_000;

export interface BatchContext extends TransferContext {
  readonly clock: Clock;
  readonly store: GroupStore;
  readonly table: RoutingTable;
  readonly self: string;
  /** This process of it. */
  readonly incarnation: string;
  readonly volumeName: string;
  readonly volume: Volume;
  readonly local: LocalSlot;
  readonly destination: DestinationLink;
  /** The move is asked for, as far as this member has heard: what a commit compares. */
  moveCondition(): StoreCompare;
  /** Reads the move's record anew; throws CANCELLED when it is over. */
  rereadMove(): Promise<void>;
  /** Gives the source's copy of committed extents back. */
  giveBack(extents: readonly number[]): void;
  /** The member stops: nothing is tried again. */
  isStopping(): boolean;
}

/** How a source gives a batch. */
interface Giver {
  /** Its write verifier. */
  readonly verifier: string;
  /** Its disk has lost what was written there. */
  readonly hasLost: boolean;
}

export class Batch {
  private readonly transfers: Transfer[] = [];

  constructor(
    private readonly context: BatchContext,
    private readonly extents: readonly number[],
  ) {}

  /** Resolves when the batch is committed. When it was not, it throws, and the source serves the extents as before (rule 9). */
  async run(): Promise<void> {
    try {
      await this.install();
      do {
        await inParallel(this.transfers, this.width, (transfer) => transfer.untilMirrored());
      } while (!(await this.tryToCommit()));
    } catch (error) {
      await this.abort();
      throw error;
    }
    this.finish(); // whatever fails in there, the extents are given: nothing of them is undone any more
  }

  /** Extents to copy at the same time, now. */
  private readonly width = (): number =>
    this.context.pacer.isBesideInitiators ? MOVE_EXTENTS_IN_FLIGHT : MOVE_EXTENTS_IN_FLIGHT_ALONE;

  private async install(): Promise<void> {
    const { volume, local, file, destination } = this.context;
    for (const extent of this.extents) {
      const fromBytes = extent * volume.extentBytes;
      const toBytes = Math.min(fromBytes + volume.extentBytes, volume.sizeBytes);
      const interceptor = new Interceptor(
        extent,
        fromBytes,
        toBytes,
        file,
        local,
        destination,
        (status, detail) => transfer.mirrorFailed(status, detail),
        this.context.strict,
      );
      const transfer: Transfer = new Transfer(interceptor, this.context);
      invariant(
        'I2',
        volume.holdsHere(extent) && !volume.moving.has(extent),
        `extent ${extent} is not ours to give`,
      );
      volume.moving.set(extent, interceptor);
      this.transfers.push(transfer);
    }
    await local.drain();
    for (const { interceptor } of this.transfers) interceptor.open();
    this.context.waypoints.reached('batch.installed');
  }

  /** Steps 3 to 7. False: something was dirty or failed, and everyone is served again. */
  private async tryToCommit(): Promise<boolean> {
    const interceptors = this.transfers.map((transfer) => transfer.interceptor);
    const { waypoints } = this.context;
    try {
      waypoints.reached('batch.mirrored');
      const [giver] = await Promise.all([this.syncSource(), this.seal(true, MOVE_STEP_MS_MAX)]);
      waypoints.reached('batch.synced');
      await Promise.all(interceptors.map((interceptor) => interceptor.mirrorDurably()));
      await this.seal(true, MOVE_STEP_MS_MAX);
      waypoints.reached('batch.durable');
      const place = await this.ownPlace();
      const heldAtMs = this.context.clock.nowMs();
      await Promise.all(interceptors.map((interceptor) => interceptor.holdWrites()));
      if (!this.transfers.every((transfer) => transfer.isMirrored)) {
        this.openAll();
        return false;
      }
      waypoints.reached('batch.held');
      const incarnation = await this.seal(false, MOVE_HOLD_MS_MAX);
      await Promise.all(interceptors.map((interceptor) => interceptor.holdAll()));
      for (const interceptor of interceptors) interceptor.assertClean();
      waypoints.reached('batch.sealed');
      const committed = await this.commit(incarnation, place, giver);
      this.context.stats.stalled(this.context.clock.nowMs() - heldAtMs);
      if (!committed)
        throw new DestinationError(
          PeerStatus.STALE,
          `${this.context.destination.member} or its source left the group`,
        );
    } catch (error) {
      this.openAll();
      if (!(error instanceof DestinationError)) throw error;
      await Promise.all(this.transfers.map((transfer) => transfer.fail(error)));
      return false;
    }
    return true;
  }

  /**
   * The kernel tells once, and a sync only, what it could not write of a file; reads find the disk's older bytes then, and so
   * does the copy (I1). As long as this member holds an extent, flushes come here and are told. With the last one it looks
   * itself. The extents go all the same, away from a disk that fails, but the route says so: the home finds that writes are
   * gone (member/other-holders.ts).
   */
  private async syncSource(): Promise<Giver> {
    const { table, volumeName, destination, self, file, log } = this.context;
    const verifier = destination.hub.verifierOf(self);
    const route = table.get(volumeName)?.route;
    if (route?.holdsNoneBut(self, this.extents) !== true) return { verifier, hasLost: false };
    try {
      await this.inTime(file.sync(), MOVE_STEP_MS_MAX);
      return { verifier, hasLost: false };
    } catch (error) {
      this.context.checkGoing();
      log.warn(
        { volume: volumeName, error: describeError(error) },
        'the disk may have lost writes that are not flushed; what it has is given',
      );
      // Homes of before there was `lostAt` know it by a verifier that nobody has.
      const unknown = `${this.context.nextToken()}-${this.context.incarnation}`;
      return { verifier: unknown.slice(0, VERIFIER_CHARS_MAX), hasLost: true };
    }
  }

  /** A disk that hangs keeps no move from ending, however it is to end. */
  private async inTime(work: Promise<void>, mostMs: number): Promise<void> {
    let isDone = false;
    const done = work.then(() => void (isDone = true));
    for (let leftMs = mostMs; leftMs > 0; leftMs -= LOOK_MS) {
      await Promise.race([done, sleep(this.context.clock, LOOK_MS)]);
      if (isDone) return;
      this.context.checkGoing();
    }
    throw new Error(`not done after ${mostMs / 1000} s`);
  }

  /**
   * The destination says whether it still knows all attempts of the batch; with `sync`, what it answered before is
   * durable then.
   * @returns the incarnation of the process that does
   */
  private async seal(sync: boolean, deadlineMs: number): Promise<string> {
    const attempts = this.transfers.map(({ interceptor }) => ({
      extent: interceptor.extent,
      token: interceptor.token,
    }));
    const payload = formatSeal({ attempts, sync });
    const answer = await this.context.destination.step(PeerType.MOVE_SYNC, { payload, deadlineMs });
    return SealAnswer.parse(JSON.parse(answer.toString('utf8'))).incarnation;
  }

  /**
   * Step 7. False: one of the two is not what it was. Throws when the route is no longer ours to change, or the store does not
   * take the change.
   */
  private async commit(incarnation: string, place: StoreCompare, giver: Giver): Promise<boolean> {
    const { table, volumeName, destination, waypoints } = this.context;
    const { verifier, hasLost } = giver;
    for (let refusals = 0; ;) {
      const routed = table.get(volumeName);
      if (routed === undefined) throw new BlockferryError('NOT_FOUND', `volume ${volumeName} was deleted`);
      this.checkStillOurs(routed.route);
      const there = await this.compareDestination(incarnation);
      if (there === null) return false;
      try {
        const change = routed.route.withHolder(this.extents, destination.member, verifier, hasLost);
        waypoints.reached('commit.asked');
        const route = await table.commit(routed, change, [there, place, this.context.moveCondition()]);
        if (route !== null) {
          waypoints.reached('commit.done');
          return true;
        }
      } catch (error) {
        if (await this.wasCommitted(error)) return true;
        refusals += 1;
        await this.pauseAfter(refusals, error);
      }
      await this.context.rereadMove();
      if ((await this.ownPlace()).revision !== place.revision) return false;
    }
  }

  /** The store has said that it did not make the change. */
  private async pauseAfter(refusals: number, error: unknown): Promise<void> {
    if (refusals === COMMIT_TRIES_MAX) {
      throw new BlockferryError(
        'IO',
        `the group's store does not take the commit: ${describeError(error)}`,
        'mend the store (is its disk full?), then ask for the move again',
        { cause: error },
      );
    }
    await sleep(this.context.clock, COMMIT_PAUSE_MS * 2 ** (refusals - 1));
  }

  private checkStillOurs(route: Route): void {
    for (const extent of this.extents) {
      const holder = route.holderNameAt(extent);
      invariant(
        'I2',
        holder === this.context.self,
        `extent ${extent} was given away by ${holder}, not by its holder`,
      );
    }
  }

  /** This process's place in the group. A lease that is lost and had again is another place. */
  private async ownPlace(): Promise<StoreCompare> {
    const { store, self, incarnation } = this.context;
    const entry = await store.get(keys.member(self));
    const isOurs = entry !== undefined && parseRecord(MemberRecord, entry).incarnation === incarnation;
    if (!isOurs) throw new DestinationError(PeerStatus.UNAVAILABLE, `${self} is not in the group now`);
    return { key: entry.key, revision: entry.revision };
  }

  private async compareDestination(incarnation: string): Promise<StoreCompare | null> {
    const entry = await this.context.store.get(keys.member(this.context.destination.member));
    if (entry === undefined || parseRecord(MemberRecord, entry).incarnation !== incarnation) return null;
    return { key: entry.key, revision: entry.revision };
  }

  /** The answer of a commit was lost. Until the store says which, the extents stay held: nobody may serve them. */
  private async wasCommitted(error: unknown): Promise<boolean> {
    const { table, volumeName, self, log, clock } = this.context;
    log.warn(
      { volume: volumeName, error: describeError(error) },
      'a commit was not answered; reading it back',
    );
    for (;;) {
      try {
        const routed = await table.refresh(volumeName);
        const [first] = this.extents;
        return (
          // Only we give it away; by now it may have gone on.
          routed !== undefined && first !== undefined && routed.route.holderNameAt(first) !== self
        );
      } catch {
        await sleep(clock, READ_BACK_RETRY_MS);
      }
    }
  }

  private finish(): void {
    const { volume, stats, destination, giveBack } = this.context;
    for (const { interceptor } of this.transfers) {
      volume.moving.delete(interceptor.extent);
      interceptor.takeOut();
    }
    this.context.waypoints.reached('batch.given');
    stats.extentsDone += this.extents.length;
    stats.lastError = '';
    giveBack(this.extents);
    // The destination would find out by itself; this saves its first request a look into the store.
    destination.step(PeerType.COMMITTED, { epoch: volume.epoch }).catch(() => undefined);
  }

  private openAll(): void {
    for (const { interceptor } of this.transfers) interceptor.open();
  }

  /** Rule 9: nothing is left behind. The destination's bytes are given back if it can be reached. */
  private async abort(): Promise<void> {
    const { volume } = this.context;
    const begun: { extent: number; token: number }[] = [];
    try {
      for (const { interceptor } of this.transfers) {
        await interceptor.detach();
        await interceptor.holdAll();
        volume.moving.delete(interceptor.extent);
        interceptor.takeOut();
        const { extent, token } = interceptor;
        if (token !== 0) begun.push({ extent, token });
      }
    } finally {
      void sayAborted(this.context, begun);
    }
  }
}

/**
 * Runs `work` on every item, `width()` at a time: when that falls, what is under way is ended and less is begun; when it
 * rises, nothing changes. It is never 0. Throws the first error after all that were begun have ended.
 */
async function inParallel<T>(
  items: readonly T[],
  width: () => number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = [...items];
  let failed = false;
  const lane = async (index: number): Promise<void> => {
    while (!failed && index < width()) {
      const item = rest.shift();
      if (item === undefined) return;
      try {
        await work(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: width() }, (_, index) => lane(index)));
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}
