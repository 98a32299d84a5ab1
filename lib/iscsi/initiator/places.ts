/** Where the next command goes: in order, or anywhere. A slot is one command's worth of the range. */
import { randomBelow, type Random } from '../../base/random.js';

export interface Places {
  /** The next slot, or −1 when there are no more. */
  next(): number;
}

/** 0, 1, 2, …, so many times over. */
export class SequentialPlaces implements Places {
  private at = 0;
  private round = 0;

  constructor(
    private readonly slots: number,
    private readonly rounds: number,
  ) {}

  next(): number {
    if (this.at === this.slots) {
      this.at = 0;
      this.round += 1;
    }
    return this.round < this.rounds ? this.at++ : -1;
  }
}

export class RandomPlaces implements Places {
  constructor(
    private readonly slots: number,
    private readonly random: Random,
  ) {}

  next(): number {
    return randomBelow(this.random, this.slots);
  }
}
