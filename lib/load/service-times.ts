/**
 * How long requests took: a histogram whose buckets grow by a fourth root of two, so that a percentile is off by 9 % at
 * most at any magnitude, from a microsecond to minutes, in one kibibyte.
 */

const BUCKETS_PER_OCTAVE = 4;
/** What takes no longer than this took no time: a read that the kernel copies from the page cache. */
const SHORTEST_MS = 0.001;
/** The last bucket begins at eighteen minutes; nothing waits so long. */
const BUCKETS = 1 + 30 * BUCKETS_PER_OCTAVE;

export class ServiceTimes {
  private readonly weights = new Float64Array(BUCKETS);
  private weight = 0;
  private sumMs = 0;

  /** @param weight how many requests this one stands for */
  add(tookMs: number, weight: number): void {
    const bucket = bucketOf(tookMs);
    this.weights[bucket] = (this.weights[bucket] as number) + weight;
    this.weight += weight;
    this.sumMs += tookMs * weight;
  }

  addAll(other: ServiceTimes): void {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      this.weights[bucket] = (this.weights[bucket] as number) + (other.weights[bucket] as number);
    }
    this.weight += other.weight;
    this.sumMs += other.sumMs;
  }

  get isEmpty(): boolean {
    return this.weight === 0;
  }

  /** 0 when there was none. */
  get meanMs(): number {
    return this.weight === 0 ? 0 : this.sumMs / this.weight;
  }

  /** The time that `share` of the requests did not exceed; 0 when there was none. */
  percentileMs(share: number): number {
    const wanted = share * this.weight;
    let below = 0;
    for (let bucket = 0; bucket < BUCKETS && this.weight > 0; bucket++) {
      below += this.weights[bucket] as number;
      if (below >= wanted) return middleOf(bucket);
    }
    return 0;
  }

  clear(): void {
    this.weights.fill(0);
    this.weight = this.sumMs = 0;
  }
}

function bucketOf(tookMs: number): number {
  if (!(tookMs > SHORTEST_MS)) return 0;
  return Math.min(BUCKETS - 1, 1 + Math.floor(Math.log2(tookMs / SHORTEST_MS) * BUCKETS_PER_OCTAVE));
}

/** Of the first bucket 0: see SHORTEST_MS. */
function middleOf(bucket: number): number {
  return bucket === 0 ? 0 : SHORTEST_MS * 2 ** ((bucket - 0.5) / BUCKETS_PER_OCTAVE);
}
