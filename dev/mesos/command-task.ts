/**
 * Tasks without an executor of their own: Mesos runs their command with its command executor; so
 * does the stand-in, with `command-executor.ts` as a process per task.
 */

import { fileURLToPath } from 'node:url';
import type { ExecutorInfo, TaskInfo } from '../../shared/mesos/messages.ts';

/** Marks the executors that were made here: no framework ever sees them. */
const MARK = 'stand-in.command-executor';

/** The compiled program beside this file. */
const PROGRAM = fileURLToPath(new URL('./command-executor.js', import.meta.url));

/** The executor of one command task. Its id is the task's; it takes no resources of its own. */
export function commandExecutor(task: TaskInfo): ExecutorInfo {
  return {
    type: 'CUSTOM',
    executor_id: task.task_id,
    name: `Command Executor (Task: ${task.task_id.value})`,
    command: {
      shell: false,
      value: process.execPath,
      arguments: [process.execPath, PROGRAM],
      uris: task.command?.uris,
    },
    labels: { labels: [{ key: MARK }] },
  };
}

export function isCommandExecutor(info: ExecutorInfo): boolean {
  return info.labels?.labels?.some((label) => label.key === MARK) === true;
}
