/**
 * What Mesos' task states mean to us, as data (docs: the table of task states). The idea: a state that
 * only says "Mesos cannot see it" never counts as death, and only the operator's word counts as loss.
 */
import type { StatusReason, TaskState, TaskStatus } from '../../../shared/mesos/messages.ts';

export type TaskMeaning =
  | 'starting'
  | 'alive'
  | 'stopping'
  /** It ended: restart in place, on the same volume. */
  | 'ended'
  /** It never started: the launch may be tried again when its resources are offered. */
  | 'never-started'
  /** Mesos refused it as invalid or forbidden: a configuration error, no hot loop. */
  | 'refused'
  /** Maybe alive, maybe not; wait. */
  | 'away'
  /** The operator says that the node never comes back. */
  | 'node-gone';

export const TASK_MEANING: Readonly<Record<TaskState, TaskMeaning>> = {
  TASK_STAGING: 'starting',
  TASK_STARTING: 'starting',
  TASK_RUNNING: 'alive',
  TASK_KILLING: 'stopping',
  TASK_FINISHED: 'ended',
  TASK_FAILED: 'ended',
  TASK_KILLED: 'ended',
  TASK_ERROR: 'refused',
  TASK_DROPPED: 'never-started',
  // Also sent to partition-aware frameworks when an agent unregisters or is replaced at its address:
  // gone from the master, but executor and data may survive.
  TASK_LOST: 'away',
  TASK_UNREACHABLE: 'away',
  TASK_GONE: 'ended',
  TASK_GONE_BY_OPERATOR: 'node-gone',
  TASK_UNKNOWN: 'away',
};

/**
 * Reasons with which an agent reports a task's end because it saw the executor's whole container end (or
 * ended it). Only these make an executor dead; a task that ended by itself leaves its executor running.
 */
const CONTAINER_ENDED: ReadonlySet<StatusReason> = new Set([
  'REASON_EXECUTOR_TERMINATED',
  'REASON_EXECUTOR_REGISTRATION_TIMEOUT',
  'REASON_EXECUTOR_REREGISTRATION_TIMEOUT',
  'REASON_CONTAINER_LAUNCH_FAILED',
  'REASON_CONTAINER_LIMITATION',
  'REASON_CONTAINER_LIMITATION_MEMORY',
  'REASON_CONTAINER_LIMITATION_DISK',
  'REASON_CONTAINER_PREEMPTED',
]);

/** The agent's word, in this update, that the executor's container is gone. */
export function saysContainerEnded(status: TaskStatus): boolean {
  if (TASK_MEANING[status.state] !== 'ended' || status.source !== 'SOURCE_AGENT') return false;
  return status.reason !== undefined && CONTAINER_ENDED.has(status.reason);
}

/** One line for events: what Mesos said, whoever said it. */
export function describeStatus(status: TaskStatus): string {
  const parts = [status.state as string];
  if (status.reason !== undefined) parts.push(status.reason);
  const text = status.message ?? '';
  // Messages may hold whole stack traces; the record is for one line.
  return text === '' ? parts.join(' ') : `${parts.join(' ')}: ${text.slice(0, 300)}`;
}
