/** Settings of a pool as options of the command line, and a selector in one line. */
import type { Argv } from 'yargs';
import { DISK_KINDS, DISK_TIERS, type PoolSelector } from '../shared/model/pool-selector.ts';
import type { GlobalArgs } from './cli.ts';
import { usageError } from './failures.ts';
import { readBound, readCount, readRatio, readSeconds, readSize } from './quantities.ts';

export interface PoolSettingArgs {
  readonly pool: string;
  readonly pgCount: string | undefined;
  readonly expandAt: string | undefined;
  readonly fullAt: string | undefined;
  readonly maxDisks: string | undefined;
  readonly cooldown: string | undefined;
  readonly autoExpand: boolean | undefined;
  readonly claimPerNode: string | undefined;
  readonly claimNodes: string | undefined;
  readonly replicas: string | undefined;
  readonly failureDomain: string | undefined;
  readonly priority: string | undefined;
  readonly attribute: string | undefined;
  readonly kind: string | undefined;
  readonly tier: string | undefined;
  readonly path: string | undefined;
  readonly sizeMin: string | undefined;
  readonly sizeMax: string | undefined;
  readonly share: string | undefined;
  readonly piece: string | undefined;
  readonly disksPerNode: string | undefined;
  readonly nodes: string | undefined;
  readonly rootDisks: boolean | undefined;
}

/** Texts, because `80%`, `5m` and `none` are what people type. */
export const word = (describe: string) =>
  ({ type: 'string', requiresArg: true, describe }) as const;

export function addPoolSettings<T>(one: Argv<GlobalArgs & T>) {
  return one
    .option('attribute', word('Agents with these attributes, like rack=r1*,gen=2; none for all'))
    .option('kind', word('mount, path, root: those and no others, with commas; or any'))
    .option('tier', word('nvme, ssd, hdd: those and no others, with commas; or any'))
    .option('path', word('Disks at these paths, like "/mnt/fast-*,/mnt/b", or any'))
    .option('size-min', word('Disks of this size at least, like 100G, or none'))
    .option('size-max', word('Disks of this size at most, like 4T, or none'))
    .option('share', word('At most this part of a PATH or root disk, like 50%, or none'))
    .option('piece', word('Carve pieces of this size from PATH and root disks, or none'))
    .option('disks-per-node', word('At most so many disks of a node, or none'))
    .option('nodes', word('Disks of at most so many nodes, or none'))
    .option('root-disks', {
      type: 'boolean',
      describe: "Consent to take the agents' root disks, which hold their work directories",
    })
    .option('priority', word('A disk that several pools would take goes to the highest'))
    .option('replicas', word('Replicas of a new volume when it does not say'))
    .option('failure-domain', { ...word('Where replicas must differ'), choices: ['node', 'zone'] })
    .option('expand-at', word('Claim more disks from this fill on, like 80%'))
    .option('full-at', word('Refuse new data from this fill on, like 95%'))
    .option('max-disks', word('Expand by itself up to this many disks, or none'))
    .option('cooldown', word('Time between two expansions, like 60s or 5m'))
    .option('auto-expand', {
      type: 'boolean',
      describe: 'Expand by itself (--no-auto-expand: never)',
    })
    .option('claim-per-node', word('Disks claimed at once on a node, or none for all'))
    .option('claim-nodes', word('Nodes claimed at once, or none for all'));
}

/** What was given and nothing else, as the API takes it. */
export function readPoolSettings(args: PoolSettingArgs): Readonly<Record<string, unknown>> {
  const selector = readSelector(args);
  const settings = {
    expandAtRatio: given(args.expandAt, (value) => readRatio('--expand-at', value)),
    fullAtRatio: given(args.fullAt, (value) => readRatio('--full-at', value)),
    diskCountMax: given(args.maxDisks, (value) => readBound('--max-disks', value)),
    expandCooldownSeconds: given(args.cooldown, (value) => readSeconds('--cooldown', value)),
    isAutoExpand: args.autoExpand,
    claimPerNode: given(args.claimPerNode, (value) => readBound('--claim-per-node', value)),
    claimNodes: given(args.claimNodes, (value) => readBound('--claim-nodes', value)),
    defaultReplicas: given(args.replicas, (value) => readCount('--replicas', value, 1)),
    failureDomain: args.failureDomain,
    priority: given(args.priority, (value) => readCount('--priority', value, 0)),
    selector: Object.keys(selector).length === 0 ? undefined : selector,
  };
  return onlyGiven(settings);
}

function readSelector(args: PoolSettingArgs): Partial<PoolSelector> {
  return onlyGiven({
    attributes: given(args.attribute, readAttributes),
    kinds: given(args.kind, (value) => readWords('--kind', value, DISK_KINDS)),
    tiers: given(args.tier, (value) => readWords('--tier', value, DISK_TIERS)),
    paths: given(args.path, (value) => (value === 'any' ? null : value.split(','))),
    sizeMinBytes: given(args.sizeMin, (value) => readSizeOrNone('--size-min', value)),
    sizeMaxBytes: given(args.sizeMax, (value) => readSizeOrNone('--size-max', value)),
    shareRatioMax: given(args.share, (value) =>
      value === 'none' ? null : readRatio('--share', value),
    ),
    pieceBytes: given(args.piece, (value) => readSizeOrNone('--piece', value)),
    disksPerNodeMax: given(args.disksPerNode, (value) => readBound('--disks-per-node', value)),
    nodesMax: given(args.nodes, (value) => readBound('--nodes', value)),
    isRootAllowed: args.rootDisks,
  }) as Partial<PoolSelector>;
}

function given<T, R>(value: T | undefined, read: (value: T) => R): R | undefined {
  return value === undefined ? undefined : read(value);
}

function onlyGiven(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function readWords(
  option: string,
  value: string,
  allowed: readonly string[],
): readonly string[] | null {
  if (value === 'any') return null;
  const list = value.split(',');
  const wrong = list.find((one) => !allowed.includes(one));
  if (wrong === undefined) return list;
  throw usageError(
    `${option} is "${wrong}"`,
    `It may be ${allowed.join(', ')}, with commas, or any`,
  );
}

function readAttributes(value: string): Readonly<Record<string, string>> {
  if (value === 'none') return {};
  return Object.fromEntries(
    value.split(',').map((pair) => {
      const cut = pair.indexOf('=');
      if (cut < 1) throw usageError(`--attribute is "${pair}"`, 'Write it like rack=r1');
      return [pair.slice(0, cut), pair.slice(cut + 1)];
    }),
  );
}

function readSizeOrNone(option: string, value: string): number | null {
  return value === 'none' ? null : readSize(option, value);
}
