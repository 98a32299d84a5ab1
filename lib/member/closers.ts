/** What is open of a member, so that its end, and that of a start that fails halfway, closes it again: last first. */
export type Closer = () => Promise<void> | void;

export class Closers {
  private readonly closers: Closer[] = [];

  push(...closers: readonly Closer[]): void {
    this.closers.push(...closers);
  }

  /**
   * One that fails (a full disk under the store) keeps no other from being closed; the first failure is thrown when all
   * have been.
   */
  async closeAll(): Promise<void> {
    const failures: unknown[] = [];
    for (let close = this.closers.pop(); close !== undefined; close = this.closers.pop()) {
      try {
        await close();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
