/** The simulated group: members with their speeds, and the volumes they hold. Data; run.ts lets time pass over it. */
import { sum } from './numbers.js';
import type { SimVolume } from './volume.js';

export interface SimMember {
  readonly name: string;
  /** How much faster than the ordinary member its storage is; 1 is one. */
  readonly speed: number;
  /** One request at its storage at speed 1, without its bytes. */
  readonly requestMs: number;
  /** What its storage reads or writes in a second at speed 1. */
  readonly bytesPerSecond: number;
  /** Squared coefficient of variation of the service times. */
  readonly variation: number;
  /** Added to every request at its storage, in nobody's way: an injected fault, a far disk. */
  readonly delayMs: number;
  /** What its operator has told the group of it. */
  readonly weight: number;
  readonly capacityBytes: number;
}

export interface World {
  readonly members: readonly SimMember[];
  readonly volumes: readonly SimVolume[];
}

/** What initiators want, as it changes. */
export interface Load {
  /** Sets demand and heat of the world's volumes for the window that begins at `fromMs`. */
  apply(world: World, fromMs: number, windowMs: number): void;
}

/** Something to run policies against: each of them on a world of its own, the same every time. */
export interface Scenario {
  readonly title: string;
  readonly seed: number;
  readonly windows: number;
  readonly windowMs: number;
  /** Lognormal sigma of what members measure. */
  readonly measuringNoise: number;
  build(): { readonly world: World; readonly load: Load };
}

/** Milliseconds of the storage's time that a request of so many bytes takes. */
export function storageMs(member: SimMember, requestBytes: number): number {
  return (member.requestMs + (requestBytes * 1000) / member.bytesPerSecond) / member.speed;
}

/** Bytes of data that each member holds. */
export function usedBytes({ members, volumes }: World): Float64Array {
  const used = new Float64Array(members.length);
  for (const volume of volumes) volume.addBytesHeld(used);
  return used;
}

/** The busiest over the mean, of amounts that are divided by what each could take; 1 is even. */
export function imbalance(amounts: readonly number[], speeds: readonly number[]): number {
  const mean = sum(amounts) / sum(speeds);
  if (!(mean > 0)) return 1;
  return Math.max(...amounts.map((amount, m) => amount / (speeds[m] as number))) / mean;
}
