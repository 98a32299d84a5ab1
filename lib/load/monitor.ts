/**
 * Measures one member: at the end of each window it makes a load vector of what its doors have counted meanwhile. It has
 * one timer and does nothing per I/O (traffic.ts does); whom the vector is told is not its business.
 */
import type { Clock, Timer } from '../base/clock.js';
import {
  HOT_EXTENTS_MAX,
  HOT_EXTENTS_TOLD_MAX,
  LOADED_VOLUMES_MAX,
  MEMBERS_KNOWN_MAX,
  SLICES_PER_WINDOW,
} from '../base/limits.js';
import { kindOf } from './pattern.js';
import { ServiceTimes } from './service-times.js';
import type { HotExtent, TrafficWindow, VolumeTraffic } from './traffic.js';
import type { LoadVector, VolumeLoad } from './vector.js';

/** A volume as the monitor sees it. */
export interface MonitoredVolume {
  readonly name: string;
  readonly traffic: VolumeTraffic;
  /** Requests in its storage now. */
  readonly pinned: number;
  /** Initiators with a session here. */
  readonly initiators: number;
  holdsHere(extent: number): boolean;
}

/** Counts since the start of the process. */
export interface ServerCounts {
  /** Milliseconds of processors that the process has used. */
  readonly processorMs: number;
  /** Milliseconds that the event loop had nothing to do. */
  readonly idleMs: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export interface MonitorDoors {
  readonly clock: Clock;
  readonly member: string;
  readonly incarnation: string;
  counts(): ServerCounts;
  /** The 99th percentile since the last call. */
  takeLoopDelayMs(): number;
  sessions(): number;
  /** The last round trip to each peer that answered. */
  roundTrips(): Iterable<readonly [string, number]>;
  volumes(): Iterable<MonitoredVolume>;
  /** As of the last look: it is taken off the event loop. */
  space(): { readonly usedBytes: number; readonly freeBytes: number };
}

type Finished = (vector: LoadVector) => void;

export class LoadMonitor {
  private readonly listeners: Finished[] = [];
  private timer: Timer | null = null;
  private sequence = 0;
  private beganMs = 0;
  private before: ServerCounts = { processorMs: 0, idleMs: 0, bytesIn: 0, bytesOut: 0 };
  /** Of the window under way that are over. */
  private slices = 0;

  /** @param windowMs what is measured together */
  constructor(
    private readonly doors: MonitorDoors,
    private windowMs_: number,
  ) {}

  get windowMs(): number {
    return this.windowMs_;
  }

  /** Calls with the vector of each window that ends from now on. */
  onWindow(finished: Finished): void {
    this.listeners.push(finished);
  }

  /** The first window is one slice long, so that a new member is soon known to the others. */
  start(): void {
    this.before = this.doors.counts();
    this.beganMs = this.doors.clock.nowMs();
    this.slices = SLICES_PER_WINDOW - 1;
    this.wait();
  }

  close(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  /** The window under way ends by the new length already; its figures are of the time that it took. */
  setWindow(windowMs: number): void {
    if (windowMs === this.windowMs_) return;
    this.windowMs_ = windowMs;
    if (this.timer === null) return;
    this.timer.cancel();
    this.wait();
  }

  private wait(): void {
    this.timer = this.doors.clock.after(this.windowMs_ / SLICES_PER_WINDOW, () => this.endSlice());
  }

  private endSlice(): void {
    this.wait();
    for (const { traffic } of this.doors.volumes()) traffic.endSlice();
    this.slices += 1;
    if (this.slices < SLICES_PER_WINDOW) return;
    this.slices = 0;
    const vector = this.takeWindow();
    for (const finished of this.listeners) finished(vector);
  }

  private takeWindow(): LoadVector {
    const { doors, before } = this;
    const nowMs = doors.clock.nowMs();
    const windowMs = Math.max(nowMs - this.beganMs, 1);
    const counts = doors.counts();
    this.beganMs = nowMs;
    this.before = counts;
    this.sequence += 1;
    const perSecond = (count: number): number => rounded((count / windowMs) * 1000);
    return {
      member: doors.member,
      incarnation: doors.incarnation,
      sequence: this.sequence,
      measuredAtMs: doors.clock.wallMs(),
      windowMs: rounded(windowMs),
      server: {
        processors: rounded((counts.processorMs - before.processorMs) / windowMs),
        loopBusy: shareOf(windowMs - (counts.idleMs - before.idleMs), windowMs),
        loopDelayMsP99: rounded(doors.takeLoopDelayMs()),
        sessions: doors.sessions(),
        bytesIn: perSecond(counts.bytesIn - before.bytesIn),
        bytesOut: perSecond(counts.bytesOut - before.bytesOut),
        roundTripMs: Object.fromEntries(
          [...doors.roundTrips()].slice(0, MEMBERS_KNOWN_MAX).map(([member, ms]) => [member, rounded(ms)]),
        ),
      },
      ...this.takeVolumes(perSecond),
    };
  }

  private takeVolumes(perSecond: (count: number) => number): Pick<LoadVector, 'storage' | 'volumes'> {
    const service = new ServiceTimes();
    const all = { reads: 0, writes: 0, readBytes: 0, writeBytes: 0 };
    const busy: { volume: MonitoredVolume; window: TrafficWindow }[] = [];
    let pinned = 0;
    for (const volume of this.doors.volumes()) {
      pinned += volume.pinned;
      const window = volume.traffic.takeWindow();
      if (window === null) continue;
      busy.push({ volume, window });
      service.addAll(window.service);
      for (const figure of ['reads', 'writes', 'readBytes', 'writeBytes'] as const)
        all[figure] += window[figure];
    }
    const { usedBytes, freeBytes } = this.doors.space();
    const requests = perSecond(all.reads + all.writes);
    return {
      storage: {
        ...ratesOf(all, perSecond),
        // Little's law; where nothing has ended, what hangs there now.
        queueDepth: service.isEmpty ? pinned : rounded((requests * service.meanMs) / 1000),
        serviceMs: {
          mean: rounded(service.meanMs),
          p50: rounded(service.percentileMs(0.5)),
          p99: rounded(service.percentileMs(0.99)),
        },
        usedBytes,
        freeBytes,
      },
      volumes: volumeLoads(busy, perSecond),
    };
  }
}

type Requests = Pick<TrafficWindow, 'reads' | 'writes' | 'readBytes' | 'writeBytes'>;

function ratesOf(window: Requests, perSecond: (count: number) => number) {
  return {
    readsPerSecond: perSecond(window.reads),
    writesPerSecond: perSecond(window.writes),
    readBytesPerSecond: perSecond(window.readBytes),
    writeBytesPerSecond: perSecond(window.writeBytes),
  };
}

/** The busiest first, as many as a vector takes; of hot extents the busiest volumes tell until the vector has enough. */
function volumeLoads(
  busy: { volume: MonitoredVolume; window: TrafficWindow }[],
  perSecond: (count: number) => number,
): VolumeLoad[] {
  const requestsOf = ({ window }: { window: Requests }): number => window.reads + window.writes;
  busy.sort((a, b) => requestsOf(b) - requestsOf(a) || (a.volume.name < b.volume.name ? -1 : 1));
  let hotLeft = HOT_EXTENTS_TOLD_MAX;
  return busy.slice(0, LOADED_VOLUMES_MAX).map(({ volume, window }) => {
    const load = volumeLoad(volume, window, Math.min(hotLeft, HOT_EXTENTS_MAX), perSecond);
    hotLeft -= load.hot.length;
    return load;
  });
}

function volumeLoad(
  volume: MonitoredVolume,
  window: TrafficWindow,
  hotMax: number,
  perSecond: (count: number) => number,
): VolumeLoad {
  const { reads, writes, readBytes, writeBytes, sequentialShare } = window;
  const requests = reads + writes;
  const readShare = shareOf(reads, requests);
  const hot = heldHere(volume, window.hot)
    .map(([extent, share]): [number, number] => [extent, perSecond(share * requests)])
    .filter(([, rate]) => rate > 0);
  return {
    volume: volume.name,
    ...ratesOf(window, perSecond),
    serviceMs: rounded(window.service.meanMs),
    pattern: {
      kind: kindOf(readShare, sequentialShare),
      readShare,
      requestBytes: Math.round((readBytes + writeBytes) / requests),
      sequentialShare: rounded(sequentialShare),
      burstiness: rounded(window.burstiness),
      initiators: volume.initiators,
    },
    hot: hot.slice(0, hotMax),
  };
}

/**
 * The shares that the requests of this window had of each hot extent held here. What has moved away is warm in memory alone:
 * its part of the heat is the others', but for what was asked of it in this window before it went.
 */
function heldHere(volume: MonitoredVolume, hot: readonly HotExtent[]): (readonly [number, number])[] {
  let [held, gone, goneLately] = [0, 0, 0];
  for (const { extent, share, shareLately } of hot) {
    if (volume.holdsHere(extent)) held += share;
    else [gone, goneLately] = [gone + share, goneLately + shareLately];
  }
  // Where all of the heat was theirs, what is left of it is nothing, or what rounding has left.
  const scale = Math.max(0, 1 - goneLately) / Math.max(1 - gone, held, Number.EPSILON);
  return hot
    .filter(({ extent }) => volume.holdsHere(extent))
    .map(({ extent, share }) => [extent, share * scale] as const);
}

function shareOf(part: number, whole: number): number {
  return rounded(Math.min(1, Math.max(0, part / whole)));
}

/** Four digits are more than any of this is good for, and a third of the bytes. */
function rounded(value: number): number {
  return Number(Math.max(0, value).toPrecision(4));
}
