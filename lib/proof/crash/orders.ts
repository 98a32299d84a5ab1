/**
 * What a member is to do to itself, or to others, at a waypoint: an order is a file that the runner writes and the member
 * finds when it gets there. It is taken away before it is carried out, so that the member's next life passes unharmed.
 *
 *   FOLDER/m1.order     the order for m1
 *   FOLDER/m1.carried   it was carried out: the moment, and for whom
 *   FOLDER/m1.passed    every point m1 came by, a line each, over all its lives
 */
import { appendFileSync, existsSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { WAYPOINTS, type Waypoint, type Waypoints } from '../../base/waypoints.js';
import { FullDisk, fillDisk, takeBack, wasUnmet } from './full-disk.js';

/** Names the folder to every process of the group. */
export const ORDERS_VARIABLE = 'BLOCKFERRY_CRASH_ORDERS';

const Order = z.object({
  point: z.enum(WAYPOINTS),
  /** The how manieth time the point is reached. */
  nth: z.number().int().min(1),
  /** In this order; the member itself (pid 0) goes last, since nothing comes after. */
  victims: z.array(z.object({ pid: z.number().int().min(0), signal: z.enum(['SIGKILL', 'SIGSTOP']) })),
  /** A member's disk refuses a write from then on, until this member comes by another point. */
  fullDisk: FullDisk.extend({ until: z.enum(WAYPOINTS) }).optional(),
});
export type Order = z.infer<typeof Order>;

export class OrderDesk {
  constructor(private readonly folder: string) {}

  give(member: string, order: Order): void {
    // Whole or not at all: the member may look at any moment.
    writeFileSync(this.path(member, 'order.new'), JSON.stringify(order));
    renameSync(this.path(member, 'order.new'), this.path(member, 'order'));
  }

  /** When the member carried its order out, in milliseconds since 1970; undefined: not yet. */
  carriedAtMs(member: string): number | undefined {
    const path = this.path(member, 'carried');
    return existsSync(path) ? Number(readFileSync(path, 'utf8')) : undefined;
  }

  /** How often the member has come by a point. */
  passed(member: string, point: Waypoint): number {
    const path = this.path(member, 'passed');
    if (!existsSync(path)) return 0;
    return readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => line === point).length;
  }

  /** No write met the member's full disk while it was to be one. */
  wasUnmet(member: string): boolean {
    return wasUnmet(this.folder, member);
  }

  private path(member: string, kind: string): string {
    return join(this.folder, `${member}.${kind}`);
  }
}

/** The member's side. */
export class OrderedWaypoints implements Waypoints {
  private readonly seen = new Map<Waypoint, number>();
  private fullDisk: NonNullable<Order['fullDisk']> | null = null;

  constructor(
    private readonly folder: string,
    private readonly member: string,
  ) {}

  reached(point: Waypoint): void {
    appendFileSync(join(this.folder, `${this.member}.passed`), `${point}\n`);
    if (this.fullDisk?.until === point) takeBack(this.folder, this.fullDisk.member);
    const order = this.read();
    if (order === undefined || order.point !== point) return;
    const times = (this.seen.get(point) ?? 0) + 1;
    this.seen.set(point, times);
    if (times < order.nth) return;
    unlinkSync(join(this.folder, `${this.member}.order`));
    writeFileSync(join(this.folder, `${this.member}.carried`), String(Date.now()));
    if (order.fullDisk !== undefined) {
      this.fullDisk = order.fullDisk;
      fillDisk(this.folder, order.fullDisk);
    }
    for (const { pid, signal } of order.victims) strike(pid, signal);
  }

  private read(): Order | undefined {
    const path = join(this.folder, `${this.member}.order`);
    return existsSync(path) ? Order.parse(JSON.parse(readFileSync(path, 'utf8'))) : undefined;
  }
}

function strike(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid === 0 ? process.pid : pid, signal);
  } catch {
    // It was gone already, of an earlier order.
  }
}
