/**
 * Which node an offer comes from, and what it says about that node. Labels on reserved resources are the
 * identity; an agent id is believed only for an agent that carries none of our labels, and a host name never.
 */
import { formatNode, parseDisk, parseNode } from '../../../shared/base/ids.ts';
import type { Attribute, Unavailability } from '../../../shared/mesos/messages.ts';
import type { Offer } from '../../../shared/mesos/scheduler-messages.ts';
import { recordEvent } from '../events.ts';
import { disksOf } from '../members/sessions.ts';
import { observedNode } from '../nodes/node-life.ts';
import type { NodeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { observedTask } from './mesos-state.ts';
import type { OfferLedger } from './offer-resources.ts';

export type Identity =
  | { readonly kind: 'known'; readonly node: NodeRecord }
  | { readonly kind: 'new' }
  /** Its labels contradict the store: hands off. */
  | { readonly kind: 'strange' };

export function identify(state: State, offer: Offer, ledger: OfferLedger, now: Now): Identity {
  const labels = new Set<string>();
  for (const { owner, resource } of ledger.entries) {
    if (owner.kind === 'ours') {
      labels.add(owner.node);
      if (owner.disk !== null && !isKnownDisk(state, owner.disk)) {
        warnUnknownDisk(state, offer, owner.disk, now);
      }
    }
    if (owner.kind === 'static' && resource.name === 'disk') warnStatic(state, offer, now);
  }
  if (labels.size > 1) return strange(state, offer, [...labels].join(' and '), now);
  const [label] = labels;
  if (label === undefined) {
    const node = findByAgent(state, offer.agent_id.value);
    return node === undefined ? { kind: 'new' } : { kind: 'known', node };
  }
  const id = parseNode(label);
  const node = id === null ? undefined : state.facts.nodes.find(id);
  if (node === undefined) return strange(state, offer, `"${label}", which is not known`, now);
  return { kind: 'known', node };
}

function findByAgent(state: State, agentId: string): NodeRecord | undefined {
  for (const node of state.facts.nodes.values()) if (node.agentId === agentId) return node;
  return undefined;
}

function isKnownDisk(state: State, label: string): boolean {
  const id = parseDisk(label);
  if (id === null || state.facts.disks.has(id)) return id !== null;
  for (const disk of state.facts.disks.values()) if (disk.reservedAs === id) return true;
  return false;
}

function strange(state: State, offer: Offer, what: string, now: Now): Identity {
  recordEvent(
    state,
    {
      severity: 'error',
      kind: 'mesos.strange-labels',
      message: `Agent "${offer.hostname}" offers resources labelled for node ${what}: nothing there is touched; bring back the metadata store that knows it, or free the resources by hand`,
      subject: 'cluster',
    },
    now,
  );
  return { kind: 'strange' };
}

function warnUnknownDisk(state: State, offer: Offer, disk: string, now: Now): void {
  recordEvent(
    state,
    {
      severity: 'error',
      kind: 'mesos.unknown-disk',
      message: `Agent "${offer.hostname}" offers a volume or reservation of this cluster for disk "${disk}", which is not in the metadata store: it is left as it is; free it by hand when its data is not needed`,
      subject: 'cluster',
    },
    now,
  );
}

function warnStatic(state: State, offer: Offer, now: Now): void {
  const { role } = state.options;
  recordEvent(
    state,
    {
      severity: 'warning',
      kind: 'mesos.static-reservation',
      message: `Agent "${offer.hostname}" reserves disks to role "${role}" in its configuration, where they cannot carry our labels: reserve them to a role above it (run the scheduler with role "${role}/cistern")`,
      subject: 'cluster',
    },
    now,
  );
}

export function attributesOf(offer: Offer): Readonly<Record<string, string>> {
  const attributes: Record<string, string> = {};
  for (const attribute of offer.attributes ?? []) {
    const value = attributeText(attribute);
    if (value !== null) attributes[attribute.name] = value;
  }
  return attributes;
}

function attributeText(attribute: Attribute): string | null {
  if (attribute.text !== undefined) return attribute.text.value;
  if (attribute.scalar !== undefined) return String(attribute.scalar.value);
  const ranges = attribute.ranges?.range;
  if (ranges !== undefined) return ranges.map(({ begin, end }) => `${begin}-${end}`).join(',');
  return attribute.set?.item?.join(',') ?? null;
}

export function domainOf(offer: Offer): {
  readonly zone: string | null;
  readonly region: string | null;
} {
  const domain = offer.domain?.fault_domain;
  return { zone: domain?.zone.name ?? null, region: domain?.region.name ?? null };
}

/** Start and end of a maintenance window in milliseconds since 1970; no end: until further notice. */
export function windowOf(unavailability: Unavailability): {
  readonly fromMs: number;
  readonly untilMs: number | null;
} {
  const fromMs = Math.floor(Number(unavailability.start.nanoseconds) / 1e6);
  const duration = unavailability.duration?.nanoseconds;
  return {
    fromMs,
    untilMs: duration === undefined ? null : fromMs + Math.ceil(Number(duration) / 1e6),
  };
}

/**
 * Brings the node's record up to date with an offer: new agent id after a re-registration, host name,
 * attributes, maintenance window. Returns the record as it is now; writes only what changed.
 */
export function refreshNode(state: State, node: NodeRecord, offer: Offer, now: Now): NodeRecord {
  const isNewAgent = node.agentId !== offer.agent_id.value;
  const window = offer.unavailability === undefined ? null : windowOf(offer.unavailability);
  const seen: Partial<NodeRecord> = {
    agentId: offer.agent_id.value,
    hostname: offer.hostname,
    ...domainOf(offer),
    attributes: attributesOf(offer),
    unavailableFromMs: window?.fromMs ?? null,
    unavailableUntilMs: window?.untilMs ?? null,
    // A drained agent offers nothing: its operator has reactivated it.
    ...((node.outageSinceMs ?? null) === null ? {} : { outageSinceMs: null }),
    // A new registration: its disks may be others.
    ...(isNewAgent ? { withheldPlaces: [], tiers: {} } : {}),
  };
  if (isNewAgent) noteNewAgent(state, node, offer, now);
  const isSame = Object.entries(seen).every(
    ([name, value]) => JSON.stringify(value) === JSON.stringify(node[name as keyof NodeRecord]),
  );
  return isSame ? node : state.facts.nodes.update(node.id, seen);
}

function noteNewAgent(state: State, node: NodeRecord, offer: Offer, now: Now): void {
  const observed = observedNode(state, node.id);
  if (observed.executor === 'running') observed.executor = 'unknown';
  for (const disk of disksOf(state, node.id)) {
    const task = observedTask(state.mesos, disk);
    if (task !== null) task.isOfOldAgent = true;
  }
  recordEvent(
    state,
    {
      severity: 'info',
      kind: 'node.new-agent',
      message: `${formatNode(node.id)} is back as agent "${offer.agent_id.value}" (${offer.hostname}), known by its reservation labels; it was agent "${node.agentId}"`,
      subject: formatNode(node.id),
    },
    now,
  );
}
