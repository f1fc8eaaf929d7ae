/**
 * One mutation's trial, in a process of its own: loads the mutated modules, runs seeds until a checker
 * finds something, and prints one line of JSON. `trial.js NAME`, with `--intact` the same seed without
 * the defect (`--seed N`: that one only).
 */
import { parseArgs } from 'node:util';
import { PROJECT_ROOT } from '../tidy/source-tree.ts';
import { MUTATIONS } from './catalogue.ts';
import { mutateModules } from './module-hook.ts';
import { trialOptions } from './trial-options.ts';
import type { TrialResult } from './trial-result.ts';

const { values, positionals } = parseArgs({
  options: { intact: { type: 'boolean' }, seed: { type: 'string' }, trace: { type: 'boolean' } },
  allowPositionals: true,
});
const mutation = MUTATIONS.find(({ name }) => name === positionals[0]);
if (mutation === undefined) throw new Error(`There is no mutation "${positionals[0]}"`);
if (values.intact !== true) mutateModules(PROJECT_ROOT, mutation.edits);

let seed = Number(values.seed ?? 1);
// A module that cannot be loaded is a broken trial, not a finding.
const { runSeed } = await import('../simulation/run.ts');
// What the code under test throws at nobody ends a real process; here it is the finding.
process.on('uncaughtException', (error) => report(`crash: ${error.stack ?? error.message}`));
process.on('unhandledRejection', (error) => report(`crash: ${String(error)}`));
const last = values.seed === undefined ? mutation.trial.seedsMax : seed;
const { script, failsNothing } = mutation.trial;
const FAILED = /< (read|write|zero|trim) .* io$/;
for (; seed <= last; seed += 1) {
  let failed: string | null = null;
  const verdict = await runSeed(trialOptions(mutation.trial, seed), {
    onLine: (line) => {
      if (values.trace === true) process.stderr.write(`${line}\n`);
      if (failsNothing === true && FAILED.test(line)) failed ??= line;
    },
    ...(script === undefined ? {} : { onFaults: script }),
  });
  const [violation] = verdict.violations;
  if (violation !== undefined) report(violation);
  if (failed !== null) report(`I12: failed, although one replica was well all the time: ${failed}`);
}
seed = last;
report(null);

function report(violation: string | null): never {
  const result: TrialResult = { seed, violation };
  process.stdout.write(`${JSON.stringify(result)}\n`);
  process.exit(0);
}
