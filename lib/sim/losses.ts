/**
 * When initiators of one volume are owed an answer for writes that were acknowledged and may be gone, though nothing that
 * they can see has happened: a member that held extents lost its power, and was not the home. By ticks of the timeline;
 * what a home had to say that has gone since, or who has a newer session, is not judged.
 */
export class Losses {
  /** When such a member last lost its power. */
  private powerTick = -1;
  private homeTick = -1;

  powerWent(tick: number): void {
    this.powerTick = tick;
  }

  /** The home is another, or another process. */
  homeWent(tick: number): void {
    this.homeTick = tick;
  }

  /** Whether a flush may fail for it, asked for by somebody who was last told at `toldTick`. */
  mayBeTold(toldTick: number): boolean {
    return this.powerTick > toldTick;
  }

  /** From when on a flush that is answered GOOD says that nothing is gone, to somebody who was last told at `toldTick`. */
  owedSince(toldTick: number): number {
    return Math.max(toldTick, this.homeTick);
  }
}
