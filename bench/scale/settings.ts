/** The command line of the scale figures, and the sizes that a run is made of. */
import { parseArgs } from 'node:util';
import { invalidField } from '../../shared/base/errors.ts';

export interface ScaleSizes {
  readonly agents: number;
  readonly disksPerAgent: number;
  /** A power of two. */
  readonly pgs: number;
  readonly volumes: number;
  /** Agents that share a rack: they go and come together. */
  readonly rack: number;
  /** Seconds of cluster time for which the quiet cluster is watched. */
  readonly quietSeconds: number;
}

export interface ScaleSettings {
  readonly sizes: ScaleSizes;
  readonly json: string | null;
  readonly isHelp: boolean;
}

/** What DESIGN 3 and the targets in docs/performance.md are about. */
export const FULL_SIZE: ScaleSizes = {
  agents: 1000,
  disksPerAgent: 4,
  pgs: 131_072,
  volumes: 10_000,
  rack: 40,
  quietSeconds: 20,
};

export const USAGE = `Runs the scheduler with a large simulated cluster and measures its processor time and memory.

  npm run scale -- [options]

  --agents N     (1000), with four disks each
  --pgs N        placement groups, a power of two (131072)
  --volumes N    (10000), all attached
  --json FILE    writes all figures there
`;

/** Throws `invalid-argument`, naming the option. */
export function readSettings(args: readonly string[]): ScaleSettings {
  const { values } = parseArgs({
    args: [...args],
    options: {
      agents: { type: 'string', default: String(FULL_SIZE.agents) },
      pgs: { type: 'string', default: String(FULL_SIZE.pgs) },
      volumes: { type: 'string', default: String(FULL_SIZE.volumes) },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const agents = readCount('--agents', values.agents, 4, 10_000);
  const pgs = readCount('--pgs', values.pgs, 16, 1_048_576);
  if ((pgs & (pgs - 1)) !== 0) throw invalidField('--pgs', values.pgs, 'a power of two');
  const volumes = readCount('--volumes', values.volumes, 1, 100_000);
  const rack = Math.max(1, Math.floor((agents * FULL_SIZE.rack) / FULL_SIZE.agents));
  return {
    sizes: { ...FULL_SIZE, agents, pgs, volumes, rack },
    json: values.json ?? null,
    isHelp: values.help,
  };
}

function readCount(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw invalidField(name, text, `${min} to ${max}`);
}
