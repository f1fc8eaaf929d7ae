/**
 * `npm run mutations`: all of them, or `-- --only NAME`. Prints which checker found each, and ends with
 * exit code 1 when one was not found.
 */
import { parseArgs } from 'node:util';
import { MUTATIONS } from './catalogue.ts';
import { complaintOf, runTrials } from './runner.ts';
import { checkerOf } from './trial-result.ts';

const { values } = parseArgs({ options: { only: { type: 'string' } } });
const chosen = MUTATIONS.filter(({ name }) => values.only === undefined || name === values.only);
if (chosen.length === 0) {
  throw new Error(`There is no mutation "${values.only}": ${MUTATIONS.map((m) => m.name).join()}`);
}

const complaints: string[] = [];
const startMs = Date.now();
await runTrials(chosen, (outcome) => {
  const { mutation, mutated, ms } = outcome;
  const found =
    mutated.violation === null
      ? 'NOT FOUND'
      : `seed ${mutated.seed} of ${mutation.trial.seedsMax}, ${checkerOf(mutated.violation)}`;
  const seconds = `${(ms / 1000).toFixed(1)} s`;
  write(`${mutation.name.padEnd(28)} ${mutation.breaks.join().padEnd(8)} ${found} (${seconds})`);
  if (values.only !== undefined) write(`  ${mutated.violation ?? ''}`);
  const complaint = complaintOf(outcome);
  if (complaint !== '') complaints.push(complaint);
});
for (const complaint of complaints) write(`! ${complaint}`);
const seconds = Math.round((Date.now() - startMs) / 1000);
write(`${chosen.length} mutations, ${complaints.length} complaints, ${seconds} s`);
process.exitCode = complaints.length === 0 ? 0 : 1;

function write(line: string): void {
  process.stdout.write(`${line}\n`);
}
