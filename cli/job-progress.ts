/**
 * Follows jobs until they end: a bar on a terminal, a line for every tenth of the way otherwise. Both
 * on stderr. Losing the cluster for a moment (a scheduler that fails over) does not end the watch.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import cliProgress from 'cli-progress';
import type { JobView } from '../shared/model/api-views.ts';
import type { Cli } from './cli.ts';
import { EXIT_FAILED, EXIT_OK, EXIT_UNREACHABLE, exitCodeOf } from './failures.ts';
import { formatJobProgress, formatRatio } from './figures.ts';

const POLL_MS = 500;
/** A failover takes seconds; after this the cluster counts as gone. */
const UNREACHABLE_MS = 60_000;
/** Lines of a watch that is no terminal: ten for a job. */
const LINE_STEP = 0.1;

/** Resolves with the job as it ended. */
export async function watchJob(cli: Cli, id: string): Promise<JobView> {
  const display = cli.terminal.hasBars && !cli.isJson ? new BarDisplay() : new LineDisplay(cli);
  let lastHeardMs = performance.now();
  try {
    for (;;) {
      const job = await readJob(cli, id);
      if (job !== null) {
        lastHeardMs = performance.now();
        display.update(job);
        if (job.state !== 'running' && job.state !== 'paused') return job;
      } else if (performance.now() - lastHeardMs > UNREACHABLE_MS) {
        return await cli.api.get<JobView>(`/jobs/${id}`);
      }
      await sleep(POLL_MS);
    }
  } finally {
    display.stop();
  }
}

/** The exit code that a job's end means. */
export function jobExitCode(job: JobView): number {
  return job.state === 'done' ? EXIT_OK : EXIT_FAILED;
}

async function readJob(cli: Cli, id: string): Promise<JobView | null> {
  try {
    return await cli.api.get<JobView>(`/jobs/${id}`);
  } catch (error) {
    if (exitCodeOf(error) !== EXIT_UNREACHABLE) throw error;
    return null;
  }
}

function title(job: JobView): string {
  return `${job.id} ${job.kind} ${job.subject}`;
}

class BarDisplay {
  readonly #bar = new cliProgress.SingleBar(
    {
      format: '{title} [{bar}] {percent} {rest}',
      barCompleteChar: '█',
      barIncompleteChar: '░',
      barsize: 30,
      hideCursor: true,
      stream: process.stderr,
    },
    cliProgress.Presets.legacy,
  );
  #isStarted = false;

  update(job: JobView): void {
    const payload = {
      title: title(job),
      percent: formatRatio(job.progressRatio),
      rest: job.state === 'running' ? formatJobProgress(job) : job.state,
    };
    if (!this.#isStarted) this.#bar.start(1, job.progressRatio, payload);
    this.#isStarted = true;
    this.#bar.update(job.progressRatio, payload);
  }

  stop(): void {
    this.#bar.stop();
  }
}

class LineDisplay {
  readonly #cli: Cli;
  #nextRatio = 0;
  #isPaused = false;

  constructor(cli: Cli) {
    this.#cli = cli;
  }

  update(job: JobView): void {
    if (job.state === 'paused') {
      if (!this.#isPaused) this.#cli.explain(`${title(job)}: paused`);
      this.#isPaused = true;
      return;
    }
    this.#isPaused = false;
    if (job.state !== 'running') {
      this.#cli.explain(`${title(job)}: ${job.state}`);
      return;
    }
    if (job.progressRatio < this.#nextRatio) return;
    this.#nextRatio = (Math.floor(job.progressRatio / LINE_STEP) + 1) * LINE_STEP;
    this.#cli.explain(
      `${title(job)}: ${formatRatio(job.progressRatio)}, ${formatJobProgress(job)}`,
    );
  }

  stop(): void {
    // Lines need no end.
  }
}
