/** The commands of a session that were sent and are not yet answered, by their task tags. */
import { INITIATOR_TASKS_MAX } from '../../base/limits.js';
import type { InitiatorTask } from './command.js';

const SLOT_MASK = INITIATOR_TASKS_MAX - 1;
/** How often a slot's tag differs from its last: an answer that comes twice must not find its successor. */
const USES_MASK = 0xfffff;

/** Tags of everything but SCSI commands begin here; below, a tag is use × INITIATOR_TASKS_MAX + slot. */
export const CONTROL_TAG = 0x80000000;

export class TaskTable {
  private readonly tasks: (InitiatorTask | null)[] = new Array<null>(INITIATOR_TASKS_MAX).fill(null);
  private readonly freeSlots: number[] = [];
  private uses = 0;

  constructor() {
    for (let slot = INITIATOR_TASKS_MAX - 1; slot >= 0; slot--) this.freeSlots.push(slot);
  }

  get size(): number {
    return INITIATOR_TASKS_MAX - this.freeSlots.length;
  }

  get isFull(): boolean {
    return this.freeSlots.length === 0;
  }

  /** Gives the task a tag of its own; the table must not be full. */
  add(task: InitiatorTask): void {
    const slot = this.freeSlots.pop() as number;
    this.uses = (this.uses + 1) & USES_MASK;
    this.tasks[slot] = task;
    task.initiatorTaskTag = this.uses * INITIATOR_TASKS_MAX + slot;
  }

  /** The task of this tag, or null. */
  find(tag: number): InitiatorTask | null {
    const task = tag < CONTROL_TAG ? (this.tasks[tag & SLOT_MASK] ?? null) : null;
    return task !== null && task.initiatorTaskTag === tag ? task : null;
  }

  remove(task: InitiatorTask): void {
    const slot = task.initiatorTaskTag & SLOT_MASK;
    this.tasks[slot] = null;
    this.freeSlots.push(slot);
  }

  /** All, in the order in which they were submitted. */
  inOrder(): InitiatorTask[] {
    return this.tasks.filter((task) => task !== null).sort((a, b) => a.order - b.order);
  }
}
