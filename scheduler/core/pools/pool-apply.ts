/** The job that brings disks in line with what their pools select, node by node. */
import type { JobRecord } from '../records.ts';
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
