/**
 * What another member has acknowledged of one volume and may still lose: writes that no flush has covered. Its write
 * verifier (storage/write-verifier.ts) tells whether it has: one that is another than when the oldest of them was
 * acknowledged. What initiators may have written through other homes counts as one write more: a home that goes leaves its
 * verifiers in the route, and as long as sessions may still be at work there, no flush here covers all that is written.
 */
export class UnflushedWrites {
  /** Writes so far. */
  count = 0;
  /** What `count` was when all of them were durable. */
  private durableCount = 0;
  /** By which they were acknowledged; '' before that is known. */
  private verifier = '';

  /**
   * @param verifierNow the other member's, as it last said; '' when it has not said any
   * @param lost writes are gone, once for all that are gone together: told by which verifier they were acknowledged
   * @param mayPassBy whether others may be writing through another home
   */
  constructor(
    private readonly verifierNow: () => string,
    private readonly lost: (verifierBefore: string) => void,
    private readonly mayPassBy: () => boolean = () => false,
  ) {}

  /** A write was acknowledged that is not durable, or may have been elsewhere. On the way of every forwarded write. */
  acknowledged(): void {
    if (this.count === this.durableCount || this.verifier === '') this.compare();
    this.count += 1;
  }

  /** One was acknowledged through another home, under `verifier`. */
  inherited(verifier: string): void {
    this.verifier = verifier;
    this.count += 1;
  }

  /** Under which the oldest write that may be unflushed was acknowledged; where there is none, the present one. */
  get oldestVerifier(): string {
    return this.count > this.durableCount && this.verifier !== '' ? this.verifier : this.verifierNow();
  }

  /** A flush succeeded that was sent when `count` was `countWhenSent`. */
  flushed(countWhenSent: number): void {
    this.compare();
    this.durableCount = Math.max(this.durableCount, countWhenSent);
    // Written since, under the verifier of now at the earliest, and nobody will say so here before it may be gone. That is
    // outstanding until the next flush, however long it takes.
    if (this.count === this.durableCount && this.mayPassBy()) this.count += 1;
  }

  /**
   * The other member holds nothing of the volume any more: what it held when it gave it is durable where it went (I3).
   * @param verifier of then, where that is known: it may have said no other yet, or another since
   */
  left(verifier?: string): void {
    this.compare(verifier);
    this.durableCount = this.count;
  }

  /** The other member has said that its disk has lost something: its verifier may be the same as before. */
  gone(): void {
    const isLost = this.count > this.durableCount || this.mayPassBy();
    this.durableCount = this.count;
    if (isLost) this.lost(this.verifier);
  }

  /** It was an earlier time's. */
  forget(): void {
    this.durableCount = this.count;
  }

  /** Finds what is gone, as far as the other member has said. */
  compare(now = this.verifierNow()): void {
    if (now === '') return;
    const before = this.verifier;
    this.verifier = now;
    if (before !== '' && before !== now && this.count > this.durableCount) this.lost(before);
  }
}
