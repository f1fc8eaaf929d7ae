/** The command line of the benchmark. */
import { parseArgs } from 'node:util';
import { invalidField } from '../shared/base/errors.ts';
import { MiB } from '../shared/base/units.ts';
import { type BenchJob, JOBS } from './jobs.ts';
import type { Extent } from './measurement.ts';

export interface BenchSettings extends Extent {
  readonly jobs: readonly BenchJob[];
  readonly idleSeconds: number;
  /** File for the figures, or null. */
  readonly json: string | null;
  readonly isHelp: boolean;
}

export const USAGE = `Measures a volume with two replicas on a real development cluster of three nodes
against qemu-nbd on a plain file, in alternating runs.

  npm run bench -- [options]

  --quick         shorter runs, fewer rounds: about a minute
  --json FILE     writes all figures there
  --jobs TEXT     only jobs whose name contains TEXT, such as "random write"
  --size MIB      size of the volume and of the file (512)
  --seconds N     length of one run (3)
  --rounds N      counted rounds (5)
`;

/** Throws `invalid-argument`, naming the option. */
export function readSettings(args: readonly string[]): BenchSettings {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      json: { type: 'string' },
      jobs: { type: 'string', default: '' },
      size: { type: 'string', default: '512' },
      seconds: { type: 'string' },
      rounds: { type: 'string' },
    },
  });
  const jobs = JOBS.filter((job) => job.name.includes(values.jobs));
  if (jobs.length === 0) {
    throw invalidField('--jobs', values.jobs, JOBS.map((job) => job.name).join('; '));
  }
  const seconds = readNumber('--seconds', values.seconds ?? (values.quick ? '1' : '3'), 0.1, 600);
  return {
    jobs,
    sizeBytes: Math.round(readNumber('--size', values.size, 4, 1_048_576)) * MiB,
    seconds,
    rounds: Math.round(
      readNumber('--rounds', values.rounds ?? (values.quick ? '3' : '5'), 1, 1000),
    ),
    // /proc counts in steps of 10 ms: 5 s tell a fifth of a percent.
    idleSeconds: Math.min(5, 2 * seconds),
    json: values.json ?? null,
    isHelp: values.help,
  };
}

function readNumber(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (text === '' || !(value >= min && value <= max)) {
    throw invalidField(name, text, `${min} to ${max}`);
  }
  return value;
}
