/**
 * The executors of one agent: starts them, hands tasks over, takes their updates, kills, shuts
 * down, and reports their end in the order in which a real agent does (the exit first, then the
 * updates).
 */

import { randomUUID } from 'node:crypto';
import { describeError } from '../../shared/base/errors.ts';
import type {
  AgentInfo,
  ExecutorCall,
  ExecutorInfo,
  FrameworkInfo,
  KillPolicy,
  TaskInfo,
  TaskStatus,
} from '../../shared/mesos/messages.ts';
import { type DrainConfig, isTerminal, type TaskReport } from './agent-protocol.ts';
import { isCommandExecutor } from './command-task.ts';
import { Container, STATUS_UNKNOWN } from './container.ts';
import type { ExecutorConnection } from './executor-connection.ts';
import {
  type AgentTask,
  type ExecutorRecord,
  executorKey,
  loadExecutor,
  reportTasks,
  type SavedExecutor,
  saveExecutor,
  type Termination,
} from './executor-record.ts';
import { fetchUris } from './fetcher.ts';
import {
  type AgentAddress,
  createSandbox,
  executorEnvironment,
  graceMs,
  REREGISTRATION_MS,
  sandboxPath,
} from './sandbox.ts';
import { agentStatus, completeStatus } from './task-status.ts';
import { formatDuration, type Timing } from './timing.ts';
import { linkVolumes, unlinkVolumes } from './volumes.ts';

/** `--executor_registration_timeout`; not scaled: real processes have to start in it. */
const REGISTRATION_MS = 60_000;

/** Exit status of the fetcher. */
const STATUS_FETCH_FAILED = 256;

/** How the executors reach the rest of their agent. */
export type ExecutorsOutside = {
  readonly address: () => AgentAddress;
  readonly agentInfo: () => AgentInfo;
  readonly pushUpdate: (frameworkId: string, status: TaskStatus) => void;
  readonly reportExit: (frameworkId: string, executorId: string, status: number) => void;
  readonly drain: () => DrainConfig | undefined;
  readonly save: () => void;
};

export class AgentExecutors {
  readonly records = new Map<string, ExecutorRecord>();
  /** Executors that are dead, but whose tasks' ends are not acknowledged yet. */
  #ended: ExecutorRecord[] = [];
  readonly #timing: Timing;
  readonly #outside: ExecutorsOutside;

  constructor(timing: Timing, outside: ExecutorsOutside) {
    this.#timing = timing;
    this.#outside = outside;
  }

  run(framework: FrameworkInfo, info: ExecutorInfo, task: TaskInfo): void {
    const frameworkId = framework.id?.value ?? '';
    const key = executorKey(frameworkId, info.executor_id.value);
    const known = this.records.get(key);
    if (known?.state === 'terminating') {
      const lost = agentStatus(task, this.#outside.address().id, known.info, {
        state: 'TASK_DROPPED',
        reason: 'REASON_EXECUTOR_TERMINATED',
        message: 'Executor terminating/terminated',
      });
      this.#outside.pushUpdate(frameworkId, lost);
      return;
    }
    const executor = known ?? this.#create(framework, frameworkId, info);
    const entry: AgentTask = {
      info: task,
      state: 'TASK_STAGING',
      status: undefined,
      isQueued: true,
    };
    executor.tasks.set(task.task_id.value, entry);
    const { workDirectory } = this.#outside.address();
    linkVolumes(task.resources ?? [], executor.sandbox, workDirectory);
    if (executor.state === 'running') this.#deliver(executor, entry);
    this.#outside.save();
    if (known === undefined) void this.#start(executor);
  }

  #create(framework: FrameworkInfo, frameworkId: string, info: ExecutorInfo): ExecutorRecord {
    const address = this.#outside.address();
    const executorId = info.executor_id.value;
    const containerId = randomUUID();
    const sandbox = sandboxPath(address, frameworkId, executorId, containerId);
    createSandbox(sandbox);
    linkVolumes(info.resources ?? [], sandbox, address.workDirectory);
    const executor: ExecutorRecord = {
      frameworkId,
      framework,
      info: { ...info, framework_id: { value: frameworkId } },
      containerId,
      sandbox,
      state: 'starting',
      tasks: new Map(),
      container: undefined,
      connection: undefined,
      termination: undefined,
      hasHadTasks: false,
      cancelTimer: () => undefined,
      fetching: new AbortController(),
    };
    this.records.set(executorKey(frameworkId, executorId), executor);
    return executor;
  }

  async #start(executor: ExecutorRecord): Promise<void> {
    executor.cancelTimer = this.#timing.afterReal(REGISTRATION_MS, () => {
      this.#terminate(executor, {
        state: 'TASK_FAILED',
        reason: 'REASON_EXECUTOR_REGISTRATION_TIMEOUT',
        message: `Executor did not register within ${formatDuration(REGISTRATION_MS)}`,
      });
    });
    const command = executor.info.command ?? {};
    try {
      await fetchUris(command.uris ?? [], executor.sandbox, executor.fetching.signal);
    } catch (error) {
      if (executor.state === 'terminating') return;
      const detail = describeError(error);
      executor.termination = {
        state: 'TASK_FAILED',
        reason: 'REASON_CONTAINER_LAUNCH_FAILED',
        message:
          `Failed to launch container: Failed to fetch all URIs for container '${executor.containerId}': ` +
          `exited with status 1 (${detail})`,
      };
      this.#exited(executor, STATUS_FETCH_FAILED);
      return;
    }
    if (executor.state === 'terminating') return;
    executor.state = 'registering';
    const environment = executorEnvironment(
      this.#outside.address(),
      executor.framework,
      executor.info,
      executor.sandbox,
    );
    executor.container = Container.start(command, environment, executor.sandbox, (status) =>
      this.#exited(executor, status),
    );
    if (executor.container === undefined) {
      executor.termination = {
        state: 'TASK_FAILED',
        reason: 'REASON_CONTAINER_LAUNCH_FAILED',
        message: 'Failed to launch container: the command cannot be started',
      };
      this.#exited(executor, STATUS_FETCH_FAILED);
    }
    this.#outside.save();
  }

  /** Undefined when no such framework or executor is here. */
  find(frameworkId: string, executorId: string): ExecutorRecord | undefined {
    return this.records.get(executorKey(frameworkId, executorId));
  }

  hasFramework(frameworkId: string): boolean {
    return [...this.records.values()].some((executor) => executor.frameworkId === frameworkId);
  }

  subscribe(executor: ExecutorRecord, call: ExecutorCall, connection: ExecutorConnection): void {
    executor.connection?.end();
    executor.connection = connection;
    if (executor.state === 'terminating') {
      connection.send({ type: 'SHUTDOWN' });
      return;
    }
    executor.cancelTimer();
    executor.state = 'running';
    connection.send({
      type: 'SUBSCRIBED',
      subscribed: {
        executor_info: executor.info,
        framework_info: executor.framework,
        agent_info: this.#outside.agentInfo(),
        container_id: { value: executor.containerId },
      },
    });
    for (const update of call.subscribe?.unacknowledged_updates ?? []) {
      this.update(executor, update.status);
    }
    const held = new Set(call.subscribe?.unacknowledged_tasks?.map((task) => task.task_id.value));
    for (const task of executor.tasks.values()) {
      if (task.isQueued) this.#deliver(executor, task);
      else if (task.state === 'TASK_STAGING' && !held.has(task.info.task_id.value)) {
        this.#finish(executor, task, {
          state: 'TASK_DROPPED',
          reason: 'REASON_AGENT_RESTARTED',
          message: 'Task launched during agent restart',
        });
      }
    }
    if (executor.tasks.size === 0 && !executor.hasHadTasks) this.shutDown(executor);
  }

  #deliver(executor: ExecutorRecord, task: AgentTask): void {
    task.isQueued = false;
    executor.hasHadTasks = true;
    executor.connection?.send({ type: 'LAUNCH', launch: { task: task.info } });
  }

  disconnected(executor: ExecutorRecord, connection: ExecutorConnection): void {
    if (executor.connection === connection) executor.connection = undefined;
  }

  /** A status from the executor, already validated; acknowledged as soon as it is written down. */
  update(executor: ExecutorRecord, given: TaskStatus): void {
    const status = completeStatus(given, executor, this.#outside.address(), this.#outside.drain());
    const task = executor.tasks.get(status.task_id.value);
    // A task ends once; whatever is said of it afterwards goes no further.
    const isLate = task !== undefined && isTerminal(task.state);
    if (task !== undefined && !isLate) {
      task.state = status.state;
      task.status = status;
      if (isTerminal(status.state)) this.#unlink(executor, task);
    }
    if (!isLate) this.#outside.pushUpdate(executor.frameworkId, status);
    this.#outside.save();
    if (given.uuid !== undefined) {
      const acknowledged = { task_id: given.task_id, uuid: given.uuid };
      executor.connection?.send({ type: 'ACKNOWLEDGED', acknowledged });
    }
  }

  /**
   * The volumes of the task leave the sandbox, unless another task or the executor has them too.
   */
  #unlink(executor: ExecutorRecord, ended: AgentTask): void {
    unlinkVolumes(ended.info.resources ?? [], executor.sandbox);
    const { workDirectory } = this.#outside.address();
    linkVolumes(executor.info.resources ?? [], executor.sandbox, workDirectory);
    for (const task of executor.tasks.values()) {
      if (isTerminal(task.state)) continue;
      linkVolumes(task.info.resources ?? [], executor.sandbox, workDirectory);
    }
  }

  kill(frameworkId: string, taskId: string, policy: KillPolicy | undefined): void {
    for (const executor of this.records.values()) {
      const task = executor.frameworkId === frameworkId ? executor.tasks.get(taskId) : undefined;
      if (task === undefined || isTerminal(task.state)) continue;
      if (task.isQueued) this.#killQueued(executor, task);
      else {
        const kill = { task_id: { value: taskId }, kill_policy: policy };
        executor.connection?.send({ type: 'KILL', kill });
      }
    }
  }

  #killQueued(executor: ExecutorRecord, task: AgentTask): void {
    const termination: Termination = {
      state: 'TASK_KILLED',
      reason: 'REASON_TASK_KILLED_DURING_LAUNCH',
      message: 'Killed before delivery to the executor',
    };
    const isOnly = [...executor.tasks.values()].every(
      (one) => one === task || isTerminal(one.state),
    );
    if (isOnly) this.#terminate(executor, termination);
    else this.#finish(executor, task, termination);
  }

  shutDown(executor: ExecutorRecord): void {
    if (executor.state === 'terminating') return;
    const hasRegistered = executor.connection !== undefined;
    executor.state = 'terminating';
    executor.cancelTimer();
    executor.connection?.send({ type: 'SHUTDOWN' });
    const wait = hasRegistered ? graceMs(executor.info) : 0;
    executor.cancelTimer = this.#timing.afterReal(wait, () => this.#destroy(executor));
  }

  shutDownFramework(frameworkId: string): void {
    for (const executor of this.records.values()) {
      if (executor.frameworkId === frameworkId) this.shutDown(executor);
    }
  }

  #terminate(executor: ExecutorRecord, termination: Termination): void {
    executor.state = 'terminating';
    executor.termination = termination;
    this.#destroy(executor);
  }

  /** Kills the container; its end is reported by whoever watches it. */
  #destroy(executor: ExecutorRecord): void {
    executor.cancelTimer();
    executor.fetching.abort();
    if (executor.container === undefined) this.#exited(executor, STATUS_UNKNOWN);
    else executor.container.kill();
  }

  #exited(executor: ExecutorRecord, status: number): void {
    const executorId = executor.info.executor_id.value;
    executor.state = 'terminating';
    executor.cancelTimer();
    executor.connection?.destroy();
    executor.connection = undefined;
    // The end of a command executor is told by its task alone.
    if (!isCommandExecutor(executor.info)) {
      this.#outside.reportExit(executor.frameworkId, executorId, status);
    }
    const termination: Termination = executor.termination ?? {
      state: 'TASK_FAILED',
      reason: 'REASON_EXECUTOR_TERMINATED',
      message: 'Executor terminated',
    };
    for (const task of executor.tasks.values()) {
      if (!isTerminal(task.state)) this.#finish(executor, task, termination);
    }
    this.records.delete(executorKey(executor.frameworkId, executorId));
    if (executor.tasks.size > 0) this.#ended.push(executor);
    this.#outside.save();
  }

  /** Ends a task in the agent's name. */
  #finish(executor: ExecutorRecord, task: AgentTask, termination: Termination): void {
    const status = agentStatus(task.info, this.#outside.address().id, executor.info, termination);
    task.isQueued = false;
    task.state = status.state;
    task.status = status;
    this.#unlink(executor, task);
    this.#outside.pushUpdate(executor.frameworkId, status);
    this.#outside.save();
  }

  /** The scheduler has acknowledged a terminal status: the task is forgotten. */
  forgetTask(frameworkId: string, taskId: string): void {
    for (const executor of [...this.records.values(), ...this.#ended]) {
      if (executor.frameworkId === frameworkId) executor.tasks.delete(taskId);
    }
    this.#ended = this.#ended.filter((executor) => executor.tasks.size > 0);
  }

  /** Forgets the tasks of a framework that is gone. */
  forgetFramework(frameworkId: string): void {
    this.#ended = this.#ended.filter((executor) => executor.frameworkId !== frameworkId);
  }

  /** All tasks that the scheduler has not seen the end of. */
  reportTasks(): TaskReport[] {
    return [...this.records.values(), ...this.#ended].flatMap(reportTasks);
  }

  save(): SavedExecutor[] {
    const live = [...this.records.values()].map((executor) => saveExecutor(executor, false));
    return [...live, ...this.#ended.map((executor) => saveExecutor(executor, true))];
  }

  /** Adopts the executors of an earlier life of this agent; returns whether any is still alive. */
  recover(saved: readonly SavedExecutor[]): boolean {
    let isAnyAlive = false;
    for (const one of saved) {
      const executor = loadExecutor(one);
      if (one.hasEnded) {
        this.#ended.push(executor);
        continue;
      }
      this.records.set(executorKey(one.frameworkId, one.info.executor_id.value), executor);
      const onExit = (status: number) => this.#exited(executor, status);
      executor.container =
        one.process === undefined ? undefined : Container.adopt(one.process, one.sandbox, onExit);
      if (executor.container === undefined) {
        executor.termination = {
          state: 'TASK_FAILED',
          reason: 'REASON_EXECUTOR_TERMINATED',
          message: 'Abnormal executor termination: unknown container',
        };
        this.#exited(executor, STATUS_UNKNOWN);
      } else isAnyAlive = true;
    }
    return isAnyAlive;
  }

  /** The window to come back is over: executors that did not are destroyed. */
  endRecovery(): void {
    for (const executor of this.records.values()) {
      if (executor.state !== 'recovering') continue;
      this.#terminate(executor, {
        state: 'TASK_GONE',
        reason: 'REASON_EXECUTOR_REREGISTRATION_TIMEOUT',
        message: `Executor did not reregister within ${formatDuration(REREGISTRATION_MS)}`,
      });
    }
  }

  /** Power is cut: everything dies at once and nobody tells. */
  powerOff(): void {
    for (const executor of this.records.values()) {
      executor.container?.release();
      executor.container?.kill();
      executor.connection?.destroy();
      executor.cancelTimer();
      executor.fetching.abort();
    }
    this.records.clear();
  }

  /** The agent stops; the executors go on. */
  release(): void {
    for (const executor of this.records.values()) {
      executor.container?.release();
      executor.connection?.destroy();
      executor.cancelTimer();
      executor.fetching.abort();
    }
    this.records.clear();
  }
}
