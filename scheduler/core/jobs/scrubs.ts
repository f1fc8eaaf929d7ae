/**
 * Scrub as a job: which PG on which disk each node looks at next, how far it is, what it found. One job
 * at a time; it goes through every in-sync replica in its scope, one on each disk at a time. A node is
 * told all its orders again whenever its report does not have them, so that lost messages, restarts
 * and a change of manager need no other handling. When a replica was done is durable; positions inside
 * one are remembered while the manager lives, and come back with the reports of nodes that live on.
 */
import { StorageError } from '../../../shared/base/errors.ts';
import {
  type DiskId,
  formatDisk,
  formatJob,
  formatVolume,
  type JobId,
  type NodeId,
  type PgId,
} from '../../../shared/base/ids.ts';
import type { NodeReport } from '../../../shared/model/node-report.ts';
import {
  SCRUB_ORDERS_MAX,
  type ScrubOrder,
  type ScrubReport,
  type ScrubScope,
} from '../../../shared/model/scrub.ts';
import type { Command, CommandResult, Effect } from '../contract.ts';
import { recordEvent } from '../events.ts';
import { familyOf } from '../members/members.ts';
import { isDiskServing } from '../nodes/node-life.ts';
import type { JobRecord, PgRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import type { ScrubWork } from '../work.ts';
import { endJob, startJob } from './jobs.ts';

export function findScrub(state: State): JobRecord | null {
  for (const job of state.facts.jobs.values()) {
    if (job.kind === 'scrub' && job.phase === 'running') return job;
  }
  return null;
}

export function startScrub(
  state: State,
  command: Extract<Command, { kind: 'start-scrub' }>,
  now: Now,
): CommandResult {
  const running = findScrub(state);
  if (running !== null) {
    const text = `A scrub is running already: ${formatJob(running.id)} of ${running.subject}`;
    return failed(new StorageError('conflict', text, { job: formatJob(running.id) }));
  }
  const { scope } = command;
  const subject = subjectOf(state, scope);
  if (subject instanceof StorageError) return failed(subject);
  const reason = command.isScheduled ? 'its time has come' : 'an operator asked for it';
  const work = { queues: queuesOf(state, scope, null) };
  const movesTotal = countQueued(work.queues);
  const totalBytes = bytesOf(state, work.queues);
  const job = startJob(
    state,
    { kind: 'scrub', subject, reason, movesTotal, totalBytes, scope },
    now,
  );
  state.work.scrub = { job: job.id, ...work, positions: new Map() };
  const message = `Scrub of ${subject} begins because ${reason}: ${movesTotal} replicas are read and compared`;
  recordEvent(state, { severity: 'info', kind: 'scrub.started', message, subject }, now);
  return { kind: 'done', id: job.id };
}

export function cancelScrub(state: State, job: JobRecord, now: Now): CommandResult {
  endJob(state, job, { phase: 'cancelled' }, now);
  state.work.scrub = null;
  const message = `Scrub of ${job.subject} was stopped by an operator: ${job.movesDone} of ${job.movesTotal} replicas are done`;
  const event = { severity: 'info', kind: 'scrub.stopped', message, subject: job.subject } as const;
  recordEvent(state, event, now);
  return { kind: 'done', id: job.id };
}

/** Takes in how far a node is; tells it its orders when it does not have them. */
export function onScrubReport(
  state: State,
  from: { readonly node: NodeId; readonly session: string },
  report: NodeReport,
  now: Now,
): Effect[] {
  const { scrubs } = report;
  const job = findScrub(state);
  if (job === null && scrubs.length === 0) return [];
  const work = job === null ? null : workOf(state, job);
  if (work !== null) for (const each of scrubs) takeReport(state, work, each, now);
  const orders = work === null ? [] : ordersOf(state, work, from.node);
  const has = new Set(scrubs.map(keyOf));
  const isSame = orders.length === scrubs.length && orders.every((each) => has.has(keyOf(each)));
  return isSame ? [] : [{ kind: 'scrubs', session: from.session, orders }];
}

/** Every tick: the job is done when nothing is left on disks that serve. */
export function superviseScrub(state: State, now: Now): void {
  const job = findScrub(state);
  if (job === null) return;
  const work = workOf(state, job);
  let skipped = 0;
  for (const [id, queue] of work.queues) {
    dropLeft(state, id, queue);
    const disk = state.facts.disks.find(id);
    if (queue.length > 0 && disk !== undefined && isDiskServing(state, disk)) return;
    skipped += queue.length;
  }
  finish(state, job, skipped, now);
}

/** Bytes of the replicas that are being looked at, as far as their nodes are with them. */
export function scrubbingBytes(state: State): number {
  let bytes = 0;
  for (const observed of state.nodes.values()) {
    for (const scrub of observed.report?.scrubs ?? []) {
      if (scrub.isDone || scrub.totalExtents === 0) continue;
      bytes += ((state.pgBytes.get(scrub.pg) ?? 0) * scrub.doneExtents) / scrub.totalExtents;
    }
  }
  return bytes;
}

/** Why the scrub of a replica does not get on; null while it does. */
export function scrubObstacle(state: State): string | null {
  for (const observed of state.nodes.values()) {
    for (const scrub of observed.report?.scrubs ?? []) {
      if (scrub.error !== '') return `${formatDisk(scrub.disk)}: ${scrub.error}`;
    }
  }
  return null;
}

function takeReport(state: State, work: ScrubWork, report: ScrubReport, now: Now): void {
  if (report.job !== work.job) return;
  const queue = work.queues.get(report.disk);
  if (queue?.[0] !== report.pg) return;
  const key = `${report.pg}/${report.disk}`;
  if (!report.isDone) {
    if (report.position !== null) work.positions.set(key, report.position);
    return;
  }
  queue.shift();
  work.positions.delete(key);
  noteDone(state, report, now);
}

function noteDone(state: State, report: ScrubReport, now: Now): void {
  const { facts } = state;
  const known = facts.scrubs.find(report.pg);
  const earlier = known?.job === report.job ? known.doneDisks : [];
  const doneDisks = [...earlier, report.disk];
  const members = facts.pgs.find(report.pg)?.inSync ?? [];
  const job = facts.jobs.get(report.job);
  const isWhole = job.scope?.volume === undefined || job.scope.volume === null;
  const isAll = isWhole && members.every((disk) => doneDisks.includes(disk));
  facts.scrubs.put({
    pg: report.pg,
    job: report.job,
    doneDisks,
    lastAtMs: isAll ? now.wallMs : (known?.lastAtMs ?? null),
  });
  const add = (name: string, value: number): number => (job.figures[name] ?? 0) + value;
  facts.jobs.update(job.id, {
    movesDone: job.movesDone + 1,
    doneBytes: Math.min(job.totalBytes, job.doneBytes + (state.pgBytes.get(report.pg) ?? 0)),
    figures: {
      ...job.figures,
      checkedBytes: add('checkedBytes', report.checkedBytes),
      badBlocks: add('badBlocks', report.badBlocks),
      differingBlocks: add('differingBlocks', report.differingBlocks),
      healedExtents: add('healedExtents', report.healedExtents),
      skippedExtents: add('skippedExtents', report.skippedExtents),
    },
  });
}

function finish(state: State, job: JobRecord, skippedReplicas: number, now: Now): void {
  state.work.scrub = null;
  endJob(state, job, { phase: 'done', figures: { skippedReplicas } }, now);
  const { badBlocks = 0, differingBlocks = 0, healedExtents = 0 } = job.figures;
  const found =
    badBlocks + differingBlocks === 0
      ? 'nothing was wrong'
      : `${badBlocks} bad blocks, ${differingBlocks} differing ones in ${healedExtents} extents`;
  const left = skippedReplicas === 0 ? '' : `; ${skippedReplicas} replicas were out of reach`;
  const message = `Scrub of ${job.subject} is done: ${job.movesDone} replicas, ${found}${left}`;
  const severity = badBlocks + differingBlocks === 0 ? 'info' : 'warning';
  recordEvent(state, { severity, kind: 'scrub.done', message, subject: job.subject }, now);
}

function ordersOf(state: State, work: ScrubWork, node: NodeId): ScrubOrder[] {
  const orders: ScrubOrder[] = [];
  const volume = state.facts.jobs.get(work.job).scope?.volume ?? null;
  for (const [id, queue] of work.queues) {
    const disk = state.facts.disks.find(id);
    if (disk?.node !== node || orders.length >= SCRUB_ORDERS_MAX) continue;
    dropLeft(state, id, queue);
    const pg = queue[0];
    if (pg === undefined || !isDiskServing(state, disk)) continue;
    const after = work.positions.get(`${pg}/${id}`) ?? null;
    orders.push({ job: work.job, pg, disk: id, volume, after });
  }
  return orders;
}

/** PGs that left the disk, or are being copied onto it anew, need no look. */
function dropLeft(state: State, disk: DiskId, queue: PgId[]): void {
  while (queue[0] !== undefined) {
    if (state.facts.pgs.find(queue[0])?.inSync.includes(disk) === true) return;
    queue.shift();
  }
}

function workOf(state: State, job: JobRecord): ScrubWork {
  const known = state.work.scrub;
  if (known?.job === job.id) return known;
  const scope = job.scope ?? EVERYTHING;
  const made = {
    job: job.id,
    queues: queuesOf(state, scope, job.id),
    positions: new Map(),
  };
  state.work.scrub = made;
  return made;
}

const EVERYTHING: ScrubScope = { pool: null, volume: null, disk: null };

/** Without what `job` has done already. */
function queuesOf(state: State, scope: ScrubScope, job: JobId | null): Map<DiskId, PgId[]> {
  const queues = new Map<DiskId, PgId[]>();
  for (const pg of state.facts.pgs.values()) {
    if (!isInScope(state, pg, scope)) continue;
    const known = state.facts.scrubs.find(pg.id);
    const done = job !== null && known?.job === job ? known.doneDisks : [];
    for (const disk of pg.inSync) {
      if (done.includes(disk) || (scope.disk !== null && scope.disk !== disk)) continue;
      const queue = queues.get(disk) ?? [];
      queues.set(disk, queue);
      queue.push(pg.id);
    }
  }
  for (const queue of queues.values()) queue.sort((a, b) => a - b);
  return queues;
}

function isInScope(state: State, pg: PgRecord, scope: ScrubScope): boolean {
  if (scope.volume !== null) {
    const volume = state.facts.volumes.find(scope.volume);
    if (volume === undefined) return false;
    const family = familyOf(state, pg.id);
    return family.pool === volume.pool && family.replicas === volume.replicas;
  }
  return scope.pool === null || familyOf(state, pg.id).pool === scope.pool;
}

function subjectOf(state: State, scope: ScrubScope): string | StorageError {
  if (scope.disk !== null) {
    if (state.facts.disks.has(scope.disk)) return formatDisk(scope.disk);
    return new StorageError('not-found', `There is no disk ${formatDisk(scope.disk)}`);
  }
  if (scope.volume !== null) {
    if (state.facts.volumes.has(scope.volume)) return formatVolume(scope.volume);
    return new StorageError('not-found', `There is no volume ${formatVolume(scope.volume)}`);
  }
  if (scope.pool === null) return 'cluster';
  if (state.facts.pools.has(scope.pool)) return scope.pool;
  return new StorageError('not-found', `There is no pool "${scope.pool}"`);
}

function countQueued(queues: ReadonlyMap<DiskId, readonly PgId[]>): number {
  let count = 0;
  for (const queue of queues.values()) count += queue.length;
  return count;
}

function bytesOf(state: State, queues: ReadonlyMap<DiskId, readonly PgId[]>): number {
  let bytes = 0;
  for (const queue of queues.values()) {
    for (const pg of queue) bytes += state.pgBytes.get(pg) ?? 0;
  }
  return bytes;
}

function keyOf({ job, pg, disk }: Pick<ScrubOrder, 'job' | 'pg' | 'disk'>): string {
  return `${job}/${pg}/${disk}`;
}

function failed(error: StorageError): CommandResult {
  return { kind: 'failed', error };
}
