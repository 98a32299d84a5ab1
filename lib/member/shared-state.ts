/**
 * What of every unit the members of a group share, as one member knows it: reservations, what initiators have changed, and
 * how far full volumes are made.
 */
import { sleep } from '../base/clock.js';
import { describeError } from '../base/errors.js';
import { READ_BACK_RETRY_MS } from '../base/limits.js';
import { Creations } from '../group/creations.js';
import type { VolumeRecord } from '../group/records.js';
import type { Present } from './everywhere.js';
import { processesIn } from './group-facts.js';
import { SharedReservations, type SharedReservationsOptions } from './shared-reservations.js';
import { SharedUnits, type SharedUnitsOptions } from './shared-units.js';

export type SharedStateOptions = SharedReservationsOptions & SharedUnitsOptions;

export class SharedState {
  private constructor(
    private readonly options: SharedStateOptions,
    readonly reservations: SharedReservations,
    readonly units: SharedUnits,
    readonly creations: Creations,
  ) {}

  /** Reads what there is, then follows. */
  static async open(options: SharedStateOptions): Promise<SharedState> {
    const reservations = await SharedReservations.open(options);
    try {
      const units = await SharedUnits.open(options);
      return new SharedState(options, reservations, units, new Creations(options.store));
    } catch (error) {
      reservations.close();
      throw error;
    }
  }

  close(): void {
    this.units.close();
    this.reservations.close();
  }

  /** The volume was deleted: nothing is kept of it. */
  forget({ name, id }: Pick<VolumeRecord, 'name' | 'id'>): void {
    this.reservations.forget(name, id);
    this.units.forget(name, id);
  }

  /**
   * Reads what has changed meanwhile, until the store answers or nobody wants it any more.
   * @returns who is in the group by then; null: nobody wants it
   */
  async refresh(isWanted: () => boolean): Promise<Present[] | null> {
    const { clock, log } = this.options;
    while (isWanted()) {
      try {
        await this.reservations.records.refresh();
        await this.units.records.refresh();
        return await processesIn(this.options.store);
      } catch (error) {
        log.warn({ error: describeError(error) }, 'the state of the units cannot be read');
        await sleep(clock, READ_BACK_RETRY_MS);
      }
    }
    return null;
  }
}
