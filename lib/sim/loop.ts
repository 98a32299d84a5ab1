/**
 * The event loop of a simulated world. Between two events of the timeline everything runs that shipped code has put off: its
 * promises, ticks and immediates, in an order that depends on nothing outside. The immediates are kept here, since a turn of
 * Node's own loop goes through the kernel and costs as much as ten of ours.
 */

/** Turns that Node's loop is asked for at once: it runs promises and ticks between any two of them. */
const TURNS_AT_ONCE = 64;

type Immediate = () => void;

export class SimLoop {
  private readonly real = globalThis.setImmediate;
  private readonly immediates: Immediate[] = [];
  /** How many of them were there when the last event had run its course: those come before the next event. */
  private due = 0;
  private isFresh = true;

  /** @param next does the world's next event; false: there is none */
  constructor(private readonly next: () => boolean) {}

  /**
   * Turns until `isOver()`.
   * @param onTurn called before each turn, with whether the last one found anything to do
   */
  run(onTurn: (wasBusy: boolean) => void, isOver: () => boolean): Promise<void> {
    const put = (run: (...args: unknown[]) => void, ...args: unknown[]): unknown =>
      this.immediates.push(() => run(...args));
    globalThis.setImmediate = put as typeof setImmediate;
    return new Promise((resolve) => {
      let left = 0;
      let wasBusy = true;
      const turn = (): void => {
        left -= 1;
        if (!isOver()) {
          onTurn(wasBusy);
          if (!isOver()) wasBusy = this.turn();
        }
        if (left > 0) return;
        if (isOver()) this.end(resolve);
        else again();
      };
      const again = (): void => {
        left = TURNS_AT_ONCE;
        for (let i = 0; i < TURNS_AT_ONCE; i++) this.real(turn);
      };
      again();
    });
  }

  private turn(): boolean {
    if (this.isFresh) this.due = this.immediates.length;
    this.isFresh = this.due === 0;
    if (this.due > 0) {
      this.due -= 1;
      this.immediates.shift()?.();
      return true;
    }
    return this.next() || this.immediates.length > 0;
  }

  private end(resolve: () => void): void {
    globalThis.setImmediate = this.real;
    resolve();
  }
}
