/**
 * Crash-prefix runs from the command line: one seed, or as many as fit into some minutes. A failure prints
 * the seed, the place of the crash and the command to see it again; the exit code is then 1.
 */
import { parseArgs } from 'node:util';
import { CrashRun } from './crash-run.ts';

const USAGE = `npm run crash-prefix -- [options]
  --seed N      first seed (default: 1)
  --seeds N     so many seeds (default: 1)
  --minutes N   seeds from --seed on, until the time is over
  --every       cut before every event (default: a sample)
`;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    minutes: { type: 'string' },
    every: { type: 'boolean' },
    help: { type: 'boolean' },
  },
});

if (values.help === true) process.stdout.write(USAGE);
else process.exitCode = await main();

async function main(): Promise<number> {
  const first = number('seed', values.seed) ?? 1;
  const minutes = number('minutes', values.minutes);
  const limit = minutes === null ? (number('seeds', values.seeds) ?? 1) : Number.POSITIVE_INFINITY;
  const endMs = minutes === null ? Number.POSITIVE_INFINITY : Date.now() + minutes * 60_000;
  let failed = 0;
  let seeds = 0;
  let crashes = 0;
  for (let seed = first; seeds < limit && Date.now() < endMs; seed += 1) {
    seeds += 1;
    const cutChance = values.every === true ? 1 : 0.1;
    const options = { seed, lives: 4, steps: 150, cutChance, powerLosses: 2 };
    try {
      const result = await new CrashRun(options).run();
      crashes += result.crashes;
      write(`ok   seed=${seed} events=${result.events} crashes=${result.crashes}`);
    } catch (error) {
      failed += 1;
      write(`FAIL seed=${seed} ${error instanceof Error ? error.message : String(error)}`);
      const every = values.every === true ? ' --every' : '';
      write(`     again: npm run crash-prefix -- --seed ${seed}${every}`);
    }
  }
  write(`${seeds} seeds, ${crashes} crashes, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

function number(option: string, text: string | undefined): number | null {
  if (text === undefined) return null;
  const value = Number(text);
  if (Number.isFinite(value) && value >= 0) return value;
  throw new Error(`Option --${option} is "${text}", expected a number`);
}

function write(line: string): void {
  process.stdout.write(`${line}\n`);
}
