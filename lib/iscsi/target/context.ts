/** What the parts of one portal share: the doors to the world outside, and its memory. */
import type { Clock } from '../../base/clock.js';
import type { Logger } from '../../base/log.js';
import type { Random } from '../../base/random.js';
import type { BusyPoll } from './busy-poll.js';
import type { TargetDirectory } from './directory.js';
import type { FailedLogins } from './failed-logins.js';
import type { Authenticator } from './login/security.js';
import type { MemoryBudget } from './memory-budget.js';
import type { OutputContext } from './output.js';
import type { SessionRegistry } from './registry.js';

export interface PortalContext extends OutputContext {
  readonly directory: TargetDirectory;
  readonly registry: SessionRegistry;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Random;
  readonly memory: MemoryBudget;
  readonly poll: BusyPoll;
  readonly authenticator: Authenticator;
  readonly failedLogins: FailedLogins;
  /** Of all portals of this process (RFC 7143 13.9); may be known only once the portal listens. */
  readonly portalGroupTag: () => number;
}
