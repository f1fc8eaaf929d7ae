/**
 * What it takes to bring the disks in line with what the pools select: which disks leave their pool and where
 * they go, and which of those that Mesos offered last would be claimed. Made of state on request and kept by
 * nobody; `pool-apply.ts` carries it out.
 */
import { formatDisk, formatJob, formatNode, type NodeId } from '../../../shared/base/ids.ts';
import { formatDuration } from '../../../shared/base/units.ts';
import { ANY_DISK } from '../../../shared/model/pool-selector.ts';
import type { PlanStepView, PlanView } from '../../../shared/model/pool-settings.ts';
import { memberCount } from '../members/members.ts';
import { placeName } from '../mesos/offer-resources.ts';
import { baselineWish } from '../mesos/offer-wishes.ts';
import { heldBy } from '../nodes/nodes.ts';
import type { DiskRecord, NodeRecord, PoolRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { findApplyJob } from './apply-state.ts';
import type { SeenAgent, SeenDisk } from './pass-reason.ts';
import {
  boundReached,
  type FreeDisk,
  fitOf,
  inPriority,
  misfitOf,
  selectorOf,
  tierOf,
} from './selection.ts';

/** A disk that its pool does not want. `to`: the pool that takes it; null: it goes back to Mesos. */
export interface Misfit {
  readonly disk: DiskRecord;
  readonly to: string | null;
  readonly reason: string;
}

type Pools = ReadonlyMap<string, PoolRecord>;

/** Counted disks per pool and node, as the plan would have them. */
class Counts {
  readonly #perPool = new Map<string, Map<NodeId | string, number>>();

  of(pool: string): Map<NodeId | string, number> {
    const known = this.#perPool.get(pool);
    if (known !== undefined) return known;
    const created = new Map<NodeId | string, number>();
    this.#perPool.set(pool, created);
    return created;
  }

  add(pool: string, node: NodeId | string): void {
    const counts = this.of(pool);
    counts.set(node, (counts.get(node) ?? 0) + 1);
  }

  /** Whether another disk of the pool on the node is within its bounds, and wanted at once. */
  wants(pool: PoolRecord, state: State, node: NodeId | string): boolean {
    const counts = this.of(pool.name);
    const has = { here: counts.get(node) ?? 0, nodes: counts.size };
    if (boundReached(pool, selectorOf(pool, state.options), has) !== null) return false;
    // Agents without a record are counted under their own names, which is all that a wish looks at.
    return baselineWish(pool, counts as Map<NodeId, number>, node as NodeId) > 0;
  }
}

/** Disks that do not belong where they are, by number; `pools`: all pools as they should be. */
export function findMisfits(state: State, pools: Pools): readonly Misfit[] {
  return judgeDisks(state, pools).misfits;
}

function judgeDisks(
  state: State,
  pools: Pools,
): { readonly misfits: readonly Misfit[]; readonly counts: Counts } {
  const counts = new Counts();
  const leaving: { readonly disk: DiskRecord; readonly reason: string }[] = [];
  for (const disk of state.facts.disks.values()) {
    const pool = pools.get(disk.pool);
    if (disk.phase === 'lost' || disk.phase === 'releasing') continue;
    // A failed disk stays where an operator finds it, unless its whole pool goes.
    if (disk.phase === 'failed' && pool?.isLeaving !== true) continue;
    const node = state.facts.nodes.get(disk.node);
    if (node.admin === 'gone') continue;
    const reason = pool === undefined ? null : whyNotThere(state, pool, disk, node, counts);
    if (reason === null) counts.add(disk.pool, disk.node);
    else leaving.push({ disk, reason });
  }
  const misfits = leaving.map(({ disk, reason }) => {
    const to = findTaker(state, pools, disk, counts);
    if (to !== null) counts.add(to, disk.node);
    return { disk, to, reason };
  });
  return { misfits, counts };
}

/** Bounds are filled by number: the disks and nodes that came last are those that go. */
function whyNotThere(
  state: State,
  pool: PoolRecord,
  disk: DiskRecord,
  node: NodeRecord,
  counts: Counts,
): string | null {
  const selector = selectorOf(pool, state.options);
  const inPool = counts.of(pool.name);
  const has = { here: inPool.get(node.id) ?? 0, nodes: inPool.size };
  const reason = misfitOf(pool, selector, disk, node) ?? boundReached(pool, selector, has);
  return reason?.message ?? null;
}

function findTaker(state: State, pools: Pools, disk: DiskRecord, counts: Counts): string | null {
  const node = state.facts.nodes.get(disk.node);
  for (const pool of inPriority(pools.values())) {
    if (pool.name === disk.pool) continue;
    const selector = selectorOf(pool, state.options);
    if (misfitOf(pool, selector, disk, node) !== null) continue;
    if (counts.wants(pool, state, disk.node)) return pool.name;
  }
  return null;
}

/** `before`: the pools of now; `after`: as they should be (the same to see what is pending). */
export function planPools(state: State, before: Pools, after: Pools, now: Now): PlanView {
  const { misfits, counts } = judgeDisks(state, after);
  const steps = [
    ...poolSteps(before, after),
    ...misfits.map((misfit) => leaveStep(state, misfit)),
    ...claimSteps(state, after, counts),
  ];
  const job = findApplyJob(state);
  return {
    steps,
    replicasToMove: steps.reduce((sum, step) => sum + step.replicasToMove, 0),
    dataBytes: steps.reduce((sum, step) => sum + step.dataBytes, 0),
    notes: notesOf(state, now),
    job: job === null ? null : formatJob(job.id),
  };
}

function notesOf(state: State, now: Now): string[] {
  const { mesos } = state;
  if (!mesos.isSubscribed) return [`Mesos offers nothing now: ${mesos.disconnectReason}`];
  if (mesos.seenAgents.size === 0) {
    return ['No agent has made an offer since this scheduler leads: disks to claim are not known'];
  }
  const oldestMs = Math.min(...[...mesos.seenAgents.values()].map(({ atMs }) => atMs));
  return [
    `Disks to claim are those of the last offers, the oldest of which is ${formatDuration(Math.max(0, now.ms - oldestMs))} old`,
  ];
}

const NO_DISK = {
  toPool: null,
  node: null,
  hostname: null,
  disk: null,
  place: null,
  sizeBytes: null,
  replicasToMove: 0,
  dataBytes: 0,
} as const;

function poolSteps(before: Pools, after: Pools): PlanStepView[] {
  const steps: PlanStepView[] = [];
  for (const pool of after.values()) {
    const old = before.get(pool.name);
    if (old === undefined) {
      const reason = `it is not there yet`;
      steps.push({ ...NO_DISK, kind: 'create-pool', pool: pool.name, reason });
    } else if (pool.isLeaving === true) {
      const reason = 'it is not wanted any more';
      steps.push({ ...NO_DISK, kind: 'delete-pool', pool: pool.name, reason });
    } else {
      const reason = changesOf(old, pool).join(', ');
      if (reason !== '') steps.push({ ...NO_DISK, kind: 'change-pool', pool: pool.name, reason });
    }
  }
  return steps;
}

/** `claimPerNode: 1 → 2`, field by field, those of the selector too. */
export function changesOf(before: PoolRecord, after: PoolRecord): string[] {
  const changes: string[] = [];
  const compare = (prefix: string, old: object, next: object): void => {
    for (const [name, value] of Object.entries(next)) {
      const was: unknown = Object.entries(old).find(([field]) => field === name)?.[1] ?? null;
      if (name === 'selector' || JSON.stringify(was) === JSON.stringify(value)) continue;
      changes.push(`${prefix}${name}: ${JSON.stringify(was)} → ${JSON.stringify(value)}`);
    }
  };
  const { tier: _tier, attributes: _attributes, ...rest } = after;
  compare('', before, rest);
  if (after.selector !== undefined)
    compare('selector.', before.selector ?? ANY_DISK, after.selector);
  return changes;
}

function leaveStep(state: State, { disk, to, reason }: Misfit): PlanStepView {
  const held = heldBy(state, [disk]);
  return {
    kind: to === null ? 'release-disk' : 'move-disk',
    pool: disk.pool,
    toPool: to,
    node: formatNode(disk.node),
    hostname: state.facts.nodes.get(disk.node).hostname,
    disk: formatDisk(disk.id),
    place: placeName(disk.kind, disk.sourceRoot),
    sizeBytes: disk.sizeBytes,
    replicasToMove: memberCount(state, disk.id),
    dataBytes: held.totalBytes,
    reason,
  };
}

function claimSteps(state: State, pools: Pools, counts: Counts): PlanStepView[] {
  const steps: PlanStepView[] = [];
  for (const agent of state.mesos.seenAgents.values()) {
    const node = agent.node === null ? undefined : state.facts.nodes.find(agent.node);
    // A reason that concerns the whole agent (maintenance, a drain) holds for the plan, too.
    if (agent.reason !== null || (node !== undefined && node.admin !== 'active')) continue;
    for (const seen of agent.disks) {
      const step = claimStep(state, pools, counts, { agent, node, seen });
      if (step !== null) steps.push(step);
    }
  }
  return steps;
}

interface Free {
  readonly agent: SeenAgent;
  readonly node: NodeRecord | undefined;
  readonly seen: SeenDisk;
}

function claimStep(
  state: State,
  pools: Pools,
  counts: Counts,
  { agent, node, seen }: Free,
): PlanStepView | null {
  if (seen.kind === null || seen.owner !== 'free' || seen.disk !== null) return null;
  const place = placeName(seen.kind, seen.root);
  if (node?.withheldPlaces?.includes(place) === true || isOurs(state, node, seen)) return null;
  const disk: FreeDisk = {
    kind: seen.kind,
    root: seen.root,
    freeBytes: seen.sizeBytes,
    oursBytes: 0,
    tier: tierOf(agent.attributes, node?.tiers?.[place]),
  };
  const key = node?.id ?? agent.agentId;
  for (const pool of inPriority(pools.values())) {
    const fit = fitOf(pool, selectorOf(pool, state.options), disk, agent);
    if (fit.kind === 'passed' || !counts.wants(pool, state, key)) continue;
    counts.add(pool.name, key);
    return {
      ...NO_DISK,
      kind: 'claim-disk',
      pool: pool.name,
      node: node === undefined ? null : formatNode(node.id),
      hostname: agent.hostname,
      place,
      sizeBytes: fit.sizeBytes,
      reason: `pool "${pool.name}" selects it and claims disks as they appear`,
    };
  }
  return null;
}

/** One of ours is there already: offers are as old as they are, and shared disks are claimed once. */
function isOurs(state: State, node: NodeRecord | undefined, seen: SeenDisk): boolean {
  if (node === undefined) return false;
  for (const disk of state.facts.disks.values()) {
    if (disk.node !== node.id || disk.phase === 'lost') continue;
    if (disk.kind === seen.kind && disk.sourceRoot === seen.root) return true;
  }
  return false;
}
