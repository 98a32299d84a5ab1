/** How the group balances itself: its settings, where volumes may be, and the decisions that were made (admin.ts). */
import { Decision, lineOf } from '../balance/decision.js';
import { BlockferryError, describeError } from '../base/errors.js';
import { DECISIONS_MAX } from '../base/limits.js';
import { requireEntry } from './admin-volumes.js';
import { change, unchanged } from './attempts.js';
import {
  BalanceRecord,
  PlacementRecord,
  VolumeRecord,
  formatRecord,
  keys,
  parseRecord,
  readRecord,
  type Labels,
  type MemberShare,
} from './records.js';
import type { GroupStore, StoreEntry } from './store.js';

/** Null takes the label away. */
type LabelChange = Readonly<Record<string, string | null>>;
type Changed<T> = { readonly [K in keyof T]?: T[K] | undefined };

/** What is to be different; what is absent stays. */
export interface BalanceChange {
  readonly settings?: Changed<BalanceRecord['settings']> | undefined;
  /** A label that is null is taken away. */
  readonly members?:
    | Readonly<
        Record<string, { readonly weight?: number | undefined; readonly labels?: LabelChange | undefined }>
      >
    | undefined;
}

export interface PlacementChange {
  readonly isPinned?: boolean | undefined;
  readonly labels?: LabelChange | undefined;
}

/** Where a volume may be, as far as that can be known. */
export interface Placement extends Pick<PlacementRecord, 'isPinned' | 'labels'> {
  /**
   * What is wrong with the record, in one line; '' where nothing is. Nobody knows then what the owner asked for, so the
   * volume is pinned, until somebody says anew where it may be.
   */
  readonly unreadable: string;
}

/** @throws INVALID (what is recorded cannot be read) */
export async function getBalance(store: GroupStore): Promise<BalanceRecord> {
  const entry = await store.get(keys.balance);
  try {
    return balanceOf(entry);
  } catch (error) {
    throw new BlockferryError(
      'INVALID',
      describeError(error),
      "say all of it anew with 'blockferry balance'",
    );
  }
}

/** The defaults where nothing was ever set. */
export function balanceOf(entry: StoreEntry | undefined): BalanceRecord {
  return entry === undefined ? BalanceRecord.parse({}) : parseRecord(BalanceRecord, entry);
}

/**
 * The same; where they cannot be read nothing moves, since nobody knows what was asked for: it may have been that. Members
 * that know them from before go on by them (member/balancing.ts).
 */
export function balanceOrNone(entry: StoreEntry | undefined): BalanceRecord {
  try {
    return balanceOf(entry);
  } catch {
    return BalanceRecord.parse({ settings: { policy: 'none' } });
  }
}

/**
 * Changes the settings; over some that cannot be read, as they count for members that never knew them.
 * @throws INVALID (values that contradict each other or are out of bounds)
 */
export function setBalance(store: GroupStore, wanted: BalanceChange): Promise<BalanceRecord> {
  return change(store, async () => {
    const entry = await store.get(keys.balance);
    const before = balanceOrNone(entry);
    const members = { ...before.members };
    for (const [name, { weight, labels = {} }] of Object.entries(wanted.members ?? {})) {
      const share = shareOf(before, name);
      members[name] = { weight: weight ?? share.weight, labels: relabelled(share.labels, labels) };
    }
    const record = { settings: changed(before.settings, wanted.settings ?? {}), members };
    const { shareLow, shareHigh } = record.settings;
    if (shareLow > shareHigh) {
      throw new BlockferryError(
        'INVALID',
        `the share to give until (${shareLow}) is above the one to give from (${shareHigh})`,
        'set both, with --share-low and --share-high',
      );
    }
    const parsed = BalanceRecord.safeParse(record);
    if (!parsed.success) {
      // Each setting was judged when it came in (BalanceSettingsChange): what is too much is what was said of members.
      const [issue] = parsed.error.issues;
      throw new BlockferryError(
        'INVALID',
        `${issue?.path.slice(0, 2).join(' ') ?? 'members'}: ${issue?.message}`,
        '--member-label MEMBER:KEY= takes a label away',
      );
    }
    return {
      compares: [unchanged(keys.balance, entry)],
      operations: [{ put: keys.balance, value: formatRecord(parsed.data) }],
      result: parsed.data,
    };
  });
}

/** What a member takes beside the others: the same as they where nothing was said. */
export function shareOf({ members }: BalanceRecord, name: string): MemberShare {
  const said = Object.hasOwn(members, name) ? members[name] : undefined;
  return said ?? { weight: 1, labels: {} };
}

function relabelled(before: Labels, change: LabelChange): Labels {
  const labels = Object.entries({ ...before, ...change }).filter(([, value]) => value !== null);
  return Object.fromEntries(labels) as Labels;
}

/** `before`, where a field is not given. */
function changed<T extends object>(before: T, fields: Changed<T>): T {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return { ...before, ...(Object.fromEntries(given) as Partial<T>) };
}

/**
 * Says where a volume may be; over a record that cannot be read, as it counts meanwhile.
 * @throws NOT_FOUND, INVALID (too many labels)
 */
export function setPlacement(
  store: GroupStore,
  volume: string,
  wanted: PlacementChange,
): Promise<PlacementRecord> {
  return change(store, async () => {
    const volumeEntry = await requireEntry(store, keys.volume(volume), `there is no volume ${volume}`);
    const { id } = parseRecord(VolumeRecord, volumeEntry);
    const entry = await store.get(keys.placement(volume));
    const before = placementOf(entry, id);
    const labels = relabelled(before.labels, wanted.labels ?? {});
    const parsed = PlacementRecord.safeParse({
      volumeId: id,
      isPinned: wanted.isPinned ?? before.isPinned,
      labels,
    });
    if (!parsed.success) {
      throw new BlockferryError(
        'INVALID',
        `volume ${volume}: ${parsed.error.issues[0]?.message}`,
        '--label KEY= takes one away',
      );
    }
    return {
      compares: [unchanged(keys.volume(volume), volumeEntry), unchanged(keys.placement(volume), entry)],
      operations: [{ put: keys.placement(volume), value: formatRecord(parsed.data) }],
      result: parsed.data,
    };
  });
}

/** Of the volume with that number: what was said of an earlier one under its name does not count. */
export function placementOf(entry: StoreEntry | undefined, volumeId: number): Placement {
  try {
    const record = entry === undefined ? null : parseRecord(PlacementRecord, entry);
    if (record?.volumeId !== volumeId) return { isPinned: false, labels: {}, unreadable: '' };
    return { isPinned: record.isPinned, labels: record.labels, unreadable: '' };
  } catch (error) {
    return { isPinned: true, labels: {}, unreadable: lineOf(describeError(error)) };
  }
}

/** Every placement that was ever said, by volume. */
export async function listPlacements(store: GroupStore): Promise<Map<string, StoreEntry>> {
  const { entries } = await store.list(keys.placements);
  return new Map(entries.map((entry) => [entry.key.slice(keys.placements.length), entry]));
}

/** Writes a decision, or what became of it. Those that are too old to be remembered go. */
export async function putDecision(store: GroupStore, decision: Decision): Promise<void> {
  // What cannot be read back would be in everybody's way: refused here, where it is made.
  const value = formatRecord(Decision.parse(decision));
  await store.txn([], [{ put: keys.decision(decision.id), value }]);
  const { entries } = await store.list(keys.decisions);
  if (entries.length <= DECISIONS_MAX) return;
  // By when they were written, not by their dates: a clock that was ahead for a while must not keep what is new out.
  const old = entries
    .map((entry) => ({ key: entry.key, age: readRecord(Decision, entry) === null ? 0 : entry.revision }))
    .sort((a, b) => a.age - b.age)
    .slice(0, entries.length - DECISIONS_MAX);
  await store.txn(
    [],
    old.map(({ key }) => ({ delete: key })),
  );
}

/** The oldest first. One that cannot be read is left out, and is the first to be forgotten. */
export async function listDecisions(store: GroupStore): Promise<Decision[]> {
  const { entries } = await store.list(keys.decisions);
  const decisions = entries
    .map((entry) => readRecord(Decision, entry))
    .filter((decision) => decision !== null);
  return decisions.sort((a, b) => a.atMs - b.atMs);
}
