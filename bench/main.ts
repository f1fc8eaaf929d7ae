/**
 * `npm run bench`: starts the two targets, fills them, measures, prints and cleans up, also when it is
 * interrupted or something fails. Progress goes to stderr, the tables to stdout.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describeError } from '../shared/base/errors.ts';
import { openCistern } from './cistern-target.ts';
import { fill } from './fio.ts';
import {
  type JobResult,
  measureIdle,
  measureJobs,
  type ProcessFigures,
  type Targets,
} from './measurement.ts';
import { openQemu } from './qemu-target.ts';
import { formatJobs, formatProcesses } from './report.ts';
import { type BenchSettings, readSettings, USAGE } from './settings.ts';

interface Figures {
  readonly jobs: readonly JobResult[];
  readonly processes: readonly ProcessFigures[];
}

const interruption = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => interruption.abort(new Error(`Interrupted by ${name}`)));
}

try {
  await main();
} catch (error) {
  process.stderr.write(`\nbench: ${describeError(interruption.signal.reason ?? error)}\n`);
  process.exitCode = 1;
}

async function main(): Promise<void> {
  const settings = readSettings(process.argv.slice(2));
  if (settings.isHelp) {
    process.stdout.write(USAGE);
    return;
  }
  const startedAt = new Date().toISOString();
  const directory = mkdtempSync(join(tmpdir(), 'cistern-bench-'));
  try {
    const figures = await measure(directory, settings);
    process.stdout.write(`${formatJobs(figures.jobs)}\n${formatProcesses(figures.processes)}\n`);
    if (settings.json !== null) {
      const document = { startedAt, machine: describeMachine(), ...describe(settings), ...figures };
      writeFileSync(settings.json, `${JSON.stringify(document, null, 2)}\n`);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function measure(directory: string, settings: BenchSettings): Promise<Figures> {
  const { signal } = interruption;
  const cistern = await openCistern(directory, settings.sizeBytes, report);
  try {
    const qemu = await openQemu(directory, settings.sizeBytes);
    try {
      const targets: Targets = { cistern, qemu };
      for (const target of [cistern, qemu]) {
        signal.throwIfAborted();
        report(
          `Filling ${target.dataProcesses.at(-1)?.role === 'qemu-nbd' ? 'the file' : 'the volume'}`,
        );
        await fill(target.uri, settings.sizeBytes, signal);
      }
      const jobs = await measureJobs(targets, settings, settings.jobs, report, signal);
      report('Watching idle processes');
      return { jobs, processes: await measureIdle(targets, settings.idleSeconds, signal) };
    } finally {
      await qemu.close();
    }
  } finally {
    report('Stopping everything');
    await cistern.close();
  }
}

function report(text: string): void {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
}

function describe(settings: BenchSettings): Readonly<Record<string, number>> {
  const { sizeBytes, seconds, rounds } = settings;
  return { sizeBytes, seconds, rounds };
}

function describeMachine(): Readonly<Record<string, string | number | null>> {
  const processors = cpus();
  return {
    commit: readCommit(),
    node: process.version,
    kernel: release(),
    processor: processors[0]?.model ?? null,
    processors: processors.length,
    memoryBytes: totalmem(),
  };
}

/** Null outside of a clone. */
function readCommit(): string | null {
  const result = spawnSync('git', ['rev-parse', '--short=12', 'HEAD'], {
    cwd: dirname(fileURLToPath(import.meta.url)),
    encoding: 'utf8',
  });
  return result.status === 0 ? result.stdout.trim() : null;
}
