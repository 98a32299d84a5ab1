/** How the group balances itself: its settings, where volumes may be, and the decisions that were made (admin.ts). */
import { Decision } from '../balance/decision.js';
import { BlockferryError } from '../base/errors.js';
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
  type Labels,
  type MemberShare,
} from './records.js';
import type { GroupStore, StoreEntry } from './store.js';

type Changed<T> = { readonly [K in keyof T]?: T[K] | undefined };

/** What is to be different; what is absent stays. */
export interface BalanceChange {
  readonly settings?: Changed<BalanceRecord['settings']> | undefined;
  readonly members?: Readonly<Record<string, Changed<MemberShare>>> | undefined;
}

export interface PlacementChange {
  readonly isPinned?: boolean | undefined;
  /** Null takes the label away. */
  readonly labels?: Readonly<Record<string, string | null>> | undefined;
}

export async function getBalance(store: GroupStore): Promise<BalanceRecord> {
  return balanceOf(await store.get(keys.balance));
}

/** The defaults where nothing was ever set. */
export function balanceOf(entry: StoreEntry | undefined): BalanceRecord {
  return entry === undefined ? BalanceRecord.parse({}) : parseRecord(BalanceRecord, entry);
}

/** @throws INVALID (values that contradict each other or are out of bounds) */
export function setBalance(store: GroupStore, wanted: BalanceChange): Promise<BalanceRecord> {
  return change(store, async () => {
    const entry = await store.get(keys.balance);
    const before = balanceOf(entry);
    const members = { ...before.members };
    for (const [name, share] of Object.entries(wanted.members ?? {})) {
      members[name] = changed(members[name] ?? { weight: 1, labels: {} }, share);
    }
    const record = { settings: changed(before.settings, wanted.settings ?? {}), members };
    const { shareLow, shareHigh } = record.settings;
    if (shareLow > shareHigh) {
      throw new BlockferryError(
        'INVALID',
        `the share to give until (${shareLow}) is above the one to give from (${shareHigh})`,
      );
    }
    const parsed = BalanceRecord.safeParse(record);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      throw new BlockferryError('INVALID', `${issue?.path.join('.')}: ${issue?.message}`);
    }
    return {
      compares: [unchanged(keys.balance, entry)],
      operations: [{ put: keys.balance, value: formatRecord(parsed.data) }],
      result: parsed.data,
    };
  });
}

/** `before`, where a field is not given. */
function changed<T extends object>(before: T, fields: Changed<T>): T {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return { ...before, ...(Object.fromEntries(given) as Partial<T>) };
}

/** Says where a volume may be. @throws NOT_FOUND, INVALID (too many labels) */
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
    const labels: Labels = { ...before.labels };
    for (const [label, value] of Object.entries(wanted.labels ?? {})) {
      if (value === null) delete labels[label];
      else labels[label] = value;
    }
    const parsed = PlacementRecord.safeParse({
      volumeId: id,
      isPinned: wanted.isPinned ?? before.isPinned,
      labels,
    });
    if (!parsed.success) throw new BlockferryError('INVALID', `labels: ${parsed.error.issues[0]?.message}`);
    return {
      compares: [unchanged(keys.volume(volume), volumeEntry), unchanged(keys.placement(volume), entry)],
      operations: [{ put: keys.placement(volume), value: formatRecord(parsed.data) }],
      result: parsed.data,
    };
  });
}

/** Of the volume with that number: what was said of an earlier one under its name does not count. */
export function placementOf(entry: StoreEntry | undefined, volumeId: number): PlacementRecord {
  const record = entry === undefined ? null : parseRecord(PlacementRecord, entry);
  return record?.volumeId === volumeId ? record : { volumeId, isPinned: false, labels: {} };
}

/** Every placement that was ever said, by volume. */
export async function listPlacements(store: GroupStore): Promise<Map<string, StoreEntry>> {
  const { entries } = await store.list(keys.placements);
  return new Map(entries.map((entry) => [entry.key.slice(keys.placements.length), entry]));
}

/** Writes a decision, or what became of it. Those that are too old to be remembered go. */
export async function putDecision(store: GroupStore, decision: Decision): Promise<void> {
  await store.txn([], [{ put: keys.decision(decision.id), value: formatRecord(decision) }]);
  const all = await listDecisions(store);
  const old = all.slice(0, Math.max(0, all.length - DECISIONS_MAX));
  if (old.length > 0)
    await store.txn(
      [],
      old.map(({ id }) => ({ delete: keys.decision(id) })),
    );
}

/** The oldest first. */
export async function listDecisions(store: GroupStore): Promise<Decision[]> {
  const { entries } = await store.list(keys.decisions);
  return entries.map((entry) => parseRecord(Decision, entry)).sort((a, b) => a.atMs - b.atMs);
}
