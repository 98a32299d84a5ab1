/** Commands as promises: what one brought, and an error when that was not GOOD. */
import { BlockferryError } from '../../base/errors.js';
import { describeStatus } from './cdb.js';
import { InitiatorTask } from './command.js';

/** How a command ended, whatever its status. */
export interface CommandResult {
  readonly status: number;
  /** As it came, empty if none; cdb.ts's parseSense reads it. */
  readonly sense: Buffer;
  /** Positive: underflow. Negative: overflow. */
  readonly residual: number;
  /** What came, without what an underflow says did not. */
  readonly dataIn: Buffer;
}

/** A task for one use, whose completion settles a promise. */
export class PromisedTask extends InitiatorTask {
  readonly result: Promise<CommandResult>;
  private resolve!: (result: CommandResult) => void;
  private reject!: (error: BlockferryError) => void;

  constructor() {
    super();
    this.result = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  override completed(error: BlockferryError | null): void {
    if (error !== null) return this.reject(error);
    const { status, sense, residual } = this;
    this.resolve({ status, sense, residual, dataIn: this.dataIn.subarray(0, this.receivedBytes) });
  }
}

/** The same result, or IO with the command's name, status and sense. */
export function expectGood(command: string, result: CommandResult): CommandResult {
  if (result.status === 0) return result;
  throw new BlockferryError('IO', `${command} ended in ${describeStatus(result.status, result.sense)}`);
}
