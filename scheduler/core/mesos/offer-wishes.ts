/**
 * How many disks each pool wants: from the start (so many per node, on so many nodes), and more when
 * capacity asks for an expansion. Which disks those may be is for the pool's selector (`pools/selection.ts`).
 */
import type { NodeId } from '../../../shared/base/ids.ts';
import { isApplyPaused } from '../pools/apply-state.ts';
import type { PassReason } from '../pools/pass-reason.ts';
import { inPriority, reasonOf } from '../pools/selection.ts';
import type { NodeRecord, PoolRecord } from '../records.ts';
import type { Now, State } from '../state.ts';

/** A pool that expands waits this long for disks of its own nodes before it goes to new ones. */
const OWN_NODES_FIRST_MS = 5_000;

/** Counted disks of each node in a pool. */
export function disksPerNode(state: State, pool: PoolRecord): ReadonlyMap<NodeId, number> {
  return state.facts.diskIndex.countedIn(pool.name);
}

/** Whether the pool takes disks as soon as they are offered, on this node (null: on a new one). */
export function baselineWish(
  pool: PoolRecord,
  counts: ReadonlyMap<NodeId, number>,
  node: NodeId | null,
): number {
  if (pool.isLeaving === true) return 0;
  const here = node === null ? 0 : (counts.get(node) ?? 0);
  const isOwn = here > 0;
  const nodesMax = Math.min(
    pool.claimNodes ?? Number.POSITIVE_INFINITY,
    pool.selector?.nodesMax ?? Number.POSITIVE_INFINITY,
  );
  if (!isOwn && counts.size >= nodesMax) return 0;
  const perNode = Math.min(
    pool.claimPerNode ?? Number.POSITIVE_INFINITY,
    pool.selector?.disksPerNodeMax ?? Number.POSITIVE_INFINITY,
  );
  return Math.max(0, perNode - here);
}

/** Disks that the pool still wants beyond its baseline, as far as its limit allows. */
export function expansionWish(
  state: State,
  pool: PoolRecord,
  counts: ReadonlyMap<NodeId, number>,
): number {
  if (pool.isLeaving === true) return 0;
  const wanted = state.expansion.get(pool.name)?.diskCount ?? 0;
  if (pool.diskCountMax === null) return wanted;
  let total = 0;
  for (const count of counts.values()) total += count;
  return Math.max(0, Math.min(wanted, pool.diskCountMax - total));
}

/** What one pool wants of one agent; counts down while disks are claimed. */
export interface Wish {
  readonly pool: PoolRecord;
  readonly has: { here: number; nodes: number };
  baseline: number;
  expansion: number;
  readonly expansionReason: string;
  /** Why it wants none, when both counts are 0. */
  readonly whyNot: PassReason;
}

/** All pools, in the order in which they are asked; `node` is null for an agent without a record. */
export function listWishes(state: State, node: NodeRecord | null, now: Now): Wish[] {
  // An offer may be of an agent that died a moment ago: what is known to be away gets nothing more.
  const isAway = node !== null && isKnownAway(state, node);
  const isPaused = isApplyPaused(state);
  return inPriority(state.facts.pools.values()).map((pool) => {
    const counts = disksPerNode(state, pool);
    const isOwn = node !== null && counts.has(node.id);
    const sinceMs = state.mesos.wishSinceMs.get(pool.name) ?? now.ms;
    const isTooEarly = !isOwn && now.ms - sinceMs < OWN_NODES_FIRST_MS;
    const expansion = expansionWish(state, pool, counts);
    const here = node === null ? 0 : (counts.get(node.id) ?? 0);
    return {
      pool,
      has: { here, nodes: counts.size },
      baseline: isAway || isPaused ? 0 : baselineWish(pool, counts, node?.id ?? null),
      expansion: isAway || isTooEarly ? 0 : expansion,
      expansionReason: state.expansion.get(pool.name)?.reason ?? '',
      whyNot: whyNone(pool, here, counts.size, {
        isAway,
        isPaused,
        isTooEarly: isTooEarly && expansion > 0,
      }),
    };
  });
}

interface Obstacles {
  readonly isAway: boolean;
  readonly isPaused: boolean;
  readonly isTooEarly: boolean;
}

function whyNone(pool: PoolRecord, here: number, nodes: number, obstacles: Obstacles): PassReason {
  const name = `pool "${pool.name}"`;
  if (obstacles.isAway) {
    return reasonOf('node-away', pool, 'its node is out of reach and gets no new disks');
  }
  if (obstacles.isTooEarly) {
    const text = `${name} expands, and looks for disks on its own nodes first`;
    return reasonOf('own-nodes-first', pool, text);
  }
  if (obstacles.isPaused) {
    const text = `a change of the pools is paused, and ${name} claims nothing meanwhile`;
    return reasonOf('paused', pool, text);
  }
  if (pool.isLeaving === true) {
    return reasonOf('nothing-wanted', pool, `${name} is being deleted`);
  }
  const perNode = pool.claimPerNode ?? 'all';
  const wanted = `${name} claims ${perNode} disks per node on ${pool.claimNodes ?? 'all'} nodes before it expands`;
  const text = `${wanted}, and has ${here} here and disks on ${nodes} nodes`;
  return reasonOf('nothing-wanted', pool, text);
}

/** It was heard before and is not any more; a node that was never heard is still being brought up. */
function isKnownAway(state: State, node: NodeRecord): boolean {
  const observed = state.nodes.get(node.id);
  return node.isFenced || (observed?.session === null && observed.hello !== null);
}
