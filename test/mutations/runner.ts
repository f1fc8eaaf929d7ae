/**
 * Runs trials, each in a process of its own, a few at a time: every mutation must be found, and the seed
 * that found it must be good without the mutation.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Mutation } from './mutation.ts';
import type { TrialResult } from './trial-result.ts';

export interface Outcome {
  readonly mutation: Mutation;
  readonly mutated: TrialResult;
  /** The same seed without the mutation; null when it was not found. */
  readonly intact: TrialResult | null;
  readonly ms: number;
}

const TRIAL = join(fileURLToPath(import.meta.url), '../trial.js');
/** As many as CI's machines have cores. */
export const PARALLEL = 2;

export async function runTrials(
  mutations: readonly Mutation[],
  onOutcome: (outcome: Outcome) => void,
): Promise<void> {
  const queue = [...mutations];
  const work = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      onOutcome(await runTrial(next));
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, () => work()));
}

export async function runTrial(mutation: Mutation): Promise<Outcome> {
  const startMs = Date.now();
  const mutated = await start([mutation.name]);
  const again = [mutation.name, '--intact', '--seed', String(mutated.seed)];
  const intact = mutated.violation === null ? null : await start(again);
  return { mutation, mutated, intact, ms: Date.now() - startMs };
}

/** What is wrong with the outcome; empty when the mutation was found, and nothing else. */
export function complaintOf({ mutation, mutated, intact }: Outcome): string {
  const { name, trial } = mutation;
  if (mutated.violation === null) {
    return `${name}: not found in ${trial.seedsMax} seeds; a checker is too weak, or a fault is missing`;
  }
  if (intact === null || intact.violation === null) return '';
  if (trial.mayLeave?.test(intact.violation) === true) return '';
  return `${name}: seed ${intact.seed} fails without it: ${intact.violation}`;
}

function start(args: readonly string[]): Promise<TrialResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [TRIAL, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    child.on('error', reject);
    child.on('close', (code) => {
      const line = text.trim().split('\n').at(-1) ?? '';
      if (line.startsWith('{')) resolve(JSON.parse(line) as TrialResult);
      else reject(new Error(`Trial ${args.join(' ')} ended with code ${code} and said "${line}"`));
    });
  });
}
