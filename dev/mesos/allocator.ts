/**
 * The allocator: which free resources go to which framework and role. One offer per agent and role,
 * with everything that is free and that the role may have; what was declined stays away until its
 * filter ends; the framework with the least goes first.
 */

import type {
  AttributeConstraint,
  Offer,
  Resource,
  ResourceQuantities,
} from '../../shared/mesos/messages.ts';
import { hostnameOfAgent, regionOf, zoneOf } from './agent-places.ts';
import type { AgentRecord, FrameworkRecord, MasterCore, OfferRecord } from './master-core.ts';
import { rolesOf } from './master-core.ts';
import { isStrictSubrole } from './operations.ts';
import { allocatedTo, contains, type Resources, scalarTotal } from './resources.ts';
import { hasCapability } from './task-status.ts';

/** `--allocation_interval`. */
export const ALLOCATION_MS = 1_000;

/** `--min_allocatable_resources=cpus:0.01|mem:32`. */
const MIN_ALLOCATABLE: readonly ResourceQuantities[] = [
  { quantities: { cpus: { value: 0.01 } } },
  { quantities: { mem: { value: 32 } } },
];

const REFUSE_SECONDS_DEFAULT = 5;
const REFUSE_SECONDS_MAX = 365 * 24 * 3600;

/** Makes and sends offers; restricted to one framework or to some agents if given. */
export function allocate(
  core: MasterCore,
  only: { readonly framework?: FrameworkRecord; readonly agents?: readonly AgentRecord[] } = {},
): void {
  const made = new Map<FrameworkRecord, Offer[]>();
  for (const agent of only.agents ?? [...core.agents.values()]) {
    if (!isOfferable(agent)) continue;
    for (const { framework, role } of takers(core, only.framework)) {
      const offer = tryOffer(core, agent, framework, role);
      if (offer === undefined) continue;
      const list = made.get(framework) ?? [];
      list.push(offer);
      made.set(framework, list);
    }
  }
  for (const [framework, offers] of made)
    core.send(framework, { type: 'OFFERS', offers: { offers } });
}

function isOfferable(agent: AgentRecord): boolean {
  return agent.isConnected && !agent.isDeactivated && agent.drain === undefined;
}

type Taker = { readonly framework: FrameworkRecord; readonly role: string };

/** Who could take something, the poorest first. */
function takers(core: MasterCore, only: FrameworkRecord | undefined): Taker[] {
  const share = (framework: FrameworkRecord) =>
    [...core.tasks.values()]
      .filter((task) => task.frameworkId === framework.id)
      .reduce((total, task) => total + scalarTotal(task.info.resources ?? [], 'cpus'), 0);
  return (only === undefined ? [...core.frameworks.values()] : [only])
    .filter((framework) => framework.subscription !== undefined)
    .map((framework) => ({ framework, share: share(framework) }))
    .sort((a, b) => a.share - b.share)
    .flatMap(({ framework }) =>
      rolesOf(framework.info)
        .filter((role) => !framework.suppressed.has(role))
        .map((role) => ({ framework, role })),
    );
}

function tryOffer(
  core: MasterCore,
  agent: AgentRecord,
  framework: FrameworkRecord,
  role: string,
): Offer | undefined {
  if (!mayHaveAgent(core, agent, framework, role)) return undefined;
  const free = core.available(agent).filter((resource) => mayHave(resource, role));
  if (free.length === 0 || !isAllocatable(framework, role, free)) return undefined;
  if (isFiltered(framework, role, agent.id, free)) return undefined;
  const record = newOffer(core, agent, framework, role, allocatedTo(role, free));
  core.offers.set(record.offer.id.value, record);
  return record.offer;
}

function mayHaveAgent(
  core: MasterCore,
  agent: AgentRecord,
  framework: FrameworkRecord,
  role: string,
): boolean {
  const region = regionOf(agent.info);
  const isRemote = region !== undefined && region !== core.options.region;
  if (isRemote && !hasCapability(framework.info, 'REGION_AWARE')) return false;
  const hasGpus = scalarTotal(agent.total, 'gpus') > 0;
  if (hasGpus && !hasCapability(framework.info, 'GPU_RESOURCES')) return false;
  const groups = framework.constraints?.role_constraints?.[role]?.groups ?? [];
  return (
    groups.length === 0 ||
    groups.some((group) => (group.attribute_constraints ?? []).every((one) => meets(agent, one)))
  );
}

function meets(agent: AgentRecord, constraint: AttributeConstraint): boolean {
  const { pseudoattribute_type: pseudo, attribute_name: name } = constraint.selector;
  const attribute = agent.info.attributes?.find((one) => one.name === name);
  if (attribute !== undefined && attribute.type !== 'TEXT') return true; // such values always pass
  const value =
    pseudo === 'HOSTNAME'
      ? hostnameOfAgent(agent.info)
      : pseudo === 'REGION'
        ? regionOf(agent.info)
        : pseudo === 'ZONE'
          ? zoneOf(agent.info)
          : attribute?.text?.value;
  const predicate = constraint.predicate;
  if (predicate.exists !== undefined) return value !== undefined;
  if (predicate.not_exists !== undefined) return value === undefined;
  if (predicate.text_equals !== undefined) return value === predicate.text_equals.value;
  if (predicate.text_not_equals !== undefined) return value !== predicate.text_not_equals.value;
  if (predicate.text_matches !== undefined) {
    return value !== undefined && new RegExp(`^(?:${predicate.text_matches.regex})$`).test(value);
  }
  if (predicate.text_not_matches !== undefined) {
    return (
      value === undefined || !new RegExp(`^(?:${predicate.text_not_matches.regex})$`).test(value)
    );
  }
  return true;
}

/** Unreserved, or reserved to the role or to one above it. */
function mayHave(resource: Resource, role: string): boolean {
  const owner = resource.reservations?.at(-1)?.role;
  return owner === undefined || owner === role || isStrictSubrole(role, owner);
}

function isAllocatable(framework: FrameworkRecord, role: string, free: Resources): boolean {
  const own = framework.info.offer_filters?.[role]?.min_allocatable_resources;
  const alternatives = own === undefined ? MIN_ALLOCATABLE : (own.quantities ?? []);
  if (alternatives.length === 0) return true;
  return alternatives.some((alternative) =>
    Object.entries(alternative.quantities ?? {}).every(
      ([name, { value }]) => scalarTotal(free, name) >= value,
    ),
  );
}

function isFiltered(
  framework: FrameworkRecord,
  role: string,
  agentId: string,
  free: Resources,
): boolean {
  const now = Date.now();
  framework.filters = framework.filters.filter((filter) => filter.expiresAt > now);
  return framework.filters.some(
    (filter) =>
      filter.role === role && filter.agentId === agentId && contains(filter.resources, free),
  );
}

function newOffer(
  core: MasterCore,
  agent: AgentRecord,
  framework: FrameworkRecord,
  role: string,
  resources: readonly Resource[],
): OfferRecord {
  const executors = [...agent.executors.values()].filter((one) => one.frameworkId === framework.id);
  const offer: Offer = {
    id: { value: core.newOfferId() },
    framework_id: { value: framework.id },
    agent_id: { value: agent.id },
    hostname: agent.info.hostname,
    url: agentUrl(agent),
    domain: agent.info.domain,
    resources,
    attributes: agent.info.attributes,
    executor_ids: executors.length === 0 ? undefined : executors.map((one) => one.info.executor_id),
    unavailability: agent.unavailability,
    allocation_info: { role },
  };
  return { offer, frameworkId: framework.id, agentId: agent.id, role, resources };
}

export function agentUrl(agent: AgentRecord): NonNullable<Offer['url']> {
  return {
    scheme: 'http',
    address: { hostname: agent.info.hostname, ip: agent.ip, port: agent.info.port ?? 0 },
    path: '/slave(1)',
  };
}

/** Real milliseconds for which something refused for so many seconds of Mesos' time stays away. */
export function refusalMs(core: MasterCore, refuseSeconds: number | undefined): number {
  const given = refuseSeconds ?? REFUSE_SECONDS_DEFAULT;
  const seconds = given < 0 ? REFUSE_SECONDS_DEFAULT : Math.min(given, REFUSE_SECONDS_MAX);
  return core.options.timing.scaled(seconds * 1000);
}

/** Keeps what was refused away from the framework for a while. Zero seconds: no filter at all. */
export function addFilter(
  core: MasterCore,
  framework: FrameworkRecord,
  offer: { readonly role: string; readonly agentId: string },
  resources: Resources,
  refuseSeconds: number | undefined,
): void {
  const ms = refusalMs(core, refuseSeconds);
  if (ms === 0 || resources.length === 0) return;
  const lasting = Math.max(ms, core.options.timing.scaled(ALLOCATION_MS));
  const { role, agentId } = offer;
  const free = resources.map(({ allocation_info: _, ...rest }) => rest);
  framework.filters.push({ role, agentId, resources: free, expiresAt: Date.now() + lasting });
}
