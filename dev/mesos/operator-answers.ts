/**
 * What the operator API tells about the master's memory: agents, frameworks, tasks, maintenance.
 */

import type {
  GetAgents,
  GetExecutors,
  GetFrameworks,
  GetTasks,
  MaintenanceStatus,
  OperatorAgent,
  OperatorFramework,
  OperatorOperation,
  OperatorTask,
  Resource,
} from '../../shared/mesos/messages.ts';
import { isMachine } from './agent-places.ts';
import { isTerminal } from './agent-protocol.ts';
import {
  type AgentRecord,
  type FrameworkRecord,
  type MasterCore,
  type TaskRecord,
  VERSION,
} from './master-core.ts';
import type { Resources } from './resources.ts';

const AGENT_CAPABILITIES = [
  'MULTI_ROLE',
  'HIERARCHICAL_ROLE',
  'RESERVATION_REFINEMENT',
  'RESOURCE_PROVIDER',
  'RESIZE_VOLUME',
  'AGENT_OPERATION_FEEDBACK',
  'AGENT_DRAINING',
  'TASK_RESOURCE_LIMITS',
].map((type) => ({ type }));

/** Operators see the old fields filled in beside the new ones. */
function operatorForm(resources: Resources): Resource[] {
  return resources.map((resource) => {
    const top = resource.reservations?.at(-1);
    if (top === undefined) return { ...resource, role: '*' };
    const reservation = { principal: top.principal, labels: top.labels };
    return { ...resource, role: top.role, reservation };
  });
}

export function getAgents(core: MasterCore): GetAgents {
  const recovered = Object.entries(core.registry.agents).filter(([id]) => !core.agents.has(id));
  return {
    agents: [...core.agents.values()].map((agent) => describeAgent(core, agent)),
    recovered_agents: recovered.map(([, info]) => info),
  };
}

function describeAgent(core: MasterCore, agent: AgentRecord): OperatorAgent {
  const { drain } = agent;
  const grace = drain?.maxGracePeriodMs;
  return {
    agent_info: agent.info,
    active: agent.isConnected && !agent.isDeactivated,
    deactivated: agent.isDeactivated,
    version: VERSION,
    pid: agent.pid,
    registered_time: { nanoseconds: agent.registeredAt },
    reregistered_time:
      agent.reregisteredAt === undefined ? undefined : { nanoseconds: agent.reregisteredAt },
    total_resources: operatorForm(agent.total),
    allocated_resources: operatorForm(core.used(agent)),
    offered_resources: operatorForm(core.offered(agent)),
    capabilities: AGENT_CAPABILITIES,
    drain_info:
      drain === undefined
        ? undefined
        : {
            state: drain.state,
            config: {
              max_grace_period: grace === undefined ? undefined : { nanoseconds: grace * 1e6 },
              mark_gone: drain.markGone,
            },
          },
    estimated_drain_start_time: drain === undefined ? undefined : { nanoseconds: drain.startedAt },
  };
}

export function getFrameworks(core: MasterCore): GetFrameworks {
  const completed = [...core.completed.values()].map((info) => ({
    framework_info: info,
    active: false,
    connected: false,
    recovered: false,
  }));
  return {
    frameworks: [...core.frameworks.values()].map((one) => describeFramework(core, one)),
    completed_frameworks: completed,
  };
}

function describeFramework(core: MasterCore, framework: FrameworkRecord): OperatorFramework {
  const offers = [...core.offers.values()].filter((one) => one.frameworkId === framework.id);
  const inverse = [...core.inverseOffers.values()].filter(
    (one) => one.frameworkId === framework.id,
  );
  const tasks = [...core.tasks.values()].filter(
    (task) => task.frameworkId === framework.id && !isTerminal(task.state) && !task.isUnreachable,
  );
  const isConnected = framework.subscription !== undefined;
  return {
    framework_info: framework.info,
    active: isConnected,
    connected: isConnected,
    recovered: framework.isRecovered,
    registered_time: { nanoseconds: framework.registeredAt },
    reregistered_time:
      framework.reregisteredAt === undefined
        ? undefined
        : { nanoseconds: framework.reregisteredAt },
    offers: offers.map((one) => one.offer),
    inverse_offers: inverse.map((one) => one.offer),
    allocated_resources: operatorForm(tasks.flatMap((task) => task.info.resources ?? [])),
    offered_resources: operatorForm(offers.flatMap((one) => one.resources)),
  };
}

export function getTasks(core: MasterCore): GetTasks {
  const tasks = [...core.tasks.values()];
  return {
    tasks: tasks.filter((task) => !task.isUnreachable).map(describeTask),
    unreachable_tasks: tasks.filter((task) => task.isUnreachable).map(describeTask),
    completed_tasks: [],
  };
}

function describeTask(task: TaskRecord): OperatorTask {
  return {
    name: task.info.name,
    task_id: task.info.task_id,
    framework_id: { value: task.frameworkId },
    executor_id: task.executorId === undefined ? undefined : { value: task.executorId },
    agent_id: { value: task.agentId },
    state: task.isUnreachable ? 'TASK_UNREACHABLE' : task.state,
    resources: operatorForm(task.info.resources ?? []),
    statuses: task.status === undefined ? [] : [task.status],
    status_update_state: task.status?.state,
    status_update_uuid: task.status?.uuid,
    labels: task.info.labels,
  };
}

export function getExecutors(core: MasterCore): GetExecutors {
  const executors = [...core.agents.values()].flatMap((agent) =>
    [...agent.executors.values()].map(({ info }) => ({
      executor_info: info,
      agent_id: { value: agent.id },
    })),
  );
  return { executors };
}

/** Operations whose end has not been acknowledged. */
export function getOperations(core: MasterCore): OperatorOperation[] {
  return [...core.operations.values()].map((one) => ({
    framework_id: one.frameworkId === undefined ? undefined : { value: one.frameworkId },
    agent_id: { value: one.agentId },
    info: one.operation,
    latest_status: one.status,
    uuid: { value: Buffer.from(one.uuid.replaceAll('-', ''), 'hex') },
  }));
}

export function getMaintenanceStatus(core: MasterCore): MaintenanceStatus {
  const down = core.registry.down;
  const machines = (core.registry.schedule.windows ?? []).flatMap((one) => one.machine_ids ?? []);
  const draining = machines.filter(
    (machine) => !down.some((one) => one.hostname === machine.hostname && one.ip === machine.ip),
  );
  return {
    draining_machines:
      draining.length === 0
        ? undefined
        : draining.map((id) => ({
            id,
            statuses: [...core.agents.values()]
              .filter((agent) => isMachine(id, agent.info.hostname, agent.ip))
              .flatMap((agent) => core.inverseStatuses.get(agent.id) ?? []),
          })),
    down_machines: down.length === 0 ? undefined : down,
  };
}
