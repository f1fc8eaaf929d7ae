/**
 * `npm run chaos`: a cluster of real processes under verified load, faults drawn from a seed in rounds, healing and
 * a full check after each. Exit code 0: nothing was lost, and the cluster became whole every time.
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeError, StorageError } from '../../shared/base/errors.ts';
import { runIsolated } from './isolation.ts';
import { ChaosJournal } from './journal.ts';
import { type ChaosReport, runChaos } from './run.ts';
import { type ChaosSettings, readSettings, USAGE } from './settings.ts';

const settings = readSettings(process.argv.slice(2));
if (settings.isHelp) {
  process.stdout.write(USAGE);
} else {
  process.exit((await runIsolated()) ?? (await main(settings)));
}

async function main(given: ChaosSettings): Promise<number> {
  const directory = prepareDirectory(given.directory);
  const journal = new ChaosJournal(join(directory, 'chaos.log'));
  let report: ChaosReport | null = null;
  let failure: unknown = null;
  try {
    report = await runChaos(given, directory, journal);
    failure = report.failure;
  } catch (error) {
    failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  const text = failure === null ? null : describeFailure(failure);
  if (given.json !== null) {
    writeFileSync(given.json, `${JSON.stringify({ ...report, failure: text }, null, 2)}\n`);
  }
  if (text === null) {
    journal.say('PASSED: nothing lost');
    if (!given.isKept) rmSync(directory, { recursive: true, force: true });
    return 0;
  }
  journal.say(`FAILED (seed ${given.seed}): ${text}`);
  journal.say(`Kept: ${directory}`);
  journal.say('  chaos.log             what was done when');
  journal.say('  cluster/logs          scheduler, Mesos stand-in');
  journal.say('  cluster/mesos/agents  each "stderr" below it:');
  journal.say('                        executors and their data processes');
  journal.say(`Again: npm run chaos -- --seed ${given.seed} --minutes ${given.seconds / 60}`);
  return 1;
}

function describeFailure(failure: unknown): string {
  return typeof failure === 'string' ? failure : describeError(failure);
}

function prepareDirectory(given: string | null): string {
  if (given === null) return mkdtempSync(join(tmpdir(), 'cistern-chaos-'));
  mkdirSync(given, { recursive: true });
  if (readdirSync(given).length > 0) {
    throw new StorageError('foreign-data', `Directory "${given}" is not empty`);
  }
  return given;
}
