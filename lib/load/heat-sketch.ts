/**
 * Which of many keys are asked for most, in bounded memory: the Space-Saving sketch (Metwally, Agrawal, El Abbadi, 2005),
 * with weights and with decay. Of everything added, with n the sum of the weights and k the places:
 *
 *   - a key with more than n/k has a place;
 *   - what is said of a key is too much by its `error` at most, which is n/k at most, and never too little.
 *
 * Decay multiplies all of it, so both hold for the decayed weights as well.
 */

export interface HotKey {
  readonly key: number;
  /** What was surely added for it, decayed. */
  readonly atLeast: number;
  /** What may have been. */
  readonly atMost: number;
  /** What was added for it since the last decay, if it has had a place for so long. */
  readonly lately: number;
}

/** Below this a sketch is as good as empty. */
const NOTHING = 1e-3;

export class HeatSketch {
  private readonly places = new Map<number, number>();
  private readonly keys: Float64Array;
  private readonly counts: Float64Array;
  private readonly errors: Float64Array;
  private readonly lately: Float64Array;
  private total_ = 0;

  constructor(places: number) {
    this.keys = new Float64Array(places);
    this.counts = new Float64Array(places);
    this.errors = new Float64Array(places);
    this.lately = new Float64Array(places);
  }

  /** The weights of everything added, decayed. */
  get total(): number {
    return this.total_;
  }

  add(key: number, weight: number): void {
    const place = this.places.get(key) ?? this.makePlace(key);
    this.counts[place] = (this.counts[place] as number) + weight;
    this.lately[place] = (this.lately[place] as number) + weight;
    this.total_ += weight;
  }

  /** A free place, or that of the coolest, whose count the newcomer takes over as its error. */
  private makePlace(key: number): number {
    const { places, keys, counts, errors } = this;
    let place = places.size;
    if (place === keys.length) {
      place = this.coolest();
      places.delete(keys[place] as number);
      errors[place] = counts[place] as number;
      this.lately[place] = 0;
    }
    keys[place] = key;
    places.set(key, place);
    return place;
  }

  /** By looking at all of them: a heap would cost every hit something, and a look at 256 costs a miss 0.2 µs. */
  private coolest(): number {
    const { counts } = this;
    let coolest = 0;
    for (let place = 1; place < counts.length; place++) {
      if ((counts[place] as number) < (counts[coolest] as number)) coolest = place;
    }
    return coolest;
  }

  /** Everything so far counts only `factor` of what it did, 0 to 1. */
  decay(factor: number): void {
    this.total_ *= factor;
    this.lately.fill(0);
    if (this.total_ < NOTHING) {
      this.clear();
      return;
    }
    for (let place = 0; place < this.counts.length; place++) {
      this.counts[place] = (this.counts[place] as number) * factor;
      this.errors[place] = (this.errors[place] as number) * factor;
    }
  }

  private clear(): void {
    this.total_ = 0;
    this.places.clear();
    this.counts.fill(0);
    this.errors.fill(0);
  }

  /** Every key that has a place, the hottest first by what is sure. */
  hottest(): HotKey[] {
    const all: HotKey[] = [];
    for (const [key, place] of this.places) {
      const atMost = this.counts[place] as number;
      const atLeast = atMost - (this.errors[place] as number);
      all.push({ key, atLeast, atMost, lately: this.lately[place] as number });
    }
    return all.sort((a, b) => b.atLeast - a.atLeast || a.key - b.key);
  }
}
