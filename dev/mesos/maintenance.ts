/**
 * Planned absence of agents: the maintenance schedule with its inverse offers, machines taken down
 * and up, and draining and deactivating single agents.
 */

import type {
  InverseOffer,
  InverseOfferAnswer,
  MachineId,
  MaintenanceSchedule,
} from '../../shared/mesos/messages.ts';
import { isMachine, sameMachine } from './agent-places.ts';
import { markGone, removeAgent } from './agent-registry.ts';
import { agentUrl, allocate, refusalMs } from './allocator.ts';
import type { AgentRecord, DrainRecord, FrameworkRecord, MasterCore } from './master-core.ts';
import { nowNanoseconds } from './timing.ts';

/**
 * Replaces the schedule. All outstanding offers, also of agents it does not name, are made anew.
 */
export function updateSchedule(core: MasterCore, schedule: MaintenanceSchedule): void {
  core.registry.schedule = schedule;
  core.saveRegistry();
  for (const agent of core.agents.values()) {
    const window = schedule.windows?.find((one) =>
      one.machine_ids?.some((machine) => isMachine(machine, agent.info.hostname, agent.ip)),
    );
    agent.unavailability = window?.unavailability;
    core.inverseStatuses.delete(agent.id);
    core.rescindAll(agent);
  }
  for (const framework of core.frameworks.values()) framework.inverseFilters.clear();
  allocate(core);
  sendInverseOffers(core);
}

/** Asks frameworks to leave agents that will be away; part of every allocation cycle. */
export function sendInverseOffers(core: MasterCore): void {
  for (const framework of core.frameworks.values()) {
    if (framework.subscription === undefined) continue;
    const made: InverseOffer[] = [];
    for (const agent of core.agents.values()) {
      const offer = tryInverseOffer(core, framework, agent);
      if (offer !== undefined) made.push(offer);
    }
    if (made.length === 0) continue;
    core.send(framework, { type: 'INVERSE_OFFERS', inverse_offers: { inverse_offers: made } });
  }
}

function tryInverseOffer(
  core: MasterCore,
  framework: FrameworkRecord,
  agent: AgentRecord,
): InverseOffer | undefined {
  if (agent.unavailability === undefined || !agent.isConnected) return undefined;
  if ((framework.inverseFilters.get(agent.id) ?? 0) > Date.now()) return undefined;
  const isConcerned =
    core.tasksOf(agent.id).some((task) => task.frameworkId === framework.id) ||
    core.offersOf(agent.id).some((offer) => offer.frameworkId === framework.id) ||
    [...agent.executors.values()].some((one) => one.frameworkId === framework.id);
  const isOutstanding = [...core.inverseOffers.values()].some(
    (one) => one.agentId === agent.id && one.frameworkId === framework.id,
  );
  if (!isConcerned || isOutstanding) return undefined;
  const offer: InverseOffer = {
    id: { value: core.newOfferId() },
    url: agentUrl(agent),
    framework_id: { value: framework.id },
    agent_id: { value: agent.id },
    unavailability: agent.unavailability,
  };
  core.inverseOffers.set(offer.id.value, {
    offer,
    frameworkId: framework.id,
    agentId: agent.id,
  });
  return offer;
}

/** Purely advisory: the answer is kept for the operator. */
export function answerInverseOffers(
  core: MasterCore,
  framework: FrameworkRecord,
  answer: InverseOfferAnswer,
  status: 'ACCEPT' | 'DECLINE',
): void {
  for (const { value } of answer.inverse_offer_ids ?? []) {
    const offer = core.inverseOffers.get(value);
    if (offer === undefined || offer.frameworkId !== framework.id) continue;
    core.inverseOffers.delete(value);
    const others = (core.inverseStatuses.get(offer.agentId) ?? []).filter(
      (one) => one.framework_id.value !== framework.id,
    );
    const timestamp = { nanoseconds: nowNanoseconds() };
    const given = { status, framework_id: { value: framework.id }, timestamp };
    core.inverseStatuses.set(offer.agentId, [...others, given]);
    const until = Date.now() + refusalMs(core, answer.filters?.refuse_seconds);
    framework.inverseFilters.set(offer.agentId, until);
  }
}

export function startMaintenance(core: MasterCore, machines: readonly MachineId[]): void {
  for (const machine of machines) {
    core.registry.down.push(machine);
    for (const agent of [...core.agents.values()]) {
      if (!isMachine(machine, agent.info.hostname, agent.ip)) continue;
      core.toAgent(agent, (side) => side.shutDown("Operator initiated 'Machine DOWN'", false));
      removeAgent(core, agent, "Operator initiated 'Machine DOWN'");
    }
  }
  core.saveRegistry();
}

export function stopMaintenance(core: MasterCore, machines: readonly MachineId[]): void {
  for (const machine of machines) {
    const index = core.registry.down.findIndex((one) => sameMachine(one, machine));
    if (index >= 0) core.registry.down.splice(index, 1);
    const windows = (core.registry.schedule.windows ?? []).map((window) => ({
      ...window,
      machine_ids: window.machine_ids?.filter((one) => !sameMachine(one, machine)),
    }));
    const left = windows.filter((window) => (window.machine_ids ?? []).length > 0);
    core.registry.schedule = { windows: left };
  }
  core.saveRegistry();
}

export function drainAgent(
  core: MasterCore,
  agent: AgentRecord,
  maxGracePeriodMs: number | undefined,
  isMarkGone: boolean,
): void {
  const drain: DrainRecord = {
    maxGracePeriodMs,
    markGone: isMarkGone,
    startedAt: nowNanoseconds(),
    state: 'DRAINING',
  };
  agent.drain = drain;
  agent.isDeactivated = true;
  core.registry.drains[agent.id] = drain;
  rememberDeactivated(core, agent.id, true);
  core.rescindAll(agent);
  core.toAgent(agent, (side) => side.drain(drain));
  checkDrained(core, agent);
}

/** Drained: no task is left, not even one whose end is unacknowledged, and no operation. */
export function checkDrained(core: MasterCore, agent: AgentRecord): void {
  if (agent.drain?.state !== 'DRAINING') return;
  const isBusy =
    core.tasksOf(agent.id).length > 0 ||
    [...core.operations.values()].some((one) => one.agentId === agent.id);
  if (isBusy) return;
  if (agent.drain.markGone) {
    markGone(core, agent);
    return;
  }
  agent.drain.state = 'DRAINED';
  core.saveRegistry();
}

export function deactivateAgent(core: MasterCore, agent: AgentRecord): void {
  agent.isDeactivated = true;
  rememberDeactivated(core, agent.id, true);
  core.rescindAll(agent);
}

export function reactivateAgent(core: MasterCore, agent: AgentRecord): void {
  agent.isDeactivated = false;
  agent.drain = undefined;
  delete core.registry.drains[agent.id];
  rememberDeactivated(core, agent.id, false);
  core.toAgent(agent, (side) => side.drain(undefined));
}

function rememberDeactivated(core: MasterCore, agentId: string, isDeactivated: boolean): void {
  const { deactivated } = core.registry;
  const index = deactivated.indexOf(agentId);
  if (isDeactivated && index < 0) deactivated.push(agentId);
  if (!isDeactivated && index >= 0) deactivated.splice(index, 1);
  core.saveRegistry();
}
