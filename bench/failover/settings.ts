/** The command line of the failover figures. */
import { parseArgs } from 'node:util';
import { invalidField } from '../../shared/base/errors.ts';

export interface FailoverSettings {
  readonly repeats: number;
  /** How long the scheduler is away. */
  readonly awaySeconds: number;
  /** Only cases whose name contains it. */
  readonly only: string;
  readonly json: string | null;
  readonly isHelp: boolean;
}

export const USAGE = `Measures how long a writer stands still when parts of a cluster fail: real processes, 4 KiB writes.

  npm run failover -- [options]

  --repeats N    how often each failure happens (5)
  --long         the scheduler is away for five minutes instead of one
  --only TEXT    only cases whose name contains TEXT
  --json FILE    writes all figures there
`;

/** Throws `invalid-argument`, naming the option. */
export function readSettings(args: readonly string[]): FailoverSettings {
  const { values } = parseArgs({
    args: [...args],
    options: {
      repeats: { type: 'string', default: '5' },
      long: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const repeats = Number(values.repeats);
  if (!(Number.isInteger(repeats) && repeats >= 1 && repeats <= 1000)) {
    throw invalidField('--repeats', values.repeats, '1 to 1000');
  }
  return {
    repeats,
    awaySeconds: values.long ? 300 : 60,
    only: values.only,
    json: values.json ?? null,
    isHelp: values.help,
  };
}
