/**
 * Which free disks to claim: pools say how many they want (per node and nodes from the start; the rest
 * when capacity asks for an expansion), offers say what there is.
 *
 * A claim makes the node and the disk durable facts, phase `claiming`, before Mesos hears of it; from then
 * on `offer-launch.ts` brings the disk up from whatever state it is found in.
 */
import {
  type DiskId,
  diskId,
  formatDisk,
  formatNode,
  type NodeId,
  nodeId,
} from '../../../shared/base/ids.ts';
import { formatBytes, MiB } from '../../../shared/base/units.ts';
import type { Offer } from '../../../shared/mesos/scheduler-messages.ts';
import { recordEvent } from '../events.ts';
import type { DiskKind, DiskRecord, DiskTier, NodeRecord, PoolRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { attributesOf, domainOf } from './offer-nodes.ts';
import { canTake, executorShare, taskShare } from './offer-plan.ts';
import {
  bytesOf,
  type Entry,
  isFree,
  isOurs,
  isUnreserved,
  type OfferLedger,
  placeName,
  placeOf,
  toMilli,
} from './offer-resources.ts';

/** Below this a store has no room for its index and a few extents. */
const DISK_BYTES_MIN = 64 * MiB;
/** A pool that expands waits this long for disks of its own nodes before it goes to new ones. */
const OWN_NODES_FIRST_MS = 5_000;
/** Whole disks are the best, the agent's work directory the worst. */
const KIND_ORDER: Readonly<Record<DiskKind, number>> = { mount: 0, path: 1, root: 2 };

export interface Candidate {
  readonly entry: Entry;
  readonly kind: DiskKind;
  readonly root: string | null;
  readonly sizeBytes: number;
}

/** Disks that count for a pool's wishes: failed and lost ones are replaced, leaving ones leave. */
export function isCounted(disk: DiskRecord): boolean {
  return disk.phase !== 'failed' && disk.phase !== 'lost' && disk.phase !== 'releasing';
}

/** Free disks in the offers that may be claimed, best first. */
export function findCandidates(state: State, ledger: OfferLedger): Candidate[] {
  const candidates: Candidate[] = [];
  for (const entry of ledger.entries) {
    if (entry.resource.name !== 'disk' || !isFree(entry) || entry.milli <= 0) continue;
    const place = placeOf(entry.resource);
    if (place === null || entry.resource.disk?.persistence !== undefined) continue;
    if (place.kind === 'root' && state.options.isRootDiskAllowed !== true) continue;
    const offered = bytesOf(entry.resource);
    const carve = place.kind === 'mount' ? null : (state.options.carveBytes ?? null);
    const sizeBytes = carve === null ? offered : Math.floor(carve / MiB) * MiB;
    if (sizeBytes < DISK_BYTES_MIN || sizeBytes > offered) continue;
    candidates.push({ entry, ...place, sizeBytes });
  }
  return candidates.sort(
    (a, b) =>
      KIND_ORDER[a.kind] - KIND_ORDER[b.kind] ||
      b.sizeBytes - a.sizeBytes ||
      (a.root ?? '').localeCompare(b.root ?? ''),
  );
}

/** Tier by the agent's attribute `tier`; without one a disk serves any pool that asks for none. */
function tierOf(attributes: Readonly<Record<string, string>>): DiskTier | null {
  const tier = attributes['tier'];
  return tier === 'nvme' || tier === 'ssd' || tier === 'hdd' ? tier : null;
}

function doesPoolAccept(pool: PoolRecord, attributes: Readonly<Record<string, string>>): boolean {
  if (pool.tier !== null && pool.tier !== tierOf(attributes)) return false;
  return Object.entries(pool.attributes).every(([name, value]) => attributes[name] === value);
}

/** Counted disks of each node in a pool. */
export function disksPerNode(state: State, pool: PoolRecord): Map<NodeId, number> {
  const counts = new Map<NodeId, number>();
  for (const disk of state.facts.disks.values()) {
    if (disk.pool !== pool.name || !isCounted(disk)) continue;
    counts.set(disk.node, (counts.get(disk.node) ?? 0) + 1);
  }
  return counts;
}

/** Whether the pool takes disks as soon as they are offered, on this node (null: on a new one). */
export function baselineWish(
  pool: PoolRecord,
  counts: ReadonlyMap<NodeId, number>,
  node: NodeId | null,
): number {
  const here = node === null ? 0 : (counts.get(node) ?? 0);
  const isOwn = here > 0;
  if (!isOwn && pool.claimNodes !== null && counts.size >= pool.claimNodes) return 0;
  return pool.claimPerNode === null
    ? Number.POSITIVE_INFINITY
    : Math.max(0, pool.claimPerNode - here);
}

/** Disks that the pool still wants beyond its baseline, as far as its limit allows. */
export function expansionWish(
  state: State,
  pool: PoolRecord,
  counts: ReadonlyMap<NodeId, number>,
): number {
  const wanted = state.expansion.get(pool.name)?.diskCount ?? 0;
  if (pool.diskCountMax === null) return wanted;
  let total = 0;
  for (const count of counts.values()) total += count;
  return Math.max(0, Math.min(wanted, pool.diskCountMax - total));
}

export interface ClaimSite {
  /** null: no node of ours is there yet. */
  readonly node: NodeRecord | null;
  readonly offer: Offer;
  readonly ledger: OfferLedger;
  readonly isExecutorRunning: boolean;
}

/**
 * Claims what the pools want of this agent's free disks: makes the records, in phase `claiming`. Returns
 * the node (new or known) and its new disks; `null` when nothing is claimed. Whether something was left
 * for lack of cpus or memory is noted in `mesos.passedOver`.
 */
export function claimDisks(
  state: State,
  site: ClaimSite,
  now: Now,
): { readonly node: NodeRecord; readonly disks: readonly DiskRecord[] } | null {
  const { offer, ledger } = site;
  state.mesos.passedOver.delete(offer.hostname);
  const candidates = findCandidates(state, ledger);
  const wishes = candidates.length === 0 ? [] : listWishes(state, site, now);
  let node = site.node;
  const disks: DiskRecord[] = [];
  for (const candidate of candidates) {
    const wish = wishes.find(({ count }) => count > 0);
    if (wish === undefined) break;
    if (!isPlaceFree(state, node, candidate, wish)) continue;
    const lack = lackOf(state, site, disks.length);
    if (lack !== null) {
      notePassedOver(state, offer.hostname, lack);
      break;
    }
    node ??= addNode(state, offer, now);
    disks.push(addDisk(state, node, candidate, wish, now));
    wish.count -= 1;
    if (wish.isExpansion) takeWish(state, wish.pool);
  }
  return node === null || disks.length === 0 ? null : { node, disks };
}

interface Wish {
  readonly pool: PoolRecord;
  readonly isExpansion: boolean;
  readonly reason: string;
  count: number;
}

function listWishes(state: State, site: ClaimSite, now: Now): Wish[] {
  const attributes = attributesOf(site.offer);
  const wishes: Wish[] = [];
  for (const pool of state.facts.pools.values()) {
    if (!doesPoolAccept(pool, attributes)) continue;
    const counts = disksPerNode(state, pool);
    // An offer may be of an agent that died a moment ago: what is known to be away gets nothing more.
    if (site.node !== null && isKnownAway(state, site.node)) continue;
    const count = baselineWish(pool, counts, site.node?.id ?? null);
    wishes.push({ pool, isExpansion: false, reason: 'pool claims disks as they appear', count });
    const isOwn = site.node !== null && counts.has(site.node.id);
    const sinceMs = state.mesos.wishSinceMs.get(pool.name) ?? now.ms;
    if (!isOwn && now.ms - sinceMs < OWN_NODES_FIRST_MS) continue;
    wishes.push({
      pool,
      isExpansion: true,
      reason: state.expansion.get(pool.name)?.reason ?? '',
      count: expansionWish(state, pool, counts),
    });
  }
  return wishes;
}

/** It was heard before and is not any more; a node that was never heard is still being brought up. */
function isKnownAway(state: State, node: NodeRecord): boolean {
  const observed = state.nodes.get(node.id);
  return node.isFenced || (observed?.session === null && observed.hello !== null);
}

/** Not withheld; one disk per shared file system, unless an expansion asks for another piece. */
function isPlaceFree(
  state: State,
  node: NodeRecord | null,
  candidate: Candidate,
  wish: Wish,
): boolean {
  if (node === null) return true;
  const place = placeName(candidate.kind, candidate.root);
  if (node.withheldPlaces?.includes(place) === true) return false;
  if (candidate.kind === 'mount' || wish.isExpansion) return true;
  for (const disk of state.facts.disks.values()) {
    if (disk.node !== node.id || disk.phase === 'lost') continue;
    if (disk.kind === candidate.kind && disk.sourceRoot === candidate.root) return false;
  }
  return true;
}

/** Which of cpus and memory is too little for one more task (and the executor, if it is not there). */
function lackOf(state: State, site: ClaimSite, claimed: number): string | null {
  const { executor } = state.options;
  const task = taskShare(executor);
  const shell = site.isExecutorRunning ? { cpus: 0, mem: 0 } : executorShare(executor);
  const need = {
    cpus: shell.cpus + task.cpus * (claimed + 1),
    mem: shell.mem + task.mem * (claimed + 1),
  };
  const { node, ledger } = site;
  const held = node === null ? () => false : isOurs(node.id, 'executor', null);
  if (canTake(ledger, need, held)) return null;
  const has = (name: string): number =>
    ledger.available(name, (entry) => isUnreserved(entry) || held(entry)) / 1000;
  return `its free disks need ${need.cpus / 1000} cpus and ${need.mem / 1000} MiB of memory, offered are ${has('cpus')} and ${has('mem')}`;
}

/** Host names that are remembered; far more than agents with such a lack at one time. */
const PASSED_OVER_MAX = 1024;

function notePassedOver(state: State, hostname: string, why: string): void {
  if (state.mesos.passedOver.size >= PASSED_OVER_MAX) state.mesos.passedOver.clear();
  state.mesos.passedOver.set(hostname, why);
}

/** One disk of the wish is under way; capacity looks at the facts again before it wishes anew. */
function takeWish(state: State, pool: PoolRecord): void {
  const wish = state.expansion.get(pool.name);
  if (wish === undefined) return;
  state.expansion.set(pool.name, { ...wish, diskCount: Math.max(0, wish.diskCount - 1) });
}

function addNode(state: State, offer: Offer, now: Now): NodeRecord {
  const id = nodeId(state.facts.allocate('nextNode'));
  const { executor } = state.options;
  const node: NodeRecord = {
    id,
    agentId: offer.agent_id.value,
    hostname: offer.hostname,
    ...domainOf(offer),
    attributes: attributesOf(offer),
    admin: 'active',
    executorId: executorIdOf(id, executor.version),
    artefact: executor,
    dataAddress: null,
    grantAddress: null,
    isFenced: false,
    unavailableFromMs: null,
    unavailableUntilMs: null,
    joinedAtMs: now.wallMs,
    registeredAtVersion: null,
    removedAtVersion: null,
  };
  state.facts.nodes.put(node);
  return node;
}

export function executorIdOf(node: NodeId, version: string): string {
  // Mesos forbids slashes in ids; versions come from builds and may hold anything.
  return `cistern-${formatNode(node)}-${version.replace(/[^A-Za-z0-9._-]/g, '_')}`;
}

function addDisk(
  state: State,
  node: NodeRecord,
  candidate: Candidate,
  wish: Wish,
  now: Now,
): DiskRecord {
  const id = diskId(state.facts.allocate('nextDisk'));
  const disk: DiskRecord = {
    id,
    node: node.id,
    pool: wish.pool.name,
    uuid: uuidOf(state, id),
    kind: candidate.kind,
    tier: tierOf(node.attributes) ?? wish.pool.tier ?? 'ssd',
    sourceRoot: candidate.root,
    sizeBytes: candidate.sizeBytes,
    persistenceId: `cistern-${state.facts.cluster.clusterId}-${formatDisk(id)}`,
    containerPath: `disk-${formatDisk(id)}`,
    phase: 'claiming',
    phaseSinceMs: now.wallMs,
    taskId: null,
    taskAttempt: 0,
    error: '',
    isDraining: false,
  };
  state.facts.disks.put(disk);
  // Other agents' offers of the same event must not see this amount again; here it is taken later.
  recordEvent(
    state,
    {
      severity: 'info',
      kind: 'disk.claimed',
      message: `${formatDisk(id)} (${candidate.kind} ${candidate.root ?? 'root disk'}, ${formatBytes(candidate.sizeBytes)}) on ${formatNode(node.id)} (${node.hostname}) is claimed for pool "${wish.pool.name}": ${wish.reason}`,
      subject: formatDisk(id),
    },
    now,
  );
  return disk;
}

/**
 * Version 8 (our own scheme): the cluster's first 20 hex digits and the disk's number, which is never
 * used again. So it is unique without chance, and a lost claim makes the same one again.
 */
function uuidOf(state: State, disk: DiskId): string {
  const hex = state.facts.cluster.clusterId
    .replace(/[^0-9a-f]/gi, '')
    .toLowerCase()
    .padEnd(20, '0');
  const tail = disk.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${tail}`;
}

/** Amount to take from the offered disk: a MOUNT whole, exactly as offered; else whole MiB. */
export function claimMilli(disk: DiskRecord, entry: Entry): number {
  return disk.kind === 'mount' ? entry.milli : toMilli(disk.sizeBytes / MiB);
}
