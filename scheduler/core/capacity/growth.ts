/**
 * Growing a PATH or root disk on which there is free space: what an expansion does when Mesos offers no disk of
 * its own (DESIGN 10).
 *
 * Mesos grows a volume only while no task uses it. So this is a planned outage of one disk, and there is one
 * at a time in the whole cluster, begun only while nothing else is away:
 *
 *   chosen ──leaves its PGs, all of which go on without it──▶ empty of members ──KILL──▶ task ended
 *     ▲                                                                                     │
 *     └──launched on a larger volume, joins again (only what changed is copied)◀──GROW_VOLUME, by an offer
 *
 * What is chosen is a fact of the disk: a manager that takes over in between goes on, or gives it up when its
 * time has passed. Nothing is ever shrunk: Mesos loses what a SHRINK frees. The operations are in
 * `mesos/offer-growth.ts`.
 */
import { type DiskId, formatDisk, formatNode } from '../../../shared/base/ids.ts';
import { formatBytes, formatDuration, MiB } from '../../../shared/base/units.ts';
import { isBraked } from '../brake.ts';
import { diskUse } from '../disks/disk-use.ts';
import { recordEvent } from '../events.ts';
import { changeMembers, familyOf, isTrusted, memberCount } from '../members/members.ts';
import {
  isDiskLeaving,
  isDiskRemovable,
  isDiskServing,
  isDiskServingById,
} from '../nodes/node-life.ts';
import { selectorOf } from '../pools/selection.ts';
import type { DiskRecord, NodeRecord, PoolRecord } from '../records.ts';
import type { Now, State } from '../state.ts';

/** Less is not worth an outage: as small as a disk may be. */
const GROW_BYTES_MIN = 64 * MiB;
/** Disks of own and of new nodes come first: offers of all have been seen by then. */
export const GROW_AFTER_MS = 12_000;
/** What an offer showed this long ago may not be there any more. */
const SEEN_MS_MAX = 900_000;
/** A stop takes seconds, an offer a second or two; after this the disk is started as it is. */
export const GROW_MS_MAX = 180_000;
/** A disk whose growth led nowhere is not tried again for so long. */
const RETRY_MS = 3_600_000;

/** Every tick: goes on with the disk that grows, or begins with one that a pool needs. */
export function superviseGrowth(state: State, now: Now): void {
  const growing = findGrowing(state);
  if (growing !== null) {
    followGrowth(state, growing, now);
    return;
  }
  for (const [name, wish] of state.expansion) {
    const pool = state.facts.pools.find(name);
    const sinceMs = state.mesos.wishSinceMs.get(name);
    if (pool === undefined || wish.diskCount === 0 || sinceMs === undefined) continue;
    if (now.ms - sinceMs < GROW_AFTER_MS || whyNotNow(state) !== null) continue;
    const choice = chooseDisk(state, pool, now);
    if (choice === null) continue;
    begin(state, choice, wish.reason, now);
    return;
  }
}

export function findGrowing(state: State): DiskRecord | null {
  for (const id of state.work.growing) return state.facts.disks.find(id) ?? null;
  return null;
}

export function isGrowing(disk: DiskRecord): boolean {
  return (disk.growth ?? null) !== null;
}

/** Nothing of it is needed while it is away: its task may be stopped. */
export function isReadyToGrow(state: State, disk: DiskRecord): boolean {
  return isGrowing(disk) && memberCount(state, disk.id) === 0;
}

/** A free part of the place of one of the pool's disks, as the last offers showed it. */
export function growableBytes(state: State, pool: PoolRecord, now: Now): number {
  let bytes = 0;
  for (const seen of seenSpace(state, pool, now)) bytes += seen.bytes;
  return bytes;
}

/** Mesos showed the larger volume: the disk has it from now on. */
export function noteGrown(state: State, disk: DiskRecord, sizeBytes: number, now: Now): DiskRecord {
  const addedBytes = sizeBytes - disk.sizeBytes;
  const grown = state.facts.disks.update(disk.id, { sizeBytes, growth: null });
  state.work.growing.delete(disk.id);
  state.work.replan.set(disk.pool, `${formatDisk(disk.id)} has grown`);
  creditExpansion(state, disk.pool, addedBytes);
  const message = `${name(disk)} has grown by ${formatBytes(addedBytes)} to ${formatBytes(sizeBytes)}: it is started again, and copies what it missed`;
  recordEvent(
    state,
    { severity: 'info', kind: 'disk.grown', message, subject: formatDisk(disk.id) },
    now,
  );
  return grown;
}

export function giveUpGrowth(state: State, disk: DiskRecord, why: string, now: Now): void {
  state.facts.disks.update(disk.id, { growth: null });
  state.work.growing.delete(disk.id);
  state.work.growAfterMs.set(disk.id, now.ms + RETRY_MS);
  const message = `${name(disk)} was not grown: ${why}; it is started again as it was, and left alone for ${formatDuration(RETRY_MS)}`;
  recordEvent(
    state,
    { severity: 'warning', kind: 'disk.not-grown', message, subject: formatDisk(disk.id) },
    now,
  );
}

function creditExpansion(state: State, pool: string, addedBytes: number): void {
  for (const job of state.facts.jobs.values()) {
    if (job.phase !== 'running' || job.kind !== 'expand' || job.subject !== pool) continue;
    const grownBytes = (job.figures['grownBytes'] ?? 0) + addedBytes;
    state.facts.jobs.update(job.id, { figures: { ...job.figures, grownBytes } });
  }
}

/** An outage on top of another one could take the last copy out of reach. */
function whyNotNow(state: State): string | null {
  if (isBraked(state)) return 're-replication waits after a mass failure';
  if (state.work.unsettled.size > 0) return 'data is being copied';
  if (state.work.shortTargets.size > 0) return 'some placement groups have too few replicas';
  for (const node of state.facts.nodes.values()) {
    if (node.admin !== 'gone' && node.isFenced) return `${formatNode(node.id)} is away`;
  }
  for (const disk of state.facts.disks.values()) {
    if (memberCount(state, disk.id) > 0 && !isDiskServing(state, disk)) {
      return `${formatDisk(disk.id)} is away`;
    }
  }
  return null;
}

interface SeenSpace {
  readonly disk: DiskRecord;
  readonly bytes: number;
}

/** Disks of the pool that could grow, with what is free beside each. */
function* seenSpace(state: State, pool: PoolRecord, now: Now): Generator<SeenSpace> {
  const selector = selectorOf(pool, state.options);
  for (const seen of state.mesos.seenAgents.values()) {
    const node = seen.node === null ? undefined : state.facts.nodes.find(seen.node);
    if (node === undefined || now.ms - seen.atMs > SEEN_MS_MAX) continue;
    const free = new Map<string, number>();
    for (const { kind, root, sizeBytes, owner } of seen.disks) {
      if (owner !== 'free' || (kind !== 'path' && kind !== 'root')) continue;
      const place = `${kind}:${root ?? ''}`;
      free.set(place, (free.get(place) ?? 0) + sizeBytes);
    }
    for (const id of state.facts.diskIndex.ofNode(node.id)) {
      const disk = state.facts.disks.get(id);
      const freeBytes = free.get(`${disk.kind}:${disk.sourceRoot ?? ''}`) ?? 0;
      if (disk.pool !== pool.name || freeBytes === 0 || !mayGrow(state, node, disk, now)) continue;
      const ratio = selector.shareRatioMax;
      const ours = bytesThere(state, disk);
      const left = ratio === null ? freeBytes : (freeBytes + ours) * ratio - ours;
      const sizeLeft = (selector.sizeMaxBytes ?? Number.POSITIVE_INFINITY) - disk.sizeBytes;
      const bytes = Math.floor(Math.min(freeBytes, left, sizeLeft) / MiB) * MiB;
      if (bytes >= GROW_BYTES_MIN) yield { disk, bytes };
    }
  }
}

function bytesThere(state: State, place: DiskRecord): number {
  let bytes = 0;
  for (const id of state.facts.diskIndex.ofNode(place.node)) {
    const disk = state.facts.disks.get(id);
    if (disk.phase === 'lost' || disk.kind !== place.kind) continue;
    if (disk.sourceRoot === place.sourceRoot) bytes += disk.sizeBytes;
  }
  return bytes;
}

function mayGrow(state: State, node: NodeRecord, disk: DiskRecord, now: Now): boolean {
  if (disk.kind === 'mount' || diskUse(state, disk) !== 'serving') return false;
  if (node.admin !== 'active' || isDiskLeaving(state, disk)) return false;
  if ((disk.unselected ?? null) !== null || (disk.foreign ?? null) !== null) return false;
  // Its maintenance may begin while it is away.
  if (node.unavailableFromMs !== null) return false;
  return now.ms >= (state.work.growAfterMs.get(disk.id) ?? now.ms);
}

/** Most room first; only a disk whose groups can all do without it for a while. */
function chooseDisk(state: State, pool: PoolRecord, now: Now): SeenSpace | null {
  let best: SeenSpace | null = null;
  for (const seen of seenSpace(state, pool, now)) {
    if (seen.bytes <= (best?.bytes ?? 0)) continue;
    if (canBeMissed(state, seen.disk.id)) best = seen;
  }
  return best;
}

function canBeMissed(state: State, disk: DiskId): boolean {
  for (const id of state.work.pgsOfDisk.get(disk) ?? []) {
    const pg = state.facts.pgs.get(id);
    const others = pg.inSync.filter(
      (other) => other !== disk && isTrusted(pg, other) && isDiskServingById(state, other),
    );
    if (others.length < Math.max(1, familyOf(state, id).minInSync)) return false;
  }
  return true;
}

function begin(state: State, { disk, bytes }: SeenSpace, reason: string, now: Now): void {
  const growth = { addBytes: bytes, sinceMs: now.wallMs, reason };
  state.facts.disks.update(disk.id, { growth });
  state.work.growing.add(disk.id);
  const message = `${name(disk)} is stopped for a moment to grow by ${formatBytes(bytes)}: ${reason}, and no disk of its own is offered`;
  recordEvent(
    state,
    { severity: 'info', kind: 'disk.growing', message, subject: formatDisk(disk.id) },
    now,
  );
}

function followGrowth(state: State, disk: DiskRecord, now: Now): void {
  const { growth } = disk;
  if (growth === undefined || growth === null) {
    state.work.growing.delete(disk.id);
    return;
  }
  if (disk.phase === 'failed' || disk.phase === 'lost' || isDiskLeaving(state, disk)) {
    giveUpGrowth(state, disk, 'it is not to stay', now);
    return;
  }
  if (now.wallMs - growth.sinceMs >= GROW_MS_MAX) {
    giveUpGrowth(state, disk, `it took longer than ${formatDuration(GROW_MS_MAX)}`, now);
    return;
  }
  leaveGroups(state, disk.id, now);
}

/** Its groups go on without it from the next map on; writers do not wait for it to vanish. */
function leaveGroups(state: State, disk: DiskId, now: Now): void {
  if (memberCount(state, disk) === 0 || !isDiskRemovable(state, disk, now.ms)) return;
  if (!canBeMissed(state, disk)) return;
  for (const id of [...(state.work.pgsOfDisk.get(disk) ?? [])]) {
    const pg = state.facts.pgs.get(id);
    const without = (disks: readonly DiskId[]): DiskId[] => disks.filter((one) => one !== disk);
    changeMembers(state, id, { inSync: without(pg.inSync), joining: without(pg.joining) });
  }
}

function name(disk: DiskRecord): string {
  return `${formatDisk(disk.id)} (${disk.kind} ${disk.sourceRoot ?? 'root disk'}) on ${formatNode(disk.node)}`;
}
