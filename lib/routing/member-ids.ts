/**
 * Members' names as small integers, so that the routing table is bytes and the path of an I/O compares numbers.
 * The numbers mean something in this process only; the store and the wire carry names.
 */
import { assert } from '../base/assert.js';

const IDS_MAX = 256;

export class MemberIds {
  private readonly byName = new Map<string, number>();
  private readonly names: string[] = [];

  /** The number of a member, given out on first sight. */
  idOf(name: string): number {
    const known = this.byName.get(name);
    if (known !== undefined) return known;
    const id = this.names.length;
    assert(id < IDS_MAX, `more than ${IDS_MAX} member names in the routing table`);
    this.names.push(name);
    this.byName.set(name, id);
    return id;
  }

  nameOf(id: number): string {
    const name = this.names[id];
    assert(name !== undefined, `member number ${id} was never given out`);
    return name;
  }
}
