/**
 * Who may use the thread pool. All files of a process share libuv's few threads, which take work in the order it comes:
 * one file whose disk hangs would have its hundred reads before anybody else's one. So each file keeps most of its work
 * here and lets only some of it into the pool:
 *
 *     a file may have as many calls there as POOL_SHARE times the threads that are free, and one in any case
 *
 * A file alone gets most of the threads, and the more files hang, the less each of them holds; some threads stay free for
 * a file that comes new as long as fewer hang than there are threads. Nobody waits for nothing: a file's work waits only
 * while a call of its own is in the pool, and that call's end takes it up.
 */
import { assert } from '../base/assert.js';
import { POOL_SHARE } from '../base/limits.js';

/** A call that wants into the pool. Who issues it reports its end, exactly once, to the share that started it. */
export interface PoolWork {
  /** Issues the call. */
  start(): void;
}

/** Of one process. */
export class PoolShares {
  private inUse = 0;
  /** The shares that have work waiting; each of them has a call in the pool. */
  private readonly waiting: PoolShare[] = [];

  constructor(private readonly threads: number) {}

  /** For one more file. */
  share(): PoolShare {
    return new PoolShare(this);
  }

  /** Takes a thread for a file that has `inPool` of them, if it may. */
  take(inPool: number): boolean {
    if (inPool > 0 && inPool >= POOL_SHARE * (this.threads - this.inUse)) return false;
    this.inUse += 1;
    return true;
  }

  addWaiting(share: PoolShare): void {
    this.waiting.push(share);
  }

  giveBack(): void {
    assert(this.inUse > 0, 'more calls left the thread pool than went in');
    this.inUse -= 1;
  }

  /** Each file that waits goes on by one where there is room. With a thread free, fewer wait than there are threads. */
  letOthersOn(): void {
    for (let left = this.waiting.length; left > 0 && this.inUse < this.threads; left--) {
      const share = this.waiting.shift();
      share?.goOn();
      if (share?.staysListed() === true) this.waiting.push(share);
    }
  }
}

/** Of one file. */
export class PoolShare {
  private inPool = 0;
  private isListed = false;
  private readonly queue: PoolWork[] = [];

  constructor(private readonly shares: PoolShares) {}

  /** Starts the work as soon as there is room for it, in the order it came. */
  run(work: PoolWork): void {
    if (this.queue.length === 0 && this.shares.take(this.inPool)) {
      this.inPool += 1;
      work.start();
      return;
    }
    this.queue.push(work);
    if (this.isListed) return;
    this.isListed = true;
    this.shares.addWaiting(this);
  }

  /** A call that was started is back. */
  ended(): void {
    assert(this.inPool > 0, 'more calls of a file ended than began');
    this.inPool -= 1;
    this.shares.giveBack();
    // Its last call: no other would wake what waits here.
    if (this.inPool === 0) this.goOn();
    this.shares.letOthersOn();
  }

  /** Starts the oldest work that waits, if there is room for it. */
  goOn(): void {
    const next = this.queue[0];
    if (next === undefined || !this.shares.take(this.inPool)) return;
    this.queue.shift();
    this.inPool += 1;
    next.start();
  }

  /** Whether it still has its place among those that wait. */
  staysListed(): boolean {
    this.isListed = this.queue.length > 0;
    return this.isListed;
  }
}

/** How many threads libuv makes, by its own rule. */
export function poolThreads(setting: string | undefined): number {
  if (setting === undefined) return 4;
  return Math.min(Math.max(Number.parseInt(setting, 10) || 1, 1), 1024);
}
