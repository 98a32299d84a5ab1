/**
 * The task set of one session (SAM-5 8): its commands to the unit, and whose turn it is. A command whose turn has not come
 * is dormant: nobody looks at it, and of its data only what comes unasked is taken (data-out.ts), so that who waits holds no
 * memory that the one it waits for may need.
 *
 *     SIMPLE         begins when no older ORDERED or HEAD OF QUEUE task is left  (SAM-5 8.6.2)
 *     ORDERED        begins when no older task is left                           (8.6.3)
 *     HEAD OF QUEUE  begins at once, and before all that still wait              (8.6.4)
 *
 * To the letter there is one set for all sessions of a unit (TST 000b). A host whose ordered command does not get its data,
 * or its answer read, would then stop all the others; and hosts go by the order of their own commands.
 */
import { assert } from '../../base/assert.js';
import { TaskAttribute } from '../wire/opcodes.js';
import type { Task } from './task.js';

export class TaskSet {
  /** Tasks whose turn has come, and that have not ended. */
  private enabled = 0;
  /** Of them, those beside which none of those that wait may begin. */
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
    const waits = this.hasDormant || !this.mayBegin(task);
    task.isDormant = waits && attribute !== TaskAttribute.HEAD_OF_QUEUE;
    if (task.isDormant) this.dormant.push(task);
    else this.enable(task);
  }

  /** A command is over, whether its turn had come or not. Call enableNext() when all of it is put away. */
  left(task: Task): void {
    if (task.attribute < 0) return;
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
