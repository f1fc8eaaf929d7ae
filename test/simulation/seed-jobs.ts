/**
 * Runs one range of seeds in several processes: each takes every Nth seed with the same options. What they
 * print appears whole, one seed after the other; figures are added up at the end.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export interface SeedRange {
  readonly first: number;
  /** Null: until the time is over. */
  readonly count: number | null;
}

export interface SeedSum {
  readonly count: number;
  readonly failed: number;
}

export interface JobsOptions {
  /** Of the simulator's command line. */
  readonly program: string;
  /** All options but those that name seeds. */
  readonly flags: readonly string[];
  readonly write: (line: string) => void;
}

/** Processes at a time; more than processors helps nobody. */
export const JOBS_MAX = 64;

export async function runJobs(
  jobs: number,
  { first, count }: SeedRange,
  options: JobsOptions,
): Promise<SeedSum> {
  const workers: Promise<SeedSum>[] = [];
  for (let index = 0; index < jobs; index += 1) {
    const share = count === null ? null : Math.ceil((count - index) / jobs);
    if (share !== null && share <= 0) continue;
    const seeds = [`--from=${first + index}`, `--step=${jobs}`];
    if (share !== null) seeds.push(`--seeds=${share}`);
    workers.push(runWorker([...options.flags, ...seeds], options));
  }
  const sums = await Promise.all(workers);
  return {
    count: sums.reduce((sum, part) => sum + part.count, 0),
    failed: sums.reduce((sum, part) => sum + part.failed, 0),
  };
}

/** A worker that ends without its summary counts as a failure of its own. */
function runWorker(args: readonly string[], options: JobsOptions): Promise<SeedSum> {
  const { program, write } = options;
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let block: string[] = [];
  let sum: SeedSum | null = null;
  const flush = (): void => {
    for (const line of block) write(line);
    block = [];
  };
  createInterface({ input: child.stdout }).on('line', (line) => {
    const summary = /^(\d+) seeds, (\d+) failed/.exec(line);
    if (!line.startsWith(' ')) flush();
    if (summary === null) block.push(line);
    else sum = { count: Number(summary[1]), failed: Number(summary[2]) };
  });
  return new Promise((resolve) => {
    child.on('close', (code) => {
      flush();
      if (sum === null) write(`FAIL a worker ended with code ${code} and without a summary`);
      resolve(sum ?? { count: 0, failed: 1 });
    });
  });
}
