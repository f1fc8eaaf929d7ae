/** Questions about the job that brings disks in line with their pools (pool-apply.ts), for whoever waits for it. */
import type { DiskRecord, JobRecord, PgRecord } from '../records.ts';
import type { State } from '../state.ts';

/** The job that has not ended; there is one at a time. */
export function findApplyJob(state: State): JobRecord | null {
  for (const job of state.facts.jobs.values()) {
    if (job.kind === 'apply' && (job.phase === 'running' || job.phase === 'paused')) return job;
  }
  return null;
}

export function isApplyPaused(state: State): boolean {
  return findApplyJob(state)?.phase === 'paused';
}

/** It has to leave its pool, and it is not its node's turn yet, or the job is paused. */
export function isHeldBack(state: State, disk: DiskRecord): boolean {
  return (disk.unselected ?? null) !== null && disk.node !== state.work.applyTurn;
}

/** A PG that is whole where it is, and only has members that are held back to leave. */
export function isPgHeldBack(state: State, pg: PgRecord, replicas: number): boolean {
  if (pg.joining.length > 0 || pg.inSync.length < replicas) return false;
  const extras = pg.inSync.filter((disk) => !pg.target.includes(disk));
  return (
    extras.length > 0 &&
    extras.every((id) => {
      const disk = state.facts.disks.find(id);
      return disk !== undefined && isHeldBack(state, disk);
    })
  );
}
