/**
 * Every member's latest load vector as this member has it, dated by its own clock. It keeps one vector for each member
 * that is in the group, of the process that is its member now; whatever else it is told, it forgets.
 */
import type { Clock } from '../base/clock.js';
import { LOADED_VOLUMES_MAX, MEMBERS_KNOWN_MAX } from '../base/limits.js';
import type { DatedVector, LoadVector } from './vector.js';

export interface BoardOptions {
  readonly clock: Pick<Clock, 'nowMs'>;
  /** Which process of a member is in the group; undefined: none. */
  processOf(member: string): string | undefined;
  /** A vector older than this is not to be trusted. */
  staleMs(): number;
}

/** A vector here, and how it came. */
export interface Entry {
  readonly vector: LoadVector;
  /** By the clock here. */
  readonly measuredMs: number;
  readonly learntMs: number;
  /** The member that told of it. */
  readonly from: string;
}

export class LoadBoard {
  private readonly byMember = new Map<string, Entry>();

  constructor(private readonly options: BoardOptions) {}

  /**
   * Takes a vector that is newer than what is here.
   * @param ageMs since it was measured, as far as can be known
   * @param from who told of it
   * @returns whether it was news
   */
  learn(vector: LoadVector, ageMs: number, from: string): boolean {
    const { member, incarnation, sequence } = vector;
    if (this.options.processOf(member) !== incarnation) return false;
    const known = this.byMember.get(member);
    if (known?.vector.incarnation === incarnation && known.vector.sequence >= sequence) return false;
    if (known === undefined && this.byMember.size >= MEMBERS_KNOWN_MAX) return false;
    const nowMs = this.options.clock.nowMs();
    this.byMember.set(member, { vector, measuredMs: nowMs - ageMs, learntMs: nowMs, from });
    return true;
  }

  /** By the members' names. */
  all(): DatedVector[] {
    const nowMs = this.options.clock.nowMs();
    const byName = this.entries().sort((a, b) => (a.vector.member < b.vector.member ? -1 : 1));
    return byName.map((entry) => this.dated(entry, nowMs));
  }

  /** The same for whoever passes them on, in no order. Who has left the group, or come back as another process, is forgotten here. */
  entries(): Entry[] {
    for (const [member, { vector }] of this.byMember) {
      if (this.options.processOf(member) !== vector.incarnation) this.byMember.delete(member);
    }
    return [...this.byMember.values()];
  }

  private dated({ vector, measuredMs }: Entry, nowMs: number): DatedVector {
    const ageMs = Math.max(0, nowMs - measuredMs);
    return { vector, ageMs, isFresh: ageMs <= this.options.staleMs() };
  }
}

/** The same vectors with fewer volumes, the busiest, so that they take no more than `bytesMax` as JSON. */
export function excerptOf(vectors: readonly DatedVector[], bytesMax: number): readonly DatedVector[] {
  let excerpt = vectors;
  for (let most = LOADED_VOLUMES_MAX; most >= 1 && JSON.stringify(excerpt).length > bytesMax;) {
    most = Math.floor(most / 2);
    excerpt = vectors.map((dated) => ({
      ...dated,
      vector: { ...dated.vector, volumes: dated.vector.volumes.slice(0, most) },
    }));
  }
  return excerpt;
}
