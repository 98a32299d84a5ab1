/**
 * Draws skewed groups from seeds: what policies are judged by. Every one has a bottleneck by construction, since where
 * nothing is full nothing can be gained: some members ("hot") are asked for more than they can serve while the others
 * could serve it. How much could be gained is drawn first (`gain`), then the load that makes it so. None is left out
 * afterwards. README.md tells the ranges.
 */
import { Dice, zipfShares } from './dice.js';
import { sum } from './numbers.js';
import { drawFilled, drawHeat } from './shapes.js';
import { steadyLoad } from './loads.js';
import { storageMs, type Scenario, type SimMember, type World } from './world.js';
import { SimVolume, type Demand, type VolumeShape } from './volume.js';

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;
const EXTENT_BYTES = 4 * MiB;
const REQUEST_BYTES = [4096, 8192, 16384, 65536];
/** How the load of the group comes from one window to the next: by some percent. */
const JITTER = 0.05;

/** Of a configuration. */
export const DRAWN_MEMBERS_MAX = 16;

/** What makes the hot members hot. */
export const THEMES = [
  'hot-volume', // one volume alone is more than its member can serve
  'noisy-neighbour', // a few volumes with deep queues beside quiet ones
  'hot-member', // many volumes, too many of the popular ones at one place
  'slow-member', // a member has become slow, and nobody told
  'new-members', // half of the members have just joined, with nothing
] as const;
export type Theme = (typeof THEMES)[number];

export interface Configuration {
  readonly theme: Theme;
  /** 'closed': the hot volumes' initiators ask again as soon as they are answered; 'open': they ask at a rate. */
  readonly demand: 'open' | 'closed';
  /** Requests served by the group in balance, over those served as it is drawn, by the capacities of the members alone. */
  readonly gain: number;
  readonly scenario: Scenario;
}

/** @param seconds of time to simulate */
export function drawConfiguration(seed: number, seconds: number, windowMs: number): Configuration {
  const { theme, demand, gain } = new Drawing(seed).choices();
  return {
    theme,
    demand,
    gain,
    scenario: {
      title: `${theme}, ${demand}`,
      seed,
      windows: Math.max(1, Math.round((seconds * 1000) / windowMs)),
      windowMs,
      measuringNoise: 0.03,
      build: () => {
        const world = new Drawing(seed).world();
        return { world, load: steadyLoad(world, JITTER, seed) };
      },
    },
  };
}

/** The draws of one configuration, in order: the same seed draws the same. */
class Drawing {
  private readonly dice: Dice;
  private readonly theme: Theme;
  private readonly demand: 'open' | 'closed';
  private readonly members: readonly SimMember[];
  /** The first of the members: so many are hot. */
  private readonly hotCount: number;
  private readonly requestBytes: number;
  /** Of the group's capacity: what is offered in all, by open loads. */
  private readonly load: number;
  private readonly gain: number;

  constructor(seed: number) {
    const dice = (this.dice = new Dice(seed));
    this.theme = dice.pick(THEMES);
    this.demand = dice.pick(['open', 'closed'] as const);
    this.requestBytes = dice.pick(REQUEST_BYTES);
    const count = dice.within(2, DRAWN_MEMBERS_MAX);
    this.hotCount =
      this.theme === 'new-members'
        ? Math.floor(count / 2)
        : dice.within(1, Math.max(1, Math.floor(count / 4)));
    this.members = this.drawMembers(count);
    const hotPart = this.capacity(this.hot()) / this.capacity(this.members);
    this.load = dice.between(Math.max(0.7, 1.6 * hotPart), 0.95);
    this.gain = this.drawGain();
  }

  choices(): { theme: Theme; demand: 'open' | 'closed'; gain: number } {
    const { theme, demand, gain } = this;
    return { theme, demand, gain };
  }

  world(): World {
    const { dice, members, hotCount } = this;
    const names = members.map(({ name }) => name);
    const hotVolumes = this.theme === 'hot-volume' ? hotCount : hotCount * this.hotVolumesPerMember();
    const quietVolumes = this.theme === 'new-members' ? hotCount : members.length * dice.within(2, 6);
    const hotOffered = this.offeredToHot();
    const quietOffered = this.balanced() / this.gain - this.capacity(this.hot());
    const volumes = [
      ...this.drawVolumes('hot', hotVolumes, hotOffered, this.demand, (v) => v % hotCount, names),
      ...this.drawVolumes('quiet', quietVolumes, quietOffered, 'open', (v) => this.quietPlace(v), names),
    ];
    return { members, volumes };
  }

  private hot(): readonly SimMember[] {
    return this.members.slice(0, this.hotCount);
  }

  private hotVolumesPerMember(): number {
    return this.theme === 'noisy-neighbour' ? this.dice.within(1, 3) : this.dice.within(4, 12);
  }

  /** Quiet volumes are at the other members; of a noisy neighbour's, some are its neighbours, of new members' all. */
  private quietPlace(volume: number): number {
    const { hotCount, members, theme } = this;
    if (theme === 'new-members') return volume % hotCount;
    if (theme === 'noisy-neighbour' && volume % 8 === 0) return volume % hotCount;
    return hotCount + (volume % (members.length - hotCount));
  }

  private drawMembers(count: number): SimMember[] {
    const { dice } = this;
    const isMixed = dice.happens(0.4);
    const requestMs = dice.logBetween(0.1, 1);
    const variation = dice.pick([1, 1, 2, 4]);
    const speeds = Array.from({ length: count }, () => (isMixed ? dice.pick([0.5, 1, 1, 2]) : 1));
    // Of mixed hardware the old is what is overrun.
    return speeds
      .sort((a, b) => a - b)
      .map((hardware, m) => {
        const hasBecomeSlow = this.theme === 'slow-member' && m < this.hotCount;
        return {
          name: `m${m + 1}`,
          speed: hardware * (hasBecomeSlow ? dice.between(0.2, 0.5) : 1),
          requestMs,
          bytesPerSecond: 1024 * MiB,
          variation,
          delayMs: 0,
          // Nobody has told the group anything: it has to see what is fast and what is slow.
          weight: 1,
          capacityBytes: 1024 * GiB,
        };
      });
  }

  private capacity(members: readonly SimMember[]): number {
    return sum(members.map((member) => 1000 / storageMs(member, this.requestBytes)));
  }

  /** Requests a second that the group serves in balance. */
  private balanced(): number {
    return this.capacity(this.members) * (this.demand === 'open' ? this.load : 1);
  }

  /**
   * From 1.5 (open) or 2 (closed) up to 3, or to what the hot members leave: with nothing but them at work it is balanced /
   * theirs. Closed loads ask for as much as they get, so that quiet volumes' requests wait more in balance than before: below
   * 2 the mean latency could not get a quarter better by any placement.
   */
  private drawGain(): number {
    const most = (0.98 * this.balanced()) / this.capacity(this.hot());
    return this.dice.between(Math.min(this.demand === 'open' ? 1.5 : 2, most), Math.min(3, most));
  }

  /** More than the hot members can serve, so that no more than balanced / gain comes of it all. */
  private offeredToHot(): number {
    const { gain } = this;
    return this.balanced() * (1 - 1 / gain) + this.capacity(this.hot());
  }

  private drawVolumes(
    kind: string,
    count: number,
    offered: number,
    demand: 'open' | 'closed',
    place: (volume: number) => number,
    names: readonly string[],
  ): SimVolume[] {
    const { dice } = this;
    const shares = zipfShares(count, kind === 'hot' ? dice.between(0.3, 1) : dice.between(0.5, 1.2));
    const outstanding = demand === 'closed' ? this.members.length * dice.within(8, 32) : 0;
    return Array.from(shares, (share, v) => {
      const wanted: Demand = {
        offeredPerSecond: demand === 'closed' ? Infinity : offered * share,
        outstanding:
          demand === 'closed'
            ? Math.max(1, Math.round(outstanding * share))
            : Math.max(dice.pick([16, 32, 64]), Math.ceil(offered * share * this.patienceSeconds())),
        readShare: dice.pick([0.3, 0.5, 0.7, 0.9]),
        requestBytes: this.requestBytes,
        sequentialShare: 0.1,
      };
      return new SimVolume(this.drawShape(`${kind}-${v + 1}`), names, place(v), wanted);
    });
  }

  /** Who asks at a rate has enough outstanding for that rate while a request takes this long: eight times its service. */
  private patienceSeconds(): number {
    return (8 * storageMs(this.members.at(-1) as SimMember, this.requestBytes)) / 1000;
  }

  private drawShape(name: string): VolumeShape {
    const { dice } = this;
    const extents = Math.round(dice.logBetween(64, 512));
    const filled = drawFilled(dice, extents, dice.between(0.3, 1));
    const region = dice.pick([1, 8, 8, 16, 32]);
    return {
      name,
      extentBytes: EXTENT_BYTES,
      filled,
      heat: drawHeat(dice, filled, dice.between(0.4, 1.2), region),
    };
  }
}
