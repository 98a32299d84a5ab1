/** One move as a member sees it: what was asked for, as far as it has heard, and how far its own part is. */
import { keys, type MoveRecord } from '../group/records.js';
import type { StoreCompare } from '../group/store.js';
import type { RoutedVolume } from '../routing/table.js';
import { MoveStats } from './move-stats.js';

export class RunningMove {
  readonly stats = new MoveStats();
  /** What an earlier life has counted is read: until then it may be forgotten again, so no part of it begins. */
  isKnown = false;
  /** The source's part, while it runs. */
  giving = false;
  /** Members that hold something of what is asked for, and are not its destination: as the route stood at the last look. */
  givers = 1;
  /** To be forgotten when its extents are not being given any more. */
  isOver = false;
  committingHome = false;
  finishing = false;
  /** Why this member's part has failed, which may be still to be written down. */
  failure = '';
  /** The destination had no part in that. */
  sparesDestination = false;
  written = '';

  /** @param revision of the record in the store */
  constructor(
    public record: MoveRecord,
    private revision: number,
  ) {}

  /**
   * What every commit for the move compares: the record is as this member knows it. Word of its end may come late; two
   * members that each go on for another move would give the same extents and home back and forth.
   */
  get condition(): StoreCompare {
    return { key: keys.move(this.record.id), revision: this.revision };
  }

  /** The store's word of the record. False: something later was known. */
  heard(record: MoveRecord, revision: number): boolean {
    if (revision < this.revision) return false;
    this.record = record;
    this.revision = revision;
    return true;
  }

  /** It is not in the store any more, or cannot be read: nothing is to be done for it. */
  vanished(): void {
    this.record = { ...this.record, state: 'cancelled' };
  }
}

/** The extents that it is of. */
export function rangeOf(record: MoveRecord, routed: RoutedVolume): { first: number; last: number } {
  return record.range ?? { first: 0, last: routed.route.extents - 1 };
}
