/**
 * What an agent knows of one executor and its tasks, and how that is written down so that the
 * executor can be found again after a restart of the agent.
 */

import type {
  ExecutorInfo,
  FrameworkInfo,
  TaskInfo,
  TaskState,
  TaskStatus,
} from '../../shared/mesos/messages.ts';
import type { TaskReport } from './agent-protocol.ts';
import type { Container, ContainerProcess } from './container.ts';
import type { ExecutorConnection } from './executor-connection.ts';
import type { Cancel } from './timing.ts';

export type AgentTask = {
  readonly info: TaskInfo;
  /** Newest state, acknowledged or not. */
  state: TaskState;
  status: TaskStatus | undefined;
  /** Still waits here for the executor to register. */
  isQueued: boolean;
};

/** What a dying executor's tasks are said to have died of; without it, "Executor terminated". */
export type Termination = {
  readonly state: TaskState;
  readonly reason: TaskStatus['reason'];
  readonly message: string;
};

export type ExecutorRecord = {
  readonly frameworkId: string;
  framework: FrameworkInfo;
  readonly info: ExecutorInfo;
  readonly containerId: string;
  readonly sandbox: string;
  state: 'starting' | 'registering' | 'recovering' | 'running' | 'terminating';
  readonly tasks: Map<string, AgentTask>;
  container: Container | undefined;
  connection: ExecutorConnection | undefined;
  termination: Termination | undefined;
  /** A task was handed over once: such an executor is not shut down for having none. */
  hasHadTasks: boolean;
  cancelTimer: Cancel;
  readonly fetching: AbortController;
};

export type SavedExecutor = {
  readonly frameworkId: string;
  readonly framework: FrameworkInfo;
  readonly info: ExecutorInfo;
  readonly containerId: string;
  readonly sandbox: string;
  readonly process: ContainerProcess | undefined;
  /** Dead already; only the ends of its tasks wait for the scheduler's acknowledgement. */
  readonly hasEnded: boolean;
  readonly tasks: readonly {
    readonly info: TaskInfo;
    readonly state: TaskState;
    readonly status: TaskStatus | undefined;
  }[];
};

export function executorKey(frameworkId: string, executorId: string): string {
  return `${frameworkId}/${executorId}`;
}

export function saveExecutor(executor: ExecutorRecord, hasEnded: boolean): SavedExecutor {
  return {
    frameworkId: executor.frameworkId,
    framework: executor.framework,
    info: executor.info,
    containerId: executor.containerId,
    sandbox: executor.sandbox,
    process: executor.container?.process,
    hasEnded,
    tasks: [...executor.tasks.values()].map(({ info, state, status }) => ({ info, state, status })),
  };
}

export function loadExecutor(saved: SavedExecutor): ExecutorRecord {
  const tasks = saved.tasks.map((task): [string, AgentTask] => [
    task.info.task_id.value,
    { info: task.info, state: task.state, status: task.status, isQueued: false },
  ]);
  return {
    frameworkId: saved.frameworkId,
    framework: saved.framework,
    info: saved.info,
    containerId: saved.containerId,
    sandbox: saved.sandbox,
    state: 'recovering',
    tasks: new Map(tasks),
    container: undefined,
    connection: undefined,
    termination: undefined,
    hasHadTasks: true,
    cancelTimer: () => undefined,
    fetching: new AbortController(),
  };
}

export function reportTasks(executor: ExecutorRecord): TaskReport[] {
  return [...executor.tasks.values()].map((task) => ({
    frameworkId: executor.frameworkId,
    executorId: executor.info.executor_id.value,
    info: task.info,
    state: task.state,
    status: task.status,
  }));
}
