/**
 * The task set of one logical unit (SAM-5 8): the commands of all its sessions here, and whose turn it is. A command whose
 * turn has not come is dormant: its data is gathered, and nothing of it is carried out (transfers.ts).
 *
 *     SIMPLE         begins when no older ORDERED task is left                       (SAM-5 8.6.2)
 *     ORDERED        begins when no older task is left; the younger ones wait for it (8.6.3)
 *     HEAD OF QUEUE  begins at once; while it lasts, nobody else does                (8.6.4)
 *
 * What reached the unit through another member is in that member's task set, and is not waited for.
 */
import { assert } from '../../base/assert.js';
import { TaskAttribute } from '../wire/opcodes.js';
import type { Task } from './task.js';

export class TaskSet {
  /** Tasks whose turn has come, and that have not ended. */
  private enabled = 0;
  /** Of them, those that nobody else may begin beside. */
  private headsOfQueue = 0;
  private isOrdered = false;
  /** In the order they came. */
  private readonly dormant: Task[] = [];
  /** Nothing but SIMPLE tasks is here, as nearly always: no order is kept among them. */
  private isSimple = true;
  /** They are being begun, one by one, or made to leave. */
  private nobodyBegins = false;

  /** Some wait for their turn. */
  get hasDormant(): boolean {
    return this.dormant.length > 0;
  }

  /** A command has come. Sets its isDormant. */
  enter(task: Task, attribute: number): void {
    task.attribute = attribute;
    if (this.isSimple && attribute <= TaskAttribute.SIMPLE) {
      this.enabled += 1;
      return;
    }
    this.isSimple = false;
    task.isDormant = this.hasDormant || !this.mayBegin(task);
    if (attribute === TaskAttribute.HEAD_OF_QUEUE) task.isDormant = false;
    if (task.isDormant) this.dormant.push(task);
    else this.enable(task);
  }

  /** A command is over, whether its turn had come or not. Call enableNext() when all of it is put away. */
  left(task: Task): void {
    if (task.isDormant) {
      const index = this.dormant.indexOf(task);
      assert(index >= 0, 'a dormant task is in its task set');
      this.dormant.splice(index, 1);
      task.isDormant = false;
    } else {
      this.enabled -= 1;
      if (task.attribute === TaskAttribute.ORDERED) this.isOrdered = false;
      else if (task.attribute === TaskAttribute.HEAD_OF_QUEUE) this.headsOfQueue -= 1;
    }
    if (this.isSimple) return;
    this.isSimple = !this.hasDormant && !this.isOrdered && this.headsOfQueue === 0;
  }

  /** Several are made to leave: nobody begins until all of them have. */
  together(leave: () => void): void {
    const before = this.nobodyBegins;
    this.nobodyBegins = true;
    try {
      leave();
    } finally {
      this.nobodyBegins = before;
    }
    this.enableNext();
  }

  /** Begins those whose turn has come. What ends at once, and is told so from in here, makes no deeper call. */
  enableNext(): void {
    if (this.nobodyBegins) return;
    this.nobodyBegins = true;
    try {
      for (let task = this.dormant[0]; task !== undefined && this.mayBegin(task); task = this.dormant[0]) {
        this.dormant.shift();
        task.isDormant = false;
        this.enable(task);
        task.owner.turnCame(task);
      }
    } finally {
      this.nobodyBegins = false;
    }
  }

  private mayBegin({ attribute }: Task): boolean {
    if (this.isOrdered || this.headsOfQueue > 0) return false;
    return attribute !== TaskAttribute.ORDERED || this.enabled === 0;
  }

  private enable({ attribute }: Task): void {
    this.enabled += 1;
    if (attribute === TaskAttribute.ORDERED) this.isOrdered = true;
    else if (attribute === TaskAttribute.HEAD_OF_QUEUE) this.headsOfQueue += 1;
  }
}
