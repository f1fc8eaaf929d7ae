/**
 * The simulator's command line: one seed, a range of seeds, or as many as fit into some minutes. A
 * failure prints the last lines of its trace and how to run it again; the exit code is then 1.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { runSeed, type Verdict } from './run.ts';
import { JOBS_MAX, runJobs, type SeedSum } from './seed-jobs.ts';
import {
  describeOptions,
  drawOptions,
  FAULT_KINDS,
  type FaultKind,
  type SwarmOverrides,
} from './swarm.ts';

const USAGE = `npm run simulate -- [options]
  --seed N           one seed
  --seeds N          so many seeds, from --from (default: 10)
  --from M           first seed (default: 1)
  --step N           every Nth seed only (default: 1)
  --minutes N        seeds from --from on, until the time is over
  --jobs N           in so many processes (default: 1)
  --faults a,b       only these faults (${FAULT_KINDS.join(', ')}; none)
  --short            short fault phases, as the tests use them
  --quick-power-loss power always comes back within seconds
  --think MS         mean time between a client's requests
  --twice            runs each seed twice and compares the digests
  --trace            prints every line of the trace
`;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    from: { type: 'string' },
    step: { type: 'string' },
    minutes: { type: 'string' },
    jobs: { type: 'string' },
    faults: { type: 'string' },
    short: { type: 'boolean' },
    'quick-power-loss': { type: 'boolean' },
    think: { type: 'string' },
    twice: { type: 'boolean' },
    trace: { type: 'boolean' },
    help: { type: 'boolean' },
  },
});

if (values.help === true) process.stdout.write(USAGE);
else process.exitCode = await main();

async function main(): Promise<number> {
  const first = whole('seed', values.seed) ?? whole('from', values.from) ?? 1;
  const minutes = whole('minutes', values.minutes);
  const limit = values.seed !== undefined ? 1 : (whole('seeds', values.seeds) ?? 10);
  const jobs = Math.min(JOBS_MAX, whole('jobs', values.jobs) ?? 1);
  const startMs = Date.now();
  const { count, failed } =
    jobs > 1
      ? await runJobs(
          jobs,
          { first, count: minutes === null ? limit : null },
          {
            program: fileURLToPath(import.meta.url),
            flags: [
              ...repeatedFlags(),
              ...(values.twice === true ? ['--twice'] : []),
              ...(minutes === null ? [] : [`--minutes=${minutes}`]),
            ],
            write,
          },
        )
      : await runAll(first, minutes === null ? limit : null, minutes);
  const seconds = Math.max(1, Math.round((Date.now() - startMs) / 1000));
  write(`${count} seeds, ${failed} failed, in ${seconds} s (${(count / seconds).toFixed(1)}/s)`);
  return failed === 0 ? 0 : 1;
}

async function runAll(
  first: number,
  limit: number | null,
  minutes: number | null,
): Promise<SeedSum> {
  const step = Math.max(1, whole('step', values.step) ?? 1);
  const endMs = minutes === null ? Number.POSITIVE_INFINITY : Date.now() + minutes * 60_000;
  const commit = readCommit();
  let failed = 0;
  let count = 0;
  for (let seed = first; Date.now() < endMs; seed += step) {
    if (limit !== null && count >= limit) break;
    count += 1;
    if (!(await runOne(seed, commit))) failed += 1;
  }
  return { count, failed };
}

async function runOne(seed: number, commit: string): Promise<boolean> {
  const options = drawOptions(seed, overrides());
  const startMs = Date.now();
  const verdict = await runSeed(options, values.trace === true ? { onLine: write } : {});
  const seconds = Math.max(0.001, (Date.now() - startMs) / 1000);
  const problems = [...verdict.violations];
  if (values.twice === true) {
    const again = await runSeed(options);
    if (again.digest !== verdict.digest) {
      problems.push(`two runs differ: digests ${verdict.digest} and ${again.digest}`);
    }
  }
  const outcome = problems.length === 0 ? 'ok  ' : 'FAIL';
  write(`${outcome} seed=${seed} commit=${commit} ${figures(verdict, seconds)}`);
  if (problems.length === 0) return true;
  write(`     ${describeOptions(options)}`);
  for (const line of verdict.lastLines) write(`     ${line}`);
  for (const problem of problems) write(`     ! ${problem}`);
  write(`     again: npm run simulate -- ${[`--seed ${seed}`, ...repeatedFlags()].join(' ')}`);
  return false;
}

function figures(verdict: Verdict, seconds: number): string {
  const { eventCount, virtualMs, doneCount, failedCount, lostCount, faults, digest } = verdict;
  return [
    `digest=${digest}`,
    `virtual=${Math.round(virtualMs / 1000)}s`,
    `events=${eventCount} (${Math.round(eventCount / seconds)}/s)`,
    `requests=${doneCount} failed=${failedCount} lost=${lostCount}`,
    faults,
  ].join(' ');
}

function overrides(): SwarmOverrides {
  const faults = values.faults;
  return {
    ...(faults === undefined ? {} : { faults: parseFaults(faults) }),
    ...(values['quick-power-loss'] === true ? { isPowerLossQuick: true } : {}),
    ...(values.think === undefined ? {} : { thinkMs: whole('think', values.think) ?? 0 }),
    ...(values.short === true ? { isShort: true } : {}),
  };
}

function repeatedFlags(): string[] {
  const flags: string[] = [];
  if (values.faults !== undefined) flags.push(`--faults=${values.faults}`);
  if (values['quick-power-loss'] === true) flags.push('--quick-power-loss');
  if (values.think !== undefined) flags.push(`--think=${values.think}`);
  if (values.short === true) flags.push('--short');
  return flags;
}

function parseFaults(text: string): FaultKind[] {
  if (text === 'none') return [];
  return text.split(',').map((name) => {
    const kind = FAULT_KINDS.find((known) => known === name);
    if (kind === undefined) throw new Error(`There is no fault "${name}"; ${USAGE}`);
    return kind;
  });
}

function whole(option: string, text: string | undefined): number | null {
  if (text === undefined) return null;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new Error(`Option --${option} is "${text}", expected a whole number`);
}

function readCommit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    // Outside of a clone there is none.
    return 'unknown';
  }
}

function write(line: string): void {
  process.stdout.write(`${line}\n`);
}
