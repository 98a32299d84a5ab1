/**
 * Where the group portal sends initiators: to the portal that a member has written into its record, whoever has started
 * that member. Of those that this process starts itself it knows sooner than the store that one is gone.
 */
import { sleep, type Clock } from '../base/clock.js';
import { LOGIN_HOME_WAIT_MS } from '../base/limits.js';
import type { GroupView } from '../group/group-view.js';
import type { HomeWatch } from './portal-directory.js';

/** How soon a login that is held hears that its home is in the group. */
const LOOK_MS = 50;

/** A member that is started again here when it dies. */
export interface WatchedMember {
  readonly name: string;
  whenReady(patienceMs: number): Promise<boolean>;
}

export class GroupHomes implements HomeWatch {
  constructor(
    private readonly view: Pick<GroupView, 'get'>,
    private readonly clock: Clock,
    private readonly watched: readonly WatchedMember[],
  ) {}

  /** The record of one that was killed stays until its lease runs out: one of ours is asked first whether it serves. */
  async whenServing(name: string): Promise<{ host: string; port: number } | undefined> {
    const { view, clock } = this;
    const deadlineMs = clock.nowMs() + LOGIN_HOME_WAIT_MS;
    const own = this.watched.find((member) => member.name === name);
    if (own !== undefined && !(await own.whenReady(LOGIN_HOME_WAIT_MS))) return undefined;
    while (view.get(name) === undefined && clock.nowMs() < deadlineMs) await sleep(clock, LOOK_MS);
    return view.get(name)?.portal;
  }
}
