/** fio as the demo's client: writes a volume with verification, and reads all of it back. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StorageError } from '../../shared/base/errors.ts';

export interface FioJob {
  readonly uri: string;
  readonly sizeMb: number;
  readonly blockKb: number;
  readonly pattern: 'randwrite' | 'write';
  readonly depth: number;
  /** Writes per second; null: as fast as it goes. */
  readonly rateIops: number | null;
  /** Reads back what an earlier run with the same shape wrote, writes nothing. */
  readonly isVerifyOnly: boolean;
}

export interface FioResult {
  readonly writeIops: number;
  readonly writeBytes: number;
  readonly readBytes: number;
  readonly errors: number;
  /** Longest time that any one write took. */
  readonly writeMsMax: number;
}

export interface FioRun {
  readonly done: Promise<FioResult>;
  stop(): void;
}

interface FioDirection {
  readonly iops: number;
  readonly io_bytes: number;
  readonly lat_ns: { readonly max: number };
}

interface FioOutput {
  readonly jobs: readonly {
    readonly error: number;
    readonly read: FioDirection;
    readonly write: FioDirection;
  }[];
}

/** Rejects when fio fails: an I/O error or a block that is not what was written. */
export function runFio(job: FioJob): FioRun {
  const folder = mkdtempSync(join(tmpdir(), 'cistern-fio-'));
  const output = join(folder, 'result.json');
  const child = spawn('fio', fioArguments(job, output), {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const done = collect(child, output).finally(() =>
    rmSync(folder, { recursive: true, force: true }),
  );
  return { done, stop: () => child.kill('SIGTERM') };
}

function fioArguments(job: FioJob, output: string): readonly string[] {
  return [
    '--name=demo',
    '--ioengine=nbd',
    `--uri=${job.uri}`,
    `--rw=${job.pattern}`,
    `--bs=${job.blockKb}k`,
    `--iodepth=${job.depth}`,
    `--size=${job.sizeMb}M`,
    // The same seed each time: the verifying run visits the same blocks in the same order.
    '--randseed=4242',
    '--verify=crc32c',
    '--verify_fatal=1',
    '--verify_state_save=0',
    ...(job.isVerifyOnly ? ['--verify_only=1'] : ['--do_verify=0']),
    ...(job.rateIops === null ? [] : [`--rate_iops=${job.rateIops}`]),
    '--output-format=json',
    `--output=${output}`,
  ];
}

async function collect(child: ChildProcess, output: string): Promise<FioResult> {
  let complaint = '';
  const listen = (chunk: Buffer): void => {
    complaint = (complaint + chunk.toString()).slice(-2_000);
  };
  child.stdout?.on('data', listen);
  child.stderr?.on('data', listen);
  const code = await new Promise<number | string>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (exitCode, signal) => resolve(signal ?? exitCode ?? -1));
  });
  if (code !== 0) {
    throw new StorageError('corrupt', `fio ended with ${code}: ${complaint.trim()}`);
  }
  const text = readFileSync(output, 'utf8');
  const parsed = JSON.parse(text.slice(text.indexOf('{'))) as FioOutput;
  const result = parsed.jobs[0];
  // fio ends with 0 when it could not connect at all: only moved bytes prove anything.
  if (
    result === undefined ||
    result.error !== 0 ||
    result.read.io_bytes + result.write.io_bytes === 0
  ) {
    throw new StorageError('corrupt', `fio moved no data or failed: ${complaint.trim()}`);
  }
  return {
    writeIops: Math.round(result.write.iops),
    writeBytes: result.write.io_bytes,
    readBytes: result.read.io_bytes,
    errors: result.error,
    writeMsMax: result.write.lat_ns.max / 1e6,
  };
}
