/**
 * `cistern demo`: the whole story in about two minutes, with real processes and a real client. Each
 * step says what happens and how long it took; the exit status says whether the story held.
 */
import { join } from 'node:path';
import { present } from '../../shared/base/assert.ts';
import { describeError } from '../../shared/base/errors.ts';
import { formatBytes, formatDuration } from '../../shared/base/units.ts';
import { type DevCluster, devAgentAdd, devAgentKill, devDown, devUp } from '../cluster/commands.ts';
import type { DevSettings } from '../cluster/layout.ts';
import { ApiClient } from './api-client.ts';
import { type DemoContext, STEPS } from './steps.ts';

export interface DemoOptions {
  /** Emptied first: the demo's cluster is its own, never the development cluster. */
  readonly directory: string;
  /** Takes the cluster down at the end. */
  readonly isExit: boolean;
  /** One JSON document at the end instead of lines. */
  readonly isJson: boolean;
  readonly isTerminal: boolean;
}

export interface StepResult {
  readonly step: string;
  readonly isHeld: boolean;
  readonly seconds: number;
  readonly summary: string;
  readonly figures: Readonly<Record<string, number>>;
}

/** Small disks, so that the pool can really be filled; one of two claimed, so that it can expand. */
const SETTINGS: DevSettings = {
  agents: 3,
  disksPerAgent: 2,
  diskSizeMb: 640,
  claimPerNode: 1,
  pgCount: 64,
  rebuildAfterSeconds: 3,
  brakeWindowSeconds: 600,
  expandAtPercent: 80,
  fullAtPercent: 95,
  expandCooldownSeconds: 5,
  resyncMibPerSecond: 200,
  zones: 3,
  useArtefact: true,
  network: null,
  schedulers: null,
};

/** Returns the exit status: 0 when every step held. */
export async function runDemo(options: DemoOptions): Promise<number> {
  const say = (text: string): void => {
    if (!options.isJson) process.stdout.write(`${text}\n`);
  };
  const progress = new ProgressLine(options.isTerminal && !options.isJson);
  const place = { directory: options.directory, report: (text: string) => progress.show(text) };
  const results: StepResult[] = [];
  let state: DevCluster | null = null;
  try {
    await devDown({ ...place, isPurge: true });
    state = await timed(results, 'cluster up', say, progress, async () => {
      const up = await devUp({
        ...place,
        settings: SETTINGS,
        isDetached: true,
      });
      return { value: up, summary: `3 agents, 3 disks in the pool; API ${up.api}`, figures: {} };
    });
    await tellStory(state, options, results, say, progress);
  } catch (error) {
    progress.clear();
    if (!options.isJson) process.stderr.write(`The story broke: ${describeError(error)}\n`);
  }
  const isHeld = results.length === STEPS.length + 1 && results.every((result) => result.isHeld);
  if (options.isExit) await devDown({ ...place, isPurge: isHeld });
  report(options, results, state, isHeld);
  return isHeld ? 0 : 1;
}

async function tellStory(
  state: DevCluster,
  options: DemoOptions,
  results: StepResult[],
  say: (text: string) => void,
  progress: ProgressLine,
): Promise<void> {
  const place = { directory: options.directory, report: (text: string) => progress.show(text) };
  const context: DemoContext = {
    api: new ApiClient(present(state.api, 'the API of a running cluster')),
    progress: (text) => progress.show(text),
    say,
    addAgent: async () =>
      (await devAgentAdd({ ...place, disks: null, diskSizeMb: null, zone: null })).name,
    killAgent: async (agent) => {
      await devAgentKill({ ...place, agent });
    },
    memory: new Map(),
  };
  for (const step of STEPS) {
    await timed(results, step.name, say, progress, async () => {
      const outcome = await step.run(context);
      return { value: null, ...outcome };
    });
  }
}

async function timed<T>(
  results: StepResult[],
  step: string,
  say: (text: string) => void,
  progress: ProgressLine,
  run: () => Promise<{
    readonly value: T;
    readonly summary: string;
    readonly figures: Readonly<Record<string, number>>;
  }>,
): Promise<T> {
  const startedAt = Date.now();
  say(`▸ ${step}`);
  try {
    const { value, summary, figures } = await run();
    const seconds = (Date.now() - startedAt) / 1000;
    progress.clear();
    say(`  ✓ ${summary} (${formatDuration(seconds * 1000)})`);
    results.push({ step, isHeld: true, seconds, summary, figures });
    return value;
  } catch (error) {
    const seconds = (Date.now() - startedAt) / 1000;
    progress.clear();
    say(`  ✗ ${describeError(error)} (${formatDuration(seconds * 1000)})`);
    results.push({ step, isHeld: false, seconds, summary: describeError(error), figures: {} });
    throw error;
  }
}

function report(
  options: DemoOptions,
  results: readonly StepResult[],
  state: DevCluster | null,
  isHeld: boolean,
): void {
  const seconds = results.reduce((sum, result) => sum + result.seconds, 0);
  if (options.isJson) {
    const dashboard = options.isExit ? null : (state?.api ?? null);
    process.stdout.write(
      `${JSON.stringify({ isHeld, seconds, dashboard, steps: results }, null, 2)}\n`,
    );
    return;
  }
  const verified = results.at(-1)?.figures['verifiedBytes'];
  process.stdout.write(
    isHeld
      ? `\nThe story held in ${formatDuration(seconds * 1000)}${verified === undefined ? '' : `; ${formatBytes(verified)} verified`}.\n`
      : `\nThe story did not hold. Logs: ${join(options.directory, 'logs')}\n`,
  );
  if (!options.isExit && state !== null) {
    process.stdout.write(
      `The cluster is running. Dashboard: ${state.api}/\n` +
        `Look around:  CISTERN_DEV_DIR=${options.directory} bin/cistern status\n` +
        `Stop it:      CISTERN_DEV_DIR=${options.directory} bin/cistern dev down --purge\n`,
    );
  }
}

/** One line that is written over while a step works; nothing when the output is no terminal. */
class ProgressLine {
  readonly #isShown: boolean;
  #length = 0;

  constructor(isShown: boolean) {
    this.#isShown = isShown;
  }

  show(text: string): void {
    if (!this.#isShown) return;
    const line = `  … ${text}`.slice(0, Math.max(20, (process.stdout.columns ?? 80) - 1));
    process.stdout.write(`\r${line.padEnd(this.#length)}`);
    this.#length = line.length;
  }

  clear(): void {
    if (!this.#isShown || this.#length === 0) return;
    process.stdout.write(`\r${' '.repeat(this.#length)}\r`);
    this.#length = 0;
  }
}
