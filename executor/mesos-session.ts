/**
 * The executor's side of the Mesos executor API as a pure state machine: events and wishes in, calls and
 * orders out. It keeps what the agent must be told again after a restart: tasks of which no update was
 * acknowledged yet, and every update that was not. No clock, no sockets: uuid and time come with the input.
 *
 *   LAUNCH ─▶ task known ── update ─▶ kept until ACKNOWLEDGED ── terminal and all acknowledged ─▶ forgotten
 *
 * An acknowledgement means that the agent has stored the update, not that the scheduler has seen it.
 */
import { assert } from '../shared/base/assert.ts';
import { StorageError } from '../shared/base/errors.ts';
import type { ExecutorCall, ExecutorEvent } from '../shared/mesos/executor-messages.ts';
import type { StatusReason, TaskInfo, TaskState, TaskStatus } from '../shared/mesos/messages.ts';

export interface SessionIdentity {
  readonly frameworkId: string;
  readonly executorId: string;
}

export type SessionOutput =
  | { readonly kind: 'call'; readonly call: ExecutorCall }
  | { readonly kind: 'launch'; readonly task: TaskInfo }
  | { readonly kind: 'kill'; readonly taskId: string; readonly graceMs: number }
  | { readonly kind: 'message'; readonly data: Buffer }
  | { readonly kind: 'shutdown' }
  /** The agent ended the subscription for good. */
  | { readonly kind: 'give-up'; readonly reason: string };

export interface UpdateInput {
  readonly taskId: string;
  readonly state: TaskState;
  readonly message: string;
  readonly reason?: StatusReason | undefined;
  /** 16 bytes, version 4: fresh for each update. */
  readonly uuid: Buffer;
  /** Milliseconds since 1970. */
  readonly wallMs: number;
}

interface Task {
  readonly info: TaskInfo;
  /** No update of it was acknowledged so far: the agent may have lost the launch. */
  isNew: boolean;
  isOver: boolean;
  unacknowledged: number;
}

const TERMINAL: ReadonlySet<TaskState> = new Set([
  'TASK_FINISHED',
  'TASK_FAILED',
  'TASK_KILLED',
  'TASK_ERROR',
  'TASK_LOST',
  'TASK_DROPPED',
  'TASK_GONE',
]);

/** One task per disk and a few states each: far more means that nothing is ever acknowledged. */
const UPDATES_MAX = 4096;
/** When neither event nor task name a grace period. */
const KILL_GRACE_MS_DEFAULT = 10_000;

export class ExecutorSession {
  readonly #identity: SessionIdentity;
  readonly #tasks = new Map<string, Task>();
  /** By uuid (hex), oldest first. */
  readonly #updates = new Map<string, TaskStatus>();
  #isSubscribed = false;

  constructor(identity: SessionIdentity) {
    this.#identity = identity;
  }

  get isSubscribed(): boolean {
    return this.#isSubscribed;
  }

  /** Updates that the agent has not stored yet. */
  get pendingUpdates(): number {
    return this.#updates.size;
  }

  /** The stream ended: updates are kept from now on, and travel with the next subscription. */
  disconnected(): void {
    this.#isSubscribed = false;
  }

  subscribeCall(): ExecutorCall {
    const tasks = [...this.#tasks.values()].filter(({ isNew }) => isNew);
    return {
      ...this.#header(),
      type: 'SUBSCRIBE',
      subscribe: {
        unacknowledged_tasks: tasks.map(({ info }) => info),
        unacknowledged_updates: [...this.#updates.values()].map((status) => ({ status })),
      },
    };
  }

  heartbeatCall(): ExecutorCall {
    return { ...this.#header(), type: 'HEARTBEAT' };
  }

  messageCall(data: Uint8Array): ExecutorCall {
    return { ...this.#header(), type: 'MESSAGE', message: { data: Buffer.from(data) } };
  }

  onEvent(event: ExecutorEvent): SessionOutput[] {
    switch (event.type) {
      case 'SUBSCRIBED':
        this.#isSubscribed = true;
        return [];
      case 'LAUNCH':
        return event.launch === undefined ? [] : this.#onLaunch(event.launch.task);
      case 'LAUNCH_GROUP':
        return (event.launch_group?.task_group.tasks ?? []).flatMap((task) => this.#onLaunch(task));
      case 'KILL':
        return this.#onKill(event);
      case 'ACKNOWLEDGED':
        this.#onAcknowledged(event);
        return [];
      case 'MESSAGE':
        return event.message === undefined ? [] : [{ kind: 'message', data: event.message.data }];
      case 'SHUTDOWN':
        return [{ kind: 'shutdown' }];
      case 'ERROR':
        return [{ kind: 'give-up', reason: `agent says: ${event.error?.message ?? ''}` }];
      default:
        return [];
    }
  }

  /** A task's new state. Ignored for a task that is over or that nobody launched. */
  update(input: UpdateInput): SessionOutput[] {
    assert(input.uuid.length === 16, 'an update has a uuid of 16 bytes');
    // A drain that gives the agent up passes it on as the task's end, and stops us in the middle.
    assert(input.state !== 'TASK_KILLING', 'TASK_KILLING is never reported');
    const task = this.#tasks.get(input.taskId);
    if (task === undefined || task.isOver) return [];
    if (this.#updates.size >= UPDATES_MAX) {
      throw new StorageError('unavailable', `Agent acknowledges no updates, ${UPDATES_MAX} wait`);
    }
    // Not the agent's id: it knows that itself, and refuses another (as after a new registration).
    const { executorId } = this.#identity;
    const status: TaskStatus = {
      task_id: { value: input.taskId },
      state: input.state,
      source: 'SOURCE_EXECUTOR',
      executor_id: { value: executorId },
      timestamp: input.wallMs / 1000,
      uuid: input.uuid,
      ...(input.message === '' ? {} : { message: input.message }),
      ...(input.reason === undefined ? {} : { reason: input.reason }),
    };
    task.unacknowledged += 1;
    task.isOver = TERMINAL.has(input.state);
    this.#updates.set(input.uuid.toString('hex'), status);
    if (!this.#isSubscribed) return [];
    return [{ kind: 'call', call: { ...this.#header(), type: 'UPDATE', update: { status } } }];
  }

  #header(): Pick<ExecutorCall, 'executor_id' | 'framework_id'> {
    const { executorId, frameworkId } = this.#identity;
    return { executor_id: { value: executorId }, framework_id: { value: frameworkId } };
  }

  #onLaunch(info: TaskInfo): SessionOutput[] {
    const taskId = info.task_id.value;
    // The agent repeats a launch that it does not know to have arrived.
    if (this.#tasks.has(taskId)) return [];
    this.#tasks.set(taskId, { info, isNew: true, isOver: false, unacknowledged: 0 });
    return [{ kind: 'launch', task: info }];
  }

  #onKill(event: ExecutorEvent): SessionOutput[] {
    const taskId = event.kill?.task_id.value;
    const task = taskId === undefined ? undefined : this.#tasks.get(taskId);
    if (taskId === undefined || task === undefined || task.isOver) return [];
    const policy = event.kill?.kill_policy ?? task.info.kill_policy;
    const nanoseconds = policy?.grace_period?.nanoseconds;
    const graceMs =
      nanoseconds === undefined ? KILL_GRACE_MS_DEFAULT : Math.floor(Number(nanoseconds) / 1e6);
    return [{ kind: 'kill', taskId, graceMs }];
  }

  #onAcknowledged(event: ExecutorEvent): void {
    const acknowledged = event.acknowledged;
    if (acknowledged === undefined) return;
    const task = this.#tasks.get(acknowledged.task_id.value);
    const wasWaiting = this.#updates.delete(acknowledged.uuid.toString('hex'));
    if (task === undefined) return;
    task.isNew = false;
    if (wasWaiting) task.unacknowledged -= 1;
    if (task.isOver && task.unacknowledged === 0) this.#tasks.delete(acknowledged.task_id.value);
  }
}
