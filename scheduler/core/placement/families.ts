/**
 * PG families: one per pool and replica count, created when the first volume needs it. All PGs of a new
 * family are placed at once and hold nothing, so all their members are in sync from the start.
 */
import { assert } from '../../../shared/base/assert.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import { type DiskId, type PgId, pgId } from '../../../shared/base/ids.ts';
import { diskUse } from '../disks/disk-use.ts';
import { familyKey } from '../facts.ts';
import { createPg } from '../members/members.ts';
import type { DiskRecord, PgFamilyRecord, PoolRecord } from '../records.ts';
import type { State } from '../state.ts';
import { type PlacementFamily, planPlacement } from './placement.ts';
import { placementDisks, placementFamilies } from './planner.ts';

/** Finds the family or creates it; `unavailable` when the pool has too few failure domains now. */
export function ensureFamily(
  state: State,
  pool: PoolRecord,
  replicas: number,
): PgFamilyRecord | StorageError {
  const known = state.facts.families.find(familyKey(pool.name, replicas));
  if (known !== undefined) return known;
  const domains = domainCount(state, pool);
  if (domains < replicas) return tooFewDomains(pool, replicas, domains);
  const { pgCount } = pool;
  const pgBase = state.facts.cluster.nextPg;
  const ids = Array.from({ length: pgCount }, (_, index) => pgId(pgBase + index));
  const targets = place(state, pool, replicas, ids);
  if (targets === null) return tooFewDomains(pool, replicas, domains);
  state.facts.updateCluster({ nextPg: pgBase + pgCount });
  const minInSync = defaultMinInSync(replicas);
  const family: PgFamilyRecord = { pool: pool.name, replicas, pgBase, pgCount, minInSync };
  state.facts.families.put(family);
  for (const [id, target] of targets) createPg(state, id, target);
  return family;
}

/** A majority, but one of two: writes wait below this (DESIGN 4). */
export function defaultMinInSync(replicas: number): number {
  return replicas <= 2 ? 1 : Math.floor(replicas / 2) + 1;
}

/** Distinct nodes (zones, where the pool says so and there are several) with a serving disk. */
export function domainCount(state: State, pool: PoolRecord): number {
  const nodes = new Set<number>();
  const zones = new Set<string | null>();
  for (const disk of state.facts.disks.values()) {
    if (disk.pool !== pool.name || diskUse(state, disk) !== 'serving') continue;
    nodes.add(disk.node);
    zones.add(state.facts.nodes.find(disk.node)?.zone ?? null);
  }
  // With a single zone the planner falls back to nodes: better apart a little than not at all.
  return pool.failureDomain === 'zone' && zones.size > 1 ? zones.size : nodes.size;
}

/** Disks that a new family may be placed on. */
export function servingDisks(state: State, pool: PoolRecord): DiskRecord[] {
  return [...state.facts.disks.values()].filter(
    (disk) => disk.pool === pool.name && diskUse(state, disk) === 'serving',
  );
}

function place(
  state: State,
  pool: PoolRecord,
  replicas: number,
  ids: readonly PgId[],
): ReadonlyMap<PgId, readonly DiskId[]> | null {
  const added: PlacementFamily = {
    pgs: ids.map((id) => ({ id, current: [] })),
    replicas,
    failureDomain: pool.failureDomain,
  };
  // Only disks that serve now: a disk that is away could not be in sync from the start.
  const disks = placementDisks(state, pool.name).map((disk) => ({
    ...disk,
    isUsable: state.work.diskUses.get(disk.id) === 'serving',
  }));
  const families = [...placementFamilies(state, pool).values(), added];
  const plan = planPlacement({ disks, families });
  const targets = new Map<PgId, readonly DiskId[]>();
  for (const id of ids) {
    const target = plan.targets.get(id) ?? [];
    if (target.length < replicas) return null;
    assert(new Set(target).size === target.length, 'a target names a disk once', { pg: id });
    targets.set(id, target);
  }
  return targets;
}

function tooFewDomains(pool: PoolRecord, replicas: number, found: number): StorageError {
  return new StorageError(
    'unavailable',
    `Cannot place ${replicas} replicas in pool "${pool.name}": ${found} ${pool.failureDomain}s have a serving disk, ${replicas} are needed`,
    { field: 'replicas', given: replicas, allowed: `1 to ${found}`, pool: pool.name },
  );
}
