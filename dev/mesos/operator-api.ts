/**
 * The operator API of the master (POST /api/v1): questions, maintenance, draining, and operator's
 * operations.
 */

import { describeError } from '../../shared/base/errors.ts';
import { decode } from '../../shared/mesos/codec.ts';
import type {
  Id,
  OfferOperation,
  OperatorCall,
  OperatorResponse,
} from '../../shared/mesos/messages.ts';
import { sendToAgent } from './accept-engine.ts';
import { markGone } from './agent-registry.ts';
import { encodeAnswer } from './answer-codec.ts';
import { authenticate } from './authentication.ts';
import { EventStream } from './event-stream.ts';
import { HEARTBEAT_MS, removeFramework } from './framework-life.ts';
import {
  answerBytes,
  answerText,
  bareRefusal,
  HttpRefusal,
  type Request,
  requireAccept,
  requireCall,
} from './http-server.ts';
import {
  deactivateAgent,
  drainAgent,
  reactivateAgent,
  startMaintenance,
  stopMaintenance,
  updateSchedule,
} from './maintenance.ts';
import { type AgentRecord, type MasterCore, VERSION } from './master-core.ts';
import { checkOperation } from './operations.ts';
import {
  getAgents,
  getExecutors,
  getFrameworks,
  getMaintenanceStatus,
  getOperations,
  getTasks,
} from './operator-answers.ts';
import { contains, formatResources, subtract, sum, withoutAllocation } from './resources.ts';

const REALM = 'mesos-master-readwrite';

export function handleOperatorCall(core: MasterCore, request: Request): void {
  authenticate(core.options.credentials, request, REALM);
  const contentType = requireCall(request);
  const findings = { ignored: [] as string[] };
  let call: OperatorCall;
  try {
    call = decode('master.Call', request.body, contentType, findings);
  } catch (error) {
    throw new HttpRefusal(400, describeError(error));
  }
  if (core.options.lint && findings.ignored.length > 0) {
    throw new HttpRefusal(400, `Lint: Mesos would ignore: ${findings.ignored.join(', ')}`);
  }
  if (call.type === undefined) {
    throw new HttpRefusal(400, "Failed to validate master::Call: Expecting 'type' to be present");
  }
  const accepted = requireAccept(request);
  if (call.type === 'SUBSCRIBE') {
    subscribeOperator(core, request);
    return;
  }
  const answer = findAnswer(core, call);
  if (answer !== undefined) {
    const response: OperatorResponse = { type: call.type, ...answer };
    answerBytes(request.response, accepted, encodeAnswer('master.Response', response, accepted));
    return;
  }
  answerText(request.response, act(core, call), '');
}

/** Undefined when the call is no question that we can answer. */
function findAnswer(core: MasterCore, call: OperatorCall): OperatorResponse | undefined {
  switch (call.type) {
    case 'GET_HEALTH':
      return { get_health: { healthy: true } };
    case 'GET_VERSION':
      return { get_version: { version_info: { version: VERSION } } };
    case 'GET_MASTER':
      return { get_master: { master_info: core.masterInfo() } };
    case 'GET_AGENTS':
      return { get_agents: getAgents(core) };
    case 'GET_FRAMEWORKS':
      return { get_frameworks: getFrameworks(core) };
    case 'GET_EXECUTORS':
      return { get_executors: getExecutors(core) };
    case 'GET_OPERATIONS':
      return { get_operations: { operations: getOperations(core) } };
    case 'GET_TASKS':
      return { get_tasks: getTasks(core) };
    case 'GET_STATE':
      return { get_state: getState(core) };
    case 'GET_MAINTENANCE_STATUS':
      return { get_maintenance_status: { status: getMaintenanceStatus(core) } };
    case 'GET_MAINTENANCE_SCHEDULE':
      return { get_maintenance_schedule: { schedule: core.registry.schedule } };
    default:
      return undefined;
  }
}

function getState(core: MasterCore): NonNullable<OperatorResponse['get_state']> {
  return {
    get_tasks: getTasks(core),
    get_executors: getExecutors(core),
    get_frameworks: getFrameworks(core),
    get_agents: getAgents(core),
  };
}

/** Sends the state and heartbeats; changes are not sent. */
function subscribeOperator(core: MasterCore, request: Request): void {
  const contentType = requireAccept(request);
  let cancel = (): void => undefined;
  const stream = new EventStream(
    request.response,
    { 'Content-Type': contentType },
    core.options.misbehaviour,
    () => cancel(),
  );
  const interval = core.options.timing.scaled(HEARTBEAT_MS) / 1000;
  const subscribed = { get_state: getState(core), heartbeat_interval_seconds: interval };
  stream.send(encodeAnswer('master.Event', { type: 'SUBSCRIBED', subscribed }, contentType));
  const heartbeat = () =>
    stream.send(encodeAnswer('master.Event', { type: 'HEARTBEAT' }, contentType));
  heartbeat();
  cancel = core.options.timing.every(HEARTBEAT_MS, heartbeat);
}

/** Carries out a command and returns the status of the answer. */
function act(core: MasterCore, call: OperatorCall): number {
  const schedule = call.update_maintenance_schedule?.schedule;
  if (call.type === 'UPDATE_MAINTENANCE_SCHEDULE' && schedule !== undefined) {
    updateSchedule(core, schedule);
    return 200;
  }
  if (call.type === 'START_MAINTENANCE' && call.start_maintenance !== undefined) {
    startMaintenance(core, requireScheduled(core, call.start_maintenance.machines ?? []));
    return 200;
  }
  if (call.type === 'STOP_MAINTENANCE' && call.stop_maintenance !== undefined) {
    stopMaintenance(core, call.stop_maintenance.machines ?? []);
    return 200;
  }
  if (call.type === 'TEARDOWN' && call.teardown !== undefined) {
    const framework = core.frameworks.get(call.teardown.framework_id.value);
    if (framework === undefined) throw new HttpRefusal(400, 'No framework found with specified ID');
    removeFramework(core, framework);
    return 200;
  }
  return actOnAgent(core, call);
}

function requireScheduled(
  core: MasterCore,
  machines: readonly { readonly hostname?: string | undefined; readonly ip?: string | undefined }[],
): typeof machines {
  const scheduled = (core.registry.schedule.windows ?? []).flatMap((one) => one.machine_ids ?? []);
  for (const machine of machines) {
    const isThere = scheduled.some(
      (one) => one.hostname === machine.hostname && one.ip === machine.ip,
    );
    if (!isThere) {
      const text = `Machine '${JSON.stringify(machine)}' is not part of a maintenance schedule`;
      throw new HttpRefusal(400, text);
    }
  }
  return machines;
}

function actOnAgent(core: MasterCore, call: OperatorCall): number {
  if (call.type === 'MARK_AGENT_GONE' && call.mark_agent_gone !== undefined) {
    markGone(core, requireAgent(core, call.mark_agent_gone.agent_id));
    return 200;
  }
  if (call.type === 'DRAIN_AGENT' && call.drain_agent !== undefined) {
    const { agent_id: id, max_grace_period: grace, mark_gone: isMarkGone } = call.drain_agent;
    const graceMs =
      grace === undefined
        ? undefined
        : Number(grace.seconds ?? 0) * 1000 + (grace.nanos ?? 0) / 1e6;
    drainAgent(core, requireAgent(core, id), graceMs, isMarkGone === true);
    return 200;
  }
  if (call.type === 'DEACTIVATE_AGENT' && call.deactivate_agent !== undefined) {
    deactivateAgent(core, requireAgent(core, call.deactivate_agent.agent_id));
    return 200;
  }
  if (call.type === 'REACTIVATE_AGENT' && call.reactivate_agent !== undefined) {
    reactivateAgent(core, requireAgent(core, call.reactivate_agent.agent_id));
    return 200;
  }
  return actOnResources(core, call);
}

function requireAgent(core: MasterCore, id: Id): AgentRecord {
  const agent = core.agents.get(id.value);
  if (agent === undefined) throw new HttpRefusal(404, `Agent ${id.value} is unknown`);
  return agent;
}

/** RESERVE, UNRESERVE, CREATE and DESTROY by an operator: on what is free, or only offered. */
function actOnResources(core: MasterCore, call: OperatorCall): number {
  const { reserve_resources: reserve, unreserve_resources: unreserve } = call;
  const { create_volumes: create, destroy_volumes: destroy } = call;
  const body = reserve ?? unreserve ?? create ?? destroy;
  if (body === undefined) throw bareRefusal(501);
  const agent = requireAgent(core, body.agent_id);
  const operation: OfferOperation =
    reserve !== undefined
      ? { type: 'RESERVE', reserve: { resources: reserve.resources } }
      : unreserve !== undefined
        ? { type: 'UNRESERVE', unreserve: { resources: unreserve.resources } }
        : create !== undefined
          ? { type: 'CREATE', create: { volumes: create.volumes } }
          : { type: 'DESTROY', destroy: { volumes: destroy?.volumes } };
  const checked = checkOperation(operation, {
    principal: undefined,
    roles: undefined,
    total: agent.total,
    used: withoutAllocation(core.used(agent)),
  });
  if (!checked.ok) throw new HttpRefusal(400, `Invalid operation: ${checked.message}`);
  const { consumed, converted } = checked.conversion;
  if (!contains(core.available(agent), consumed)) core.rescindAll(agent);
  if (!contains(core.available(agent), consumed)) {
    const text = `${formatResources(core.available(agent))} does not contain ${formatResources(consumed)}`;
    throw new HttpRefusal(409, text);
  }
  agent.total = sum(subtract(agent.total, consumed), converted);
  sendToAgent(core, agent, undefined, operation);
  return 202;
}
