/**
 * The management API's desk over a real group: reads the store and the routing table, asks members for their sessions,
 * and leaves changes to group/admin.ts. Holds no state of its own.
 */
import { z } from 'zod';
import { BlockferryError } from '../base/errors.js';
import type { Clock } from '../base/clock.js';
import { formatAddress } from '../base/net.js';
import type { Random } from '../base/random.js';
import {
  balanceOrNone,
  cancelMove,
  createMove,
  createVolume,
  deleteVolume,
  getBalance,
  getMove,
  isBeingMade,
  listCreations,
  listDecisions,
  listMoves,
  listPlacements,
  movingVolumes,
  placementOf,
  refuseIfFailed,
  setBalance,
  setPlacement,
  shareOf,
  type MoveStatus,
} from '../group/admin.js';
import { MemberRecord, keys, parseRecord, type BalanceRecord } from '../group/records.js';
import type { GroupStore, StoreEntry } from '../group/store.js';
import { sizesOf } from '../group/volume-sizes.js';
import { DatedVectors } from '../load/vector.js';
import type { PeerHub } from '../peer/contract.js';
import type { RoutedVolume, RoutingTable } from '../routing/table.js';
import {
  volumeUrl,
  type BalanceView,
  type CreateMove,
  type CreateVolume,
  type DecisionView,
  type LoadsView,
  type MemberView,
  type MoveView,
  type RouteView,
  type SessionView,
  type SessionsView,
  type SetBalance,
  type SetVolume,
  type StatusView,
  type TraceView,
  type VolumeView,
} from './api.js';
import type { ManageDesk } from './desk.js';
import { takersAmong } from './drain-plan.js';
import { fullestBoard } from './fullest-board.js';
import { loadsView } from './loads-view.js';
import { queryMember } from './query.js';
import { traceOf } from './trace-view.js';

export interface GroupDeskParts {
  readonly store: GroupStore;
  readonly table: RoutingTable;
  readonly hub: PeerHub;
  readonly clock: Clock;
  readonly random: Random;
  readonly group: string;
  /** The group portal as HOST:PORT. */
  readonly portal: string;
  /** Where this API is reached, known once it listens. */
  manageUrl(): string;
  /** The members that this process watches over: it knows better than their records which of them serve now. */
  watched(): readonly Omit<MemberView, 'startedAtMs'>[];
}

/** What a member answers to QUERY {"what":"sessions"}: the fields that this API shows. */
const SessionsAnswer = z.array(
  z.object({
    iqn: z.string(),
    initiatorName: z.string(),
    isid: z.string(),
    peer: z.string(),
    sinceMs: z.number(),
    commands: z.number(),
    bytesRead: z.number(),
    bytesWritten: z.number(),
    inFlight: z.number(),
  }),
);

/** What the store says of volumes besides their records and routes, by name. */
interface SaidOfVolumes {
  /** The id of the move under way. */
  readonly moving: ReadonlyMap<string, string>;
  /** Bytes allocated of those that are being made. */
  readonly creations: ReadonlyMap<string, number>;
  readonly placements: ReadonlyMap<string, StoreEntry>;
}

export class GroupDesk implements ManageDesk {
  constructor(private readonly parts: GroupDeskParts) {}

  async status(): Promise<StatusView> {
    const { group, portal } = this.parts;
    const [members, volumes, moves] = await Promise.all([this.members(), this.volumes(), this.moves()]);
    const active = moves.filter((move) => move.state === 'active');
    return { group, portal, manage: this.parts.manageUrl(), members, volumes, moves: active };
  }

  async members(): Promise<MemberView[]> {
    const views = new Map((await this.recordedMembers()).map((record) => [record.name, memberView(record)]));
    for (const member of this.parts.watched()) {
      const recorded = views.get(member.name);
      // A process that hangs is there, and has lost its lease, and its record with it: it serves nobody.
      const alive = member.alive && recorded !== undefined;
      views.set(member.name, { ...member, alive, startedAtMs: recorded?.startedAtMs ?? 0 });
    }
    return [...views.values()].sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  }

  async volumes(): Promise<VolumeView[]> {
    const { table } = this.parts;
    const said = await this.saidOfVolumes();
    const views = [...table.volumes].map((volume) => this.volumeView(volume, said));
    return views.sort((a, b) => a.name.localeCompare(b.name));
  }

  async volume(name: string): Promise<VolumeView> {
    return this.volumeView(await this.find(name), await this.saidOfVolumes());
  }

  async setVolume(name: string, { pinned, labels }: SetVolume): Promise<VolumeView> {
    await setPlacement(this.parts.store, name, { isPinned: pinned, labels });
    return this.volume(name);
  }

  async createVolume(wanted: CreateVolume): Promise<VolumeView> {
    const { store, clock, random, table } = this.parts;
    const { size, blockSize, extentSize, home, ...nameAndKind } = wanted;
    await createVolume(
      store,
      { clock, random },
      {
        ...nameAndKind,
        ...sizesOf(size, blockSize, extentSize),
        home: home ?? (await this.leastLoadedMember()),
      },
    );
    await table.refresh(wanted.name);
    return this.volume(wanted.name);
  }

  async deleteVolume(name: string): Promise<void> {
    await deleteVolume(this.parts.store, name);
    await this.parts.table.refresh(name);
  }

  async route(volume: string): Promise<RouteView> {
    const { route } = await this.find(volume);
    const { epoch, home, extents } = route;
    return { volume, epoch, home, extents, runs: [...route.runs()] };
  }

  async sessions(): Promise<SessionsView> {
    const members = await this.recordedMembers();
    const answers = await Promise.all(members.map((member) => this.sessionsAt(member.name)));
    const silent = members.filter((_, i) => answers[i] === undefined).map((member) => member.name);
    return { sessions: answers.flatMap((answer) => answer ?? []), silent };
  }

  async loads(): Promise<LoadsView> {
    const { hub, clock, store } = this.parts;
    const [members, up, said] = await Promise.all([
      this.members(),
      this.recordedMembers(),
      store.get(keys.balance),
    ]);
    const balance = balanceOrNone(said);
    const { from, vectors } = await fullestBoard(
      up.map(({ name }) => name),
      clock,
      (member) => queryMember(hub, member, 'loads', DatedVectors),
    );
    const names = members.map(({ name }) => name);
    return loadsView(from, names, vectors, (member) => shareOf(balance, member).weight);
  }

  async moves(): Promise<MoveView[]> {
    const moves = await listMoves(this.parts.store);
    return moves.map(moveView).sort((a, b) => b.createdAtMs - a.createdAtMs);
  }

  async move(id: string): Promise<MoveView> {
    return moveView(await getMove(this.parts.store, id));
  }

  async createMove(wanted: CreateMove): Promise<MoveView> {
    const { store, clock, random } = this.parts;
    const record = await createMove(
      store,
      { clock, random },
      {
        volume: wanted.volume,
        to: wanted.to,
        range: wanted.extents ?? null,
        rateBytesPerSecond: wanted.rate ?? null,
        handover: wanted.handover ?? 'ask',
        strict: wanted.strict ?? false,
      },
    );
    return this.move(record.id);
  }

  async cancelMove(id: string): Promise<MoveView> {
    await cancelMove(this.parts.store, this.parts.clock, id);
    return this.move(id);
  }

  async trace(after: string | undefined): Promise<TraceView> {
    const members = await this.recordedMembers();
    return traceOf(
      this.parts.hub,
      members.map(({ name }) => name),
      after,
    );
  }

  async balance(): Promise<BalanceView> {
    return this.balanceView(await getBalance(this.parts.store));
  }

  async setBalance(wanted: SetBalance): Promise<BalanceView> {
    return this.balanceView(await setBalance(this.parts.store, wanted));
  }

  async decisions(): Promise<DecisionView[]> {
    return (await listDecisions(this.parts.store)).reverse();
  }

  private async find(name: string): Promise<RoutedVolume> {
    const volume = await this.parts.table.refresh(name);
    if (volume === undefined) {
      await refuseIfFailed(this.parts.store, name);
      throw new BlockferryError('NOT_FOUND', `there is no volume ${name}`, "see 'blockferry volume list'");
    }
    return volume;
  }

  /** Those that hold a lease. */
  private async recordedMembers(): Promise<MemberRecord[]> {
    const { entries } = await this.parts.store.list(keys.members);
    return entries.map((entry) => parseRecord(MemberRecord, entry));
  }

  private async saidOfVolumes(): Promise<SaidOfVolumes> {
    const { store } = this.parts;
    const [moving, placements, creations] = await Promise.all([
      movingVolumes(store),
      listPlacements(store),
      listCreations(store),
    ]);
    return { moving, placements, creations };
  }

  private async balanceView(record: BalanceRecord): Promise<BalanceView> {
    const { store, table } = this.parts;
    const placements = await listPlacements(store);
    const unreadable = [...table.volumes]
      .map(({ record: { name, id } }) => [name, placementOf(placements.get(name), id).unreadable] as const)
      .filter(([, why]) => why !== '');
    return { ...record, unreadable: Object.fromEntries(unreadable) };
  }

  private volumeView({ record, route }: RoutedVolume, said: SaidOfVolumes): VolumeView {
    const { moving, placements, creations } = said;
    const { isPinned, labels, unreadable } = placementOf(placements.get(record.name), record.id);
    return {
      name: record.name,
      iqn: record.iqn,
      size: record.sizeBytes,
      blockSize: record.blockBytes,
      extentSize: record.extentBytes,
      extents: route.extents,
      home: route.home,
      epoch: route.epoch,
      holders: Object.fromEntries(route.countByHolder()),
      removable: record.removable,
      readOnly: record.readOnly,
      full: record.full,
      allocating: isBeingMade(record, route.epoch) ? (creations.get(record.name) ?? 0) : null,
      serial: record.serial,
      vendor: record.vendor,
      product: record.product,
      naa: record.naa,
      url: volumeUrl(this.parts.portal, record.iqn),
      pinned: isPinned,
      labels,
      unreadable,
      moving: moving.get(record.name) ?? null,
    };
  }

  /** Who holds the fewest bytes of those that something may be sent to. */
  private async leastLoadedMember(): Promise<string> {
    const [members, said] = await Promise.all([this.members(), this.parts.store.get(keys.balance)]);
    const balance = balanceOrNone(said);
    const takers = takersAmong(members, (name) => shareOf(balance, name).weight === 0);
    const load = new Map(takers.map((name) => [name, 0]));
    for (const { record, route } of this.parts.table.volumes) {
      for (const [member, extents] of route.countByHolder()) {
        const known = load.get(member);
        if (known !== undefined) load.set(member, known + extents * record.extentBytes);
      }
    }
    const [least] = [...load].sort(([, a], [, b]) => a - b);
    if (least === undefined)
      throw new BlockferryError('UNAVAILABLE', 'no member is up', 'try again in a moment');
    return least[0];
  }

  /** Undefined when the member does not answer. */
  private async sessionsAt(member: string): Promise<SessionView[] | undefined> {
    const answer = await queryMember(this.parts.hub, member, 'sessions', SessionsAnswer);
    return answer?.map(({ iqn, initiatorName, peer, ...rest }) => ({
      ...rest,
      member,
      volume: this.parts.table.getByIqn(iqn)?.record.name ?? iqn,
      initiator: initiatorName,
      remote: peer,
    }));
  }
}

function memberView(record: MemberRecord): MemberView {
  return {
    name: record.name,
    portal: formatAddress(record.portal),
    peer: formatAddress(record.peer),
    pid: record.pid,
    startedAtMs: record.startedAtMs,
    alive: true,
    access: record.targetPort === undefined ? 'redirect' : 'alua',
  };
}

/** The record's fields that people act on, and the figures. */
function moveView(move: MoveStatus): MoveView {
  return {
    id: move.id,
    volume: move.volume,
    from: move.sources === null ? move.from : move.sources.join(', ') || move.to,
    to: move.to,
    range: move.range,
    decision: move.balancing?.decision ?? '',
    state: move.state,
    error: move.error,
    createdAtMs: move.createdAtMs,
    finishedAtMs: move.finishedAtMs,
    extents: move.extents,
    extentsDone: move.extentsDone,
    bytesCopied: move.bytesCopied,
    bytesRecopied: move.bytesRecopied,
    restarts: move.restarts,
    sessions: move.sessions,
    stallMsMax: move.stallMsMax,
    lastError: move.lastError,
  };
}
