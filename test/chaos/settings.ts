/** The command line of a chaos run. */
import { parseArgs } from 'node:util';
import { invalidField } from '../../shared/base/errors.ts';
import { FAULT_KINDS, type FaultKind } from './faults.ts';

export interface ChaosSettings {
  readonly seconds: number;
  readonly seed: number;
  /** null: drawn from the seed. */
  readonly agents: number | null;
  /** Which may be drawn. */
  readonly kinds: readonly FaultKind[];
  /** The faults of each round; null: drawn. */
  readonly script: readonly (readonly FaultKind[])[] | null;
  readonly directory: string | null;
  readonly json: string | null;
  readonly isKept: boolean;
  readonly isHelp: boolean;
}

export const USAGE = `Kills, stops, cuts off and damages a real cluster under verified load, heals it, and checks every byte.

  npm run chaos -- [options]

  --minutes N      how long rounds begin (5)
  --seed N         draws the cluster and the faults (a new one, printed)
  --agents N       3 to 5 nodes; else drawn
  --faults A,B     only these: ${FAULT_KINDS.join(', ')}
  --script A+B,C   these rounds: here A and B together, then C, whatever the time
  --dir DIR        an empty directory for everything (one below /tmp)
  --json FILE      writes the report there
  --keep           leaves the directory behind, also when all went well
`;

/** Throws `invalid-argument`, naming the option. */
export function readSettings(args: readonly string[]): ChaosSettings {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: 'string', default: '5' },
      seed: { type: 'string' },
      agents: { type: 'string' },
      faults: { type: 'string' },
      script: { type: 'string' },
      dir: { type: 'string' },
      json: { type: 'string' },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  return {
    seconds: readNumber('--minutes', values.minutes, 0, 10_000) * 60,
    seed:
      values.seed === undefined
        ? Math.floor(Math.random() * 1e6)
        : readNumber('--seed', values.seed, 0, 2 ** 32 - 1),
    agents: values.agents === undefined ? null : readNumber('--agents', values.agents, 3, 5),
    kinds: values.faults === undefined ? FAULT_KINDS : readKinds('--faults', values.faults),
    script:
      values.script === undefined
        ? null
        : values.script
            .split(',')
            .map((round) => readKinds('--script', round.replaceAll('+', ','))),
    directory: values.dir ?? null,
    json: values.json ?? null,
    isKept: values.keep,
    isHelp: values.help,
  };
}

function readKinds(option: string, text: string): readonly FaultKind[] {
  return text.split(',').map((name) => {
    const kind = FAULT_KINDS.find((one) => one === name);
    if (kind === undefined) throw invalidField(option, name, FAULT_KINDS.join(', '));
    return kind;
  });
}

function readNumber(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (text === '' || !(value >= min && value <= max)) {
    throw invalidField(name, text, `${min} to ${max}`);
  }
  return value;
}
