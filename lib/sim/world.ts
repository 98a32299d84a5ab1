/**
 * A whole group in one process: members with the shipped code, the group portal, initiators, the group store, networks and
 * disks in memory, one timeline. It builds them from a plan, lets the plan's events happen, puts everything right again,
 * and has what is left judged. What is right is model.ts's and audit.ts's to say.
 */
import { pino, type Logger } from 'pino';
import type { AdminDoors } from '../group/attempts.js';
import { listMoves } from '../group/admin-moves.js';
import { createVolume, ensureGroup } from '../group/admin-volumes.js';
import { MemoryStore } from '../group/memory-store.js';
import { Chance } from '../base/chance.js';
import type { BlockferryError } from '../base/errors.js';
import { targetIqn } from '../base/iscsi-names.js';
import { GIVE_BACK_RETRY_MS, MOVE_BACKOFF_MS_MAX, ORPHANS_LOOK_MS } from '../base/limits.js';
import { silentLog } from '../base/log.js';
import type { Waypoint } from '../base/waypoints.js';
import type { IscsiUrl } from '../iscsi/initiator/url.js';
import { checkDisks, checkIdentity, checkMoves, checkVolume, keptInVain } from './audit.js';
import { checkDurable, holderOf } from './durability.js';
import { CommitWatch } from './commits.js';
import { SimDisk } from './disk.js';
import { happen } from './events.js';
import { GroupPortal } from './group-portal.js';
import type { Loss } from './inode.js';
import { Load, type LoadWorld } from './load.js';
import { VolumeModel } from './model.js';
import { SimNet } from './net.js';
import type { Plan, Point } from './plan.js';
import { SimProcess } from './process.js';
import type { Scene, SimVolume } from './scene.js';
import { SimMember, type SharedWorld } from './sim-member.js';
import { StoreMood } from './store.js';
import { Timeline } from './timeline.js';
import { Triggers } from './triggers.js';

const PORTAL_PORT = 3260;
/** So long after the last fault everything must have come to its end. */
const CALM_MS = 150_000;
const LOOK_MS = 50;
/**
 * Then every part of a move that somebody else has ended has looked up, lost sources were looked for, and space is given back.
 */
const SETTLE_MS = Math.max(MOVE_BACKOFF_MS_MAX + GIVE_BACK_RETRY_MS, ORPHANS_LOOK_MS) + 2_000;
/** After a waypoint of a move or a hand-over, so long initiators are at work. */
const HOT_MS = 15;

export class World implements Scene {
  readonly timeline: Timeline;
  readonly chance: Chance;
  readonly net: SimNet;
  readonly store: MemoryStore;
  readonly mood = new StoreMood();
  readonly oneMachine: boolean;
  readonly access: Plan['access'];
  readonly members: SimMember[];
  readonly portal: GroupPortal;
  readonly volumes: SimVolume[] = [];
  readonly loads: Load[] = [];
  /** The admin, and the judge at the end: processes that nothing happens to. */
  readonly admin: AdminDoors;
  readonly counts = new Map<string, number>();
  readonly wrongs: string[] = [];
  lastMove = { from: '', to: '', volume: '' };
  private readonly commits: CommitWatch;
  private readonly triggers: Triggers;
  isCalm = false;
  private hotUntilMs = 0;
  private readonly running = new Map<number, SimProcess>();
  private pids = 1_000;
  private writes = 0;

  constructor(
    readonly plan: Plan,
    keepsLines: boolean,
  ) {
    const { seed, oneMachine } = plan;
    this.oneMachine = oneMachine;
    this.access = plan.access;
    this.timeline = new Timeline(keepsLines);
    this.chance = new Chance(seed ^ 0x5eed);
    this.net = new SimNet(this.timeline, new Chance(seed ^ 0x0e7));
    const clock = this.spawn('admin', '10.9.9.9').clock;
    this.admin = { clock, random: new Chance(seed ^ 0xad) };
    this.store = new MemoryStore({ clock, random: new Chance(seed ^ 0x570e) });
    this.commits = new CommitWatch(this);
    this.triggers = new Triggers(this.timeline, (event, here) => {
      if (!this.isCalm) happen(this, event, here);
    });
    this.members = Array.from({ length: plan.members }, (_, i) => this.makeMember(i));
    this.portal = new GroupPortal(this.hostOf(99), PORTAL_PORT, this);
  }

  readonly applied: SharedWorld['applied'] = (by, operations, revision) => {
    this.timeline.note(`store ${by}`, revision, operations.length);
    if (this.timeline.keepsLines)
      this.timeline.say(
        `${by} wrote ${operations.map((o) => ('put' in o ? `${o.put}=${o.value}` : `-${o.delete}`)).join(' ')}`,
      );
    this.commits.applied(by, operations);
  };

  // ---- what others tell

  reached(member: SimMember, point: Waypoint): void {
    this.timeline.say(`${member.name} reached ${point}`);
    this.heat();
    this.triggers.reached(point, member);
  }

  heat(): void {
    const { nowMs } = this.timeline;
    if (this.hotUntilMs < nowMs) for (const load of this.loads) load.wake();
    this.hotUntilMs = nowMs + HOT_MS;
  }

  /** An initiator was promised that sectors are durable: what a loss of power would leave of them now is judged (I1). */
  private promised(volume: SimVolume, point: Point, sectors: readonly number[]): void {
    const [first] = sectors;
    if (first === undefined) return;
    checkDurable(this, volume, sectors);
    const holder = holderOf(this, volume, first);
    if (holder !== undefined) this.triggers.reached(point, holder);
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  wrong(what: string): void {
    this.timeline.say(`WRONG ${what}`);
    if (this.wrongs.length < 20) this.wrongs.push(`at ${Math.round(this.timeline.nowMs)} ms: ${what}`);
  }

  threw(process: SimProcess, error: unknown): void {
    this.wrong(
      `${process.name} threw ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
    this.members.find((member) => member.process === process)?.kill(500);
  }

  logOf(name: string): Logger {
    if (!this.timeline.keepsLines) return silentLog;
    const write = (line: string): void => this.timeline.say(`${name}: ${line.trim()}`);
    return pino({ level: 'debug', base: null, timestamp: false }, { write });
  }

  spawn(name: string, host: string): SimProcess {
    const pid = ++this.pids;
    const process = new SimProcess(this.timeline, name, host, pid, (dead, error) => this.threw(dead, error));
    this.running.set(pid, process);
    return process;
  }

  isRunning(pid: number, host: string): boolean {
    const process = this.running.get(pid);
    return process?.host === host && !process.isDead;
  }

  /** What was not durable of what a member holds may be lost. */
  lostUnflushed(member: string): void {
    this.commits.lostUnflushed(member, false);
  }

  began(member: string): void {
    this.commits.began(member);
  }

  ended(member: string): void {
    this.commits.ended(member);
  }

  losePower(member: SimMember, loss: Loss, downMs: number): void {
    this.commits.lostUnflushed(member.name, true);
    member.losePower(loss, downMs);
  }

  // ---- the run

  async run(): Promise<void> {
    await this.begin();
    const startMs = this.timeline.nowMs;
    for (const event of this.plan.events) {
      if (event.on !== undefined) this.triggers.arm(event, startMs);
      else this.timeline.at(startMs + event.atMs, () => happen(this, event));
    }
    await this.sleep(this.plan.durationMs);
    this.calm();
    await this.until(
      'every member to serve',
      () => this.members.every((member) => member.isUp) && this.portal.isUp,
    );
    await this.until('every move to end', () => this.movesHaveEnded());
    const stopping = this.ending(this.loads.map((load) => load.stop()));
    await this.until('every command to be answered', stopping);
    await this.judge();
    await this.end();
  }

  private async begin(): Promise<void> {
    await ensureGroup(this.store, this.admin, 'sim');
    for (const member of this.members) member.start();
    await this.until('the group to start', () => this.members.every((member) => member.isUp));
    this.portal.start();
    await this.until('the portal to start', () => this.portal.isUp);
    for (let i = 0; i < this.plan.volumes.length; i++) await this.makeVolume(i);
    this.plan.initiators.forEach((_, index) => this.makeLoad(index));
    for (const load of this.loads) load.start();
  }

  private hostOf(index: number): string {
    return this.oneMachine ? '127.0.0.1' : `10.0.0.${index}`;
  }

  private makeMember(index: number): SimMember {
    const name = `m${index + 1}`;
    const disk = new SimDisk(name, this.timeline, new Chance(this.plan.seed ^ (0xd15c + index)));
    return new SimMember(name, this.hostOf(index + 1), PORTAL_PORT + 1 + index, disk, this);
  }

  private async makeVolume(index: number): Promise<void> {
    const { home, extents, extentKiB, blockBytes } = this.plan.volumes[index] as Plan['volumes'][number];
    const name = `v${index + 1}`;
    const extentBytes = extentKiB * 1024;
    const sizeBytes = extents * extentBytes - (index === 1 ? 8 * 4096 : 0); // a last extent that is short
    const homeName = this.members[home % this.members.length]?.name ?? '';
    const wanted = { name, sizeBytes, blockBytes, extentBytes, home: homeName };
    const record = await createVolume(this.store, this.admin, wanted);
    const model = new VolumeModel(name, sizeBytes, blockBytes, this.timeline, () => ++this.writes);
    this.volumes.push({ name, extents, record, model });
    this.commits.born(name, homeName, extents);
  }

  private makeLoad(index: number): void {
    const plan = this.plan.initiators[index] as Plan['initiators'][number];
    const volume = this.volumes[plan.volume % this.volumes.length] as SimVolume;
    const name = `i${index + 1}`;
    const { timeline } = this;
    const world: LoadWorld = {
      wrong: (what) => this.wrong(what),
      failed: (by, error, tookMs) => this.ioFailed(by, error, tookMs),
      counted: () => this.count('commands'),
      toldOfLoss: () => this.count('losses told'),
      isHot: () => timeline.nowMs < this.hotUntilMs,
      promised: (point, sectors) => this.promised(volume, point, sectors),
      spawn: () => this.spawn(name, `10.0.1.${index + 1}`),
      memberAt: (address) => this.members.find((member) => member.portal === address)?.name,
      wasHome: (member, sinceMs) => this.commits.homesSince(volume.name, sinceMs).includes(member),
      access: this.access,
      homesSince: (sinceMs) => this.commits.homesSince(volume.name, sinceMs).length - 1,
      get nowMs() {
        return timeline.nowMs;
      },
    };
    const chance = new Chance(this.plan.seed ^ (0x10ad + index));
    const url = { ...this.urlOf(volume.name), ...this.doorFor(plan) };
    this.loads.push(new Load(name, url, plan, volume.record, volume.model, chance, this.net, world));
  }

  /** Where an initiator knocks. */
  private doorFor({ goesTo }: Plan['initiators'][number]): { host: string; port: number } {
    const member = goesTo === undefined ? undefined : this.members[goesTo % this.members.length];
    return member === undefined ? this.portal : { host: member.host, port: member.portalPort };
  }

  holders(volume: string): readonly string[] {
    return this.commits.holders(volume);
  }

  homeOf(volume: string): string | undefined {
    return this.commits.homesSince(volume, Infinity).at(-1);
  }

  /** The home before the last, if there was one. */
  oldHomeOf(volume: string): string | undefined {
    return this.commits.homesSince(volume, 0).at(-2);
  }

  urlOf(volume: string): IscsiUrl {
    return { host: this.portal.host, port: this.portal.port, iqn: targetIqn(volume), lun: 0 };
  }

  /** An initiator was told of an error: right only where a disk failed, a holder was away too long, or a move is strict. */
  private ioFailed(by: string, error: BlockferryError, tookMs: number): void {
    this.timeline.note(`failed ${by}`);
    this.count('errors seen');
    const isDisks = this.members.some(({ disk }) => disk.failedCalls > 0);
    const isStrict = this.plan.events.some(({ strict }) => strict);
    const isRight = error.code === 'IO' && (isDisks || isStrict || Load.isPatienceSpent(tookMs));
    if (!isRight) this.wrong(`${by} was told: ${error.message} (after ${Math.round(tookMs)} ms)`);
  }

  /** Puts everything right. */
  private calm(): void {
    const { mood, net } = this;
    this.isCalm = true;
    net.heal();
    [net.spikeChance, net.spikeMs] = [0.01, 5];
    mood.slowMs = mood.lostAnswers = mood.compactions = 0;
    for (const those of [mood.awayFor, mood.muteFor, mood.lagFor]) those.clear();
    for (const { disk, process } of this.members) {
      disk.slowness = 1;
      disk.isFull = false;
      disk.readErrors = disk.writeErrors = disk.syncErrors = disk.punchErrors = disk.hangsUntilMs = 0;
      process?.resume();
    }
  }

  private async movesHaveEnded(): Promise<boolean> {
    return (await listMoves(this.store)).every((move) => move.state !== 'active');
  }

  private async judge(): Promise<void> {
    for (const volume of this.volumes) {
      await this.until(
        `${volume.name} to be read`,
        this.ending([checkVolume(this, volume), checkIdentity(this, volume)]),
      );
    }
    await this.judgeSpace();
    await checkMoves(this);
  }

  /** What was given away is being given back; what a lost source leaves behind, when it is looked for. */
  private async judgeSpace(): Promise<void> {
    const deadlineMs = this.timeline.nowMs + SETTLE_MS;
    let kept: string[];
    do {
      await this.sleep(2_000);
      kept = await keptInVain(this);
    } while (kept.length > 0 && this.timeline.nowMs < deadlineMs);
    for (const what of kept) this.wrong(what);
  }

  /** In order, or in every other run as the power goes everywhere: what was promised must not need the former. */
  private async end(): Promise<void> {
    const isOrderly = this.plan.seed % 2 === 0;
    if (isOrderly) {
      const stops = [...this.members.map((member) => member.stop()), this.portal.stop()];
      await this.until('every member to stop', this.ending(stops));
    } else {
      for (const member of this.members) this.losePower(member, 'all', CALM_MS);
    }
    checkDisks(this, isOrderly);
  }

  /** Nothing of this world runs any more. */
  abandon(): void {
    for (const member of this.members) member.abandon();
    this.portal.abandon();
    for (const process of this.running.values()) process.kill();
    void this.store.close();
  }

  /** What is still under way, for whoever has waited in vain. */
  private async describe(): Promise<string> {
    const moves = (await listMoves(this.store)).filter((move) => move.state === 'active');
    const texts = moves.map(
      (move) =>
        `${move.volume} to ${move.to} (${move.lastError}), held by ${this.commits.holders(move.volume).join(' ')}`,
    );
    const down = this.members.filter((member) => !member.isUp).map(({ name }) => name);
    return `moves: ${texts.join('; ') || 'none'}; not up: ${down.join(' ') || 'none'}`;
  }

  // ---- waiting

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.timeline.after(ms, resolve));
  }

  /** A condition that holds once all of `work` has ended; what it throws is wrong. */
  private ending(work: readonly Promise<unknown>[]): () => boolean {
    let isDone = false;
    Promise.all(work).then(
      () => (isDone = true),
      (error: unknown) => {
        isDone = true;
        this.wrong(error instanceof Error ? (error.stack ?? error.message) : String(error));
      },
    );
    return () => isDone;
  }

  private async until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
    const deadlineMs = this.timeline.nowMs + CALM_MS;
    while (!(await condition())) {
      if (this.timeline.nowMs > deadlineMs)
        throw new Error(`waited in vain for ${what}; ${await this.describe()}`);
      await this.sleep(LOOK_MS);
    }
  }
}
