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
import { findReplaced, noteReplacement } from '../planned/disk-replace.ts';
import { newNodeArtefact } from '../planned/executor-version.ts';
import type { PassReason } from '../pools/pass-reason.ts';
import {
  boundReached,
  type DiskSite,
  type FreeDisk,
  fitOf,
  reasonOf,
  selectorOf,
  tierOf,
} from '../pools/selection.ts';
import type { DiskKind, DiskRecord, NodeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import type { OfferLook } from './offer-look.ts';
import { attributesOf, domainOf } from './offer-nodes.ts';
import { canTake, executorShare, taskShare } from './offer-plan.ts';
import {
  basesOf,
  bytesOf,
  type Entry,
  isFree,
  isOn,
  isOurs,
  type OfferLedger,
  placeName,
  placeOf,
  type ShareBase,
  toMilli,
} from './offer-resources.ts';
import { listWishes, type Wish } from './offer-wishes.ts';

/** Whole disks are the best, the agent's work directory the worst. */
const KIND_ORDER: Readonly<Record<DiskKind, number>> = { mount: 0, path: 1, root: 2 };

/** A free disk in an offer; `sizeBytes` of it can be had. */
export interface Candidate extends FreeDisk {
  readonly entry: Entry;
}

/** Free disks in the offers, best first; which of them a pool may have is for its selector to say. */
export function findCandidates(
  state: State,
  node: NodeRecord | null,
  offer: Offer,
  ledger: OfferLedger,
): Candidate[] {
  const candidates: Candidate[] = [];
  const attributes = attributesOf(offer);
  for (const entry of ledger.entries) {
    if (entry.resource.name !== 'disk' || !isFree(entry) || entry.milli <= 0) continue;
    const place = placeOf(entry.resource);
    if (place === null || entry.resource.disk?.persistence !== undefined) continue;
    candidates.push({
      entry,
      ...place,
      freeBytes: bytesOf(entry.resource),
      oursBytes: node === null ? 0 : bytesThere(state, node, place.kind, place.root),
      tier: tierOf(attributes, node?.tiers?.[placeName(place.kind, place.root)]),
    });
  }
  return candidates.sort(
    (a, b) =>
      KIND_ORDER[a.kind] - KIND_ORDER[b.kind] ||
      b.freeBytes - a.freeBytes ||
      (a.root ?? '').localeCompare(b.root ?? ''),
  );
}

/** What our disks hold of one PATH or root disk. */
function bytesThere(state: State, node: NodeRecord, kind: DiskKind, root: string | null): number {
  let bytes = 0;
  for (const disk of state.facts.disks.values()) {
    if (disk.node !== node.id || disk.phase === 'lost') continue;
    if (disk.kind === kind && disk.sourceRoot === root) bytes += disk.sizeBytes;
  }
  return bytes;
}

export interface ClaimSite {
  /** null: no node of ours is there yet. */
  readonly node: NodeRecord | null;
  readonly offer: Offer;
  readonly ledger: OfferLedger;
  readonly isExecutorRunning: boolean;
  /** Takes note of what becomes of each disk. */
  readonly look: OfferLook;
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
  const { offer, ledger, look } = site;
  state.mesos.passedOver.delete(offer.hostname);
  const candidates = findCandidates(state, site.node, offer, ledger);
  const wishes = candidates.length === 0 ? [] : listWishes(state, site.node, now);
  const base = site.node === null ? chooseBase(state, ledger) : (site.node.shareBase ?? []);
  let node = site.node;
  const disks: DiskRecord[] = [];
  for (const candidate of candidates) {
    const choice = choose(state, { site, node, candidate, wishes });
    if (choice.kind === 'passed') {
      look.pass(candidate.entry, choice.reasons);
      continue;
    }
    const lack = lackOf(state, site, base, disks.length);
    if (lack !== null) {
      notePassedOver(state, offer.hostname, lack);
      look.pass(candidate.entry, [reasonOf('resources', choice.wish.pool, lack)]);
      continue;
    }
    node ??= addNode(state, offer, base, now);
    const disk = addDisk(state, node, choice, now);
    if (choice.replaces !== undefined) noteReplacement(state, choice.replaces, disk.id);
    look.claim(candidate.entry, disk.id);
    disks.push(disk);
    noteClaim(state, choice);
  }
  return node === null || disks.length === 0 ? null : { node, disks };
}

type Choice =
  | {
      readonly kind: 'taken';
      readonly wish: Wish;
      readonly candidate: Candidate;
      readonly sizeBytes: number;
      readonly isExpansion: boolean;
      /** The disk that an operator replaces by this one. */
      readonly replaces?: DiskRecord;
    }
  | { readonly kind: 'passed'; readonly reasons: readonly PassReason[] };

type Taken = Extract<Choice, { kind: 'taken' }>;

interface Question {
  readonly site: ClaimSite;
  /** The node, also when it was made for a disk before this one. */
  readonly node: NodeRecord | null;
  readonly candidate: Candidate;
  readonly wishes: readonly Wish[];
}

/** The first pool, in the order of their priority, that may have the disk and wants it. */
function choose(state: State, question: Question): Choice {
  const { site, node, candidate, wishes } = question;
  const where: DiskSite = {
    hostname: site.offer.hostname,
    ...domainOf(site.offer),
    attributes: attributesOf(site.offer),
  };
  const reasons: PassReason[] = [];
  const replaces = findReplaced(state, node, candidate);
  const taker = wishes.find(({ pool }) => pool.name === replaces?.pool);
  if (replaces !== null && taker !== undefined) {
    const fit = fitOf(taker.pool, selectorOf(taker.pool, state.options), candidate, where);
    if (fit.kind === 'passed') reasons.push(fit.reason);
    else {
      const { sizeBytes } = fit;
      return { kind: 'taken', wish: taker, candidate, sizeBytes, isExpansion: false, replaces };
    }
  }
  const withheld = whyWithheld(node, candidate);
  if (withheld !== null) return { kind: 'passed', reasons: [withheld] };
  for (const wish of wishes) {
    const { pool } = wish;
    const selector = selectorOf(pool, state.options);
    const fit = fitOf(pool, selector, candidate, where);
    if (fit.kind === 'passed') {
      reasons.push(fit.reason);
      continue;
    }
    const reached = boundReached(pool, selector, wish.has);
    if (reached !== null) {
      reasons.push(reached);
      continue;
    }
    const isTaken = isPlaceTaken(state, node, candidate);
    if (wish.baseline > 0 && !isTaken) {
      const { sizeBytes } = fit;
      return { kind: 'taken', wish, candidate, sizeBytes, isExpansion: false };
    }
    // Whoever takes as much as there is has it grow (growth.ts), rather than two stores on one file system.
    if (wish.expansion > 0 && (!isTaken || selector.pieceBytes !== null)) {
      const { sizeBytes } = fit;
      return { kind: 'taken', wish, candidate, sizeBytes, isExpansion: true };
    }
    const isForGrowth = isTaken && selector.pieceBytes === null;
    const isWanted = wish.baseline > 0 || (isForGrowth && wish.expansion > 0);
    reasons.push(isWanted ? placeTaken(wish, isForGrowth) : wish.whyNot);
  }
  return { kind: 'passed', reasons };
}

function placeTaken({ pool }: Wish, isForGrowth: boolean): PassReason {
  const later = isForGrowth
    ? `it grows when pool "${pool.name}" expands and no disk of its own is offered`
    : `pool "${pool.name}" takes another piece when it expands`;
  const text = `one of our disks is on it already; ${later}`;
  return reasonOf('place-taken', pool, text);
}

/** Counts a disk that was claimed just now. */
function noteClaim(state: State, { wish, isExpansion }: Taken): void {
  if (wish.has.here === 0) wish.has.nodes += 1;
  wish.has.here += 1;
  if (!isExpansion) {
    wish.baseline -= 1;
    return;
  }
  wish.expansion -= 1;
  // One disk of the wish is under way; capacity looks at the facts again before it wishes anew.
  const asked = state.expansion.get(wish.pool.name);
  if (asked === undefined) return;
  state.expansion.set(wish.pool.name, { ...asked, diskCount: Math.max(0, asked.diskCount - 1) });
}

function whyWithheld(node: NodeRecord | null, candidate: Candidate): PassReason | null {
  const place = placeName(candidate.kind, candidate.root);
  if (node?.withheldPlaces?.includes(place) !== true) return null;
  const text = `an operator had its disk emptied and given back; "cistern node activate ${formatNode(node.id)}" lets it be claimed again`;
  return reasonOf('withheld', null, text);
}

/** One disk per shared file system, unless an expansion asks for another piece. */
function isPlaceTaken(state: State, node: NodeRecord | null, candidate: Candidate): boolean {
  if (node === null || candidate.kind === 'mount') return false;
  for (const disk of state.facts.disks.values()) {
    if (disk.node !== node.id || disk.phase === 'lost') continue;
    if (disk.kind === candidate.kind && disk.sourceRoot === candidate.root) return true;
  }
  return false;
}

/**
 * Where the cpus and memory of a new node come from: from what nobody has reserved, unless only what the
 * agent's configuration reserves to a role above ours is enough for the executor and a first disk.
 */
function chooseBase(state: State, ledger: OfferLedger): ShareBase {
  const { executor } = state.options;
  const shell = executorShare(executor);
  const task = taskShare(executor);
  const need = { cpus: shell.cpus + task.cpus, mem: shell.mem + task.mem };
  return basesOf(ledger).find((base) => canTake(ledger, need, base, () => false)) ?? [];
}

/** Which of cpus and memory is too little for one more task (and the executor, if it is not there). */
function lackOf(state: State, site: ClaimSite, base: ShareBase, claimed: number): string | null {
  const { executor } = state.options;
  const task = taskShare(executor);
  const shell = site.isExecutorRunning ? { cpus: 0, mem: 0 } : executorShare(executor);
  const need = {
    cpus: shell.cpus + task.cpus * (claimed + 1),
    mem: shell.mem + task.mem * (claimed + 1),
  };
  const { node, ledger } = site;
  const held = node === null ? () => false : isOurs(node.id, 'executor', null);
  if (canTake(ledger, need, base, held)) return null;
  const isFreeHere = isOn(base);
  const has = (name: string): number =>
    ledger.available(name, (entry) => isFreeHere(entry) || held(entry)) / 1000;
  return `its free disks need ${need.cpus / 1000} cpus and ${need.mem / 1000} MiB of memory, offered are ${has('cpus')} and ${has('mem')}`;
}

/** Host names that are remembered; far more than agents with such a lack at one time. */
const PASSED_OVER_MAX = 1024;

function notePassedOver(state: State, hostname: string, why: string): void {
  if (state.mesos.passedOver.size >= PASSED_OVER_MAX) state.mesos.passedOver.clear();
  state.mesos.passedOver.set(hostname, why);
}

function addNode(state: State, offer: Offer, base: ShareBase, now: Now): NodeRecord {
  const id = nodeId(state.facts.allocate('nextNode'));
  const executor = newNodeArtefact(state);
  const node: NodeRecord = {
    id,
    agentId: offer.agent_id.value,
    hostname: offer.hostname,
    ...domainOf(offer),
    attributes: attributesOf(offer),
    admin: 'active',
    executorId: executorIdOf(id, executor.version),
    artefact: executor,
    ...(base.length === 0 ? {} : { shareBase: base }),
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

function addDisk(state: State, node: NodeRecord, choice: Taken, now: Now): DiskRecord {
  const { candidate, wish, sizeBytes } = choice;
  const { tiers } = selectorOf(wish.pool, state.options);
  const id = diskId(state.facts.allocate('nextDisk'));
  const disk: DiskRecord = {
    id,
    node: node.id,
    pool: wish.pool.name,
    uuid: uuidOf(state, id),
    kind: candidate.kind,
    // A guess until its executor says what it is.
    tier: candidate.tier ?? tiers?.[0] ?? 'ssd',
    sourceRoot: candidate.root,
    sizeBytes,
    persistenceId: `cistern-${state.facts.cluster.clusterId}-${formatDisk(id)}`,
    containerPath: `disk-${formatDisk(id)}`,
    phase: 'claiming',
    phaseSinceMs: now.wallMs,
    taskId: null,
    taskAttempt: 0,
    error: '',
    isDraining: false,
    ...(candidate.kind === 'mount' ? { isUnexamined: true } : {}),
  };
  state.facts.disks.put(disk);
  // Other agents' offers of the same event must not see this amount again; here it is taken later.
  recordEvent(
    state,
    {
      severity: 'info',
      kind: 'disk.claimed',
      message: `${formatDisk(id)} (${candidate.kind} ${candidate.root ?? 'root disk'}, ${formatBytes(sizeBytes)}) on ${formatNode(node.id)} (${node.hostname}) is claimed for pool "${wish.pool.name}": ${reasonOfClaim(choice)}`,
      subject: formatDisk(id),
    },
    now,
  );
  return disk;
}

function reasonOfClaim({ wish, isExpansion, replaces }: Taken): string {
  if (replaces !== undefined) return `it takes over from ${formatDisk(replaces.id)}`;
  return isExpansion ? wish.expansionReason : 'pool claims disks as they appear';
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
