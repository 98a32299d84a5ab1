/** The group portal of a simulated world: the shipped portal and its directory, in a process of its own that can die. */
import { Chance } from '../base/chance.js';
import { GroupView } from '../group/group-view.js';
import { LoopTurns } from '../base/loop-turns.js';
import { BusyPoll } from '../iscsi/target/busy-poll.js';
import { Portal } from '../iscsi/target/portal.js';
import { SessionRegistry } from '../iscsi/target/registry.js';
import { MemberIds } from '../routing/member-ids.js';
import { RoutingTable } from '../routing/table.js';
import { GroupHomes } from '../supervisor/group-homes.js';
import { PortalDirectory } from '../supervisor/portal-directory.js';
import type { SimProcess } from './process.js';
import type { SharedWorld } from './sim-member.js';
import { SimStore } from './store.js';

const RETRY_MS = 500;

export class GroupPortal {
  isUp = false;
  private process: SimProcess | null = null;
  private store: SimStore | null = null;
  private portal: Portal | null = null;

  constructor(
    readonly host: string,
    readonly port: number,
    private readonly world: SharedWorld,
  ) {}

  start(): void {
    if (this.process?.isDead === false) return;
    const process = this.world.spawn('portal', this.host);
    this.process = process;
    this.open(process).catch(() => {
      if (!process.isDead) this.restart(RETRY_MS);
    });
  }

  restart(downMs: number): void {
    this.abandon();
    this.world.timeline.after(downMs, () => this.start());
  }

  abandon(): void {
    const { process } = this;
    this.isUp = false;
    if (process === null || process.isDead) return;
    process.kill();
    this.store?.abandon();
    this.world.net.left(process, false);
  }

  async stop(): Promise<void> {
    await this.portal?.close();
    this.abandon();
  }

  private async open(process: SimProcess): Promise<void> {
    const { world } = this;
    const { clock } = process;
    const log = world.logOf('portal');
    const store = new SimStore(process, world.store, world.mood, world.chance, world.applied);
    this.store = store;
    const table = await RoutingTable.open(store, new MemberIds(), log, clock);
    const view = await GroupView.open(store, log, () => undefined, clock);
    const portal = new Portal({
      ...{ log, clock, net: world.net.doorOf(process), random: new Chance(world.chance.uint32()) },
      directory: new PortalDirectory(table, new GroupHomes(view, clock, [])),
      registry: new SessionRegistry(clock),
      poll: new BusyPoll(new LoopTurns(() => clock.nowMs()), 0),
    });
    await portal.listen(this.host, this.port);
    this.portal = portal;
    this.isUp = true;
  }
}
