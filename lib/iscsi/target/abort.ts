/** Ends a task before its time. What is at the device runs to its end there (I8); its answer is then what `fate` says. */
import { ScsiStatus } from '../../scsi/task.js';
import { endWithStatus } from './response.js';
import type { Session } from './session.js';
import type { Task, TaskFate, TaskGroup } from './task.js';

/** @param group told exactly once, now or when the task's I/O has ended */
export function abortTask(session: Session, task: Task, fate: TaskFate, group: TaskGroup): void {
  task.groups.push(group);
  if (task.fate !== 'silence') task.fate = fate;
  task.markEnding();
  if (task.letGo !== null) {
    task.letGo();
    return endWithStatus(session, task, ScsiStatus.TASK_ABORTED, null);
  }
  if (task.phase !== 'gathering' && task.phase !== 'parked' && task.phase !== 'dormant') return;
  // The framer may be copying into its buffer: that one is left to the garbage collector.
  task.writeBuffer = null;
  forget(session.parked, task);
  forget(session.stalled, task);
  endWithStatus(session, task, ScsiStatus.TASK_ABORTED, null);
}

/**
 * Ends every command of these sessions, and lets none of them begin because another has gone; calls back when none is at the
 * device.
 */
export function abortAll(
  sessions: readonly Session[],
  fateIn: (session: Session) => TaskFate,
  done: () => void,
): void {
  let left = 1; // ours, until everything is counted
  const taskEnded = (): void => {
    left -= 1;
    if (left === 0) done();
  };
  const group = { taskEnded };
  for (const session of sessions) {
    session.taskSet.together(() => {
      for (const task of session.tasks.inOrder()) {
        left += 1;
        abortTask(session, task, fateIn(session), group);
      }
    });
  }
  taskEnded();
}

/**
 * The same for an initiator elsewhere: each command is answered TASK ABORTED, as TAS 1 in the Control mode page says
 * (SPC-4 7.5.8, SAM-5 5.3.1).
 */
export function abortForOthers(sessions: readonly Session[], done: () => void): void {
  abortAll(sessions, () => 'task-aborted', done);
}

/** The same of one session: another initiator has preempted this one (PREEMPT AND ABORT). */
export function abortTasks(session: Session, done: () => void): void {
  abortForOthers([session], done);
}

function forget(waiting: Task[], task: Task): void {
  const index = waiting.indexOf(task);
  if (index !== -1) waiting.splice(index, 1);
}
