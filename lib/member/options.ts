/** What a member is started with. */
import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import type { Random } from '../base/random.js';
import type { Waypoints } from '../base/waypoints.js';
import type { Authenticator } from '../iscsi/target/login/security.js';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface MemberOptions {
  readonly name: string;
  /** embedded:/path/to/folder */
  readonly storeUrl: string;
  /** Numeric host; port 0: any free one. */
  readonly portal: Endpoint;
  readonly peer: Endpoint;
  readonly dataFolder: string;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Random;
  /** The longest that the loop keeps turning after activity, in microseconds; 0: not at all. */
  readonly busyPollUs?: number;
  /** A CRC32C in every frame between members. */
  readonly peerDigests?: boolean;
  /** Who may log in. Default: everybody. */
  readonly authenticator?: Authenticator;
  /** What the disk takes for a request, one at a time; default: what it takes. */
  readonly diskTimeMs?: number;
  /** Who serves a volume: its home, to which the others redirect (default), or every member (implicit ALUA). */
  readonly access?: 'redirect' | 'alua';
  /** Default: none. */
  readonly waypoints?: Waypoints;
  /** What is measured of the load together. Default: what an ordinary group balances itself by. */
  readonly loadWindowMs?: number;
}
