/** What the sample of a volume's requests tells: heat, sequence, service times; and how evenly they come. */
import { HEAT_HALF_LIFE_WINDOWS, HEAT_PLACES, SLICES_SEEN } from '../base/limits.js';
import { burstinessOf } from './pattern.js';
import { HeatSketch } from './heat-sketch.js';
import { ServiceTimes } from './service-times.js';

const DECAY = 0.5 ** (1 / HEAT_HALF_LIFE_WINDOWS);

export class TrafficSample {
  /** Of the window that is under way, and of the one that was taken last. */
  service = new ServiceTimes();
  private taken = new ServiceTimes();
  private readonly heat = new HeatSketch(HEAT_PLACES);
  private requests = 0;
  private sequential = 0;
  /** Requests in each of the last slices, the newest last. */
  private readonly slices: number[] = [];

  /** @param weight how many requests this one stands for */
  add(extent: number, isSequential: boolean, weight: number): void {
    this.heat.add(extent, weight);
    this.requests += weight;
    if (isSequential) this.sequential += weight;
  }

  addSlice(requests: number): void {
    this.slices.push(requests);
    if (this.slices.length > SLICES_SEEN) this.slices.shift();
  }

  takeWindow() {
    const { heat, requests, sequential } = this;
    [this.service, this.taken] = [this.taken, this.service];
    this.service.clear();
    this.requests = this.sequential = 0;
    const hot = heat.hottest().map(({ key, atLeast, lately }) => ({
      ...{ extent: key, share: atLeast / heat.total },
      shareLately: requests === 0 ? 0 : lately / requests,
    }));
    heat.decay(DECAY);
    const sequentialShare = requests === 0 ? 0 : sequential / requests;
    return { service: this.taken, sequentialShare, burstiness: burstinessOf(this.slices), hot };
  }

  /** A window without requests is over. @returns what is left of the heat */
  cool(): number {
    this.heat.decay(DECAY);
    this.service.clear();
    this.requests = this.sequential = 0;
    return this.heat.total;
  }
}
