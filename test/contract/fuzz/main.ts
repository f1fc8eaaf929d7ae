/**
 * Fuzzing from the command line. A failure writes the input to a file and prints how to feed it again; the
 * exit code is then 1.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Prng } from '../../../shared/base/prng.ts';
import { feed } from './fuzz-loop.ts';
import { fuzzTarget } from './fuzz-run.ts';
import { loadTarget, TARGET_NAMES } from './targets.ts';

const USAGE = `npm run fuzz -- [options]
  --seed N        first seed (default: 1)
  --minutes N     until the time is over, shared among the targets (default: 1)
  --only NAME     one target (${TARGET_NAMES.join(', ')})
  --input FILE    feeds this file to the target of --only, once
`;
/** Inputs of a target before the next one has its turn. */
const TURN_INPUTS = 20_000;
const TURN_MS_MAX = 20_000;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    minutes: { type: 'string' },
    only: { type: 'string' },
    input: { type: 'string' },
    help: { type: 'boolean' },
  },
});

if (values.help === true) process.stdout.write(USAGE);
else if (values.input !== undefined) process.exitCode = await feedFile(values.input);
else process.exitCode = await main();

async function main(): Promise<number> {
  const first = number('seed', values.seed) ?? 1;
  const endMs = Date.now() + (number('minutes', values.minutes) ?? 1) * 60_000;
  const counts = new Map<string, number>();
  const failed = new Set<string>();
  const names = values.only === undefined ? TARGET_NAMES : [values.only];
  for (let seed = first; Date.now() < endMs && failed.size < names.length; seed += 1) {
    for (const target of names) {
      if (failed.has(target)) continue;
      const turnEndMs = Math.min(endMs, Date.now() + TURN_MS_MAX);
      const result = await fuzzTarget({ target, seed, count: TURN_INPUTS, endMs: turnEndMs });
      counts.set(target, (counts.get(target) ?? 0) + result.count);
      if (result.failure === null) continue;
      failed.add(target);
      const file = join(tmpdir(), `cistern-fuzz-${target}-${seed}-${result.failure.number}.bin`);
      writeFileSync(file, result.failure.input);
      write(`FAIL ${target} seed=${seed} input=${result.failure.number} ${result.failure.reason}`);
      write(`     again: npm run fuzz -- --only ${target} --input ${file}`);
    }
  }
  for (const [target, count] of counts) write(`${target}: ${count} inputs`);
  write(`${counts.size} targets, ${failed.size} failed`);
  return failed.size === 0 ? 0 : 1;
}

async function feedFile(file: string): Promise<number> {
  const target = await loadTarget(values.only ?? '');
  const reason = await feed(target, readFileSync(file), new Prng('input'));
  await target.close?.();
  write(reason ?? 'Nothing went wrong');
  return reason === null ? 0 : 1;
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
