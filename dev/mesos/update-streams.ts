/**
 * Task updates on their way from an agent to the scheduler: one queue per task, only the head is
 * forwarded, again and again (10 s, doubling to 10 min) until it is acknowledged; then the next
 * one.
 */

import type { TaskState, TaskStatus } from '../../shared/mesos/messages.ts';
import { isTerminal } from './agent-protocol.ts';
import type { Cancel, Timing } from './timing.ts';

const RETRY_MS_MIN = 10_000;
const RETRY_MS_MAX = 600_000;

export type SavedStream = {
  readonly frameworkId: string;
  readonly taskId: string;
  readonly queue: readonly TaskStatus[];
};

type Stream = {
  readonly frameworkId: string;
  readonly taskId: string;
  queue: TaskStatus[];
  retryMs: number;
  cancel: Cancel;
};

export type Forward = (frameworkId: string, status: TaskStatus, latestState: TaskState) => void;

export class UpdateStreams {
  readonly #timing: Timing;
  readonly #forward: Forward;
  readonly #streams = new Map<string, Stream>();

  constructor(timing: Timing, forward: Forward) {
    this.#timing = timing;
    this.#forward = forward;
  }

  /** Adds an update; duplicates (same uuid) are dropped. */
  push(frameworkId: string, status: TaskStatus): void {
    const taskId = status.task_id.value;
    const stream = this.#open(frameworkId, taskId);
    if (stream.queue.some((one) => sameUuid(one, status.uuid))) return;
    stream.queue.push(status);
    if (stream.queue.length === 1) this.#send(stream);
  }

  /** Returns the acknowledged status, or undefined when it is not the one that was sent. */
  acknowledge(frameworkId: string, taskId: string, uuid: Buffer): TaskStatus | undefined {
    const stream = this.#streams.get(keyOf(frameworkId, taskId));
    const head = stream?.queue[0];
    if (stream === undefined || head === undefined || !sameUuid(head, uuid)) return undefined;
    stream.cancel();
    stream.queue.shift();
    stream.retryMs = RETRY_MS_MIN;
    if (isTerminal(head.state) || stream.queue.length === 0) {
      this.#streams.delete(keyOf(frameworkId, taskId));
    } else this.#send(stream);
    return head;
  }

  /** Sends every head again at once, of one framework or of all. */
  resend(frameworkId?: string): void {
    for (const stream of this.#streams.values()) {
      if (frameworkId !== undefined && stream.frameworkId !== frameworkId) continue;
      stream.cancel();
      stream.retryMs = RETRY_MS_MIN;
      this.#send(stream);
    }
  }

  drop(frameworkId: string): void {
    for (const [key, stream] of this.#streams) {
      if (stream.frameworkId !== frameworkId) continue;
      stream.cancel();
      this.#streams.delete(key);
    }
  }

  has(frameworkId: string, taskId: string): boolean {
    return this.#streams.has(keyOf(frameworkId, taskId));
  }

  save(): SavedStream[] {
    return [...this.#streams.values()].map(({ frameworkId, taskId, queue }) => ({
      frameworkId,
      taskId,
      queue: [...queue],
    }));
  }

  /** Takes back what was saved; nothing is sent before `resend`. */
  load(saved: readonly SavedStream[]): void {
    for (const one of saved) this.#open(one.frameworkId, one.taskId).queue = [...one.queue];
  }

  close(): void {
    for (const stream of this.#streams.values()) stream.cancel();
  }

  #open(frameworkId: string, taskId: string): Stream {
    const key = keyOf(frameworkId, taskId);
    const known = this.#streams.get(key);
    if (known !== undefined) return known;
    const cancel = () => undefined;
    const stream = { frameworkId, taskId, queue: [], retryMs: RETRY_MS_MIN, cancel };
    this.#streams.set(key, stream);
    return stream;
  }

  #send(stream: Stream): void {
    const head = stream.queue[0];
    const latest = stream.queue.at(-1);
    if (head === undefined || latest === undefined) return;
    this.#forward(stream.frameworkId, head, latest.state);
    stream.cancel = this.#timing.after(stream.retryMs, () => {
      stream.retryMs = Math.min(stream.retryMs * 2, RETRY_MS_MAX);
      this.#send(stream);
    });
  }
}

function keyOf(frameworkId: string, taskId: string): string {
  return `${frameworkId}/${taskId}`;
}

function sameUuid(status: TaskStatus, uuid: Buffer | undefined): boolean {
  return uuid !== undefined && status.uuid?.equals(uuid) === true;
}
