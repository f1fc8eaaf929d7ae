/**
 * The method: runs of a few seconds, in turn on both targets, the order reversed every round. Other work on the
 * machine then strikes both alike, and the ratio of neighbouring runs tells what absolute figures cannot.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { type FioResult, runJob } from './fio.ts';
import type { BenchJob } from './jobs.ts';
import { type BenchProcess, cpuMsOf, cpuMsOfAll, memoryBytesOf } from './processes.ts';
import { type Spread, spreadOf } from './spread.ts';
import type { Target } from './target.ts';

export interface Extent {
  readonly sizeBytes: number;
  /** Of one run. */
  readonly seconds: number;
  readonly rounds: number;
}

export interface Run extends FioResult {
  /** Of all data processes, for a thousand operations. */
  readonly cpuMsPerThousand: number;
}

export interface Round {
  readonly cistern: Run;
  readonly qemu: Run;
}

export interface JobResult {
  readonly job: BenchJob;
  /** Cistern's operations per second over qemu-nbd's, round by round. */
  readonly ratio: Spread;
  readonly cistern: RunSummary;
  readonly qemu: RunSummary;
  readonly rounds: readonly Round[];
}

/** Medians over the rounds. */
export interface RunSummary {
  readonly operationsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly cpuMsPerThousand: number;
  readonly latencyUsMedian: number;
  readonly latencyUs99: number;
}

export interface ProcessFigures {
  readonly role: string;
  readonly memoryBytes: number;
  /** Of one core, while no client does anything. */
  readonly idleCpuPercent: number;
}

export interface Targets {
  readonly cistern: Target;
  readonly qemu: Target;
}

/** The round before the first is not counted: it warms caches and the compiler. */
export async function measureJobs(
  targets: Targets,
  extent: Extent,
  jobs: readonly BenchJob[],
  report: (text: string) => void,
  signal: AbortSignal,
): Promise<readonly JobResult[]> {
  const rounds = new Map<BenchJob, Round[]>(jobs.map((job) => [job, []]));
  for (let round = 0; round <= extent.rounds; round += 1) {
    for (const [index, job] of jobs.entries()) {
      const place = round === 0 ? 'warming up' : `round ${round} of ${extent.rounds}`;
      report(`${place}, job ${index + 1} of ${jobs.length}: ${job.name}`);
      const result = await measureRound(targets, job, extent, round % 2 === 0, signal);
      if (round > 0) rounds.get(job)?.push(result);
    }
  }
  return jobs.map((job) => summarize(job, rounds.get(job) ?? []));
}

async function measureRound(
  targets: Targets,
  job: BenchJob,
  extent: Extent,
  isQemuFirst: boolean,
  signal: AbortSignal,
): Promise<Round> {
  if (isQemuFirst) {
    const qemu = await measureRun(targets.qemu, job, extent, signal);
    return { qemu, cistern: await measureRun(targets.cistern, job, extent, signal) };
  }
  const cistern = await measureRun(targets.cistern, job, extent, signal);
  return { cistern, qemu: await measureRun(targets.qemu, job, extent, signal) };
}

async function measureRun(
  target: Target,
  job: BenchJob,
  extent: Extent,
  signal: AbortSignal,
): Promise<Run> {
  const before = cpuMsOfAll(target.dataProcesses);
  const result = await runJob(target.uri, job, extent, signal);
  const cpuMs = cpuMsOfAll(target.dataProcesses) - before;
  return { ...result, cpuMsPerThousand: (cpuMs * 1000) / result.operations };
}

function summarize(job: BenchJob, rounds: readonly Round[]): JobResult {
  return {
    job,
    ratio: spreadOf(
      rounds.map(({ cistern, qemu }) => cistern.operationsPerSecond / qemu.operationsPerSecond),
    ),
    cistern: summaryOf(rounds.map(({ cistern }) => cistern)),
    qemu: summaryOf(rounds.map(({ qemu }) => qemu)),
    rounds,
  };
}

function summaryOf(runs: readonly Run[]): RunSummary {
  const median = (pick: (run: Run) => number): number => spreadOf(runs.map(pick)).median;
  return {
    operationsPerSecond: median((run) => run.operationsPerSecond),
    bytesPerSecond: median((run) => run.bytesPerSecond),
    cpuMsPerThousand: median((run) => run.cpuMsPerThousand),
    latencyUsMedian: median((run) => run.latencyUsMedian),
    latencyUs99: median((run) => run.latencyUs99),
  };
}

/** Watches all processes of a target while they have nothing to do. */
export async function measureIdle(
  targets: Targets,
  seconds: number,
  signal: AbortSignal,
): Promise<readonly ProcessFigures[]> {
  const processes: readonly BenchProcess[] = [targets.cistern, targets.qemu].flatMap((target) => [
    ...target.dataProcesses,
    ...target.otherProcesses,
  ]);
  const before = processes.map(({ pid }) => cpuMsOf(pid));
  const startedAt = performance.now();
  await sleep(seconds * 1000, undefined, { signal });
  const elapsedMs = performance.now() - startedAt;
  return processes.map(({ role, pid }, index) => ({
    role,
    memoryBytes: memoryBytesOf(pid),
    idleCpuPercent: ((cpuMsOf(pid) - (before[index] ?? 0)) * 100) / elapsedMs,
  }));
}
