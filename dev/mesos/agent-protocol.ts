/**
 * What masters and agents of the stand-in tell each other. Real ones use libprocess messages; here
 * it is calls within one process, but over a `Link` that can break, delivers later, and keeps the
 * order.
 */

import type {
  AgentInfo,
  ExecutorInfo,
  FrameworkInfo,
  KillPolicy,
  OfferOperation,
  OperationStatus,
  TaskInfo,
  TaskState,
  TaskStatus,
} from '../../shared/mesos/messages.ts';
import type { Resources } from './resources.ts';

export type DrainConfig = {
  readonly maxGracePeriodMs: number | undefined;
  readonly markGone: boolean;
};

export type TaskReport = {
  readonly frameworkId: string;
  readonly executorId: string;
  readonly info: TaskInfo;
  readonly state: TaskState;
  /** The newest status, acknowledged or not. */
  readonly status: TaskStatus | undefined;
};

export type ExecutorReport = { readonly frameworkId: string; readonly info: ExecutorInfo };

/** An operation whose final status has not been acknowledged. */
export type OperationReport = {
  readonly uuid: string;
  readonly frameworkId: string | undefined;
  readonly operation: OfferOperation;
  readonly status: OperationStatus;
};

/** All that an agent says when it registers. */
export type AgentReport = {
  /** Undefined on the first registration of this work directory. */
  readonly id: string | undefined;
  readonly info: AgentInfo;
  /** As in `slave(1)@127.0.0.1:5051`. */
  readonly pid: string;
  readonly ip: string;
  /** With reservations and volumes, without allocation. */
  readonly total: Resources;
  readonly frameworks: readonly FrameworkInfo[];
  readonly executors: readonly ExecutorReport[];
  readonly tasks: readonly TaskReport[];
  readonly operations: readonly OperationReport[];
};

/** What an agent can tell the master. */
export type MasterSide = {
  registerAgent(report: AgentReport, side: AgentSide, link: Link): void;
  /**
   * The agent says goodbye: it has shut down all its executors and will not come back as this one.
   */
  unregisterAgent(agentId: string): void;
  statusUpdate(
    agentId: string,
    frameworkId: string,
    status: TaskStatus,
    latestState: TaskState,
  ): void;
  /** `total`: what the agent really has now. */
  operationUpdate(agentId: string, report: OperationReport, total: Resources): void;
  /** `status` is as waitpid() gives it; -1 unknown. */
  executorExited(agentId: string, frameworkId: string, executorId: string, status: number): void;
  executorMessage(agentId: string, frameworkId: string, executorId: string, data: Buffer): void;
};

/** What the master can tell an agent. */
export type AgentSide = {
  registered(agentId: string, drain: DrainConfig | undefined): void;
  /**
   * Kill everything; the agent was removed. It registers anew (as a new one) unless it is gone for
   * good.
   */
  shutDown(reason: string, isGone: boolean): void;
  runTask(framework: FrameworkInfo, executor: ExecutorInfo, task: TaskInfo): void;
  applyOperation(uuid: string, frameworkId: string | undefined, operation: OfferOperation): void;
  killTask(frameworkId: string, taskId: string, policy: KillPolicy | undefined): void;
  shutDownExecutor(frameworkId: string, executorId: string): void;
  shutDownFramework(frameworkId: string): void;
  deliverMessage(frameworkId: string, executorId: string, data: Buffer): void;
  acknowledgeUpdate(frameworkId: string, taskId: string, uuid: Buffer): void;
  acknowledgeOperation(statusUuid: Buffer): void;
  /** The framework has (re)subscribed or changed: unacknowledged updates are sent again at once. */
  frameworkChanged(framework: FrameworkInfo): void;
  drain(config: DrainConfig | undefined): void;
};

/**
 * One registration's connection. Messages are delivered in order, a little later, while it is up.
 */
export class Link {
  #isUp = true;
  /** A powered-off agent: the other side notices nothing but silence. */
  #isSilent = false;
  /** A stopped agent process: what is sent meanwhile waits in the sockets, both ways. */
  #held: (() => void)[] | undefined;

  get isUp(): boolean {
    return this.#isUp;
  }

  send(action: () => void): void {
    setImmediate(() => {
      if (this.#held !== undefined) this.#held.push(action);
      else if (this.#isUp && !this.#isSilent) action();
    });
  }

  hold(): void {
    this.#held ??= [];
  }

  /** Delivers what waited, unless the connection broke meanwhile. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const action of held) this.send(action);
  }

  break(): void {
    this.#isUp = false;
  }

  silence(): void {
    this.#isSilent = true;
  }
}

export function isTerminal(state: TaskState): boolean {
  switch (state) {
    case 'TASK_FINISHED':
    case 'TASK_FAILED':
    case 'TASK_KILLED':
    case 'TASK_ERROR':
    case 'TASK_LOST':
    case 'TASK_DROPPED':
    case 'TASK_GONE':
    case 'TASK_GONE_BY_OPERATOR':
      return true;
    default:
      return false;
  }
}
