/**
 * When initiators of one volume are owed an answer for writes that were acknowledged and may be gone, though nothing that
 * they can see has happened: a member that held extents lost its power, and was not the home. By ticks of the timeline;
 * not judged is what a home had to say whose process is gone, and what was lost by a member that is home by now.
 */
export class Losses {
  /**
   * When a member with extents last lost its power, the home too, or began again after that: who has not left the home
   * before it may be told. Told in between, it was of an earlier loss, since a member that is back says itself what it lost.
   */
  private newsTick = -1;
  private readonly powerless = new Set<string>();
  private readonly down = new Set<string>();
  private homeEndedTick = -1;
  /**
   * Homes that may each tell it once more, since none can know whom the one before has told: those that came since then, and
   * the one at that time, where sessions may have been left at the one before it.
   */
  private homesSince = 0;
  private hasMoved = false;

  /** @param isHome what it had acknowledged is not owed then */
  powerWent(tick: number, member: string, isHome: boolean): void {
    this.newsTick = tick;
    this.homesSince = this.hasMoved ? 1 : 0;
    this.down.add(member);
    if (!isHome) this.powerless.add(member);
  }

  /** A process of a member begins. */
  began(tick: number, member: string): void {
    if (this.down.delete(member)) this.newsTick = tick;
  }

  /** The process of the home is gone. */
  homeEnded(tick: number): void {
    this.homeEndedTick = tick;
  }

  homeWentTo(member: string, tick: number): void {
    this.hasMoved = true;
    this.homesSince += 1;
    if (this.powerless.has(member)) this.homeEnded(tick);
  }

  /** Something may be gone of which somebody who was last told at `toldTick` was not told. */
  isNewsSince(toldTick: number): boolean {
    return this.newsTick > toldTick;
  }

  /** Whether a flush may fail for it, asked for by somebody who was last told at `toldTick`, and so often of the same. */
  mayBeTold(toldTick: number, times: number): boolean {
    return this.isNewsSince(toldTick) || (toldTick >= 0 && times <= this.homesSince);
  }

  /** From when on a flush that is answered GOOD says that nothing is gone, to somebody who was last told at `toldTick`. */
  owedSince(toldTick: number): number {
    return Math.max(toldTick, this.homeEndedTick);
  }
}
