/**
 * One member of a simulated group: the shipped Member in a simulated process, on a disk that outlives it. Like a
 * supervisor it starts the member again when that has died or could not start.
 */
import { Chance } from '../base/chance.js';
import type { Logger } from '../base/log.js';
import type { Waypoint } from '../base/waypoints.js';
import { keys } from '../group/records.js';
import type { MemoryStore } from '../group/memory-store.js';
import { Member } from '../member.js';
import type { MemberDoors } from '../member/doors.js';
import { DiskDoors } from './disk-doors.js';
import type { SimDisk } from './disk.js';
import type { Loss } from './inode.js';
import type { SimNet } from './net.js';
import type { SimProcess } from './process.js';
import { SimStore, type Applied, type StoreMood } from './store.js';
import type { Timeline } from './timeline.js';

/** A member that could not start is started again after this. */
const RETRY_MS = 700;

/** What the processes of a world share. */
export interface SharedWorld {
  readonly timeline: Timeline;
  readonly net: SimNet;
  readonly store: MemoryStore;
  readonly mood: StoreMood;
  readonly chance: Chance;
  readonly applied: Applied;
  readonly oneMachine: boolean;
  readonly access: 'redirect' | 'alua';
  /** A member has come to a waypoint. */
  reached(member: SimMember, point: Waypoint): void;
  /** What was not durable of what a member holds may be lost. */
  lostUnflushed(member: string): void;
  /** A process of it begins. */
  began(member: string): void;
  /** Its process is gone. */
  ended(member: string): void;
  logOf(name: string): Logger;
  /** Shipped code threw something that nobody caught. */
  threw(process: SimProcess, error: unknown): void;
  /** Makes a process, with a number of its own. */
  spawn(name: string, host: string): SimProcess;
  isRunning(pid: number, host: string): boolean;
}

export class SimMember {
  process: SimProcess | null = null;
  /** Once it serves. */
  member: Member | null = null;
  /** Starts that ended in serving. */
  starts = 0;
  private doors: DiskDoors | null = null;
  private store: SimStore | null = null;
  private isWanted = true;
  private boots = 1;

  constructor(
    readonly name: string,
    readonly host: string,
    readonly portalPort: number,
    readonly disk: SimDisk,
    private readonly world: SharedWorld,
  ) {}

  get portal(): string {
    return `${this.host}:${this.portalPort}`;
  }

  get isUp(): boolean {
    return this.member !== null && this.process?.state === 'running';
  }

  start(): void {
    const { world, name, host } = this;
    if (!this.isWanted || (this.process !== null && !this.process.isDead)) return;
    world.net.powered(host);
    const process = world.spawn(name, host);
    this.process = process;
    world.began(name);
    const { log, clock } = { log: world.logOf(name), clock: process.clock };
    const options = {
      ...{
        name,
        storeUrl: 'simulated',
        dataFolder: '/data',
        log,
        clock,
        busyPollUs: 0,
        access: world.access,
      },
      portal: { host, port: this.portalPort },
      peer: { host, port: this.portalPort + 1_000 },
      random: new Chance(world.chance.uint32()),
      waypoints: { reached: (point: Waypoint) => this.reached(process, point) },
    };
    Member.start(options, this.doorsOf(process)).then(
      (member) => {
        if (process.isDead) return;
        world.timeline.note(`${name} serves`);
        this.member = member;
        this.starts += 1;
      },
      (error: unknown) => {
        if (process.isDead) return;
        world.timeline.say(`${name} could not start: ${String(error)}`);
        this.kill(RETRY_MS);
      },
    );
  }

  private reached(process: SimProcess, point: Waypoint): void {
    if (process.state === 'running') this.world.reached(this, point);
  }

  private doorsOf(process: SimProcess): MemberDoors {
    const { world } = this;
    const storage = new DiskDoors(process, this.disk);
    const store = new SimStore(process, world.store, world.mood, world.chance, world.applied);
    this.doors = storage;
    this.store = store;
    return {
      ...{ storage, net: world.net.doorOf(process), pid: process.pid },
      bootId: `boot-${this.boots}`,
      openStore: () => Promise.resolve(store),
      isGone: (pid) => !world.isRunning(pid, this.host),
      watchLoop: () => ({
        ...{ idleMs: 0, processorMs: 0 },
        takeDelayMs: () => 0,
        close: () => undefined,
      }),
    };
  }

  /** SIGKILL; it is started again after `downMs`. */
  kill(downMs: number): void {
    // Its next life opens the files anew, and no sync of them fails for what an earlier one has lost.
    if (this.disk.hasLostPages) this.world.lostUnflushed(this.name);
    this.end(false);
    this.world.timeline.after(downMs, () => this.start());
  }

  /** The machine loses its power, and what was not durable with it. */
  losePower(loss: Loss, downMs: number): void {
    this.end(true);
    this.disk.losePower(loss);
    this.boots += 1;
    this.world.timeline.after(downMs, () => this.start());
  }

  private end(isPowerLoss: boolean): void {
    const { process } = this;
    if (process === null || process.isDead) return;
    this.member = null;
    process.kill();
    this.doors?.abandon();
    this.store?.abandon();
    this.world.net.left(process, isPowerLoss);
    this.world.ended(this.name);
  }

  /** Stops in order; resolves when the shipped stop() has. */
  async stop(): Promise<void> {
    this.isWanted = false;
    await this.member?.stop();
    this.end(false);
  }

  /** The end of the world: nothing of it runs any more. */
  abandon(): void {
    this.isWanted = false;
    this.end(false);
  }

  /** Whether the group still knows it under its record. */
  async isListed(): Promise<boolean> {
    return (await this.world.store.get(keys.member(this.name))) !== undefined;
  }
}
