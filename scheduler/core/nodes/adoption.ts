/**
 * Stores that turn up in another place than their records say: a disk was put into another machine, or an agent
 * lost its work directory (and with it every reservation) while the data stayed on its disks.
 *
 *   claimed anew as d9, its executor finds the store of d4 ─┬─ d4 known, nowhere served ──▶ d9's place becomes d4's
 *                                                           └─ d4 not known any more ─────▶ discarded, once all
 *                                                                                           redundancy is whole
 *
 * One identity is never in two places: d4 moves only when it is certain that nobody serves it where it was. When too
 * many nodes are gone for leases to run out for certain, that is an operator's word (`forget-node`). What
 * the store holds is worth what its stamps say: d4 catches up like any disk that was away.
 */
import {
  type DiskId,
  diskId,
  formatDisk,
  formatNode,
  type NodeId,
  pgId,
} from '../../../shared/base/ids.ts';
import { recordEvent } from '../events.ts';
import { memberCount } from '../members/members.ts';
import { isTaskOver } from '../mesos/offer-release.ts';
import { labelOf } from '../mesos/offer-resources.ts';
import type { DiskRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { isCertainlyNotServing, isNodeUp } from './node-life.ts';

/** Every tick: claims whose directory turned out to be another disk of ours. */
export function superviseAdoption(state: State, now: Now): void {
  for (const claim of [...state.facts.disks.values()]) {
    const { foreign = null, phase } = claim;
    if (phase !== 'failed' || foreign?.kind !== 'other-disk' || foreign.disk === undefined)
      continue;
    // Its task holds the volume until it has ended.
    if (isNamed(state, claim.id) || !isTaskOver(state, claim)) continue;
    const owner = state.facts.disks.find(diskId(foreign.disk));
    if (owner === undefined) discard(state, claim, foreign.disk, now);
    else if (owner.uuid === foreign.uuid && mayMove(state, owner, now))
      adopt(state, claim, owner, now);
  }
}

function isNamed(state: State, id: DiskId): boolean {
  return memberCount(state, id) > 0 || (state.work.targetsOfDisk.get(id) ?? 0) > 0;
}

/** Nobody serves it where it was, and nobody can begin to. */
function mayMove(state: State, owner: DiskRecord, now: Now): boolean {
  const { phase } = owner;
  if (phase === 'serving' || phase === 'claiming' || phase === 'releasing') return false;
  const node = state.facts.nodes.get(owner.node);
  if (isCertainlyNotServing(state, node, now.ms)) return true;
  // Its node lives, and says what it has: the store cannot be open there.
  const reports = state.nodes.get(node.id)?.report?.disks ?? [];
  const isThere = reports.some(({ id, status }) => id === owner.id && status !== 'failed');
  return isNodeUp(state, node) && !isThere;
}

/**
 * On the operator's word that a node is dead: its disks that were found elsewhere go on there, before the rest of
 * it counts as lost. Returns why that cannot be done yet, and has done nothing then; null when it is done.
 */
export function adoptFoundOf(state: State, node: NodeId, now: Now): string | null {
  const found = [...state.facts.disks.values()].flatMap((owner) => {
    const claim = owner.node === node ? findClaim(state, owner) : null;
    return claim === null ? [] : [{ claim, owner }];
  });
  for (const { claim, owner } of found) {
    if (!isNamed(state, claim.id) && isTaskOver(state, claim)) continue;
    return `the data of ${formatDisk(owner.id)} was found on ${formatNode(claim.node)} and goes on there once the task of ${formatDisk(claim.id)} has ended`;
  }
  for (const { claim, owner } of found) adopt(state, claim, owner, now);
  return null;
}

/** The claim in whose directory the disk's store was found; null: it was not found elsewhere. */
export function findClaim(state: State, owner: DiskRecord): DiskRecord | null {
  if (owner.phase === 'releasing') return null;
  for (const claim of state.facts.disks.values()) {
    const { foreign = null, phase } = claim;
    if (phase !== 'failed' || foreign?.kind !== 'other-disk') continue;
    if (foreign.disk === owner.id && foreign.uuid === owner.uuid) return claim;
  }
  return null;
}

/** The claim's volume and reservation are the disk's from now on; the claim's number is never used again. */
function adopt(state: State, claim: DiskRecord, owner: DiskRecord, now: Now): void {
  const { node, kind, sourceRoot, sizeBytes, persistenceId, containerPath } = claim;
  forgetClaim(state, claim.id);
  state.facts.disks.update(owner.id, {
    node,
    kind,
    sourceRoot,
    sizeBytes,
    persistenceId,
    containerPath,
    reservedAs: labelOf(claim),
    phase: 'down',
    phaseSinceMs: now.wallMs,
    error: '',
    // Task numbers count on, so that one that comes back is known as an old one, and is ended.
    taskId: null,
    foreign: null,
    isUnexamined: false,
  });
  state.mesos.tasks.delete(owner.id);
  state.work.replan.set(owner.pool, `${formatDisk(owner.id)} is on another node now`);
  const message = `${formatDisk(owner.id)} was found on ${formatNode(node)} (${sourceRoot ?? 'root disk'}), where ${formatDisk(claim.id)} had been claimed: it goes on there with the data it has; it was on ${formatNode(owner.node)}`;
  const subject = formatDisk(owner.id);
  recordEvent(state, { severity: 'warning', kind: 'disk.adopted', message, subject }, now);
}

/** A disk that was given up long ago: what it holds is nobody's last copy once everything has all its replicas. */
function discard(state: State, claim: DiskRecord, was: number, now: Now): void {
  if (was >= state.facts.cluster.nextDisk || !isWhole(state)) return;
  state.facts.disks.update(claim.id, {
    phase: 'releasing',
    phaseSinceMs: now.wallMs,
    error: '',
    foreign: null,
    isUnexamined: false,
  });
  const message = `${formatDisk(claim.id)} on ${formatNode(claim.node)} holds the store of d${was}, which this cluster has given up: every placement group has all its replicas, so it is discarded and the disk is claimed anew`;
  const subject = formatDisk(claim.id);
  recordEvent(state, { severity: 'warning', kind: 'disk.discarded', message, subject }, now);
}

/** Every placement group has as many replicas in sync as it wants, on disks that can be counted on. */
function isWhole(state: State): boolean {
  for (const family of state.facts.families.values()) {
    for (let index = 0; index < family.pgCount; index += 1) {
      const pg = state.facts.pgs.find(pgId(family.pgBase + index));
      if (pg === undefined || pg.suspects !== undefined) return false;
      const serving = pg.inSync.filter((id) => state.facts.disks.find(id)?.phase === 'serving');
      if (serving.length < family.replicas) return false;
    }
  }
  return true;
}

function forgetClaim(state: State, id: DiskId): void {
  const { facts, disks, mesos, work } = state;
  facts.disks.delete(id);
  disks.delete(id);
  for (const map of [mesos.tasks, mesos.releases, mesos.claimSinceMs]) map.delete(id);
  for (const map of [work.diskUses, work.diskAwaySinceMs, work.pgsOfDisk, work.targetsOfDisk]) {
    map.delete(id);
  }
}
