/** Who keeps what of each volume at one member: each keeper adopts its volume's record as the store has it. */
import type { StoreEntry } from '../group/store.js';
import { FollowedRecords, type FollowedRecordsOptions } from './followed-records.js';

export interface RecordKeeper {
  /** A volume that is made anew under the name has another. */
  readonly volumeId: number;
  /** Undefined: there is no record. */
  adopt(entry: StoreEntry | undefined): void;
}

export class RecordKeepers<Keeper extends RecordKeeper> {
  private constructor(
    readonly records: FollowedRecords,
    private readonly keepers: Map<string, Keeper>,
  ) {}

  /** Reads what there is, then follows. */
  static async open<Keeper extends RecordKeeper>(
    options: Omit<FollowedRecordsOptions, 'adopted'>,
  ): Promise<RecordKeepers<Keeper>> {
    const keepers = new Map<string, Keeper>();
    const adopted = (volume: string, entry: StoreEntry): void => keepers.get(volume)?.adopt(entry);
    return new RecordKeepers(await FollowedRecords.open({ ...options, adopted }), keepers);
  }

  add(volume: string, keeper: Keeper): Keeper {
    this.keepers.set(volume, keeper);
    keeper.adopt(this.records.get(volume));
    return keeper;
  }

  get(volume: string): Keeper | undefined {
    return this.keepers.get(volume);
  }

  all(): Iterable<Keeper> {
    return this.keepers.values();
  }

  /** The volume was deleted. */
  forget(volume: string, volumeId: number): void {
    if (this.keepers.get(volume)?.volumeId === volumeId) this.keepers.delete(volume);
  }
}
