/**
 * Reconciliation of tasks and operations: the master says what it knows, from its own memory only.
 */

import type { OperationState, SchedulerCall, TaskStatus } from '../../shared/mesos/messages.ts';
import type { FrameworkRecord, MasterCore, TaskRecord } from './master-core.ts';
import { hasCapability, masterStatus } from './task-status.ts';

type TaskQuery = NonNullable<NonNullable<SchedulerCall['reconcile']>['tasks']>[number];

/** An empty list asks for all tasks. */
export function reconcile(
  core: MasterCore,
  framework: FrameworkRecord,
  queries: readonly TaskQuery[],
): void {
  if (queries.length === 0) {
    for (const task of core.tasks.values()) {
      if (task.frameworkId !== framework.id) continue;
      core.sendStatus(framework.id, taskStatus(core, task));
    }
    return;
  }
  for (const query of queries) reconcileTask(core, framework, query);
}

export function reconcileTask(
  core: MasterCore,
  framework: FrameworkRecord,
  query: TaskQuery,
): void {
  const status = findStatus(core, framework, query);
  if (status !== undefined) core.sendStatus(framework.id, status);
}

/** Undefined: no answer, because the agent has not come back after the master's restart. */
function findStatus(
  core: MasterCore,
  framework: FrameworkRecord,
  query: TaskQuery,
): TaskStatus | undefined {
  const taskId = query.task_id.value;
  const agentId = query.agent_id?.value;
  const task = core.findTask(framework.id, taskId);
  if (task !== undefined) return taskStatus(core, task);
  const recovered = recoveredAgents(core);
  const made = (state: TaskStatus['state'], message: string, unreachableAt?: string) =>
    masterStatus({
      taskId,
      state: hasCapability(framework.info, 'PARTITION_AWARE') ? state : 'TASK_LOST',
      message: `Reconciliation: ${message}`,
      reason: 'REASON_RECONCILIATION',
      agentId,
      unreachableAt,
    });
  if (agentId === undefined) {
    return recovered.size > 0 ? undefined : made('TASK_UNKNOWN', 'Task is unknown');
  }
  if (recovered.has(agentId)) return undefined;
  if (core.agents.has(agentId)) return made('TASK_GONE', 'Task is unknown to the agent');
  const unreachable = core.registry.unreachable[agentId];
  if (unreachable !== undefined) {
    return made('TASK_UNREACHABLE', 'Task is unreachable', unreachable.since);
  }
  return core.registry.gone[agentId] === undefined
    ? made('TASK_UNKNOWN', 'Task is unknown')
    : made('TASK_GONE_BY_OPERATOR', 'Task is gone');
}

/** Agents of the registry that have not registered again since the master started. */
export function recoveredAgents(core: MasterCore): Set<string> {
  return new Set(Object.keys(core.registry.agents).filter((id) => !core.agents.has(id)));
}

function taskStatus(core: MasterCore, task: TaskRecord): TaskStatus {
  const taskId = task.info.task_id.value;
  const { agentId, executorId } = task;
  if (task.isUnreachable) {
    return masterStatus({
      taskId,
      state: 'TASK_UNREACHABLE',
      message: 'Reconciliation: Task is unreachable',
      reason: 'REASON_RECONCILIATION',
      agentId,
      unreachableAt: core.registry.unreachable[agentId]?.since,
    });
  }
  return {
    ...masterStatus({
      taskId,
      state: task.state,
      message: 'Reconciliation: Latest task state',
      reason: 'REASON_RECONCILIATION',
      agentId,
      executorId,
    }),
    healthy: task.status?.healthy,
    container_status: task.status?.container_status,
  };
}

type OperationQuery = NonNullable<
  NonNullable<SchedulerCall['reconcile_operations']>['operations']
>[number];

export function reconcileOperations(
  core: MasterCore,
  framework: FrameworkRecord,
  queries: readonly OperationQuery[],
): void {
  for (const query of queries) {
    const { state, message } = operationState(core, framework, query);
    const agentId = query.agent_id?.value;
    core.send(framework, {
      type: 'UPDATE_OPERATION_STATUS',
      update_operation_status: {
        status: {
          operation_id: query.operation_id,
          state,
          message: message === undefined ? undefined : `Reconciliation: ${message}`,
          agent_id: agentId === undefined ? undefined : { value: agentId },
        },
      },
    });
  }
}

function operationState(
  core: MasterCore,
  framework: FrameworkRecord,
  query: OperationQuery,
): { readonly state: OperationState; readonly message?: string } {
  const known = [...core.operations.values()].find(
    (one) =>
      one.frameworkId === framework.id && one.operation.id?.value === query.operation_id.value,
  );
  if (known !== undefined) return { state: known.status.state };
  const agentId = query.agent_id?.value;
  if (agentId === undefined) {
    return {
      state: 'OPERATION_UNKNOWN',
      message: "Operation is unknown and no 'agent_id' was provided",
    };
  }
  if (recoveredAgents(core).has(agentId)) {
    return {
      state: 'OPERATION_RECOVERING',
      message: 'Agent is recovered but has not re-registered',
    };
  }
  if (core.agents.has(agentId)) {
    return { state: 'OPERATION_UNKNOWN', message: 'Operation is unknown' };
  }
  if (core.registry.unreachable[agentId] !== undefined) {
    return { state: 'OPERATION_UNREACHABLE', message: 'Agent is unreachable' };
  }
  if (core.registry.gone[agentId] !== undefined) {
    return { state: 'OPERATION_GONE_BY_OPERATOR', message: 'Agent marked gone by operator' };
  }
  return { state: 'OPERATION_UNKNOWN', message: 'Both operation and agent are unknown' };
}
