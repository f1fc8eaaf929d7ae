/**
 * What must hold of the manager's state after every step, as a list of what does not. Tests and the
 * simulator call it after each step; it walks over everything and is no part of production.
 */
import type { DiskId, PgId } from '../../shared/base/ids.ts';
import { isCounted } from './disks/disk-index.ts';
import { EVENTS_MAX } from './events.ts';
import { isSettled } from './members/members.ts';
import { isDiskLost } from './nodes/node-life.ts';
import { findApplyJob } from './pools/apply-state.ts';
import type { PgRecord } from './records.ts';
import type { State } from './state.ts';

/** One sentence for each broken invariant; empty when all hold. */
export function checkInvariants(state: State): string[] {
  return [
    ...checkPgs(state),
    ...checkFamilies(state),
    ...checkIndexes(state),
    ...checkVolumes(state),
    ...checkNodes(state),
    ...checkPools(state),
    ...checkRest(state),
  ];
}

function checkPgs(state: State): string[] {
  const broken: string[] = [];
  for (const pg of state.facts.pgs.values()) {
    const members = [...pg.inSync, ...pg.joining];
    if (pg.inSync.length === 0) broken.push(`pg${pg.id} has no in-sync member`);
    const suspects = pg.suspects ?? [];
    if (suspects.some((disk) => !pg.inSync.includes(disk)))
      broken.push(`pg${pg.id} suspects ${suspects.join()}, in sync are ${pg.inSync.join()}`);
    if (suspects.length > 0 && pg.joining.length > 0)
      broken.push(`pg${pg.id} has suspects and joining members`);
    if ((pg.compareEpoch ?? 0) > pg.epoch)
      broken.push(`pg${pg.id} is to be compared since epoch ${pg.compareEpoch}, a later one`);
    if (pg.epoch < 1) broken.push(`pg${pg.id} has epoch ${pg.epoch}`);
    if (new Set(members).size !== members.length) broken.push(`pg${pg.id} names a member twice`);
    if (new Set(pg.target).size !== pg.target.length)
      broken.push(`pg${pg.id} has a disk twice in its target`);
    if (pg.target.length === 0) broken.push(`pg${pg.id} has no target`);
    for (const disk of [...members, ...pg.target]) {
      if (!state.facts.disks.has(disk))
        broken.push(`pg${pg.id} names d${disk}, which does not exist`);
    }
  }
  return broken;
}

function checkFamilies(state: State): string[] {
  const broken: string[] = [];
  let count = 0;
  for (const family of state.facts.families.values()) {
    const name = `family ${family.pool}/${family.replicas}`;
    count += family.pgCount;
    if ((family.pgCount & (family.pgCount - 1)) !== 0)
      broken.push(`${name} has ${family.pgCount} PGs`);
    if (!state.facts.pools.has(family.pool)) broken.push(`${name} is of no pool`);
    if (family.pgBase + family.pgCount > state.facts.cluster.nextPg) {
      broken.push(`${name} has PG numbers that were not given out`);
    }
    for (let id = family.pgBase; id < family.pgBase + family.pgCount; id += 1) {
      const pg = state.facts.pgs.find(id as PgId);
      if (pg === undefined) broken.push(`${name} lacks pg${id}`);
      else if (pg.target.length > family.replicas) broken.push(`pg${id} has too many targets`);
    }
  }
  if (count !== state.facts.pgs.size)
    broken.push(`${state.facts.pgs.size} PGs, families name ${count}`);
  return broken;
}

function checkIndexes(state: State): string[] {
  const broken: string[] = [];
  const { work } = state;
  const members = new Map<DiskId, Set<PgId>>();
  const targets = new Map<DiskId, number>();
  for (const pg of state.facts.pgs.values()) {
    for (const disk of [...pg.inSync, ...pg.joining]) {
      members.set(disk, (members.get(disk) ?? new Set()).add(pg.id));
    }
    for (const disk of pg.target) targets.set(disk, (targets.get(disk) ?? 0) + 1);
    if (work.unsettled.has(pg.id) === isSettled(pg)) broken.push(`pg${pg.id} is in the wrong list`);
    if (work.suspectPgs.has(pg.id) !== (pg.suspects !== undefined))
      broken.push(`pg${pg.id} is in the wrong list of suspects`);
  }
  for (const disk of new Set([...members.keys(), ...work.pgsOfDisk.keys()])) {
    const derived = members.get(disk) ?? new Set<PgId>();
    const kept = work.pgsOfDisk.get(disk) ?? new Set<PgId>();
    const isSame = derived.size === kept.size && [...derived].every((pg) => kept.has(pg));
    if (!isSame) broken.push(`d${disk} has ${derived.size} PGs, its index ${kept.size}`);
  }
  for (const disk of new Set([...targets.keys(), ...work.targetsOfDisk.keys()])) {
    const derived = targets.get(disk) ?? 0;
    const kept = work.targetsOfDisk.get(disk) ?? 0;
    if (derived !== kept) broken.push(`d${disk} is in ${derived} targets, its index says ${kept}`);
  }
  return broken;
}

function checkVolumes(state: State): string[] {
  const broken: string[] = [];
  const names = new Set<string>();
  for (const volume of state.facts.volumes.values()) {
    const name = `v${volume.id}`;
    if (volume.id >= state.facts.cluster.nextVolume) broken.push(`${name} was not given out`);
    if (volume.isDetaching && volume.attachedTo === null)
      broken.push(`${name} detaches from nowhere`);
    if (volume.attachedTo !== null && volume.generation === 0)
      broken.push(`${name} has generation 0`);
    if (volume.attachedTo !== null && !state.facts.nodes.has(volume.attachedTo)) {
      broken.push(`${name} is attached to n${volume.attachedTo}, which does not exist`);
    }
    if (volume.isDetaching && !state.work.detaching.has(volume.id)) {
      broken.push(`${name} detaches and nobody watches`);
    }
    if (volume.pgStride % 2 !== 1) broken.push(`${name} has stride ${volume.pgStride}`);
    if (volume.phase === 'deleting') {
      if (volume.attachedTo !== null) broken.push(`${name} is deleted and attached`);
      continue;
    }
    if (names.has(volume.name)) broken.push(`two volumes are named "${volume.name}"`);
    names.add(volume.name);
  }
  return broken;
}

function checkNodes(state: State): string[] {
  const broken: string[] = [];
  for (const node of state.facts.nodes.values()) {
    const observed = state.nodes.get(node.id);
    if (observed === undefined) continue;
    if (node.isFenced !== (observed.fenceVersion !== null)) {
      broken.push(
        `n${node.id} is fenced: ${node.isFenced}, fence version ${observed.fenceVersion}`,
      );
    }
    if (observed.session === null) continue;
    if (state.work.nodeOfSession.get(observed.session) !== node.id) {
      broken.push(`session "${observed.session}" of n${node.id} is not in the index`);
    }
  }
  const uuids = new Set<string>();
  for (const pool of state.facts.pools.values()) {
    let count = 0;
    for (const of of state.facts.diskIndex.countedIn(pool.name).values()) count += of;
    const disks = [...state.facts.disks.values()].filter((disk) => disk.pool === pool.name);
    if (disks.filter(isCounted).length !== count)
      broken.push(`pool ${pool.name} has ${disks.length} disks, its index counts ${count}`);
  }
  for (const disk of state.facts.disks.values()) {
    if (!state.facts.diskIndex.ofNode(disk.node).has(disk.id))
      broken.push(`d${disk.id} is not in the index of n${disk.node}`);
    if (state.facts.diskIndex.lost.has(disk.id) !== isDiskLost(disk))
      broken.push(`d${disk.id} is in the wrong list of lost disks`);
    if (!state.facts.nodes.has(disk.node)) broken.push(`d${disk.id} is on no node`);
    if (uuids.has(disk.uuid)) broken.push(`d${disk.id} shares identity "${disk.uuid}"`);
    uuids.add(disk.uuid);
  }
  return broken;
}

/** Pools and the job that changes them. */
function checkPools(state: State): string[] {
  const broken: string[] = [];
  const { disks, pools } = state.facts;
  const isApplying = findApplyJob(state) !== null;
  for (const disk of disks.values()) {
    if (!pools.has(disk.pool))
      broken.push(`d${disk.id} is in pool "${disk.pool}", which is not there`);
    if ((disk.unselected ?? null) !== null && !isApplying)
      broken.push(`d${disk.id} is to leave its pool, and no job is at it`);
  }
  for (const pool of pools.values()) {
    if (pool.isLeaving === true && !isApplying)
      broken.push(`pool "${pool.name}" is being deleted, and no job is at it`);
  }
  return broken;
}

function checkRest(state: State): string[] {
  const broken: string[] = [];
  const running = new Set<string>();
  for (const job of state.facts.jobs.values()) {
    if (job.phase !== 'running') continue;
    const key = `${job.kind} ${job.subject}`;
    if (running.has(key)) broken.push(`two jobs run for ${key}`);
    running.add(key);
  }
  if (state.facts.events.size > EVENTS_MAX)
    broken.push(`${state.facts.events.size} events are kept`);
  return broken;
}

/** The rule of epochs between two states of a PG; for tests that see both. */
export function checkEpochRule(before: PgRecord, after: PgRecord): string | null {
  const isChanged =
    before.inSync.join() !== after.inSync.join() ||
    before.joining.join() !== after.joining.join() ||
    before.suspects?.join() !== after.suspects?.join();
  if (isChanged && after.epoch <= before.epoch) {
    return `pg${after.id} changed its members in epoch ${after.epoch}`;
  }
  return after.epoch < before.epoch ? `pg${after.id} fell to epoch ${after.epoch}` : null;
}
