/**
 * ACCEPT and DECLINE. An accept consumes its offers and runs its operations one by one, in order
 * and without atomicity, against the running sum of what was offered; what is left goes back:
 * untouched resources behind the caller's filter, converted ones without any.
 */

import { randomUUID } from 'node:crypto';
import type {
  Accept,
  Filters,
  Id,
  OfferOperation,
  OperationStatus,
  TaskInfo,
} from '../../shared/mesos/messages.ts';
import { addFilter } from './allocator.ts';
import { commandExecutor } from './command-task.ts';
import { executorKey } from './executor-record.ts';
import {
  type AgentRecord,
  type FrameworkRecord,
  type MasterCore,
  type OfferRecord,
  taskKey,
} from './master-core.ts';
import { checkOperation, isSpeculative, withAllocation } from './operations.ts';
import {
  contains,
  formatResources,
  intersect,
  isVolume,
  normalize,
  type Resources,
  subtract,
  subtractAvailable,
  sum,
  withoutAllocation,
} from './resources.ts';
import { hasCapability, masterStatus } from './task-status.ts';
import { findTaskError } from './task-validation.ts';

type Run = {
  readonly core: MasterCore;
  readonly framework: FrameworkRecord;
  readonly agent: AgentRecord;
  readonly role: string;
  remaining: Resources;
};

export function decline(
  core: MasterCore,
  framework: FrameworkRecord,
  offerIds: readonly Id[],
  filters: Filters | undefined,
): void {
  for (const { value } of offerIds) {
    if (core.offers.get(value)?.frameworkId !== framework.id) continue;
    const offer = core.removeOffer(value, false);
    if (offer === undefined) continue;
    addFilter(core, framework, offer, offer.resources, filters?.refuse_seconds);
  }
}

export function accept(core: MasterCore, framework: FrameworkRecord, call: Accept): void {
  const ids = (call.offer_ids ?? []).map((id) => id.value);
  const offers = ids.flatMap((id) => {
    const offer = core.offers.get(id);
    return offer === undefined || offer.frameworkId !== framework.id ? [] : [offer];
  });
  const message = findOffersError(core, framework, ids);
  for (const offer of offers) core.removeOffer(offer.offer.id.value, false);
  const first = offers[0];
  const operations = call.operations ?? [];
  if (message !== undefined || first === undefined) {
    const why = `with invalid offers: ${message ?? 'No offers specified'}`;
    refuseAll(core, framework, operations, 'REASON_INVALID_OFFERS', why);
    return;
  }
  const agent = core.agents.get(first.agentId);
  if (agent === undefined || !agent.isConnected) {
    const reason = agent === undefined ? 'REASON_AGENT_REMOVED' : 'REASON_AGENT_DISCONNECTED';
    const state = agent === undefined ? 'removed' : 'disconnected';
    refuseAll(core, framework, operations, reason, `on agent that is ${state}`);
    return;
  }
  const offered = sum(...offers.map((offer) => offer.resources));
  const run: Run = { core, framework, agent, role: first.role, remaining: offered };
  for (const operation of operations) runOperation(run, operation);
  const untouched = intersect(run.remaining, offered);
  addFilter(core, framework, first, untouched, call.filters?.refuse_seconds);
}

function findOffersError(
  core: MasterCore,
  framework: FrameworkRecord,
  ids: readonly string[],
): string | undefined {
  if (new Set(ids).size < ids.length) return 'Duplicate offers in offer list';
  let first: OfferRecord | undefined;
  for (const id of ids) {
    const offer = core.offers.get(id);
    if (offer === undefined) return `Offer ${id} is no longer valid`;
    if (offer.frameworkId !== framework.id) {
      return `Offer ${id} has invalid framework ${offer.frameworkId} while framework ${framework.id} is expected`;
    }
    first ??= offer;
    if (offer.agentId !== first.agentId) {
      return (
        'Aggregated offers must belong to one single agent. ' +
        `Offer ${id} uses agent ${offer.agentId} and agent ${first.agentId}`
      );
    }
    if (offer.role !== first.role) {
      return `Aggregated offers must be allocated to the same role. Offer ${id} uses role ${offer.role} but another is using role ${first.role}`;
    }
  }
  return undefined;
}

function refuseAll(
  core: MasterCore,
  framework: FrameworkRecord,
  operations: readonly OfferOperation[],
  reason: 'REASON_INVALID_OFFERS' | 'REASON_AGENT_REMOVED' | 'REASON_AGENT_DISCONNECTED',
  why: string,
): void {
  for (const operation of operations) {
    const tasks = launchedTasks(operation);
    if (tasks === undefined) {
      sendOperationError(core, framework, operation, `Operation attempted ${why}`);
      continue;
    }
    for (const task of tasks) {
      const state = hasCapability(framework.info, 'PARTITION_AWARE') ? 'TASK_DROPPED' : 'TASK_LOST';
      const message = `Task launched ${why}`;
      const agentId = task.agent_id.value;
      const status = masterStatus({ taskId: task.task_id.value, state, message, reason, agentId });
      core.sendStatus(framework.id, status);
    }
  }
}

/** Undefined when the operation launches nothing. */
function launchedTasks(operation: OfferOperation): readonly TaskInfo[] | undefined {
  if (operation.type === 'LAUNCH') return operation.launch?.task_infos ?? [];
  if (operation.type === 'LAUNCH_GROUP') return operation.launch_group?.task_group.tasks ?? [];
  return undefined;
}

/** Without an id nobody hears of the failure. */
function sendOperationError(
  core: MasterCore,
  framework: FrameworkRecord,
  operation: OfferOperation,
  message: string,
): void {
  if (operation.id === undefined) return;
  const status: OperationStatus = {
    operation_id: operation.id,
    state: 'OPERATION_ERROR',
    message,
  };
  core.send(framework, { type: 'UPDATE_OPERATION_STATUS', update_operation_status: { status } });
}

function runOperation(run: Run, operation: OfferOperation): void {
  const tasks = launchedTasks(operation);
  if (operation.type === 'LAUNCH_GROUP') {
    for (const task of tasks ?? [])
      sendTaskError(run, task, 'The stand-in does not launch task groups');
    return;
  }
  if (tasks !== undefined) {
    for (const task of tasks) {
      if (operation.id === undefined) launch(run, task);
      else sendTaskError(run, task, 'The `id` field cannot be set on LAUNCH operations');
    }
    return;
  }
  convert(run, withAllocation(operation, run.role));
}

function convert(run: Run, operation: OfferOperation): void {
  const { core, framework, agent } = run;
  const place = `on agent ${agent.id} at ${agent.pid} (${agent.info.hostname})`;
  if (operation.id !== undefined && isOperationIdInUse(core, framework.id, operation.id.value)) {
    const message = `Operation ID '${operation.id.value}' is already in use`;
    sendOperationError(core, framework, operation, `${message}; ${place}`);
    return;
  }
  const checked = checkOperation(operation, {
    principal: framework.info.principal,
    roles: undefined,
    total: agent.total,
    used: withoutAllocation(core.used(agent)),
  });
  if (!checked.ok) {
    sendOperationError(core, framework, operation, `${checked.message}; ${place}`);
    return;
  }
  const { consumed, converted } = checked.conversion;
  if (!contains(run.remaining, consumed)) {
    const message = `${formatResources(run.remaining)} does not contain ${formatResources(consumed)}`;
    sendOperationError(core, framework, operation, message);
    return;
  }
  const before = run.remaining;
  run.remaining = subtract(run.remaining, consumed);
  if (isSpeculative(operation)) run.remaining = sum(run.remaining, converted);
  const rest = subtractAvailable(agent.total, withoutAllocation(consumed));
  agent.total = sum(rest, withoutAllocation(converted));
  if (operation.type === 'SHRINK_VOLUME') leak(agent, before, converted);
  sendToAgent(core, agent, framework.id, operation);
}

/**
 * A real Mesos never offers what a shrink has freed when there is more of the same in the offer.
 */
function leak(agent: AgentRecord, offered: Resources, converted: Resources): void {
  const freed = converted.filter((one) => !isVolume(one));
  const merges = freed.some((one) => contains(offered, [{ ...one, scalar: { value: 0.001 } }]));
  if (merges) agent.leaked = sum(agent.leaked, withoutAllocation(freed));
}

function isOperationIdInUse(core: MasterCore, frameworkId: string, id: string): boolean {
  return [...core.operations.values()].some(
    (one) => one.frameworkId === frameworkId && one.operation.id?.value === id,
  );
}

/** Remembers the operation as pending and has the agent make it real. */
export function sendToAgent(
  core: MasterCore,
  agent: AgentRecord,
  frameworkId: string | undefined,
  operation: OfferOperation,
): void {
  const uuid = randomUUID();
  core.operations.set(uuid, {
    uuid,
    frameworkId,
    agentId: agent.id,
    operation,
    status: { operation_id: operation.id, state: 'OPERATION_PENDING' },
  });
  if (core.options.misbehaviour.current.loseOperations) return;
  core.toAgent(agent, (side) => side.applyOperation(uuid, frameworkId, operation));
}

function sendTaskError(run: Run, task: TaskInfo, message: string): void {
  const { core, framework, agent } = run;
  const status = masterStatus({
    taskId: task.task_id.value,
    state: 'TASK_ERROR',
    message,
    reason: 'REASON_TASK_INVALID',
    agentId: agent.id,
  });
  core.sendStatus(framework.id, status);
}

function launch(run: Run, given: TaskInfo): void {
  const { core, framework, agent } = run;
  const task = complete(given, run.role);
  const message = findTaskError(core, framework, agent, task);
  if (message !== undefined) {
    sendTaskError(run, task, message);
    return;
  }
  const executor = task.executor;
  const key = executorKey(framework.id, executor?.executor_id.value ?? '');
  const isRunning = agent.executors.has(key);
  const needed = sum(task.resources ?? [], isRunning ? [] : (executor?.resources ?? []));
  if (!contains(run.remaining, needed)) {
    const available = formatResources(run.remaining);
    const total = formatResources(needed);
    const text = `Total resources ${total} required by task and its executor is more than available ${available}`;
    sendTaskError(run, task, text);
    return;
  }
  run.remaining = subtract(run.remaining, needed);
  if (!isRunning && executor !== undefined) {
    agent.executors.set(key, { frameworkId: framework.id, info: executor });
  }
  core.tasks.set(taskKey(framework.id, task.task_id.value), {
    frameworkId: framework.id,
    agentId: agent.id,
    executorId: executor?.executor_id.value,
    info: task,
    state: 'TASK_STAGING',
    status: undefined,
    isUnreachable: false,
  });
  const info = framework.info;
  const runner = executor ?? commandExecutor(task);
  core.toAgent(agent, (side) => side.runTask(info, runner, task));
}

/** The task with allocations, and its executor with the framework's id, filled in. */
function complete(task: TaskInfo, role: string): TaskInfo {
  const fill = (resources: Resources | undefined) =>
    resources?.map((one) => ({
      ...normalize(one),
      allocation_info: one.allocation_info ?? { role },
    }));
  const executor = task.executor;
  return {
    ...task,
    resources: fill(task.resources),
    executor:
      executor === undefined ? undefined : { ...executor, resources: fill(executor.resources) },
  };
}
