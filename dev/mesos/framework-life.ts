/**
 * The life of a framework at the master: subscription, failover to another stream, disconnection
 * and its timeout, teardown. A refused subscription is an ERROR event, not a status code.
 */

import { randomUUID } from 'node:crypto';
import { describeError } from '../../shared/base/errors.ts';
import type { ContentType } from '../../shared/mesos/codec.ts';
import type { FrameworkInfo, Subscribe } from '../../shared/mesos/messages.ts';
import { allocate } from './allocator.ts';
import { encodeAnswer } from './answer-codec.ts';
import { EventStream } from './event-stream.ts';
import type { Request } from './http-server.ts';
import { type FrameworkRecord, type MasterCore, rolesOf } from './master-core.ts';
import { nowNanoseconds } from './timing.ts';

export const HEARTBEAT_MS = 15_000;

/** Answers a SUBSCRIBE: the endless stream, or a stream with nothing but an ERROR. */
export function subscribe(
  core: MasterCore,
  call: Subscribe,
  request: Request,
  contentType: ContentType,
): void {
  const streamId = randomUUID();
  let framework: FrameworkRecord | undefined;
  const stream = new EventStream(
    request.response,
    { 'Mesos-Stream-Id': streamId, 'Content-Type': contentType },
    core.options.misbehaviour,
    () => {
      if (framework !== undefined) streamClosed(core, framework, streamId);
    },
  );
  const message = findSubscribeError(core, call);
  if (message !== undefined) {
    stream.send(
      encodeAnswer('scheduler.Event', { type: 'ERROR', error: { message } }, contentType),
    );
    stream.end();
    return;
  }
  framework = openFramework(core, call);
  supersede(core, framework);
  framework.cancelFailover();
  const current = framework;
  const heartbeat = () => {
    if (!core.options.misbehaviour.current.stopHeartbeats)
      core.send(current, { type: 'HEARTBEAT' });
  };
  const cancelHeartbeat = core.options.timing.every(HEARTBEAT_MS, heartbeat);
  framework.subscription = { stream, streamId, contentType, cancelHeartbeat };
  core.send(framework, {
    type: 'SUBSCRIBED',
    subscribed: {
      framework_id: { value: framework.id },
      heartbeat_interval_seconds: core.options.timing.scaled(HEARTBEAT_MS) / 1000,
      master_info: core.masterInfo(),
    },
  });
  heartbeat();
  tellAgents(core, framework);
  allocate(core, { framework });
}

/** The framework with the given id, new or known, with the info and suppressions of this call. */
function openFramework(core: MasterCore, call: Subscribe): FrameworkRecord {
  const id = call.framework_info.id?.value ?? core.newFrameworkId();
  const known = core.frameworks.get(id);
  const info = { ...call.framework_info, id: { value: id } };
  const framework: FrameworkRecord = known ?? {
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
    isRecovered: false,
  };
  if (known !== undefined) framework.reregisteredAt = nowNanoseconds();
  // Immutable ones keep their first value.
  const kept = known === undefined || known.isRecovered ? info : keepImmutable(known.info, info);
  framework.info = kept;
  framework.isRecovered = false;
  framework.constraints = call.offer_constraints;
  framework.suppressed = new Set(call.suppressed_roles ?? []);
  framework.filters = [];
  core.frameworks.set(id, framework);
  return framework;
}

function keepImmutable(old: FrameworkInfo, next: FrameworkInfo): FrameworkInfo {
  return { ...next, user: old.user, checkpoint: old.checkpoint };
}

/** A second subscription takes over: the old stream hears so, its offers vanish without a word. */
function supersede(core: MasterCore, framework: FrameworkRecord): void {
  const old = framework.subscription;
  dropOffers(core, framework);
  if (old === undefined) return;
  core.send(framework, { type: 'ERROR', error: { message: 'Framework failed over' } });
  old.cancelHeartbeat();
  old.stream.end();
  framework.subscription = undefined;
}

function dropOffers(core: MasterCore, framework: FrameworkRecord): void {
  for (const [id, offer] of core.offers) {
    if (offer.frameworkId === framework.id) core.removeOffer(id, false);
  }
  for (const [id, offer] of core.inverseOffers) {
    if (offer.frameworkId === framework.id) core.removeInverseOffer(id, false);
  }
}

/** Agents learn the new info, and send what is not acknowledged again at once. */
function tellAgents(core: MasterCore, framework: FrameworkRecord): void {
  for (const agent of core.agents.values()) {
    core.toAgent(agent, (side) => side.frameworkChanged(framework.info));
  }
}

function streamClosed(core: MasterCore, framework: FrameworkRecord, streamId: string): void {
  if (framework.subscription?.streamId !== streamId) return;
  framework.subscription.cancelHeartbeat();
  framework.subscription = undefined;
  dropOffers(core, framework);
  const timeoutMs = Math.max(0, framework.info.failover_timeout ?? 0) * 1000;
  framework.cancelFailover = core.options.timing.after(timeoutMs, () => {
    removeFramework(core, framework);
  });
}

/** Breaks the stream from the master's side; the framework then counts as disconnected. */
export function dropStream(core: MasterCore, framework: FrameworkRecord): void {
  const subscription = framework.subscription;
  if (subscription === undefined) return;
  subscription.stream.destroy();
  streamClosed(core, framework, subscription.streamId);
}

/** Ends the framework for good: its executors are shut down, its id is burnt. */
export function removeFramework(core: MasterCore, framework: FrameworkRecord): void {
  framework.cancelFailover();
  framework.subscription?.cancelHeartbeat();
  framework.subscription?.stream.end();
  framework.subscription = undefined;
  dropOffers(core, framework);
  core.frameworks.delete(framework.id);
  core.completed.set(framework.id, framework.info);
  for (const [key, task] of core.tasks)
    if (task.frameworkId === framework.id) core.tasks.delete(key);
  for (const [uuid, operation] of core.operations) {
    if (operation.frameworkId === framework.id) core.operations.delete(uuid);
  }
  for (const agent of core.agents.values()) {
    core.toAgent(agent, (side) => side.shutDownFramework(framework.id));
    for (const [key, executor] of agent.executors) {
      if (executor.frameworkId === framework.id) agent.executors.delete(key);
    }
  }
}

function findSubscribeError(core: MasterCore, call: Subscribe): string | undefined {
  const info = call.framework_info;
  const id = info.id?.value;
  const known = id === undefined ? undefined : core.frameworks.get(id);
  return (
    findInfoError(core, call) ??
    (id !== undefined && core.completed.has(id) ? 'Framework has been removed' : undefined) ??
    (known !== undefined && !known.isRecovered && known.info.principal !== info.principal
      ? "Changing framework's principal is not allowed."
      : undefined)
  );
}

/** 2^63 nanoseconds in seconds: a longer time cannot be represented by Mesos. */
const DURATION_SECONDS_MAX = 9_223_372_036;

/** What is wrong with the info of a SUBSCRIBE or UPDATE_FRAMEWORK. */
export function findInfoError(core: MasterCore, call: Subscribe): string | undefined {
  const info = call.framework_info;
  const isMultiRole = info.capabilities?.some((one) => one.type === 'MULTI_ROLE') === true;
  if (isMultiRole && info.role !== undefined) {
    return "'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable";
  }
  if (!isMultiRole && (info.roles ?? []).length > 0) {
    return "'FrameworkInfo.roles' must not be set when the framework is not MULTI_ROLE capable";
  }
  const roles = rolesOf(info);
  for (const role of roles) {
    const error = findRoleError(role);
    if (error !== undefined) return `'FrameworkInfo.roles' contains invalid role: ${error}`;
  }
  const timeout = info.failover_timeout ?? 0;
  if (!(Math.abs(timeout) <= DURATION_SECONDS_MAX)) {
    return `The framework failover_timeout (${timeout}) is invalid`;
  }
  const strangers = (call.suppressed_roles ?? []).filter((role) => !roles.includes(role));
  if (strangers.length > 0) {
    return `Suppressed roles { ${strangers.join(', ')} } are not contained in the set of roles`;
  }
  for (const filters of Object.values(info.offer_filters ?? {})) {
    const quantities = filters.min_allocatable_resources?.quantities ?? [];
    if (quantities.some((one) => Object.keys(one.quantities ?? {}).length === 0)) {
      return 'Resource quantities must contain at least one quantity';
    }
  }
  return findConstraintsError(call) ?? (core.options.lint ? findLint(info) : undefined);
}

/** Mesos knows RE2, we JavaScript's expressions: what is none is refused in both. */
function findConstraintsError(call: Subscribe): string | undefined {
  const roles = Object.values(call.offer_constraints?.role_constraints ?? {});
  const constraints = roles
    .flatMap((role) => role.groups ?? [])
    .flatMap((group) => group.attribute_constraints ?? []);
  for (const { predicate } of constraints) {
    const regex = predicate.text_matches?.regex ?? predicate.text_not_matches?.regex;
    try {
      if (regex !== undefined) new RegExp(`^(?:${regex})$`);
    } catch (error) {
      return `Invalid offer constraints: ${describeError(error)}`;
    }
  }
  return undefined;
}

function findRoleError(role: string): string | undefined {
  if (role === '') return 'Empty role name is invalid';
  if (role === '.' || role === '..') return `Role name '${role}' is invalid`;
  if (role.startsWith('-')) return `Role name '${role}' is invalid because it begins with a dash`;
  if (role.startsWith('/')) return `Role '${role}' cannot start with a slash`;
  if (role.endsWith('/')) return `Role '${role}' cannot end with a slash`;
  if (role.includes('//')) return `Role '${role}' cannot contain two adjacent slashes`;
  if (/[\t\n\v\f\r \\]/.test(role)) return `Role name '${role}' contains invalid characters`;
  return undefined;
}

/** Legal, but a mistake for any framework that keeps state. */
function findLint(info: FrameworkInfo): string | undefined {
  if (info.user === '') return 'Lint: FrameworkInfo.user is empty';
  if ((info.failover_timeout ?? 0) <= 0) {
    return 'Lint: failover_timeout is not positive: all tasks die when the stream breaks';
  }
  if (info.checkpoint !== true) return 'Lint: checkpoint is not set: tasks die with their agent';
  if (info.capabilities?.some((one) => one.type === 'RESERVATION_REFINEMENT') !== true) {
    return 'Lint: without RESERVATION_REFINEMENT a real Mesos sends the old form of resources';
  }
  return undefined;
}

/** UPDATE_FRAMEWORK: takes the new info without a new subscription. */
export function updateFramework(
  core: MasterCore,
  framework: FrameworkRecord,
  call: Subscribe,
): void {
  framework.info = { ...call.framework_info, id: { value: framework.id } };
  framework.suppressed = new Set(call.suppressed_roles ?? []);
  framework.constraints = call.offer_constraints;
  const roles = new Set(rolesOf(framework.info));
  for (const [id, offer] of core.offers) {
    if (offer.frameworkId === framework.id && !roles.has(offer.role)) core.removeOffer(id, true);
  }
  tellAgents(core, framework);
  allocate(core, { framework });
}

/** What UPDATE_FRAMEWORK may not change. */
export function findUpdateError(
  core: MasterCore,
  framework: FrameworkRecord,
  call: Subscribe,
): string | undefined {
  const { info } = framework;
  const next = call.framework_info;
  if (info.principal !== next.principal) return "Changing framework's principal is not allowed.";
  if (info.user !== next.user) return "Updating 'FrameworkInfo.user' is unsupported";
  if ((info.checkpoint ?? false) !== (next.checkpoint ?? false)) {
    return "Updating 'FrameworkInfo.checkpoint' is unsupported";
  }
  return findInfoError(core, call);
}
