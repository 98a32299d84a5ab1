/**
 * The routing table: every volume of the group with its route, kept current by watching the store, and readable without
 * waiting. It is the resolver's cache; the truth of a route is the store's (I3), and refresh() goes and looks.
 */
import type { Clock, Timer } from '../base/clock.js';
import { BlockferryError, describeError } from '../base/errors.js';
import { STORE_RELIST_RETRY_MS } from '../base/limits.js';
import type { Logger } from '../base/log.js';
import { Following, type ReadUpTo } from '../group/following.js';
import {
  ROUTE_CHUNK_EXTENTS,
  RouteChunkRecord,
  RouteHeadRecord,
  VolumeRecord,
  formatRecord,
  keys,
  parseRecord,
} from '../group/records.js';
import type { GroupStore, StoreCompare, StoreEntry, StoreEvent, StoreOperation } from '../group/store.js';
import type { MemberIds } from './member-ids.js';
import { Route, type RouteChange } from './route.js';

export interface RoutedVolume {
  readonly record: VolumeRecord;
  readonly route: Route;
}

/** Told of every change, after the table has it. `before` is absent for a new volume, `now` for a deleted one. */
export type RouteListener = (now: RoutedVolume | undefined, before: RoutedVolume | undefined) => void;

export class RoutingTable {
  private readonly byName = new Map<string, RoutedVolume>();
  private readonly byIqn = new Map<string, string>();
  private readonly byId = new Map<number, string>();
  private readonly listeners: RouteListener[] = [];
  private following!: Following;
  /** By volume: when it is read again. */
  private readonly retries = new Map<string, Timer>();
  private closed = false;

  private constructor(
    private readonly store: GroupStore,
    private readonly ids: MemberIds,
    private readonly log: Logger,
    private readonly clock: Clock,
  ) {}

  /** Reads everything, then follows. */
  static async open(store: GroupStore, ids: MemberIds, log: Logger, clock: Clock): Promise<RoutingTable> {
    const table = new RoutingTable(store, ids, log, clock);
    table.following = await Following.begin({
      ...{ store, log, clock, what: 'the routing table' },
      read: () => table.load(),
      events: (events) => table.take(events),
    });
    return table;
  }

  close(): void {
    this.closed = true;
    for (const retry of this.retries.values()) retry.cancel();
    this.following.close();
  }

  onChange(listener: RouteListener): void {
    this.listeners.push(listener);
  }

  get(volume: string): RoutedVolume | undefined {
    return this.byName.get(volume);
  }

  getByIqn(iqn: string): RoutedVolume | undefined {
    const name = this.byIqn.get(iqn);
    return name === undefined ? undefined : this.byName.get(name);
  }

  getById(id: number): RoutedVolume | undefined {
    const name = this.byId.get(id);
    return name === undefined ? undefined : this.byName.get(name);
  }

  get volumes(): IterableIterator<RoutedVolume> {
    return this.byName.values();
  }

  /** Reads one volume from the store and adopts what is newer. Undefined: there is no such volume. */
  async refresh(volume: string): Promise<RoutedVolume | undefined> {
    const [record, listing] = [
      await this.store.get(keys.volume(volume)),
      await this.store.list(keys.route(volume)),
    ];
    if (record === undefined) {
      this.forget(volume);
      return undefined;
    }
    const route = this.routeFrom(volume, listing.entries);
    if (route !== undefined) this.adopt({ record: parseRecord(VolumeRecord, record), route });
    return this.byName.get(volume);
  }

  /** Reads volumes that the table has not heard of yet. */
  async refreshNew(): Promise<void> {
    for (const entry of (await this.store.list(keys.volumes)).entries) {
      const { name } = parseRecord(VolumeRecord, entry);
      if (!this.byName.has(name)) await this.refresh(name);
    }
  }

  /** Like refresh, by the name initiators use. */
  async refreshIqn(iqn: string): Promise<RoutedVolume | undefined> {
    const known = this.byIqn.get(iqn);
    if (known !== undefined) return this.refresh(known);
    for (const entry of (await this.store.list(keys.volumes)).entries) {
      const record = parseRecord(VolumeRecord, entry);
      if (record.iqn === iqn) return this.refresh(record.name);
    }
    return undefined;
  }

  /**
   * Commits a change of a route: a compare-and-swap on its head (I3), durable when it resolves, and then adopted here.
   * @param conditions what else must hold for the change to be made
   * @param also what else is written with it
   * @returns the new route, or null when a condition does not hold or somebody else changed the route first (the table has
   *   theirs by then)
   * @throws what the store threw, when it is not known whether the change was made: refresh() before acting
   */
  async commit(
    volume: RoutedVolume,
    change: RouteChange,
    conditions: readonly StoreCompare[] = [],
    also: readonly StoreOperation[] = [],
  ): Promise<Route | null> {
    const { name } = volume.record;
    const head = { put: keys.routeHead(name), value: formatRecord(change.head) };
    const operations: StoreOperation[] = [head, ...also];
    for (const [index, chunk] of change.chunks) {
      const key = keys.routeChunk(name, index);
      operations.push(chunk === null ? { delete: key } : { put: key, value: formatRecord(chunk) });
    }
    const compare = { key: keys.routeHead(name), revision: volume.route.headRevision };
    const result = await this.store.txn([compare, ...conditions], operations);
    if (!result.committed) {
      await this.refresh(name);
      return null;
    }
    const current = this.byName.get(name);
    if (current === undefined || current.route.epoch < change.head.epoch) {
      this.adopt({ record: volume.record, route: volume.route.applying(change, result.revision) });
    }
    return this.byName.get(name)?.route ?? null;
  }

  private async load(): Promise<ReadUpTo[]> {
    const volumes = await this.store.list(keys.volumes);
    const routes = await this.store.list(keys.routes);
    const byVolume = new Map<string, StoreEntry[]>();
    for (const entry of routes.entries) {
      const name = volumeOfRouteKey(entry.key);
      const list = byVolume.get(name);
      if (list === undefined) byVolume.set(name, [entry]);
      else list.push(entry);
    }
    for (const entry of volumes.entries) {
      const record = parseRecord(VolumeRecord, entry);
      const route = this.routeFrom(record.name, byVolume.get(record.name) ?? []);
      if (route !== undefined) this.adopt({ record, route });
    }
    const present = new Set(volumes.entries.map((entry) => entry.key));
    for (const name of [...this.byName.keys()]) if (!present.has(keys.volume(name))) this.forget(name);
    return [
      { prefix: keys.volumes, revision: volumes.revision },
      { prefix: keys.routes, revision: routes.revision },
    ];
  }

  private take(events: readonly StoreEvent[]): void {
    const stale = new Set<string>();
    for (const event of events) {
      const name = event.key.startsWith(keys.volumes)
        ? event.key.slice(keys.volumes.length)
        : volumeOfRouteKey(event.key);
      if (!this.isKnown(event, name)) stale.add(name);
    }
    for (const name of stale) this.refreshUntilRead(name);
  }

  /** The event that told of this change will not come again. */
  private refreshUntilRead(name: string): void {
    if (this.closed) return;
    this.retries.get(name)?.cancel();
    this.retries.delete(name);
    this.refresh(name).catch((error: unknown) => {
      if (this.closed) return;
      this.log.error({ volume: name, error: describeError(error) }, 'a route cannot be read; trying again');
      this.retries.get(name)?.cancel(); // of an earlier event
      const again = (): void => this.refreshUntilRead(name);
      this.retries.set(name, this.clock.after(STORE_RELIST_RETRY_MS, again));
    });
  }

  /** Our own commits come back through the watch: nothing to read then. */
  private isKnown(event: StoreEvent, name: string): boolean {
    const current = this.byName.get(name);
    return current !== undefined && event.revision <= current.route.headRevision;
  }

  private routeFrom(name: string, entries: readonly StoreEntry[]): Route | undefined {
    const headEntry = entries.find((entry) => entry.key === keys.routeHead(name));
    if (headEntry === undefined) return undefined;
    const head = parseRecord(RouteHeadRecord, headEntry);
    const chunks = new Map<number, RouteChunkRecord>();
    const prefix = keys.routeChunks(name);
    for (const entry of entries) {
      if (!entry.key.startsWith(prefix)) continue;
      const index = Number(entry.key.slice(prefix.length));
      if (!Number.isInteger(index) || index < 0 || index * ROUTE_CHUNK_EXTENTS >= head.extents) {
        throw new BlockferryError('INVALID', `store record ${entry.key} is beyond the volume`);
      }
      chunks.set(index, parseRecord(RouteChunkRecord, entry));
    }
    return Route.fromRecords(this.ids, head, headEntry.revision, chunks);
  }

  private adopt(volume: RoutedVolume): void {
    const { record } = volume;
    const before = this.byName.get(record.name);
    if (before !== undefined && before.record.id === record.id && before.route.epoch >= volume.route.epoch)
      return;
    if (before !== undefined && before.record.id !== record.id) this.forget(record.name);
    this.byName.set(record.name, volume);
    this.byIqn.set(record.iqn, record.name);
    this.byId.set(record.id, record.name);
    this.tell(volume, before?.record.id === record.id ? before : undefined);
  }

  private forget(name: string): void {
    const before = this.byName.get(name);
    if (before === undefined) return;
    this.byName.delete(name);
    this.byIqn.delete(before.record.iqn);
    this.byId.delete(before.record.id);
    this.tell(undefined, before);
  }

  private tell(now: RoutedVolume | undefined, before: RoutedVolume | undefined): void {
    for (const listener of this.listeners) listener(now, before);
  }
}

function volumeOfRouteKey(key: string): string {
  return key.slice(keys.routes.length, key.indexOf('/', keys.routes.length));
}
