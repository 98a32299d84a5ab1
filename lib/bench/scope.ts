/** What a case has started, ended in reverse order whatever happens. Knows nothing of what it ends. */
import { describeError } from '../base/errors.js';

export type Ending = () => Promise<unknown> | unknown;

export class Scope {
  private readonly endings: Ending[] = [];

  defer(ending: Ending): void {
    this.endings.push(ending);
  }

  /** Ends everything, the last first. @returns what went wrong meanwhile, one line each */
  async close(): Promise<string[]> {
    const faults: string[] = [];
    for (let ending = this.endings.pop(); ending !== undefined; ending = this.endings.pop()) {
      try {
        await ending();
      } catch (error) {
        faults.push(describeError(error));
      }
    }
    return faults;
  }
}
