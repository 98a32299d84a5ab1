/**
 * One member's part in balancing the group. All members are equal: each has all vectors, and the one that serves the most
 * proposes. It plans (balance/), asks for the moves in the store as a person would, and remembers what it decided and
 * why; what came of it is outcome-watch.ts. Members then carry the moves out (migration/).
 */
import type { GroupPicture, Plan, Policy } from '../balance/contract.js';
import { decisionOf, isRepetition, lineOf, type Decision, type GroupFigures } from '../balance/decision.js';
import { BlockferryError, describeError } from '../base/errors.js';
import type { Clock } from '../base/clock.js';
import { DECISION_REPEAT_MS, LEASE_TTL_MS } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import { randomToken, type Random } from '../base/random.js';
import {
  createMove,
  listPlacements,
  movingVolumes,
  placementOf,
  putDecision,
  readMoves,
  shareOf,
  type Placement,
} from '../group/admin.js';
import { keys, type BalanceRecord, type MoveRecord } from '../group/records.js';
import type { GroupStore, StoreEntry, StoreLease } from '../group/store.js';
import { requestsPerSecond, type DatedVector } from '../load/vector.js';
import type { RoutingTable } from '../routing/table.js';
import { figuresOf, pictureOf } from './group-picture.js';
import { OutcomeWatch } from './outcome-watch.js';

export interface BalancerParts {
  readonly self: string;
  readonly store: GroupStore;
  readonly table: RoutingTable;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly plan: Policy;
  /** Members that are up. */
  members(): readonly string[];
  /** The last vector of each member that has told one. */
  vectors(): ReadonlyMap<string, DatedVector>;
  /** As the group has set it, now. */
  balance(): BalanceRecord;
}

/** The group at one moment. */
interface Looked {
  readonly picture: GroupPicture;
  readonly moves: readonly MoveRecord[];
  /** Of the routes in the picture, by volume. */
  readonly revisions: ReadonlyMap<string, number>;
}

/** The right to ask for moves: one member has it at a time. */
interface Office {
  readonly lease: StoreLease;
  /** Of its record in the store: who asks by another has lost it. */
  readonly revision: number;
}

/** The store has said no: asking again would be no use, and the move is not there. */
const REFUSALS: ReadonlySet<string> = new Set(['STALE', 'BUSY', 'NOT_FOUND', 'INVALID', 'CONFLICT']);

export class Balancer {
  private isDeciding = false;
  private isClosed = false;
  private last: Decision | null = null;
  private writtenAtMs = 0;
  private readonly outcomes: OutcomeWatch;
  /** Volumes whose owners' wishes could not be read when it was last looked. */
  private unreadable: ReadonlySet<string> = new Set();

  constructor(private readonly parts: BalancerParts) {
    this.outcomes = new OutcomeWatch(parts);
  }

  /** A window has passed: looks, and acts if it is this member's to act. Never rejects. */
  async windowEnded(): Promise<void> {
    if (this.isDeciding || this.isClosed) return; // the store is slow: this window is left out
    this.isDeciding = true;
    try {
      await this.decide();
    } catch (error) {
      if (!this.isClosed)
        this.parts.log.warn({ error: describeError(error) }, 'the balance of the group cannot be looked at');
    } finally {
      this.isDeciding = false;
    }
  }

  close(): void {
    this.isClosed = true;
  }

  private async decide(): Promise<void> {
    const { settings } = this.parts.balance();
    const isMine = settings.policy !== 'none' && this.servesTheMost();
    if (!isMine) this.last = null;
    if (!isMine && !this.outcomes.isAwaiting(this.parts.members())) return;
    const { picture, moves } = await this.look();
    await this.outcomes.windowEnded(picture, moves);
    if (!isMine) return;
    const plan = this.parts.plan(picture, settings);
    if (plan.verdict === 'act') await this.carryOut();
    else await this.remember(this.decided(plan, figuresOf(picture)));
  }

  /** By weight, among those whose vectors are fresh; of two alike the one whose name comes first. */
  private servesTheMost(): boolean {
    const balance = this.parts.balance();
    let busiest = '';
    let most = -1;
    for (const [name, { vector, isFresh }] of this.parts.vectors()) {
      const { weight } = shareOf(balance, name);
      const share = requestsPerSecond(vector) / Math.max(weight, Number.MIN_VALUE);
      if (!isFresh || share < most || (share === most && name > busiest)) continue;
      [busiest, most] = [name, share];
    }
    return busiest === this.parts.self;
  }

  private async look(): Promise<Looked> {
    const { store, table, clock } = this.parts;
    const [said, moves, moving] = await Promise.all([
      listPlacements(store),
      readMoves(store),
      movingVolumes(store),
    ]);
    const picture = pictureOf({
      ...{ moves, moving, nowMs: clock.wallMs(), volumes: table.volumes, placements: this.placements(said) },
      members: this.parts.members(),
      vectors: this.parts.vectors(),
      balance: this.parts.balance(),
    });
    const revisions = new Map(
      [...table.volumes].map(({ record, route }) => [record.name, route.headRevision]),
    );
    return { picture, moves, revisions };
  }

  /** What was said of each volume. One whose record cannot be read stays, which is told once, and in nobody else's way. */
  private placements(said: ReadonlyMap<string, StoreEntry>): Map<string, Placement> {
    const { table, log } = this.parts;
    const placements = new Map<string, Placement>();
    const unreadable = new Set<string>();
    for (const { record } of table.volumes) {
      const placement = placementOf(said.get(record.name), record.id);
      placements.set(record.name, placement);
      if (placement.unreadable === '') continue;
      unreadable.add(record.name);
      if (this.unreadable.has(record.name)) continue;
      const { name: volume } = record;
      log.warn(
        { volume, error: placement.unreadable },
        'where it may be cannot be read: it stays as if pinned',
      );
    }
    this.unreadable = unreadable;
    return placements;
  }

  /**
   * Plans once more in office, so that two plans never cross, and asks for the moves. A route that changes in between, or an
   * office that is lost, refuses a move, and the rest of the plan is dropped: it was made for another group.
   */
  private async carryOut(): Promise<void> {
    const office = await this.takeOffice();
    if (office === null) return; // somebody else is at it
    try {
      const { picture, revisions } = await this.look();
      const plan = this.parts.plan(picture, this.parts.balance().settings);
      const decision = this.decided(plan, figuresOf(picture));
      const carried = { ...decision, moves: await this.askFor(decision, revisions, office) };
      if (carried.moves.some(({ move }) => move !== null)) this.outcomes.expect(carried, picture);
      await this.remember(carried);
    } finally {
      await office.lease.revoke().catch(() => undefined); // it runs out by itself
    }
  }

  private async takeOffice(): Promise<Office | null> {
    const { store, self } = this.parts;
    const lease = await store.lease(LEASE_TTL_MS);
    let isTaken = false;
    try {
      const put = [{ put: keys.planner, value: self, lease }];
      const { committed, revision } = await store.txn([{ key: keys.planner, revision: 0 }], put);
      isTaken = committed;
      return committed ? { lease, revision } : null;
    } finally {
      if (!isTaken) await lease.revoke().catch(() => undefined);
    }
  }

  /** A move that waits for another to make room is left out: the next plan has it again. */
  private async askFor(
    decision: Decision,
    revisions: Looked['revisions'],
    { revision: office }: Office,
  ): Promise<Decision['moves']> {
    const asked: Decision['moves'] = [];
    let refusal = '';
    for (const wanted of decision.moves) {
      if (refusal === '' && wanted.after === null && !this.isClosed) {
        const planned = { office, headRevision: revisions.get(wanted.volume) ?? 0 };
        const one = await this.askForOne(decision.id, wanted, planned);
        refusal = one.refusal;
        asked.push(one);
      } else {
        const waits = `${wanted.after} has to make room first`;
        asked.push({ ...wanted, refusal: this.isClosed ? 'the member is stopping' : refusal || waits });
      }
    }
    return asked;
  }

  private async askForOne(
    decision: string,
    wanted: Decision['moves'][number],
    planned: { readonly office: number; readonly headRevision: number },
  ): Promise<Decision['moves'][number]> {
    const { store, clock, random, log } = this.parts;
    const { volume, from, to, extents: range } = wanted;
    try {
      const { id } = await createMove(
        store,
        { clock, random },
        {
          ...{ volume, to, range, ...planned, handover: 'ask', rateBytesPerSecond: null },
          balancing: { decision, from },
        },
      );
      log.info({ volume, to, extents: range, move: id, reason: wanted.reason }, 'the group balances itself');
      return { ...wanted, move: id };
    } catch (error) {
      const isRefused = error instanceof BlockferryError && REFUSALS.has(error.code);
      // What the store does not tell now is not known to be there: what was asked for before is remembered all the same.
      const id = isRefused ? null : await this.moveOf(decision, volume).catch(() => null);
      return { ...wanted, move: id, refusal: id === null ? lineOf(describeError(error)) : '' };
    }
  }

  /** The answer of the store was lost: the move may be there all the same. */
  private async moveOf(decision: string, volume: string): Promise<string | null> {
    const moves = await readMoves(this.parts.store);
    return moves.find((move) => move.balancing?.decision === decision && move.volume === volume)?.id ?? null;
  }

  private decided(plan: Plan, before: GroupFigures | null): Decision {
    const { self, random, clock } = this.parts;
    const { policy } = this.parts.balance().settings;
    const about = { id: randomToken(random), atMs: Math.floor(clock.wallMs()), by: self, policy, before };
    return decisionOf(plan, about);
  }

  private async remember(decision: Decision): Promise<void> {
    const { clock, store } = this.parts;
    const { last } = this;
    const again = isRepetition(decision, last) ? last : null;
    this.last =
      again === null ? decision : { ...decision, id: again.id, atMs: again.atMs, times: again.times + 1 };
    const nowMs = clock.nowMs();
    if (again !== null && nowMs - this.writtenAtMs < DECISION_REPEAT_MS) return;
    this.writtenAtMs = nowMs;
    await putDecision(store, this.last);
  }
}
