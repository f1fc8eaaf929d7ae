/**
 * One Mesos agent: starts executors' containers, keeps the stream of updates of every task until each is
 * acknowledged (the head is sent again until then), and reports containers that ended. It lives and
 * dies with its machine's power; its checkpoint survives.
 */
import type { Prng } from '../../../shared/base/prng.ts';
import type {
  StatusReason,
  TaskInfo,
  TaskState,
  TaskStatus,
} from '../../../shared/mesos/messages.ts';
import type { Clock } from '../../../shared/ports.ts';

/** What runs in a container: the executor, as its agent reaches it. */
export interface ContainerHooks {
  launch(task: TaskInfo): void;
  kill(taskId: string): void;
  message(data: Buffer): void;
  /** Asks it to end; the agent kills what has not ended by then. */
  shutdown(): void;
  destroy(): void;
}

/** What the executor in a container tells its agent. */
export interface ContainerReporter {
  update(taskId: string, state: TaskState, message: string): void;
  sendMessage(data: Uint8Array): void;
  /** The container ended, for whatever reason. */
  onEnded(): void;
}

export interface AgentMachine {
  readonly isPowered: boolean;
  startContainer(executorId: string, reporter: ContainerReporter): ContainerHooks;
}

/** Where the agent's words go: the master, when it can be reached. */
export interface AgentUplink {
  update(status: TaskStatus): void;
  message(executorId: string, data: Buffer): void;
  executorEnded(executorId: string): void;
}

interface RunningExecutor {
  readonly hooks: ContainerHooks;
  readonly tasks: Set<string>;
}

const TERMINAL: ReadonlySet<TaskState> = new Set([
  'TASK_FINISHED',
  'TASK_FAILED',
  'TASK_KILLED',
  'TASK_ERROR',
  'TASK_DROPPED',
  'TASK_GONE',
]);

export const isTerminal = (state: TaskState): boolean => TERMINAL.has(state);

/** As Mesos' status update manager, which begins with ten seconds. */
const RESEND_MS = 10_000;
const SHUTDOWN_GRACE_MS = 5_000;

export class SimulatedAgent {
  readonly agentId: string;
  readonly hostname: string;
  readonly #machine: AgentMachine;
  readonly #uplink: AgentUplink;
  readonly #clock: Clock;
  readonly #random: Prng;
  readonly #executors = new Map<string, RunningExecutor>();
  /** Updates without acknowledgement, per task, oldest first. Checkpointed. */
  readonly #streams = new Map<string, TaskStatus[]>();
  /** Tasks that are not over, with their executor. Checkpointed. */
  readonly tasks = new Map<string, string>();
  #uuidCount = 0;

  constructor(
    identity: { readonly agentId: string; readonly hostname: string },
    machine: AgentMachine,
    uplink: AgentUplink,
    modules: { readonly clock: Clock; readonly random: Prng },
  ) {
    this.agentId = identity.agentId;
    this.hostname = identity.hostname;
    this.#machine = machine;
    this.#uplink = uplink;
    this.#clock = modules.clock;
    this.#random = modules.random;
  }

  get isPowered(): boolean {
    return this.#machine.isPowered;
  }

  /** `startsExecutor`: as the master saw it; a task for an executor that has ended since is dropped. */
  run(task: TaskInfo, startsExecutor: boolean): void {
    const executorId = task.executor?.executor_id.value ?? '';
    const taskId = task.task_id.value;
    if (this.tasks.has(taskId)) return;
    if (!startsExecutor && !this.#executors.has(executorId)) {
      const reason: StatusReason = 'REASON_EXECUTOR_TERMINATED';
      const message = 'No executor is expected to launch and there is no executor running';
      this.#append(taskId, executorId, 'TASK_DROPPED', { source: 'SOURCE_AGENT', reason, message });
      return;
    }
    this.tasks.set(taskId, executorId);
    const executor = this.#executors.get(executorId) ?? this.#start(executorId);
    executor.tasks.add(taskId);
    // Fetching and starting take a while; a running executor hears of it at once.
    const isFirst = executor.tasks.size === 1;
    this.#clock.after(isFirst ? this.#random.between(50, 800) : 2, () => {
      if (this.#executors.get(executorId) === executor) executor.hooks.launch(task);
    });
  }

  kill(taskId: string): boolean {
    const executorId = this.tasks.get(taskId);
    const executor = executorId === undefined ? undefined : this.#executors.get(executorId);
    executor?.hooks.kill(taskId);
    return executor !== undefined;
  }

  shutdown(executorId: string): void {
    const executor = this.#executors.get(executorId);
    if (executor === undefined) return;
    executor.hooks.shutdown();
    this.#clock.after(SHUTDOWN_GRACE_MS, () => {
      if (this.#executors.get(executorId) === executor) executor.hooks.destroy();
    });
  }

  message(executorId: string, data: Buffer): void {
    this.#executors.get(executorId)?.hooks.message(data);
  }

  acknowledge(taskId: string, uuid: Buffer): void {
    const stream = this.#streams.get(taskId);
    const head = stream?.[0];
    if (stream === undefined || head?.uuid === undefined || !head.uuid.equals(uuid)) return;
    stream.shift();
    if (stream.length === 0) this.#streams.delete(taskId);
    else this.#forward(taskId);
  }

  /** It runs here, or its end has not been acknowledged. */
  knows(taskId: string): boolean {
    return this.tasks.has(taskId) || this.#streams.has(taskId);
  }

  hasExecutor(executorId: string): boolean {
    return this.#executors.has(executorId);
  }

  /** The machine has power again: what ran before does not. */
  boot(): void {
    this.#executors.clear();
    for (const [taskId, executorId] of [...this.tasks]) this.#endTask(taskId, executorId);
    for (const taskId of this.#streams.keys()) this.#forward(taskId);
  }

  #start(executorId: string): RunningExecutor {
    const hooks = this.#machine.startContainer(executorId, {
      update: (taskId, state, message) => this.#onUpdate(taskId, executorId, state, message),
      sendMessage: (data) => this.#uplink.message(executorId, Buffer.from(data)),
      onEnded: () => this.#onContainerEnded(executorId, executor),
    });
    const executor: RunningExecutor = { hooks, tasks: new Set() };
    this.#executors.set(executorId, executor);
    return executor;
  }

  #onUpdate(taskId: string, executorId: string, state: TaskState, message: string): void {
    if (this.tasks.get(taskId) !== executorId) return;
    if (isTerminal(state)) {
      this.tasks.delete(taskId);
      this.#executors.get(executorId)?.tasks.delete(taskId);
    }
    this.#append(taskId, executorId, state, { source: 'SOURCE_EXECUTOR', message });
  }

  #onContainerEnded(executorId: string, executor: RunningExecutor): void {
    // The agent reaps its children now and then.
    this.#clock.after(this.#random.between(10, 1_000), () => {
      if (this.#executors.get(executorId) !== executor) return;
      this.#executors.delete(executorId);
      // Real agents say first that the executor ended; its tasks' ends wait for their checkpoint.
      this.#uplink.executorEnded(executorId);
      for (const taskId of executor.tasks) this.#endTask(taskId, executorId);
    });
  }

  #endTask(taskId: string, executorId: string): void {
    this.tasks.delete(taskId);
    const reason: StatusReason = 'REASON_EXECUTOR_TERMINATED';
    const message = 'Executor terminated';
    this.#append(taskId, executorId, 'TASK_FAILED', { source: 'SOURCE_AGENT', reason, message });
  }

  #append(
    taskId: string,
    executorId: string,
    state: TaskState,
    more: Pick<TaskStatus, 'source' | 'message' | 'reason'>,
  ): void {
    this.#uuidCount += 1;
    const uuid = Buffer.alloc(16);
    uuid.write(this.agentId.slice(-8), 0, 'latin1');
    uuid.writeUInt32BE(this.#uuidCount, 12);
    const status: TaskStatus = {
      task_id: { value: taskId },
      state,
      agent_id: { value: this.agentId },
      executor_id: { value: executorId },
      timestamp: this.#clock.wall() / 1000,
      uuid,
      ...more,
    };
    const stream = this.#streams.get(taskId);
    if (stream === undefined) {
      this.#streams.set(taskId, [status]);
      this.#forward(taskId);
    } else stream.push(status);
  }

  #forward(taskId: string): void {
    const head = this.#streams.get(taskId)?.[0];
    if (head === undefined) return;
    if (this.isPowered) this.#uplink.update(head);
    this.#clock.after(RESEND_MS, () => {
      if (this.#streams.get(taskId)?.[0] === head) this.#forward(taskId);
    });
  }
}
