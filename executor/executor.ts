/**
 * The shell of the executor: one Mesos task is one disk. The first launch tells which cluster and node
 * this is and starts the data process and the control session; every launch adds a disk; task states
 * follow the disks' reports. All that concerns data happens in the data process.
 */
import { describeError } from '../shared/base/errors.ts';
import { formatDisk, type NodeId } from '../shared/base/ids.ts';
import type { TaskInfo, TaskState } from '../shared/mesos/messages.ts';
import type { Announcement } from '../shared/model/announcement.ts';
import type { DiskReport } from '../shared/model/node-report.ts';
import {
  decodeHint,
  decodeTaskData,
  encodeHint,
  type TaskData,
} from '../shared/model/task-data.ts';
import type { Clock, Log, Timer } from '../shared/ports.ts';
import type { DataPlane } from './data-plane.ts';
import type { NodeAgent } from './node-agent.ts';

/** The Mesos side, as this shell uses it. */
export interface TaskReporter {
  update(taskId: string, state: TaskState, fields: { readonly message: string }): void;
  sendMessage(data: Uint8Array): void;
}

/** What the first launch brings into being. */
export interface NodeParts {
  readonly agent: NodeAgent;
  readonly dataPlane: DataPlane;
}

export interface ExecutorModules {
  readonly clock: Clock;
  readonly log: Log;
  readonly reporter: TaskReporter;
  /** Starts the data plane and the control session for this cluster and node. */
  createNode(clusterId: string, node: NodeId): NodeParts;
  /** Real path of the persistent volume that Mesos put into the sandbox; throws when it is not there. */
  resolveVolume(containerPath: string): string;
  /** The process should end now. */
  onFinished(exitCode: number): void;
}

type TaskLife = 'starting' | 'running';

interface DiskTask {
  readonly taskId: string;
  readonly data: TaskData;
  life: TaskLife;
  /** When the store's failure was seen; null while it works. */
  failedAtMs: number | null;
}

/** Task states follow disk reports at this pace. */
const POLL_MS = 250;
/** A failed disk stays in the reports for so long: several of them reach the manager. */
const FAILED_VISIBLE_MS = 3_000;
/** A store that does not close within this (its disk hangs) is not waited for: KILL grants ten seconds. */
const CLOSE_MS_MAX = 8_000;
/** Longest wait for the last updates to leave before the process ends. */
const FAREWELL_MS = 1_000;

export class Executor {
  readonly #modules: ExecutorModules;
  readonly #tasks = new Map<string, DiskTask>();
  /** Tasks whose stores are being closed: their end is about to be told. */
  readonly #ending = new Set<string>();
  #clusterId: string | null = null;
  #parts: NodeParts | null = null;
  #pollTimer: Timer | null = null;
  #isStopping = false;

  constructor(modules: ExecutorModules) {
    this.#modules = modules;
  }

  get parts(): NodeParts | null {
    return this.#parts;
  }

  onLaunch(task: TaskInfo): void {
    const { log, reporter } = this.#modules;
    const taskId = task.task_id.value;
    if (this.#tasks.has(taskId)) return;
    try {
      const data = this.#admit(task);
      const path = this.#modules.resolveVolume(data.containerPath);
      const parts = this.#startParts(data);
      this.#tasks.set(taskId, { taskId, data, life: 'starting', failedAtMs: null });
      reporter.update(taskId, 'TASK_STARTING', { message: `opening ${path}` });
      parts.dataPlane.addDisk({
        id: data.disk,
        uuid: data.uuid,
        path,
        capacityBytes: data.capacityBytes,
      });
      parts.agent.setManager(data.controlAddress, data.term);
      log('info', 'Disk assigned', { disk: formatDisk(data.disk), path, task: taskId });
      this.#poll();
    } catch (error) {
      log('error', 'Task refused', { task: taskId, error: describeError(error) });
      reporter.update(taskId, 'TASK_FAILED', { message: describeError(error) });
    }
  }

  onKill(taskId: string): void {
    // Asked again while its store is being closed.
    if (this.#ending.has(taskId)) return;
    const task = this.#tasks.get(taskId);
    if (task === undefined) {
      this.#modules.reporter.update(taskId, 'TASK_KILLED', { message: 'no such disk here' });
      return;
    }
    this.#endTask(task, 'TASK_KILLED', 'asked by the scheduler');
  }

  /**
   * The end of a task is told when its store is closed: with that word Mesos takes the volume out of the
   * sandbox (a mount disappears, whatever is still being written there), and offers it again.
   */
  #endTask(task: DiskTask, state: TaskState, message: string): void {
    const { clock, reporter } = this.#modules;
    this.#tasks.delete(task.taskId);
    this.#ending.add(task.taskId);
    const tell = (): void => {
      if (!this.#ending.delete(task.taskId)) return;
      deadline.cancel();
      reporter.update(task.taskId, state, { message });
    };
    const deadline = clock.after(CLOSE_MS_MAX, tell);
    void (this.#parts?.dataPlane.removeDisk(task.data.disk) ?? Promise.resolve()).then(tell);
  }

  onMessage(bytes: Uint8Array): void {
    try {
      const hint = decodeHint(bytes);
      if (hint?.kind === 'control') this.#parts?.agent.setManager(hint.address, hint.term);
    } catch (error) {
      this.#modules.log('warn', 'Framework message refused', { error: describeError(error) });
    }
  }

  /** The same as a hint, from the manager itself. Before the first task nobody knows whose it may be. */
  onAnnouncement({ clusterId, address, term }: Announcement): void {
    if (clusterId === this.#clusterId) this.#parts?.agent.setManager(address, term);
  }

  /** The manager does not answer where it was: Mesos carries the question to the scheduler. */
  askForManager(): void {
    this.#modules.reporter.sendMessage(encodeHint({ kind: 'where' }));
  }

  /** SHUTDOWN, or the agent is gone for good: close the disks cleanly, say goodbye, end. */
  async shutdown(reason: string): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    const { clock, log, reporter } = this.#modules;
    log('info', 'Executor is stopping', { reason });
    this.#pollTimer?.cancel();
    this.#parts?.agent.close();
    await this.#parts?.dataPlane.close();
    for (const taskId of this.#tasks.keys()) {
      reporter.update(taskId, 'TASK_KILLED', { message: reason });
    }
    this.#tasks.clear();
    clock.after(FAREWELL_MS, () => this.#modules.onFinished(0));
  }

  #admit(task: TaskInfo): TaskData {
    if (this.#isStopping) throw new Error('this executor is stopping');
    const data = decodeTaskData(task.data ?? new Uint8Array(0));
    if (this.#clusterId !== null && this.#clusterId !== data.clusterId) {
      throw new Error(`this executor serves cluster ${this.#clusterId}, not ${data.clusterId}`);
    }
    return data;
  }

  #startParts(data: TaskData): NodeParts {
    if (this.#parts === null) {
      this.#clusterId = data.clusterId;
      const parts = this.#modules.createNode(data.clusterId, data.node);
      this.#parts = parts;
      parts.agent.start(null, null);
      parts.agent.setManager(data.controlAddress, data.term);
    }
    return this.#parts;
  }

  #poll(): void {
    this.#pollTimer?.cancel();
    if (this.#isStopping) return;
    this.#pollTimer = this.#modules.clock.after(POLL_MS, () => this.#poll());
    const reports = this.#parts?.dataPlane.report().disks ?? [];
    for (const task of [...this.#tasks.values()]) {
      const report = reports.find((candidate) => candidate.id === task.data.disk);
      if (report === undefined) continue;
      if (report.status === 'serving' && task.life === 'starting') {
        task.life = 'running';
        this.#modules.reporter.update(task.taskId, 'TASK_RUNNING', { message: 'serving' });
      } else if (report.status === 'failed') {
        this.#onFailed(task, report);
      }
    }
  }

  /**
   * The manager takes the disk out when it reads the report; some seconds later the task ends, so that
   * the disk can be started again on the same volume once an operator says so. The other way round Mesos'
   * word could come first, and the disk would be started again as if nothing were wrong with it.
   */
  #onFailed(task: DiskTask, report: DiskReport): void {
    const nowMs = this.#modules.clock.now();
    task.failedAtMs ??= nowMs;
    if (nowMs - task.failedAtMs < FAILED_VISIBLE_MS) return;
    this.#endTask(task, 'TASK_FAILED', report.error);
  }
}
