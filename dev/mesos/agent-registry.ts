/**
 * Agents at the master: admission, return, disconnection, unreachability, removal. What frameworks
 * hear of each, in the order in which a real master says it.
 */

import type { OperationStatus, TaskState, TaskStatus } from '../../shared/mesos/messages.ts';
import { isMachine } from './agent-places.ts';
import { type AgentReport, type AgentSide, isTerminal, type Link } from './agent-protocol.ts';
import { allocate } from './allocator.ts';
import { executorKey } from './executor-record.ts';
import { type AgentRecord, type MasterCore, type TaskRecord, taskKey } from './master-core.ts';
import { hasCapability, masterStatus } from './task-status.ts';
import { nowNanoseconds } from './timing.ts';

/** `--agent_ping_timeout` times `--max_agent_ping_timeouts`. */
export const PING_MS = 75_000;

export function registerAgent(
  core: MasterCore,
  report: AgentReport,
  side: AgentSide,
  link: Link,
): void {
  const { id } = report;
  if (core.registry.down.some((machine) => isMachine(machine, report.info.hostname, report.ip))) {
    return; // under maintenance: not answered, so that the agent keeps asking
  }
  if (id !== undefined && core.registry.gone[id] !== undefined) {
    link.send(() => side.shutDown('Agent has been marked gone', true));
    return;
  }
  if (id === undefined) removeAgentsAt(core, report);
  const agentId = id ?? core.newAgentId();
  const wasUnreachable = core.registry.unreachable[agentId] !== undefined;
  const agent = admit(core, agentId, report, side, link);
  const drain = agent.drain;
  link.send(() => side.registered(agentId, drain));
  takeTasks(core, agent, report, wasUnreachable);
  allocate(core, { agents: [agent] });
}

/** A new agent at the address of an old one: the old one can never come back. */
function removeAgentsAt(core: MasterCore, report: AgentReport): void {
  for (const agent of [...core.agents.values()]) {
    if (agent.pid !== report.pid) continue;
    removeAgent(core, agent, 'a new agent registered at the same address');
  }
}

function admit(
  core: MasterCore,
  agentId: string,
  report: AgentReport,
  side: AgentSide,
  link: Link,
): AgentRecord {
  const known = core.agents.get(agentId);
  known?.cancelPing();
  const now = nowNanoseconds();
  const isReturn = report.id !== undefined;
  const info = { ...report.info, id: { value: agentId } };
  const window = core.registry.schedule.windows?.find((one) =>
    one.machine_ids?.some((machine) => isMachine(machine, info.hostname, report.ip)),
  );
  const agent: AgentRecord = {
    id: agentId,
    info,
    pid: report.pid,
    ip: report.ip,
    side,
    link,
    isConnected: true,
    isDeactivated: core.registry.deactivated.includes(agentId),
    drain: core.registry.drains[agentId],
    total: report.total,
    leaked: [],
    executors: new Map(
      report.executors.map((one) => [
        executorKey(one.frameworkId, one.info.executor_id.value),
        one,
      ]),
    ),
    registeredAt: known?.registeredAt ?? now,
    reregisteredAt: isReturn ? now : undefined,
    unavailability: window?.unavailability,
    cancelPing: () => undefined,
  };
  core.agents.set(agentId, agent);
  core.registry.agents[agentId] = info;
  delete core.registry.unreachable[agentId];
  core.saveRegistry();
  return agent;
}

/** Makes the master's list of tasks and operations on the agent what the agent says it is. */
function takeTasks(
  core: MasterCore,
  agent: AgentRecord,
  report: AgentReport,
  wasUnreachable: boolean,
): void {
  const reported = new Set<string>();
  for (const one of report.tasks) {
    reported.add(taskKey(one.frameworkId, one.info.task_id.value));
    takeTask(core, agent, { ...one, agentId: agent.id, isUnreachable: false }, wasUnreachable);
  }
  for (const framework of report.frameworks) rememberFramework(core, agent, framework);
  for (const [key, task] of core.tasks) {
    if (task.agentId !== agent.id || reported.has(key)) continue;
    core.tasks.delete(key);
    if (isTerminal(task.state) || task.isUnreachable) continue;
    const state = isPartitionAware(core, task) ? 'TASK_DROPPED' : 'TASK_LOST';
    const message = 'Task is unknown to the agent that reregistered';
    core.sendStatus(task.frameworkId, ended(task, state, message, 'REASON_AGENT_RESTARTED'));
  }
  const known = new Set(report.operations.map((one) => one.uuid));
  for (const one of report.operations) core.operations.set(one.uuid, { ...one, agentId: agent.id });
  for (const [uuid, operation] of core.operations) {
    if (operation.agentId !== agent.id || known.has(uuid)) continue;
    core.operations.delete(uuid);
    if (operation.status.state !== 'OPERATION_PENDING') continue;
    sendOperation(core, operation.frameworkId, {
      operation_id: operation.operation.id,
      state: 'OPERATION_DROPPED',
      message: 'The agent does not know the operation',
      agent_id: { value: agent.id },
    });
  }
}

function takeTask(
  core: MasterCore,
  agent: AgentRecord,
  task: TaskRecord,
  wasUnreachable: boolean,
): void {
  const taskId = task.info.task_id.value;
  if (core.completed.has(task.frameworkId)) {
    core.toAgent(agent, (side) => side.shutDownFramework(task.frameworkId));
    return;
  }
  core.tasks.set(taskKey(task.frameworkId, taskId), task);
  if (!wasUnreachable || isTerminal(task.state)) return;
  const { executorId } = task;
  core.sendStatus(task.frameworkId, {
    ...masterStatus({
      taskId,
      state: task.state,
      message: 'Unreachable agent re-reregistered', // spelled so by a real master
      reason: 'REASON_AGENT_REREGISTERED',
      agentId: agent.id,
      executorId,
    }),
    healthy: task.status?.healthy,
    container_status: task.status?.container_status,
  });
}

/**
 * After a master failover the agents bring the frameworks along that have not subscribed again yet.
 */
function rememberFramework(
  core: MasterCore,
  agent: AgentRecord,
  info: AgentReport['frameworks'][number],
): void {
  const id = info.id?.value;
  if (id === undefined || core.completed.has(id)) return;
  const known = core.frameworks.get(id);
  if (known !== undefined) {
    core.toAgent(agent, (side) => side.frameworkChanged(known.info));
    return;
  }
  core.frameworks.set(id, {
    id,
    info,
    constraints: undefined,
    suppressed: new Set(),
    subscription: undefined,
    filters: [],
    inverseFilters: new Map(),
    cancelFailover: () => undefined,
    registeredAt: nowNanoseconds(),
    reregisteredAt: undefined,
    isRecovered: true,
  });
}

/** The connection to the agent broke: its offers are rescinded, its tasks stay. */
export function disconnectAgent(core: MasterCore, agent: AgentRecord): void {
  if (!agent.isConnected) return;
  agent.isConnected = false;
  agent.link.break();
  core.rescindAll(agent);
  startPingTimeout(core, agent);
}

/** Nothing is heard of the agent: it becomes unreachable when that lasts. */
export function startPingTimeout(core: MasterCore, agent: AgentRecord): void {
  agent.cancelPing();
  agent.cancelPing = core.options.timing.after(PING_MS, () => {
    if (core.agents.get(agent.id) === agent) markUnreachable(core, agent);
  });
}

export function markUnreachable(core: MasterCore, agent: AgentRecord): void {
  const since = nowNanoseconds();
  forget(core, agent);
  // It hears of this when it is back, and registers again.
  agent.link.break();
  core.registry.unreachable[agent.id] = { since };
  core.saveRegistry();
  endOperations(core, agent, 'OPERATION_UNREACHABLE');
  for (const task of core.tasksOf(agent.id)) {
    const isAware = isPartitionAware(core, task);
    if (isTerminal(task.state) || !isAware) {
      core.tasks.delete(taskKey(task.frameworkId, task.info.task_id.value));
    } else task.isUnreachable = true;
    if (isTerminal(task.state)) continue;
    const state = isAware ? 'TASK_UNREACHABLE' : 'TASK_LOST';
    const status = ended(task, state, 'health check timed out', 'REASON_AGENT_REMOVED');
    core.sendStatus(task.frameworkId, { ...status, unreachable_time: { nanoseconds: since } });
  }
  finishRemoval(core, agent);
}

/**
 * The agent is gone from the master, though not by an operator's word: frameworks hear TASK_LOST.
 */
export function removeAgent(core: MasterCore, agent: AgentRecord, why: string): void {
  forget(core, agent);
  core.saveRegistry();
  const message = `Agent ${agent.info.hostname} removed: ${why}`;
  endTasks(core, agent, () => 'TASK_LOST', message, 'REASON_AGENT_REMOVED');
  finishRemoval(core, agent);
}

/** An operator's word that the agent will never come back. */
export function markGone(core: MasterCore, agent: AgentRecord): void {
  core.toAgent(agent, (side) => side.shutDown('Agent has been marked gone', true));
  forget(core, agent);
  core.registry.gone[agent.id] = { since: nowNanoseconds() };
  delete core.registry.drains[agent.id];
  core.saveRegistry();
  endOperations(core, agent, 'OPERATION_GONE_BY_OPERATOR');
  const message = 'Agent has been marked gone';
  const stateOf = (task: TaskRecord) =>
    isPartitionAware(core, task) ? 'TASK_GONE_BY_OPERATOR' : 'TASK_LOST';
  endTasks(core, agent, stateOf, message, 'REASON_AGENT_REMOVED_BY_OPERATOR');
  finishRemoval(core, agent);
}

function forget(core: MasterCore, agent: AgentRecord): void {
  agent.cancelPing();
  core.agents.delete(agent.id);
  delete core.registry.agents[agent.id];
}

function endTasks(
  core: MasterCore,
  agent: AgentRecord,
  stateOf: (task: TaskRecord) => TaskState,
  message: string,
  reason: TaskStatus['reason'],
): void {
  for (const task of core.tasksOf(agent.id)) {
    core.tasks.delete(taskKey(task.frameworkId, task.info.task_id.value));
    if (isTerminal(task.state)) continue;
    core.sendStatus(task.frameworkId, ended(task, stateOf(task), message, reason));
  }
}

function endOperations(
  core: MasterCore,
  agent: AgentRecord,
  state: 'OPERATION_UNREACHABLE' | 'OPERATION_GONE_BY_OPERATOR',
): void {
  for (const [uuid, operation] of core.operations) {
    if (operation.agentId !== agent.id) continue;
    core.operations.delete(uuid);
    if (operation.operation.id === undefined) continue;
    sendOperation(core, operation.frameworkId, {
      operation_id: operation.operation.id,
      state,
      agent_id: { value: agent.id },
    });
  }
}

function sendOperation(
  core: MasterCore,
  frameworkId: string | undefined,
  status: OperationStatus,
): void {
  const framework = frameworkId === undefined ? undefined : core.frameworks.get(frameworkId);
  if (framework === undefined || status.operation_id === undefined) return;
  core.send(framework, { type: 'UPDATE_OPERATION_STATUS', update_operation_status: { status } });
}

/** Offers go, and every framework hears that the agent is away. */
function finishRemoval(core: MasterCore, agent: AgentRecord): void {
  agent.isConnected = false;
  for (const [uuid, one] of core.operations)
    if (one.agentId === agent.id) core.operations.delete(uuid);
  core.rescindAll(agent);
  for (const framework of core.frameworks.values()) {
    core.send(framework, { type: 'FAILURE', failure: { agent_id: { value: agent.id } } });
  }
}

function isPartitionAware(core: MasterCore, task: TaskRecord): boolean {
  const framework = core.frameworks.get(task.frameworkId);
  return framework !== undefined && hasCapability(framework.info, 'PARTITION_AWARE');
}

function ended(
  task: TaskRecord,
  state: TaskState,
  message: string,
  reason: TaskStatus['reason'],
): TaskStatus {
  const taskId = task.info.task_id.value;
  const { agentId, executorId } = task;
  return masterStatus({ taskId, state, message, reason, agentId, executorId });
}
