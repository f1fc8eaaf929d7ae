/**
 * fio with `verify=crc32c` and verify state: random writes until the round ends, then exactly the blocks that were
 * acked are read back and checked. Each round writes in another order.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { StorageError } from '../../shared/base/errors.ts';
import type { Load } from './load.ts';

const DEPTH = 8;
const IOPS = 150;
/** fio ends its requests in flight before it goes: as long as the longest pause. */
const END_DEADLINE_MS = 120_000;
/** What fio ends with when it was asked to by SIGINT. */
const INTERRUPTED = 128;

export function createFioLoad(options: {
  readonly uri: string;
  readonly sizeMb: number;
  readonly directory: string;
  readonly seed: number;
}): Load {
  const directory = join(options.directory, 'fio');
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  let round = 0;
  let child: ChildProcess | null = null;
  let ended: Promise<FioEnd> | null = null;
  let writes = 0;
  let reads = 0;
  let latencyMsMax = 0;

  const begin = (more: readonly string[]): Promise<FioEnd> => {
    const output = join(directory, 'output.json');
    rmSync(output, { force: true });
    child = spawn(
      'fio',
      [
        '--name=chaos',
        '--ioengine=nbd',
        `--uri=${options.uri}`,
        '--rw=randwrite',
        '--bs=4k',
        `--iodepth=${DEPTH}`,
        `--size=${options.sizeMb}M`,
        `--randseed=${options.seed + round}`,
        '--verify=crc32c',
        '--verify_fatal=1',
        '--output-format=json',
        `--output=${output}`,
        ...more,
      ],
      { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    return collect(child, output);
  };

  return {
    name: 'fio',
    async start() {
      round += 1;
      ended = begin([`--rate_iops=${IOPS}`, '--do_verify=0', '--verify_state_save=1']);
      // Whoever stops it gets the failure all the same.
      ended.catch(() => undefined);
    },
    async stop() {
      child?.kill('SIGINT');
      const end = await ended;
      if (end === null || (end.code !== 0 && end.code !== INTERRUPTED)) {
        throw new StorageError('disk-failed', `fio ended with ${end?.code}: ${end?.complaint}`);
      }
      writes += end.writes;
      latencyMsMax = Math.max(latencyMsMax, end.latencyMsMax);
    },
    async verify() {
      const end = await begin([
        '--verify_only=1',
        '--verify_state_load=1',
        '--verify_state_save=0',
      ]);
      if (end.code !== 0 || end.complaint.includes('verify:')) {
        throw new StorageError('corrupt', `fio found: ${end.complaint}`);
      }
      reads += end.reads;
      return `${end.reads} blocks right`;
    },
    async close() {
      child?.kill('SIGKILL');
    },
    get figures() {
      return { writes, reads, latencyMsMax };
    },
  };
}

interface FioEnd {
  readonly code: number | string;
  readonly complaint: string;
  readonly writes: number;
  readonly reads: number;
  readonly latencyMsMax: number;
}

interface FioOutput {
  readonly jobs: readonly {
    readonly read: { readonly total_ios: number };
    readonly write: { readonly total_ios: number; readonly lat_ns: { readonly max: number } };
  }[];
}

async function collect(child: ChildProcess, output: string): Promise<FioEnd> {
  let complaint = '';
  const listen = (chunk: Buffer): void => {
    complaint = (complaint + chunk.toString()).slice(-2_000);
  };
  child.stdout?.on('data', listen);
  child.stderr?.on('data', listen);
  const code = await new Promise<number | string>((resolve, reject) => {
    let deadline: NodeJS.Timeout | null = null;
    child.on('error', reject);
    child.on('close', (exitCode, signal) => {
      if (deadline !== null) clearTimeout(deadline);
      resolve(signal ?? exitCode ?? -1);
    });
    const kill = child.kill.bind(child);
    child.kill = (signal) => {
      deadline ??= setTimeout(() => kill('SIGKILL'), END_DEADLINE_MS);
      return kill(signal);
    };
  });
  const text = readFileSync(output, 'utf8');
  const job = (JSON.parse(text.slice(text.indexOf('{'))) as FioOutput).jobs[0];
  return {
    code,
    complaint: complaint.trim(),
    writes: job?.write.total_ios ?? 0,
    reads: job?.read.total_ios ?? 0,
    latencyMsMax: (job?.write.lat_ns.max ?? 0) / 1e6,
  };
}
