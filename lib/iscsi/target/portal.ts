/**
 * The listener: accepts connections at one address and ends them in order. A member's portal and the group portal are
 * the same but for their directory. What happens on a connection is the connection's business.
 */
import type { Clock } from '../../base/clock.js';
import { PORTAL_GROUP_TAG } from '../../base/iscsi-names.js';
import { CONNECTIONS_MAX, READ_BUFFER_BYTES } from '../../base/limits.js';
import type { Logger } from '../../base/log.js';
import { LoopTurns } from '../../base/loop-turns.js';
import { listenError, tcp, type IncomingConnection, type Listener, type Net } from '../../base/net.js';
import type { Random } from '../../base/random.js';
import { BufferPool } from './buffer-pool.js';
import { BusyPoll } from './busy-poll.js';
import { Connection } from './connection.js';
import type { PortalContext } from './context.js';
import { retire } from './departure.js';
import type { TargetDirectory } from './directory.js';
import { FailedLogins } from './failed-logins.js';
import { type Authenticator, openAuthenticator } from './login/security.js';
import { MemoryBudget } from './memory-budget.js';
import type { SessionRegistry } from './registry.js';

/** What sessions get to finish their commands when the portal closes. */
const CLOSE_DRAIN_MS = 1_000;

export interface PortalOptions {
  /** Who may log in. Default: everybody. */
  readonly authenticator?: Authenticator;
  /** Default 1. Asked at each login, since a member learns it from its group. */
  readonly portalGroupTag?: () => number;
}

export interface PortalParts {
  readonly directory: TargetDirectory;
  readonly registry: SessionRegistry;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Random;
  /** Of all sessions of this process; a portal without one has its own. */
  readonly memory?: MemoryBudget;
  /** Of the event loop; a portal without one has its own. */
  readonly poll?: BusyPoll;
  /** Called when answers are about to be sent (context.ts). */
  readonly beforeAnswers?: () => void;
  /** Default: TCP. */
  readonly net?: Net;
  readonly options?: PortalOptions;
}

export class Portal {
  private readonly context: PortalContext;
  private readonly connections = new Set<Connection>();
  /** One for all connections: each read is taken in before the next one begins. */
  private readonly readBuffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
  private readonly net: Net;
  private listener: Listener | null = null;

  constructor(parts: PortalParts) {
    const { directory, registry, log, clock, random, memory, poll, options } = parts;
    this.net = parts.net ?? tcp;
    this.context = {
      directory,
      registry,
      log,
      clock,
      random,
      pool: new BufferPool(),
      memory: memory ?? new MemoryBudget(),
      beforeAnswers: parts.beforeAnswers ?? (() => undefined),
      poll: poll ?? new BusyPoll(new LoopTurns(() => clock.nowMs())),
      authenticator: options?.authenticator ?? openAuthenticator,
      failedLogins: new FailedLogins(clock, log),
      portalGroupTag: options?.portalGroupTag ?? (() => PORTAL_GROUP_TAG),
    };
  }

  /**
   * Accepts connections from now on.
   * @param port 0: any free one
   * @returns the address it has
   * @throws BUSY when the address is taken, IO when it cannot be had otherwise
   */
  async listen(host: string, port: number): Promise<{ host: string; port: number }> {
    try {
      this.listener = await this.net.listen(
        { host, port },
        (incoming) => this.accept(incoming),
        (error) => this.context.log.warn({ err: error }, 'the portal cannot accept'),
      );
    } catch (cause) {
      throw listenError('iSCSI port', { host, port }, '--port', cause);
    }
    return { host, port: this.listener.port };
  }

  /** Accepts nothing any more, lets commands in flight finish for a moment, and closes every connection. */
  async close(): Promise<void> {
    const { listener } = this;
    this.listener = null;
    const closed = listener?.close();
    const gone = [...this.connections].map((connection) => this.end(connection));
    await Promise.all(gone);
    await closed;
  }

  private accept(incoming: IncomingConnection): void {
    if (this.connections.size >= CONNECTIONS_MAX || this.listener === null) {
      incoming.refuse();
      return;
    }
    const socket = incoming.take(this.readBuffer, (chunk) => connection.receive(chunk));
    const connection = new Connection(socket, this.context, (gone) => this.connections.delete(gone));
    this.connections.add(connection);
  }

  private async end(connection: Connection): Promise<void> {
    const { session } = connection;
    if (session === null) return connection.destroy('the portal closes');
    retire(session);
    const timer = this.context.clock.after(CLOSE_DRAIN_MS, () => connection.destroy('the portal closes'));
    await new Promise<void>((resolve) => session.whenGone(resolve));
    timer.cancel();
    connection.destroy('the portal closes');
  }
}
