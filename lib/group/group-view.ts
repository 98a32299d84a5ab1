/** Who is in the group, kept current by a watch: a map of names to records. It joins nothing and dials nobody. */
import { systemClock, type Clock, type Timer } from '../base/clock.js';
import { describeError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { MemberRecord, keys, parseRecord } from './records.js';
import type { GroupStore, StoreEntry, StoreEvent, StoreWatch } from './store.js';

/** Pause before the members are read again when the store did not answer. */
const RETRY_MS = 1_000;

/**
 * Told of every change; null: the member has left, or its lease ran out.
 * @param before undefined: it was not there
 */
export type MemberChange = (
  name: string,
  record: MemberRecord | null,
  before: MemberRecord | undefined,
) => void;

export class GroupView {
  private readonly records = new Map<string, MemberRecord>();
  private watch: StoreWatch | null = null;
  private retry: Timer | null = null;
  private isClosed = false;

  private constructor(
    private readonly store: GroupStore,
    private readonly log: Logger,
    private readonly onChange: MemberChange,
    private readonly clock: Clock,
  ) {}

  /** Resolves when every present member was told of. */
  static async open(
    store: GroupStore,
    log: Logger,
    onChange: MemberChange,
    clock: Clock = systemClock,
  ): Promise<GroupView> {
    const view = new GroupView(store, log, onChange, clock);
    await view.readAll();
    return view;
  }

  get members(): MemberRecord[] {
    return [...this.records.values()];
  }

  get(name: string): MemberRecord | undefined {
    return this.records.get(name);
  }

  close(): void {
    this.isClosed = true;
    this.retry?.cancel();
    this.watch?.close();
  }

  private async readAll(): Promise<void> {
    const { entries, revision } = await this.store.list(keys.members);
    if (this.isClosed) return;
    const present = new Set(entries.map((entry) => nameOf(entry.key)));
    for (const name of [...this.records.keys()]) if (!present.has(name)) this.set(name, null);
    for (const entry of entries) this.set(nameOf(entry.key), entry);
    this.watch = this.store.watch(keys.members, revision, {
      events: (events) => this.events(events),
      compacted: () => this.readAgain(),
    });
  }

  private readAgain(): void {
    this.readAll().catch((error: unknown) => {
      if (this.isClosed) return;
      this.log.error({ error: describeError(error) }, 'the members could not be read; trying again');
      this.retry = this.clock.after(RETRY_MS, () => this.readAgain());
    });
  }

  private events(events: readonly StoreEvent[]): void {
    for (const { key, entry } of events) this.set(nameOf(key), entry);
  }

  private set(name: string, entry: StoreEntry | null): void {
    let record: MemberRecord | null = null;
    try {
      if (entry !== null) record = parseRecord(MemberRecord, entry);
    } catch (error) {
      this.log.error({ error: describeError(error) }, 'a member is left out');
      return;
    }
    const before = this.records.get(name);
    if (record === null ? !this.records.delete(name) : isSame(before, record)) return;
    if (record !== null) this.records.set(name, record);
    this.onChange(name, record, before);
  }
}

function nameOf(key: string): string {
  return key.slice(keys.members.length);
}

function isSame(a: MemberRecord | undefined, b: MemberRecord): boolean {
  return a !== undefined && JSON.stringify(a) === JSON.stringify(b);
}
