/** fio as the client: one job against one NBD server for a time, or one pass that fills it. */
import { spawn } from 'node:child_process';
import { StorageError } from '../shared/base/errors.ts';
import { MiB } from '../shared/base/units.ts';
import type { BenchJob } from './jobs.ts';

export interface FioResult {
  readonly operations: number;
  readonly operationsPerSecond: number;
  readonly bytesPerSecond: number;
  /** Completion latency. */
  readonly latencyUsMedian: number;
  readonly latencyUs99: number;
}

interface FioDirection {
  readonly total_ios: number;
  readonly iops: number;
  readonly bw_bytes: number;
  readonly clat_ns: { readonly percentile?: Readonly<Record<string, number>> };
}

interface FioOutput {
  readonly jobs: readonly {
    readonly error: number;
    readonly read: FioDirection;
    readonly write: FioDirection;
  }[];
}

/** Beyond the job's own time: connecting, and I/O that waits for a node to come back. */
const PATIENCE_MS = 60_000;
const ERROR_TEXT_MAX = 2_000;
/**
 * Filled in pieces of this size, the page cache holds small folios on both sides. Larger ones make every
 * later 4 KiB overwrite many times dearer on ext4, and the figures would tell of that instead.
 */
const FILL_BLOCK_KB = 64;

/** Runs `job` for `seconds`. Rejects when fio fails or moves no data. */
export function runJob(
  uri: string,
  job: BenchJob,
  extent: { readonly sizeBytes: number; readonly seconds: number },
  signal: AbortSignal,
): Promise<FioResult> {
  return runFio(
    [
      `--uri=${uri}`,
      `--rw=${job.pattern}`,
      `--bs=${job.blockKb}k`,
      `--iodepth=${job.depth}`,
      `--size=${extent.sizeBytes}`,
      '--time_based=1',
      `--runtime=${Math.round(extent.seconds * 1000)}ms`,
      // Cheaper for the client, which shares the machine with the servers; every block is as likely.
      '--norandommap=1',
      '--randrepeat=0',
      ...(job.fsyncEvery === null ? [] : [`--fsync=${job.fsyncEvery}`]),
    ],
    extent.seconds * 1000 + PATIENCE_MS,
    signal,
  );
}

/** Writes all of it once, in sequence, and flushes. */
export async function fill(uri: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
  const deadlineMs = PATIENCE_MS + (sizeBytes / MiB) * 100;
  await runFio(
    [
      `--uri=${uri}`,
      '--rw=write',
      `--bs=${FILL_BLOCK_KB}k`,
      '--iodepth=8',
      `--size=${sizeBytes}`,
      '--end_fsync=1',
    ],
    deadlineMs,
    signal,
  );
}

async function runFio(
  job: readonly string[],
  deadlineMs: number,
  signal: AbortSignal,
): Promise<FioResult> {
  const child = spawn(
    'fio',
    ['--name=bench', '--ioengine=nbd', '--output-format=json', '--group_reporting=1', ...job],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      signal: AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)]),
    },
  );
  let output = '';
  let complaint = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-ERROR_TEXT_MAX);
  });
  const code = await new Promise<number | string>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (exitCode, killedBy) => resolve(killedBy ?? exitCode ?? -1));
  });
  const result = code === 0 ? readResult(output) : null;
  if (result === null) {
    throw new StorageError(
      'unavailable',
      `fio ended with ${code} and moved no data (${job.join(' ')}): ${complaint.trim()}`,
    );
  }
  return result;
}

/** fio ends with 0 when it could not connect at all: only moved data prove anything. */
function readResult(output: string): FioResult | null {
  const start = output.indexOf('{');
  if (start < 0) return null;
  const job = (JSON.parse(output.slice(start)) as FioOutput).jobs[0];
  if (job === undefined || job.error !== 0) return null;
  const direction = job.read.total_ios > 0 ? job.read : job.write;
  if (direction.total_ios === 0) return null;
  const percentiles = direction.clat_ns.percentile ?? {};
  return {
    operations: direction.total_ios,
    operationsPerSecond: direction.iops,
    bytesPerSecond: direction.bw_bytes,
    latencyUsMedian: (percentiles['50.000000'] ?? 0) / 1000,
    latencyUs99: (percentiles['99.000000'] ?? 0) / 1000,
  };
}
