/** The contract between a move and the volumes of the member that it starts from. */
import type { StoreCompare } from '../group/store.js';
import type { LocalSlot } from '../volume/local-slot.js';
import type { Volume } from '../volume/volume.js';
import type { HeldFile } from './held-file.js';

/** The volume at its source. */
export interface MovingSource {
  readonly volume: Volume;
  readonly local: LocalSlot;
  readonly file: HeldFile;
}

/** What a move needs of the member's volumes. */
export interface MovingVolumes {
  /** The open volume; rejects when its file cannot be opened. */
  source(name: string): Promise<MovingSource>;
  /** These were served here and are held elsewhere now: their local bytes are given back. */
  gaveAway(name: string, extents: readonly number[]): void;
  /** The home is being given away: until it is known whether it was, this member may be home no more (I8). */
  givingHome(volumeId: number, isUnderWay: boolean): void;
  /** The same from the moment at which it is committed: whoever is home next may have been told that nobody is here. */
  committingHome(volumeId: number, isUnderWay: boolean): void;
  /** Meanwhile: resolves when no command here rests on being home; false: that takes too long now. */
  quieten(name: string): Promise<boolean>;
  /** By holder: under which write verifier something may be unflushed there. */
  unflushed(name: string): Record<string, string>;
  /** What must hold for the home to be given away; null: it has to stay for now. */
  homeCondition(name: string): StoreCompare | null;
  /** Sessions of initiators on the volume at this member that have to leave it with its home. */
  sessionCount(name: string): number;
  /** How long this process's event loop has had nothing to do, ever. */
  loopIdleMs(): number;
}
