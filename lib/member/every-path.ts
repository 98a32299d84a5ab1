/**
 * What a member is to initiators where every member serves every volume (--access alua): a target port of its own, which
 * says how each port stands to the home of a volume, and passes commands to it (access/).
 */
import { z } from 'zod';
import { AccessServer } from '../access/access-server.js';
import type { Server } from '../access/messages.js';
import type { Clock } from '../base/clock.js';
import { BlockferryError } from '../base/errors.js';
import { HOME_COMMAND_BYTES_MAX } from '../base/limits.js';
import type { MemberRecord, VolumeRecord } from '../group/records.js';
import { abortForOthers } from '../iscsi/target/abort.js';
import type { SessionRegistry } from '../iscsi/target/registry.js';
import { PeerStatus, PeerType, type IncomingRequest, type PeerHub } from '../peer/contract.js';
import type { RoutedVolume, RoutingTable } from '../routing/table.js';
import { DiskServer } from '../scsi/disk-server.js';
import { AccessState, type PortGroup, type TargetPorts } from '../scsi/target-ports.js';
import type { UnitParts } from '../scsi/unit.js';
import { inTime, type Everywhere } from './everywhere.js';

export interface EveryPathOptions {
  readonly self: Server;
  readonly targetPort: number;
  readonly hub: PeerHub;
  readonly clock: Clock;
  readonly table: RoutingTable;
  readonly registry: SessionRegistry;
  readonly everywhere: Everywhere;
  /** Those that are alive. */
  members(): readonly MemberRecord[];
  /** By its lease, and by what it knows: not before it has read what it has missed without one (I8). */
  mayServe(): boolean;
}

/** What a volume at this member knows of its route. */
export interface VolumePlace {
  readonly routed: RoutedVolume;
  /** How often this member was left behind by its group. */
  timesLeftBehind(): number;
  /** Reads the route from the store if it is not at `epoch` yet (0: in any case), then calls back. */
  refresh(epoch: number, done: () => void): void;
}

/** TASKS_END: the commands of the unit end everywhere but at the member that ends its own. */
const TasksEnd = z.object({ except: z.string().max(64) });
type TasksEnd = z.infer<typeof TasksEnd>;

export class EveryPath {
  constructor(private readonly options: EveryPathOptions) {}

  /** The unit of a volume at this member, made of these parts. */
  serve({ id: volumeId, iqn }: VolumeRecord, parts: UnitParts, place: VolumePlace): AccessServer {
    const { self, hub, clock, registry } = this.options;
    const { device, identity } = parts;
    const ports = this.portsOf(place);
    const options = { ...parts.options, ports, transferBytesMax: HOME_COMMAND_BYTES_MAX };
    const disk = new DiskServer({ ...parts, options });
    const decoder = new DiskServer({ device, identity, options });
    return new AccessServer({
      ...{ disk, decoder, volumeId, hub, clock, self },
      home: () => place.routed.route.home,
      epoch: () => place.routed.route.epoch,
      timesLeftBehind: () => place.timesLeftBehind(),
      refresh: (epoch, done) => place.refresh(epoch, done),
      mayServe: () => this.options.mayServe(),
      busy: () => registry.busyOf(iqn),
      endTasksHere: (done) => abortForOthers(registry.everySessionOf(iqn), done),
      endTasksElsewhere: (except, done) => this.endTasksElsewhere(volumeId, except, done),
    });
  }

  /** Every member is a target port group with one port. */
  private portsOf(place: VolumePlace): TargetPorts {
    const { self, targetPort } = this.options;
    const group = (name: string, number: number): PortGroup => {
      const { ACTIVE_OPTIMIZED, ACTIVE_NON_OPTIMIZED } = AccessState;
      return { number, state: name === place.routed.route.home ? ACTIVE_OPTIMIZED : ACTIVE_NON_OPTIMIZED };
    };
    return {
      self: targetPort,
      groups: () => {
        const others = this.options.members().filter(({ name }) => name !== self.name);
        const groups = others.map(({ name, targetPort: number }) => group(name, number ?? 0));
        return [group(self.name, targetPort), ...groups].sort((a, b) => a.number - b.number);
      },
    };
  }

  private endTasksElsewhere(volumeId: number, except: string, done: (isDone: boolean) => void): void {
    const message: TasksEnd = { except };
    this.options.everywhere
      .ask({ type: PeerType.TASKS_END, volumeId }, () => message)
      .then(
        () => done(true),
        () => done(false),
      );
  }

  /** The home ends the commands of a unit: TASKS_END. */
  async end(request: IncomingRequest): Promise<void> {
    const { except } = TasksEnd.parse(JSON.parse(request.payload.toString('utf8')));
    const { table, registry, self } = this.options;
    const iqn = table.getById(request.volumeId)?.record.iqn;
    const sessions = iqn === undefined || except === self.name ? [] : registry.everySessionOf(iqn);
    const ended = new Promise<true>((resolve) => abortForOthers(sessions, () => resolve(true)));
    request.answer((await inTime(this.options.clock, ended)) ? PeerStatus.OK : PeerStatus.UNAVAILABLE);
  }
}

/**
 * @param isEveryPath every member serves every volume
 * @throws BUSY where the others do not go by the same
 */
export function refuseMixed(isEveryPath: boolean, others: readonly MemberRecord[]): void {
  const other = others.find(({ targetPort }) => (targetPort !== undefined) !== isEveryPath);
  if (other === undefined) return;
  const theirs = isEveryPath ? 'redirect' : 'alua';
  throw new BlockferryError(
    'BUSY',
    `member ${other.name} runs with --access ${theirs}`,
    'all members of a group give access in the same way: stop it first, or start this one with the same',
  );
}
