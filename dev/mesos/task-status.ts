/**
 * Builds task statuses: the agent's own, the master's own, and what the agent adds to an
 * executor's.
 */

import { randomUUID } from 'node:crypto';
import type {
  ContainerStatus,
  ExecutorInfo,
  FrameworkInfo,
  TaskInfo,
  TaskState,
  TaskStatus,
} from '../../shared/mesos/messages.ts';
import { type DrainConfig, isTerminal } from './agent-protocol.ts';
import type { ExecutorRecord, Termination } from './executor-record.ts';
import type { AgentAddress } from './sandbox.ts';
import { nowSeconds } from './timing.ts';

/** 16 random bytes, version 4. */
export function freshUuid(): Buffer {
  return Buffer.from(randomUUID().replaceAll('-', ''), 'hex');
}

export function hasCapability(framework: FrameworkInfo, capability: string): boolean {
  return framework.capabilities?.some((one) => one.type === capability) === true;
}

/** A status that the agent itself makes, for a task that its executor can not speak for. */
export function agentStatus(
  task: TaskInfo,
  agentId: string,
  executor: ExecutorInfo,
  termination: Termination,
): TaskStatus {
  return {
    task_id: task.task_id,
    state: termination.state,
    message: termination.message,
    source: 'SOURCE_AGENT',
    reason: termination.reason,
    agent_id: { value: agentId },
    executor_id: executor.executor_id,
    timestamp: nowSeconds(),
    uuid: freshUuid(),
  };
}

/** What the agent adds to a status of an executor before it travels on. */
export function completeStatus(
  given: TaskStatus,
  executor: ExecutorRecord,
  agent: AgentAddress,
  drain: DrainConfig | undefined,
): TaskStatus {
  const status: TaskStatus = {
    ...given,
    agent_id: { value: agent.id },
    executor_id: executor.info.executor_id,
    timestamp: given.timestamp ?? nowSeconds(),
    container_status: given.container_status ?? containerStatus(executor, agent),
  };
  const isEnding = isTerminal(status.state) || status.state === 'TASK_KILLING';
  if (drain === undefined || !isEnding) return status;
  const drained: TaskStatus = { ...status, reason: 'REASON_AGENT_DRAINING' };
  // Also TASK_KILLING, which is not terminal: so a real Mesos does it.
  return drain.markGone && hasCapability(executor.framework, 'PARTITION_AWARE')
    ? { ...drained, state: 'TASK_GONE_BY_OPERATOR' }
    : drained;
}

function containerStatus(executor: ExecutorRecord, agent: AgentAddress): ContainerStatus {
  return {
    container_id: { value: executor.containerId },
    network_infos: [{ ip_addresses: [{ ip_address: agent.ip }] }],
    executor_pid: executor.container?.process.pid,
  };
}

export type MasterStatus = {
  readonly taskId: string;
  readonly state: TaskState;
  readonly message: string;
  readonly reason: TaskStatus['reason'];
  readonly agentId?: string | undefined;
  readonly executorId?: string | undefined;
  readonly unreachableAt?: string | undefined;
};

/** A status that the master makes: no uuid, never sent again. */
export function masterStatus(given: MasterStatus): TaskStatus {
  const { agentId, executorId, unreachableAt } = given;
  return {
    task_id: { value: given.taskId },
    state: given.state,
    message: given.message,
    source: 'SOURCE_MASTER',
    reason: given.reason,
    agent_id: agentId === undefined ? undefined : { value: agentId },
    executor_id: executorId === undefined ? undefined : { value: executorId },
    timestamp: nowSeconds(),
    unreachable_time: unreachableAt === undefined ? undefined : { nanoseconds: unreachableAt },
  };
}
