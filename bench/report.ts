/** The figures for people, as two tables. */
import Table from 'cli-table3';
import { formatBytes } from '../shared/base/units.ts';
import type { JobResult, ProcessFigures, RunSummary } from './measurement.ts';

const PLAIN = { style: { head: [], border: [], compact: true } };

export function formatJobs(results: readonly JobResult[]): string {
  const table = new Table({
    head: ['job', 'ratio (min … max)', 'Cistern', 'qemu-nbd', 'CPU ms/1000', 'p50 µs', 'p99 µs'],
    ...PLAIN,
  });
  for (const { job, ratio, cistern, qemu } of results) {
    const rate = (run: RunSummary): string =>
      job.blockKb >= 1024
        ? `${(run.bytesPerSecond / 1e6).toFixed(0)} MB/s`
        : `${run.operationsPerSecond.toFixed(0)} IOPS`;
    const both = (pick: (run: RunSummary) => number, digits: number): string =>
      `${pick(cistern).toFixed(digits)} / ${pick(qemu).toFixed(digits)}`;
    table.push([
      job.name,
      `${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)} … ${ratio.max.toFixed(2)})`,
      rate(cistern),
      rate(qemu),
      both((run) => run.cpuMsPerThousand, 1),
      both((run) => run.latencyUsMedian, 0),
      both((run) => run.latencyUs99, 0),
    ]);
  }
  return table.toString();
}

export function formatProcesses(processes: readonly ProcessFigures[]): string {
  const table = new Table({ head: ['process', 'memory', 'idle CPU'], ...PLAIN });
  for (const { role, memoryBytes, idleCpuPercent } of processes) {
    table.push([role, formatBytes(memoryBytes), `${idleCpuPercent.toFixed(1)} %`]);
  }
  return table.toString();
}
