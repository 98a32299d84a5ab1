/** The desk of the management API, played without a group. */
import { BlockferryError } from '../../lib/base/errors.js';
import { DEFAULT_SETTINGS } from '../../lib/balance/settings.js';
import type {
  BalanceView,
  CreateMove,
  CreateVolume,
  DecisionView,
  MemberView,
  MoveView,
  RouteView,
  SetBalance,
  SetVolume,
  StatusView,
  TraceView,
  VolumeView,
} from '../../lib/manage/api.js';
import type { ManageDesk } from '../../lib/manage/desk.js';
import type { VolumeLoad } from '../../lib/load/vector.js';
import { loadsView } from '../../lib/manage/loads-view.js';
import { vectorOf } from './load.js';

export const MEMBERS: MemberView[] = ['m1', 'm2', 'm3'].map((name, i) => ({
  name,
  portal: `127.0.0.1:${3261 + i}`,
  peer: `127.0.0.1:${4261 + i}`,
  pid: 100 + i,
  startedAtMs: 1,
  alive: true,
  access: 'redirect',
}));

export function volumeView(name: string, home: string, holders: Record<string, number>): VolumeView {
  return {
    name,
    iqn: `iqn.2026-11.org.blockferry:${name}`,
    size: 64 * 1024 ** 2,
    blockSize: 512,
    extentSize: 4 * 1024 ** 2,
    extents: 16,
    home,
    epoch: 1,
    holders,
    removable: false,
    readOnly: false,
    full: false,
    allocating: null,
    serial: '0123456789abcdef',
    vendor: 'BLKFERRY',
    product: 'VOLUME',
    naa: '3123456789abcdef',
    url: `iscsi://127.0.0.1:3260/iqn.2026-11.org.blockferry:${name}/0`,
    pinned: false,
    labels: {},
    unreadable: '',
    moving: null,
  };
}

export const HOT_VOLUME: VolumeLoad = {
  volume: 'disk',
  ...{
    readsPerSecond: 900,
    writesPerSecond: 100,
    readBytesPerSecond: 1,
    writeBytesPerSecond: 1,
    serviceMs: 0.25,
  },
  pattern: {
    ...{ kind: 'random-read', readShare: 0.9, requestBytes: 4096, sequentialShare: 0 },
    ...{ burstiness: 1.5, initiators: 2 },
  },
  hot: [
    [7, 600],
    [3, 9.5],
  ],
};

/** Plays a group: a move is done after it was looked at three times, a full volume there after it was twice. */
export class PlayedDesk implements ManageDesk {
  readonly held: VolumeView[] = [volumeView('disk', 'm1', { m1: 16 })];
  readonly asked: (CreateMove | CreateVolume)[] = [];
  readonly balanceView: BalanceView = { settings: { ...DEFAULT_SETTINGS }, members: {}, unreadable: {} };
  readonly decided: DecisionView[] = [];
  looks = 0;
  /** A full volume does. */
  fits = true;
  ending: MoveView['state'] = 'done';

  async status(): Promise<StatusView> {
    return {
      group: 'g',
      portal: '127.0.0.1:3260',
      manage: 'http://x',
      members: MEMBERS,
      volumes: this.held,
      moves: [],
    };
  }
  async members() {
    return MEMBERS;
  }
  async volumes() {
    return this.held;
  }
  async volume(name: string) {
    const found = this.held.find((volume) => volume.name === name);
    if (found === undefined)
      throw new BlockferryError('NOT_FOUND', `there is no volume ${name}`, 'see volume list');
    if (found.allocating !== null) this.allocate(found);
    // Its home has made its file by now.
    if (found.allocating === null) found.epoch = 2;
    return found;
  }
  private allocate(volume: VolumeView) {
    if (volume.allocating === 0) volume.allocating = volume.size / 2;
    else if (this.fits) volume.allocating = null;
    else {
      this.held.splice(this.held.indexOf(volume), 1);
      throw new BlockferryError('NO_SPACE', `volume ${volume.name} could not be made`, 'make it smaller');
    }
  }
  async createVolume(wanted: CreateVolume) {
    if (this.held.some((volume) => volume.name === wanted.name)) {
      throw new BlockferryError('EXISTS', `there is a volume ${wanted.name} already`);
    }
    this.asked.push(wanted);
    const made = volumeView(wanted.name, wanted.home ?? 'm2', {});
    made.full = wanted.full ?? false;
    made.allocating = made.full ? 0 : null;
    this.held.push(made);
    return made;
  }
  async deleteVolume(name: string) {
    this.held.splice(this.held.indexOf(await this.volume(name)), 1);
  }
  async route(volume: string): Promise<RouteView> {
    return { volume, epoch: 3, home: 'm1', extents: 16, runs: [{ first: 0, last: 15, holder: 'm1' }] };
  }
  async sessions() {
    return { sessions: [], silent: ['m3'] };
  }
  async loads() {
    const storage = {
      ...vectorOf('m1').storage,
      readsPerSecond: 900,
      writesPerSecond: 100,
      freeBytes: 2 ** 30,
    };
    const volumes = [HOT_VOLUME];
    const m1 = vectorOf('m1', { storage, volumes });
    return loadsView(
      'm1',
      ['m1', 'm2', 'm3'],
      [
        { vector: m1, ageMs: 1500, isFresh: true },
        { vector: vectorOf('m2'), ageMs: 100, isFresh: false },
      ],
      () => 1,
    );
  }
  async moves() {
    return [this.view('active')];
  }
  async move(id: string) {
    if (id !== 'move-1') throw new BlockferryError('NOT_FOUND', `there is no move ${id}`);
    this.looks += 1;
    return this.view(this.looks < 3 ? 'active' : this.ending);
  }
  async createMove(wanted: CreateMove) {
    this.asked.push(wanted);
    this.looks = 0;
    return this.view('active');
  }
  async setVolume(name: string, { pinned, labels = {} }: SetVolume) {
    const volume = await this.volume(name);
    if (pinned !== undefined) volume.pinned = pinned;
    for (const [label, value] of Object.entries(labels)) {
      if (value === null) delete volume.labels[label];
      else volume.labels[label] = value;
    }
    return volume;
  }
  async trace(after: string | undefined): Promise<TraceView> {
    this.looks = after === undefined ? 0 : Number(after) + 1;
    const dropped = this.looks > 2 ? 1 : 0;
    return { requests: [[12.5, 'disk', true, 4096, 512]], dropped, silent: [], next: String(this.looks) };
  }
  async balance() {
    return this.balanceView;
  }
  async setBalance({ settings, members = {} }: SetBalance) {
    Object.assign(this.balanceView.settings, settings);
    for (const [name, { weight = 1, labels = {} }] of Object.entries(members)) {
      const kept = Object.entries(labels).filter(([, value]) => value !== null);
      this.balanceView.members[name] = { weight, labels: Object.fromEntries(kept) as Record<string, string> };
    }
    return this.balanceView;
  }
  async decisions() {
    return this.decided;
  }
  async cancelMove() {
    return this.view('cancelled');
  }
  protected view(state: MoveView['state']): MoveView {
    return {
      id: 'move-1',
      volume: 'disk',
      from: 'm1',
      to: 'm2',
      range: null,
      decision: '',
      state,
      error: state === 'failed' ? 'the disk of m2 is full' : '',
      createdAtMs: 1000,
      finishedAtMs: state === 'active' ? null : 3500,
      extents: 16,
      extentsDone: state === 'done' ? 16 : 4,
      bytesCopied: 64 * 1024 ** 2,
      bytesRecopied: 4096,
      restarts: 1,
      sessions: 2,
      stallMsMax: 12.5,
      lastError: '',
    };
  }
}
