/**
 * The scheduler API of the master: the checks in Mesos' order with its status codes and texts, then
 * the calls. Everything that is not wrong by its form is answered with 202 before it has any
 * effect.
 */

import { describeError } from '../../shared/base/errors.ts';
import { type ContentType, decode } from '../../shared/mesos/codec.ts';
import type { SchedulerCall } from '../../shared/mesos/messages.ts';
import { accept, decline } from './accept-engine.ts';
import { allocate } from './allocator.ts';
import { authenticate } from './authentication.ts';
import { findUpdateError, removeFramework, subscribe, updateFramework } from './framework-life.ts';
import {
  answerText,
  bareRefusal,
  HttpRefusal,
  type Request,
  requireAccept,
  requireCall,
} from './http-server.ts';
import { answerInverseOffers, checkDrained } from './maintenance.ts';
import { type FrameworkRecord, type MasterCore, rolesOf } from './master-core.ts';
import { reconcile, reconcileOperations, reconcileTask } from './reconciliation.ts';
import { findSchedulerCallError } from './scheduler-validation.ts';

const REALM = 'mesos-master-scheduler';

/**
 * `aborted`: the master dies of this call, as a real one does of a call of type UNKNOWN (a check that no
 * one has written a metric for fails).
 */
export function handleSchedulerCall(core: MasterCore, request: Request): 'answered' | 'aborted' {
  const principal = authenticate(core.options.credentials, request, REALM);
  const contentType = requireCall(request);
  const call = decodeCall(core, request, contentType);
  const message = findSchedulerCallError(call, principal);
  if (message !== undefined) {
    throw new HttpRefusal(400, `Failed to validate scheduler::Call: ${message}`);
  }
  const streamId = request.headers['mesos-stream-id'];
  if (call.type === 'SUBSCRIBE' && call.subscribe !== undefined) {
    const accepted = requireAccept(request);
    if (streamId !== undefined) {
      throw new HttpRefusal(400, "Subscribe calls should not include the 'Mesos-Stream-Id' header");
    }
    const given = call.subscribe.framework_info;
    const info =
      given.principal === undefined && principal !== undefined ? { ...given, principal } : given;
    subscribe(core, { ...call.subscribe, framework_info: info }, request, accepted);
    return 'answered';
  }
  const framework = requireFramework(core, call, principal, streamId);
  if (core.options.lint) lintCall(core, framework, call);
  if (call.type === 'UNKNOWN') return 'aborted';
  dispatch(core, framework, call, request);
  return 'answered';
}

function decodeCall(core: MasterCore, request: Request, contentType: ContentType): SchedulerCall {
  const findings = { ignored: [] as string[] };
  let call: SchedulerCall;
  try {
    call = decode('scheduler.Call', request.body, contentType, findings);
  } catch (error) {
    throw new HttpRefusal(400, describeError(error));
  }
  if (core.options.lint && findings.ignored.length > 0) {
    throw new HttpRefusal(400, `Lint: Mesos would ignore: ${findings.ignored.join(', ')}`);
  }
  return call;
}

function requireFramework(
  core: MasterCore,
  call: SchedulerCall,
  principal: string | undefined,
  streamId: string | string[] | undefined,
): FrameworkRecord {
  const framework = core.frameworks.get(call.framework_id?.value ?? '');
  if (framework === undefined) throw new HttpRefusal(400, 'Framework cannot be found');
  if (principal !== undefined && principal !== framework.info.principal) {
    throw new HttpRefusal(
      400,
      `Authenticated principal '${principal}' does not match principal '${framework.info.principal}' set in 'FrameworkInfo'`,
    );
  }
  if (framework.subscription === undefined) {
    throw new HttpRefusal(403, 'Framework is not subscribed');
  }
  if (streamId === undefined) {
    throw new HttpRefusal(
      400,
      "All non-subscribe calls should include the 'Mesos-Stream-Id' header",
    );
  }
  if (streamId !== framework.subscription.streamId) {
    throw new HttpRefusal(
      400,
      `The stream ID '${String(streamId)}' included in this request didn't match the stream ID ` +
        `currently associated with framework ID ${framework.id}`,
    );
  }
  return framework;
}

/** What a real master drops without a word. */
function lintCall(core: MasterCore, framework: FrameworkRecord, call: SchedulerCall): void {
  const refuse = (what: string): never => {
    throw new HttpRefusal(400, `Lint: a real master would drop this in silence: ${what}`);
  };
  for (const { value } of call.decline?.offer_ids ?? []) {
    // An offer may have been rescinded while the call was on its way: only made-up ids are a mistake.
    if (!/^[0-9a-f-]{36}-O\d+$/.test(value)) refuse(`decline of unknown offer "${value}"`);
  }
  const strangers = [...(call.revive?.roles ?? []), ...(call.suppress?.roles ?? [])].filter(
    (role) => !rolesOf(framework.info).includes(role),
  );
  if (strangers.length > 0) refuse(`role "${strangers[0]}" is not subscribed`);
  const agentId = (call.acknowledge ?? call.shutdown ?? call.message)?.agent_id.value;
  if (agentId !== undefined && !isKnownAgent(core, agentId)) refuse(`unknown agent "${agentId}"`);
  if (call.type === 'REQUEST') refuse('REQUEST is ignored by the allocator');
  if (call.type === 'UNKNOWN') refuse('a call of type UNKNOWN kills the master');
}

function isKnownAgent(core: MasterCore, agentId: string): boolean {
  const { agents, unreachable, gone } = core.registry;
  return agentId in agents || agentId in unreachable || agentId in gone;
}

function dispatch(
  core: MasterCore,
  framework: FrameworkRecord,
  call: SchedulerCall,
  request: Request,
): void {
  if (call.type === 'UPDATE_FRAMEWORK' && call.update_framework !== undefined) {
    const message = findUpdateError(core, framework, call.update_framework);
    if (message !== undefined) throw new HttpRefusal(400, message);
    answerText(request.response, 200, '');
    updateFramework(core, framework, call.update_framework);
    return;
  }
  const action = findAction(core, framework, call);
  if (action === undefined) throw bareRefusal(501);
  answerText(request.response, 202, '');
  action();
}

function findAction(
  core: MasterCore,
  framework: FrameworkRecord,
  call: SchedulerCall,
): (() => void) | undefined {
  switch (call.type) {
    case 'TEARDOWN':
      return () => removeFramework(core, framework);
    case 'ACCEPT':
      return () => accept(core, framework, call.accept ?? {});
    case 'DECLINE':
      return () => decline(core, framework, call.decline?.offer_ids ?? [], call.decline?.filters);
    case 'ACCEPT_INVERSE_OFFERS':
      return () => answerInverseOffers(core, framework, call.accept_inverse_offers ?? {}, 'ACCEPT');
    case 'DECLINE_INVERSE_OFFERS':
      return () =>
        answerInverseOffers(core, framework, call.decline_inverse_offers ?? {}, 'DECLINE');
    case 'REVIVE':
      return () => revive(core, framework, call.revive?.roles ?? []);
    case 'SUPPRESS':
      return () => suppress(framework, call.suppress?.roles ?? []);
    case 'KILL':
      return () => kill(core, framework, call);
    case 'SHUTDOWN':
    case 'MESSAGE':
    case 'ACKNOWLEDGE':
    case 'ACKNOWLEDGE_OPERATION_STATUS':
      return () => forward(core, framework, call);
    case 'RECONCILE':
      return () => reconcile(core, framework, call.reconcile?.tasks ?? []);
    case 'RECONCILE_OPERATIONS':
      return () =>
        reconcileOperations(core, framework, call.reconcile_operations?.operations ?? []);
    case 'REQUEST':
      return () => undefined;
    default:
      return undefined;
  }
}

function revive(core: MasterCore, framework: FrameworkRecord, given: readonly string[]): void {
  const own = rolesOf(framework.info);
  if (given.some((role) => !own.includes(role))) return; // dropped, as a real master does
  const roles = new Set(given.length === 0 ? own : given);
  for (const role of roles) framework.suppressed.delete(role);
  framework.filters = framework.filters.filter((filter) => !roles.has(filter.role));
  framework.inverseFilters.clear();
  allocate(core, { framework });
}

function suppress(framework: FrameworkRecord, given: readonly string[]): void {
  const own = rolesOf(framework.info);
  for (const role of given.length === 0 ? own : given) {
    if (own.includes(role)) framework.suppressed.add(role);
  }
}

function kill(core: MasterCore, framework: FrameworkRecord, call: SchedulerCall): void {
  if (call.kill === undefined) return;
  const { task_id: taskId, agent_id: agentId, kill_policy: policy } = call.kill;
  const task = core.findTask(framework.id, taskId.value);
  if (task === undefined || task.isUnreachable) {
    reconcileTask(core, framework, { task_id: taskId, agent_id: agentId });
    return;
  }
  if (agentId !== undefined && agentId.value !== task.agentId) return;
  const agent = core.agents.get(task.agentId);
  if (agent === undefined) return;
  core.toAgent(agent, (side) => side.killTask(framework.id, taskId.value, policy));
}

/** Calls that only pass through to an agent; without a connected one they are lost. */
function forward(core: MasterCore, framework: FrameworkRecord, call: SchedulerCall): void {
  const { shutdown, message, acknowledge, acknowledge_operation_status: operation } = call;
  const body = shutdown ?? message ?? acknowledge ?? operation;
  const agent = core.agents.get(body?.agent_id?.value ?? '');
  if (agent === undefined) return;
  const id = framework.id;
  core.toAgent(agent, (side) => {
    if (shutdown !== undefined) side.shutDownExecutor(id, shutdown.executor_id.value);
    if (message !== undefined) side.deliverMessage(id, message.executor_id.value, message.data);
    if (acknowledge !== undefined) {
      side.acknowledgeUpdate(id, acknowledge.task_id.value, acknowledge.uuid);
    }
    if (operation !== undefined) side.acknowledgeOperation(operation.uuid);
  });
  if (acknowledge !== undefined) core.acknowledged(id, acknowledge.task_id.value, acknowledge.uuid);
  if (operation !== undefined) core.acknowledgedOperation(operation.uuid);
  checkDrained(core, agent);
}
