/** The load of one member put together: what the monitor looks at, the board of all vectors, and their exchange. */
import type { Clock } from '../base/clock.js';
import { describeError } from '../base/errors.js';
import { LOADS_BYTES_MAX, STALE_WINDOWS, STALE_WINDOWS_GOSSIP } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import type { Random } from '../base/random.js';
import { DEFAULT_SETTINGS } from '../balance/settings.js';
import type { GroupView } from '../group/group-view.js';
import type { SessionRegistry } from '../iscsi/target/registry.js';
import { excerptOf, LoadBoard } from '../load/board.js';
import { isDirect } from '../load/gossip.js';
import { LoadMonitor, type MonitoredVolume } from '../load/monitor.js';
import type { DatedVector } from '../load/vector.js';
import type { Hub } from '../peer/hub.js';
import type { DataFolder } from '../storage/data-folder.js';
import type { LoopWatch } from './doors.js';
import type { VolumeHost } from './host.js';
import { LoadExchange } from './load-exchange.js';

export interface MemberLoadParts {
  readonly self: string;
  readonly incarnation: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly view: Pick<GroupView, 'members' | 'get'>;
  readonly hub: Pick<Hub, 'send' | 'stats'>;
  readonly registry: Pick<SessionRegistry, 'counts' | 'initiators'>;
  readonly host: Pick<VolumeHost, 'all'>;
  readonly folder: Pick<DataFolder, 'space'>;
  readonly loop: LoopWatch;
  /** Default: that of the settings of balancing. */
  readonly windowMs: number | undefined;
}

export class MemberLoad {
  readonly board: LoadBoard;
  readonly monitor: LoadMonitor;
  readonly exchange: LoadExchange;
  /** Null: some windows. */
  private staleMs: number | null = null;
  private space = { usedBytes: 0, freeBytes: 0 };
  private isClosed = false;

  constructor(private readonly parts: MemberLoadParts) {
    const { self, incarnation, clock, random, view, hub, registry, loop } = parts;
    this.board = new LoadBoard({
      clock,
      processOf: (member) => (member === self ? incarnation : view.get(member)?.incarnation),
      staleMs: () => this.staleMs ?? this.monitor.windowMs * staleWindows(view.members.length),
    });
    this.exchange = new LoadExchange({
      ...{ self, board: this.board, hub, clock, random },
      others: () => view.members.map(({ name }) => name).filter((name) => name !== self),
      roundTripMs: (member) => roundTrips(hub).get(member) ?? 0,
    });
    this.monitor = new LoadMonitor(
      {
        ...{ clock, incarnation, member: self },
        counts: () => ({ processorMs: loop.processorMs, idleMs: loop.idleMs, ...registry.counts }),
        takeLoopDelayMs: () => loop.takeDelayMs(),
        sessions: () => registry.counts.sessions,
        roundTrips: () => roundTrips(hub),
        volumes: () => this.volumes(),
        space: () => this.space,
      },
      parts.windowMs ?? DEFAULT_SETTINGS.windowMs,
    );
    this.monitor.onWindow((vector) => {
      this.exchange.finished(vector);
      void this.lookAtSpace();
    });
  }

  start(): void {
    void this.lookAtSpace();
    this.monitor.start();
  }

  close(): void {
    this.isClosed = true;
    this.monitor.close();
  }

  /** From which age a vector is not acted on; null: after some windows. */
  setStale(ms: number | null): void {
    this.staleMs = ms;
  }

  /** The answer to QUERY {"what":"loads"}: the board, as far as it goes into one frame. */
  answer(): readonly DatedVector[] {
    return excerptOf(this.board.all(), LOADS_BYTES_MAX);
  }

  private async lookAtSpace(): Promise<void> {
    try {
      this.space = await this.parts.folder.space();
    } catch (error) {
      if (this.isClosed) return;
      this.parts.log.warn({ error: describeError(error) }, 'the space of the data folder cannot be told');
    }
  }

  private *volumes(): Generator<MonitoredVolume> {
    const initiators = this.parts.registry.initiators();
    for (const held of this.parts.host.all) {
      yield {
        name: held.record.name,
        traffic: held.traffic,
        pinned: held.local.pinned,
        initiators: initiators.get(held.record.iqn) ?? 0,
        holdsHere: (extent) => held.holdsHere(extent),
      };
    }
  }
}

function staleWindows(members: number): number {
  return isDirect(members) ? STALE_WINDOWS : STALE_WINDOWS_GOSSIP;
}

/** The last one to each member that has answered a ping; the shorter one of two links. */
function roundTrips(hub: Pick<Hub, 'stats'>): Map<string, number> {
  const all = new Map<string, number>();
  for (const { member, rttMs } of hub.stats()) {
    if (rttMs >= 0) all.set(member, Math.min(rttMs, all.get(member) ?? Infinity));
  }
  return all;
}
