/**
 * Carries changes of the pools out: settings at once, disks node by node, as a job that can be paused, resumed
 * and cancelled.
 *
 *   disk does not fit ── marked (no new data) ── its node's turn ── emptied ─┬─▶ next pool
 *                          ▲        │ cancel                                 └─▶ releasing (offer-release.ts)
 *                          └────────┴──▶ stays as it was, until the next apply
 *
 * All that leave are marked at the start, so that nothing is copied to a disk that goes later. One node is
 * emptied at a time: redundancy is kept, as in any drain, and an operator sees and stops what happens.
 */
import { StorageError } from '../../../shared/base/errors.ts';
import { formatDisk, formatJob, formatNode, type NodeId } from '../../../shared/base/ids.ts';
import type {
  NewPool,
  PlanView,
  PoolDocument,
  PoolSettings,
} from '../../../shared/model/pool-settings.ts';
import type { CommandResult } from '../contract.ts';
import { recordEvent } from '../events.ts';
import { familyKey } from '../facts.ts';
import { endJob, startJob } from '../jobs/jobs.ts';
import { deletePg, memberCount } from '../members/members.ts';
import { setDiskPhase } from '../members/sessions.ts';
import { heldBy } from '../nodes/nodes.ts';
import type { DiskRecord, JobRecord, PoolRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { findApplyJob } from './apply-state.ts';
import { changesOf, findMisfits, planPools } from './pool-plan.ts';
import { changedPool, desiredPools, newPool, POOLS_MAX } from './pool-settings.ts';

/** Volumes go there when nothing else is said, so it stays. */
const DEFAULT_POOL = 'default';

export function createPool(state: State, pool: NewPool, now: Now): CommandResult {
  const { pools } = state.facts;
  if (pools.size >= POOLS_MAX) {
    const text = `Cannot create another pool: the cluster has its limit of ${POOLS_MAX}`;
    return failed(new StorageError('no-space', text, { poolsMax: POOLS_MAX }));
  }
  const record = newPool(pool, state.options, (name) => pools.has(name));
  if (record instanceof StorageError) return failed(record);
  putPool(state, record, now);
  return { kind: 'done', id: null };
}

/** Claims follow the new settings at once; disks that do not fit any more wait for an apply. */
export function updatePool(
  state: State,
  command: { readonly pool: string; readonly changes: PoolSettings },
  now: Now,
): CommandResult {
  const pool = findPool(state, command.pool);
  if (pool instanceof StorageError) return failed(pool);
  const record = changedPool(pool, command.changes, state.options, 'part');
  if (record instanceof StorageError) return failed(record);
  putPool(state, record, now);
  return { kind: 'done', id: null };
}

export function deletePool(state: State, name: string, now: Now): CommandResult {
  const pool = findPool(state, name);
  if (pool instanceof StorageError) return failed(pool);
  const refusal = whyNotDelete(state, pool) ?? whyBusy(state);
  if (refusal !== null) return failed(refusal);
  const after = new Map([...state.facts.pools.values()].map((each) => [each.name, each]));
  after.set(name, { ...pool, isLeaving: true });
  return begin(state, after, `pool "${name}" is deleted`, now);
}

/** Puts the document in force (null: what is in force already) and starts to move disks accordingly. */
export function applyPools(state: State, document: PoolDocument | null, now: Now): CommandResult {
  const after = wantedPools(state, document);
  if (after instanceof StorageError) return failed(after);
  const running = findApplyJob(state);
  // Asked for again: what is asked for is under way.
  if (running !== null && !isNews(state, after)) return { kind: 'done', id: running.id };
  const busy = whyBusy(state);
  if (busy !== null) return failed(busy);
  for (const pool of after.values()) {
    if (pool.isLeaving !== true) continue;
    const refusal = whyNotDelete(state, pool);
    if (refusal !== null) return failed(refusal);
  }
  return begin(state, after, 'an operator applied the pools', now);
}

function isNews(state: State, after: ReadonlyMap<string, PoolRecord>): boolean {
  return [...after.values()].some((pool) => {
    const before = state.facts.pools.find(pool.name);
    return before === undefined || changesOf(before, pool).length > 0;
  });
}

/** The pools as a document would have them; those of now without one. */
export function wantedPools(
  state: State,
  document: PoolDocument | null,
): ReadonlyMap<string, PoolRecord> | StorageError {
  const { pools } = state.facts;
  if (document === null) return new Map([...pools.values()].map((pool) => [pool.name, pool]));
  return desiredPools(pools.values(), document, state.options, DEFAULT_POOL);
}

/** What a document would change, or what is pending without one. */
export function planView(
  state: State,
  document: PoolDocument | null,
  now: Now,
): PlanView | StorageError {
  const before = wantedPools(state, null);
  const after = wantedPools(state, document);
  if (before instanceof StorageError) return before;
  return after instanceof StorageError ? after : planPools(state, before, after, now);
}

function begin(
  state: State,
  after: ReadonlyMap<string, PoolRecord>,
  why: string,
  now: Now,
): CommandResult {
  let changed = 0;
  for (const pool of after.values()) {
    if (pool === state.facts.pools.find(pool.name)) continue;
    changed += putPool(state, pool, now) ? 1 : 0;
    if (pool.isLeaving === true) dropFamilies(state, pool);
  }
  const misfits = findMisfits(state, after);
  const isDeleting = [...after.values()].some(({ isLeaving }) => isLeaving === true);
  if (misfits.length === 0 && changed === 0 && !isDeleting) return { kind: 'done', id: null };
  for (const { disk, to, reason } of misfits) {
    state.facts.disks.update(disk.id, { unselected: { to, reason } });
  }
  const held = heldBy(
    state,
    misfits.map(({ disk }) => disk),
  );
  const moved = misfits.filter(({ to }) => to !== null).length;
  const reason = `${why}: ${changed} pools change, ${moved} disks go to another pool, ${misfits.length - moved} back to Mesos`;
  const figures = { disksToMove: moved, disksToRelease: misfits.length - moved };
  const job = startJob(state, { kind: 'apply', subject: 'pools', reason, ...held, figures }, now);
  say(state, 'pools.applying', `${formatJob(job.id)}: ${reason}`, now);
  return { kind: 'done', id: job.id };
}

export function pauseApply(state: State, job: JobRecord, now: Now): CommandResult {
  if (job.kind !== 'apply') return failed(cannot('pause', job));
  if (job.phase === 'paused') return { kind: 'done', id: job.id };
  if (job.phase !== 'running') return failed(cannot('pause', job));
  state.facts.jobs.update(job.id, { phase: 'paused' });
  state.work.applyTurn = null;
  say(state, 'pools.paused', `${formatJob(job.id)} was paused by an operator`, now);
  return { kind: 'done', id: job.id };
}

export function resumeApply(state: State, job: JobRecord, now: Now): CommandResult {
  if (job.kind !== 'apply') return failed(cannot('resume', job));
  if (job.phase === 'running') return { kind: 'done', id: job.id };
  if (job.phase !== 'paused') return failed(cannot('resume', job));
  state.facts.jobs.update(job.id, { phase: 'running' });
  say(state, 'pools.resumed', `${formatJob(job.id)} goes on: an operator resumed it`, now);
  return { kind: 'done', id: job.id };
}

/** What was done stays; disks that have not left keep their pools, also those that were to be deleted. */
export function cancelApply(state: State, job: JobRecord, now: Now): CommandResult {
  for (const disk of state.facts.disks.values()) {
    if ((disk.unselected ?? null) !== null) state.facts.disks.update(disk.id, { unselected: null });
  }
  for (const pool of state.facts.pools.values()) {
    if (pool.isLeaving !== true) continue;
    const { isLeaving: _leaving, ...staying } = pool;
    state.facts.pools.put(staying);
  }
  state.work.applyTurn = null;
  endJob(state, job, { phase: 'cancelled' }, now);
  const text = `${formatJob(job.id)} was cancelled: what is left of it is shown by "cistern plan"`;
  say(state, 'pools.cancelled', text, now);
  return { kind: 'done', id: job.id };
}

/** Every tick: whose turn it is, what is empty by now, and whether all is done. */
export function superviseApply(state: State, now: Now): void {
  const job = findApplyJob(state);
  if (job === null) return;
  const marked = [...state.facts.disks.values()].filter(
    (disk) => (disk.unselected ?? null) !== null,
  );
  for (const disk of marked) if (isEmpty(state, disk)) leave(state, disk, now);
  const left = marked.filter((disk) => state.facts.disks.get(disk.id).unselected !== null);
  const turn = job.phase === 'paused' ? null : nextTurn(left);
  if (turn !== state.work.applyTurn) {
    state.work.applyTurn = turn;
    state.work.isMovesDirty = true;
  }
  follow(state, job, left);
  forgetPools(state, now);
  const isDeleting = [...state.facts.pools.values()].some(({ isLeaving }) => isLeaving === true);
  if (left.length > 0 || isDeleting) return;
  endJob(state, state.facts.jobs.get(job.id), { phase: 'done' }, now);
  say(state, 'pools.applied', `${formatJob(job.id)} is done: every disk fits its pool`, now);
}

function nextTurn(left: readonly DiskRecord[]): NodeId | null {
  let turn: NodeId | null = null;
  for (const { node } of left) if (turn === null || node < turn) turn = node;
  return turn;
}

function isEmpty(state: State, disk: DiskRecord): boolean {
  return memberCount(state, disk.id) === 0 && (state.work.targetsOfDisk.get(disk.id) ?? 0) === 0;
}

/** It holds nothing any more: into the next pool, or back to Mesos. */
function leave(state: State, disk: DiskRecord, now: Now): void {
  const { to = null, reason = '' } = disk.unselected ?? {};
  const name = `${formatDisk(disk.id)} on ${formatNode(disk.node)}`;
  const next = to === null ? undefined : state.facts.pools.find(to);
  state.facts.disks.update(disk.id, { unselected: null });
  if (next !== undefined && next.isLeaving !== true) {
    state.facts.disks.update(disk.id, { pool: next.name });
    state.work.replan.set(next.name, `${name} came from pool "${disk.pool}"`);
    const text = `${name} is empty and goes from pool "${disk.pool}" to pool "${next.name}": ${reason}`;
    recordEvent(
      state,
      { severity: 'info', kind: 'disk.moved', message: text, subject: formatDisk(disk.id) },
      now,
    );
    return;
  }
  setDiskPhase(state, state.facts.disks.get(disk.id), { phase: 'releasing', error: '' }, now);
  const text = `${name} is empty and is given back to Mesos: ${reason}`;
  recordEvent(
    state,
    { severity: 'info', kind: 'disk.unselected', message: text, subject: formatDisk(disk.id) },
    now,
  );
}

function follow(state: State, job: JobRecord, left: readonly DiskRecord[]): void {
  const held = heldBy(state, left);
  const movesTotal = Math.max(job.movesTotal, held.movesTotal);
  const movesDone = movesTotal - held.movesTotal;
  const doneBytes = Math.max(job.doneBytes, job.totalBytes - held.totalBytes);
  const isSame =
    movesTotal === job.movesTotal && movesDone === job.movesDone && doneBytes === job.doneBytes;
  if (!isSame) state.facts.jobs.update(job.id, { movesTotal, movesDone, doneBytes });
}

/** A deleted pool goes when no disk names it any more. */
function forgetPools(state: State, now: Now): void {
  for (const pool of [...state.facts.pools.values()]) {
    if (pool.isLeaving !== true) continue;
    const isNamed = [...state.facts.disks.values()].some((disk) => disk.pool === pool.name);
    if (isNamed) continue;
    state.facts.pools.delete(pool.name);
    state.expansion.delete(pool.name);
    state.work.replan.delete(pool.name);
    say(state, 'pool.deleted', `Pool "${pool.name}" is deleted`, now, pool.name);
  }
}

/** Its placement groups hold nothing: no volume is left, and volumes that were deleted are forgotten. */
function dropFamilies(state: State, pool: PoolRecord): void {
  for (const family of [...state.facts.families.values()]) {
    if (family.pool !== pool.name) continue;
    for (const pg of [...state.facts.pgs.values()]) {
      const isOfFamily = pg.id >= family.pgBase && pg.id < family.pgBase + family.pgCount;
      if (isOfFamily) deletePg(state, pg.id);
    }
    state.facts.families.delete(familyKey(family.pool, family.replicas));
  }
}

function whyNotDelete(state: State, pool: PoolRecord): StorageError | null {
  if (pool.name === DEFAULT_POOL) {
    const text = `Pool "${pool.name}" cannot be deleted: volumes go there when no pool is named`;
    return new StorageError('conflict', text, { pool: pool.name });
  }
  for (const volume of state.facts.volumes.values()) {
    if (volume.pool !== pool.name) continue;
    const what =
      volume.phase === 'ready' ? 'is in it' : 'was deleted and its space is not free yet';
    const text = `Cannot delete pool "${pool.name}": volume "${volume.name}" ${what}`;
    return new StorageError('conflict', text, { pool: pool.name, volume: volume.name });
  }
  for (const job of state.facts.jobs.values()) {
    if (job.phase !== 'running' || job.kind !== 'scrub') continue;
    const text = `Cannot delete pool "${pool.name}" while ${formatJob(job.id)} (scrub) runs: wait for it or cancel it`;
    return new StorageError('conflict', text, { job: formatJob(job.id) });
  }
  return null;
}

function whyBusy(state: State): StorageError | null {
  const job = findApplyJob(state);
  if (job === null) return null;
  const name = formatJob(job.id);
  const text = `The pools are being changed already (${name} is ${job.phase}): wait for it or cancel it`;
  return new StorageError('conflict', text, { job: name });
}

function findPool(state: State, name: string): PoolRecord | StorageError {
  const pool = state.facts.pools.find(name);
  if (pool === undefined) {
    return new StorageError('not-found', `There is no pool "${name}"`, { pool: name });
  }
  if (pool.isLeaving !== true) return pool;
  return new StorageError('conflict', `Pool "${name}" is being deleted`, { pool: name });
}

/** Whether anything is different from before. */
function putPool(state: State, pool: PoolRecord, now: Now): boolean {
  const before = state.facts.pools.find(pool.name);
  const changes = before === undefined ? [] : changesOf(before, pool);
  if (before !== undefined && changes.length === 0) return false;
  state.facts.pools.put(pool);
  if (before?.failureDomain !== pool.failureDomain) {
    state.work.replan.set(pool.name, 'its failure domain was changed');
  }
  const text =
    before === undefined
      ? `Pool "${pool.name}" was created by an operator`
      : `Settings of pool "${pool.name}" were changed by an operator: ${changes.join(', ')}`;
  const kind = before === undefined ? 'pool.created' : 'pool.changed';
  say(state, kind, text, now, pool.name);
  return true;
}

function say(state: State, kind: string, message: string, now: Now, subject = 'cluster'): void {
  recordEvent(state, { severity: 'info', kind, message, subject }, now);
}

function cannot(what: string, job: JobRecord): StorageError {
  const name = formatJob(job.id);
  if (job.kind !== 'apply') {
    const text = `Cannot ${what} ${name}: a ${job.kind} cannot be paused, only the application of pools can`;
    return new StorageError('conflict', text, { job: name });
  }
  return new StorageError('conflict', `Cannot ${what} ${name}: it is ${job.phase}`, { job: name });
}

function failed(error: StorageError): CommandResult {
  return { kind: 'failed', error };
}
