/**
 * A member's part in every move of the group. It looks at what was asked for (the move's record) and at what is (the
 * routes), and does whatever is this member's to do: give its extents, give the home, declare the end. So a member that
 * starts again goes on where the routes say it is; there is no other state to recover.
 */
import { sleep, type Clock, type Timer } from '../base/clock.js';
import { BlockferryError, describeError } from '../base/errors.js';
import { PROGRESS_INTERVAL_MS, READ_BACK_RETRY_MS } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import { randomBelow, type Random } from '../base/random.js';
import type { Waypoints } from '../base/waypoints.js';
import { Following, type ReadUpTo } from '../group/following.js';
import { MoveRecord, ProgressRecord, formatRecord, keys, readRecord } from '../group/records.js';
import type { GroupStore, StoreEntry, StoreEvent } from '../group/store.js';
import type { PeerHub } from '../peer/contract.js';
import type { RoutedVolume, RoutingTable } from '../routing/table.js';
import type { BatchContext } from './batch.js';
import { DestinationLink, isDestinations } from './destination-link.js';
import type { MoveStats } from './move-stats.js';
import type { MovingSource, MovingVolumes } from './moving-volumes.js';
import { Pacer } from './pacer.js';
import { RunningMove, rangeOf } from './running-move.js';
import { moveExtents } from './source-move.js';

export interface MoveRunnerOptions {
  readonly self: string;
  /** This process of it. */
  readonly incarnation: string;
  readonly store: GroupStore;
  readonly table: RoutingTable;
  readonly hub: PeerHub;
  readonly volumes: MovingVolumes;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly waypoints: Waypoints;
}

export class MoveRunner {
  private readonly moves = new Map<string, RunningMove>();
  private following: Following | null = null;
  private timer: Timer | null = null;
  private token: number;
  private stopping = false;
  private readonly tasks = new Set<Promise<void>>();

  constructor(private readonly options: MoveRunnerOptions) {
    this.token = 1 + randomBelow(options.random, 0x7fffffff);
  }

  async start(): Promise<void> {
    this.options.table.onChange((now) => {
      if (now !== undefined) this.reconcileVolume(now.record.name);
    });
    this.following = await Following.begin({
      ...this.options,
      what: 'what is asked to move',
      read: () => this.read(),
      events: (events) => this.events(events),
    });
  }

  private async read(): Promise<ReadUpTo[]> {
    const { entries, revision } = await this.options.store.list(keys.moves);
    const present = new Set(entries.map(({ key }) => idOf(key)));
    for (const id of [...this.moves.keys()]) if (!present.has(id)) this.vanished(id);
    for (const entry of entries) await this.take(entry);
    return [{ prefix: keys.moves, revision }];
  }

  /** Ends the parts under way in order; the moves stay asked for, and go on at the next start. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.following?.close();
    this.timer?.cancel();
    await Promise.allSettled([...this.tasks]);
  }

  /** The figures of the move of a volume that is under way, to be added to. */
  statsOf(volume: string): MoveStats | undefined {
    for (const move of this.moves.values()) if (move.record.volume === volume) return move.stats;
    return undefined;
  }

  /** How initiators of a volume are to be handed over. */
  handoverOf(volume: string): MoveRecord['handover'] {
    for (const move of this.moves.values()) if (move.record.volume === volume) return move.record.handover;
    return 'ask';
  }

  private events(events: readonly StoreEvent[]): void {
    for (const { key, entry } of events) {
      if (entry === null) this.vanished(idOf(key));
      else this.track(this.take(entry).catch(() => this.following?.again()));
    }
  }

  private async take(entry: StoreEntry): Promise<void> {
    const record = this.recordOf(entry);
    if (record === null) return this.vanished(idOf(entry.key));
    const known = this.moves.get(record.id);
    if (known !== undefined && !known.heard(record, entry.revision)) return;
    if (record.state !== 'active') {
      this.forget(record.id);
      return;
    }
    if (known !== undefined) known.isOver = false;
    else {
      const running = new RunningMove(record, entry.revision);
      this.moves.set(record.id, running);
      this.options.waypoints.reached('move.taken');
      await this.readFigures(running);
      running.isKnown = true;
    }
    this.upkeepSoon();
    this.reconcileVolume(record.volume);
  }

  private vanished(id: string): void {
    this.moves.get(id)?.vanished();
    this.forget(id);
  }

  /** One whose extents are being given is forgotten when that has ended. */
  private forget(id: string): void {
    const known = this.moves.get(id);
    if (known?.giving === true) known.isOver = true;
    else this.moves.delete(id);
  }

  /** Null: it is gone, or cannot be read, and is in the way of its volume (group/admin-moves.ts) and of no other. */
  private recordOf(entry: StoreEntry | undefined): MoveRecord | null {
    const record = entry === undefined ? null : readRecord(MoveRecord, entry);
    if (record === null && entry !== undefined)
      this.options.log.error({ key: entry.key }, 'the record of a move cannot be read');
    return record;
  }

  /** What an earlier life of this member has counted; a move whose figures the store does not say is not known yet. */
  private async readFigures(move: RunningMove): Promise<void> {
    const { store, self, log } = this.options;
    try {
      const own = await store.get(keys.progressOf(move.record.id, self));
      const figures = own === undefined ? null : readRecord(ProgressRecord, own);
      if (figures !== null) move.stats.continueFrom(figures);
      else if (own !== undefined) log.error({ key: own.key }, 'the figures of a move cannot be read');
    } catch (error) {
      if (this.moves.get(move.record.id) === move) this.moves.delete(move.record.id);
      throw error;
    }
  }

  private reconcileVolume(volume: string): void {
    for (const move of this.moves.values()) if (move.record.volume === volume) this.reconcile(move);
  }

  /** What is mine to do for this move, by the route as it stands? */
  private reconcile(move: RunningMove): void {
    const { record } = move;
    const routed = this.options.table.get(record.volume);
    if (routed === undefined || record.state !== 'active' || this.stopping || !move.isKnown) return;
    if (move.failure !== '') {
      if (!move.giving && !move.finishing) this.track(this.finish(move, 'failed', move.failure));
      return;
    }
    const { self } = this.options;
    const { first, last } = rangeOf(record, routed);
    if (record.rateBytesPerSecond !== null) move.givers = routed.route.countOthers(record.to, first, last);
    if (record.to !== self && !this.isGiving(record.volume)) {
      const extents = routed.route.extentsHeldBy(self, first, last);
      if (extents.length > 0) this.track(this.give(move, extents));
    }
    if (this.homeIsDue(record, routed) && !move.committingHome) this.track(this.giveHome(move, routed));
    const busy = move.giving || move.finishing; // the figures of a part under way are not complete yet
    if (record.from === self && !busy && this.isComplete(record, routed)) {
      this.track(this.finish(move, 'done', ''));
    }
  }

  /** A cancelled move may still be undoing its part when the next one is asked for: one at a time. */
  private isGiving(volume: string): boolean {
    for (const move of this.moves.values()) if (move.giving && move.record.volume === volume) return true;
    return false;
  }

  /** The home follows when the destination holds the larger part: initiators are redirected in mid-migration. */
  private homeIsDue(record: MoveRecord, routed: RoutedVolume): boolean {
    if (record.range !== null || routed.route.home !== this.options.self || record.to === this.options.self)
      return false;
    const there = routed.route.countByHolder().get(record.to) ?? 0;
    return there * 2 >= routed.route.extents;
  }

  private isComplete(record: MoveRecord, routed: RoutedVolume): boolean {
    const { first, last } = rangeOf(record, routed);
    if (!routed.route.isHeldBy(record.to, first, last)) return false;
    if (record.range !== null || record.to === this.options.self) return true;
    return routed.route.home === record.to && this.options.volumes.sessionCount(record.volume) === 0;
  }

  private async give(move: RunningMove, extents: readonly number[]): Promise<void> {
    const { options } = this;
    const { record, stats } = move;
    const { volume: volumeName } = record;
    move.giving = true;
    stats.extents = stats.extentsDone + extents.length;
    options.log.info({ volume: volumeName, to: record.to, extents: extents.length }, 'giving extents');
    try {
      await this.tellProgress(move); // another source may end the move before we write again: it counts our part then
      const source = await options.volumes.source(volumeName);
      const routed = options.table.get(volumeName);
      if (routed === undefined) throw new BlockferryError('NOT_FOUND', `volume ${volumeName} was deleted`);
      options.waypoints.reached('move.giving');
      await moveExtents(this.contextOf(move, source, routed.record.id), extents);
    } catch (error) {
      await this.gaveUp(move, error);
    } finally {
      await this.tellProgress(move); // nobody does later when another has ended the move meanwhile
      move.giving = false;
      if (move.isOver) this.moves.delete(record.id);
    }
    this.reconcile(move);
  }

  private contextOf(move: RunningMove, source: MovingSource, volumeId: number): BatchContext {
    const { options } = this;
    const { record, stats } = move;
    return {
      ...options,
      ...source,
      volumeName: record.volume,
      stats,
      idleBuffers: [],
      pacer: new Pacer(options.clock, record.rateBytesPerSecond, {
        operations: () => source.local.begun,
        reads: () => source.local.begunReads,
        idleMs: () => options.volumes.loopIdleMs(),
        givers: () => move.givers,
      }),
      strict: record.strict,
      destination: new DestinationLink(options.hub, record.to, volumeId),
      epoch: () => source.volume.epoch,
      nextToken: () => (this.token = this.token === 0xffffffff ? 1 : this.token + 1),
      checkGoing: () => this.checkGoing(move),
      moveCondition: () => move.condition,
      rereadMove: () => this.reread(move).then(() => this.checkGoing(move)),
      isStopping: () => this.stopping,
      giveBack: (given) => options.volumes.gaveAway(record.volume, given),
    };
  }

  /** A commit for the move was refused: it may be over, and the word of it late. */
  private async reread(move: RunningMove): Promise<void> {
    const entry = await this.options.store.get(keys.move(move.record.id));
    const record = this.recordOf(entry);
    if (entry === undefined || record === null) move.vanished();
    else move.heard(record, entry.revision);
  }

  private checkGoing(move: RunningMove): void {
    if (this.stopping || move.record.state !== 'active') {
      throw new BlockferryError('CANCELLED', `the move of ${move.record.volume} was stopped`);
    }
  }

  private async gaveUp(move: RunningMove, error: unknown): Promise<void> {
    if (error instanceof BlockferryError && error.code === 'CANCELLED') return;
    this.options.log.warn({ volume: move.record.volume, error: describeError(error) }, 'a move failed');
    move.stats.lastError = move.failure = describeError(error);
    move.sparesDestination = !isDestinations(error);
    await this.finish(move, 'failed', move.failure);
  }

  private async giveHome(move: RunningMove, routed: RoutedVolume): Promise<void> {
    const { table, log, waypoints, volumes, store } = this.options;
    const { volume, to } = move.record;
    if (volumes.homeCondition(volume) === null) return; // the next upkeep looks again
    move.committingHome = true;
    const { id } = routed.record;
    // To one that has left, or leaves meanwhile, it would be lost: only a home gives its office away. Where that is not to be
    // had, or the store does not answer, the next upkeep looks again.
    const there = await store.get(keys.member(to)).catch(() => undefined);
    if (there === undefined) {
      move.committingHome = false;
      return;
    }
    volumes.givingHome(id, true);
    let isRefused = true;
    try {
      const condition = (await volumes.quieten(volume)) ? volumes.homeCondition(volume) : null;
      isRefused = condition === null;
      if (!isRefused) volumes.committingHome(id, true);
      waypoints.reached('home.asked');
      const change = routed.route.withHome(to, volumes.unflushed(volume));
      const place = { key: there.key, revision: there.revision };
      const route = condition && (await table.commit(routed, change, [condition, place, move.condition]));
      waypoints.reached('home.done');
      if (route !== null) log.info({ volume, home: route.home }, 'the home has moved');
      else if (!isRefused) await this.reread(move);
    } catch (error) {
      log.warn({ error: describeError(error) }, 'the home could not be committed; reading the route back');
      if (!(await this.readBack(volume))) return;
    } finally {
      move.committingHome = false;
    }
    if (!isRefused) volumes.committingHome(id, false);
    volumes.givingHome(id, false);
    if (!isRefused) this.reconcile(move); // or the loop would do nothing but ask: the next upkeep looks again
  }

  /** Until the store answers: as long as it is not known whether the home was given away, this member is not surely home. */
  private async readBack(volume: string): Promise<boolean> {
    const { table, clock } = this.options;
    while (!this.stopping) {
      try {
        await table.refresh(volume);
        return true;
      } catch {
        await sleep(clock, READ_BACK_RETRY_MS);
      }
    }
    return false;
  }

  /** Ends the move's record and frees its volume for the next, if nobody did. */
  private async finish(move: RunningMove, state: 'done' | 'failed', error: string): Promise<void> {
    const { store, clock, waypoints } = this.options;
    move.finishing = true;
    let ended: MoveRecord | null = null;
    let record = move.record;
    try {
      await this.writeProgress(move);
      const entry = await store.get(keys.move(record.id));
      const read = this.recordOf(entry);
      if (entry === undefined || read === null) return;
      move.record = record = read;
      if (record.state !== 'active') return;
      const { sparesDestination } = move;
      ended = {
        ...record,
        state,
        sparesDestination,
        error: error.slice(0, 1024),
        finishedAtMs: clock.wallMs(),
      };
      waypoints.reached('move.finishing');
      move.record = ended; // this member's part is over, also when somebody else ends the move first
      await store.txn(
        [{ key: entry.key, revision: entry.revision }],
        [{ put: entry.key, value: formatRecord(ended) }, { delete: keys.moving(record.volume) }],
      );
      waypoints.reached('move.finished');
    } catch (failure) {
      // Not ended after all: the next upkeep looks again. Unless it was heard meanwhile that somebody has ended it.
      if (move.record === ended) move.record = record;
      throw failure;
    } finally {
      move.finishing = false;
    }
  }

  /** While moves are under way: figures for those who watch, and a look whether something is due. */
  private upkeepSoon(): void {
    if (this.timer !== null || this.moves.size === 0 || this.stopping) return;
    this.timer = this.options.clock.after(PROGRESS_INTERVAL_MS, () => {
      this.timer = null;
      for (const move of this.moves.values()) {
        this.track(this.writeProgress(move));
        this.reconcile(move);
      }
      this.upkeepSoon();
    });
  }

  private async tellProgress(move: RunningMove): Promise<void> {
    try {
      await this.writeProgress(move);
    } catch (error) {
      this.options.log.warn({ error: describeError(error) }, 'the figures of a move could not be written');
    }
  }

  private async writeProgress(move: RunningMove): Promise<void> {
    const value = formatRecord(move.stats.toRecord());
    if (value === move.written) return;
    await this.options.store.txn([], [{ put: keys.progressOf(move.record.id, this.options.self), value }]);
    move.written = value;
  }

  private track(task: Promise<void>): void {
    const guarded = task
      .catch((error: unknown) => this.options.log.error({ error: describeError(error) }, 'a move stumbled'))
      .finally(() => this.tasks.delete(guarded));
    this.tasks.add(guarded);
  }
}

function idOf(key: string): string {
  return key.slice(keys.moves.length);
}
