/** `cistern pool …`: list, show, set. */

import { formatBytes, formatDuration } from '../shared/base/units.ts';
import type { PoolView } from '../shared/model/api-views.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import { usageError } from './failures.ts';
import { formatAge, formatCapacityBar, formatPgs, formatRatio } from './figures.ts';
import { describeFuture, describeHook } from './pool-forecast.ts';
import { readBound, readRatio, readSeconds } from './quantities.ts';
import { renderFacts, renderTable } from './table.ts';

interface PoolArgs {
  readonly pool: string;
}

interface PoolSettings extends PoolArgs {
  readonly expandAt: string | undefined;
  readonly fullAt: string | undefined;
  readonly maxDisks: string | undefined;
  readonly cooldown: string | undefined;
  readonly autoExpand: boolean | undefined;
  readonly claimPerNode: string | undefined;
  readonly claimNodes: string | undefined;
}

const POOL = { describe: 'Name', type: 'string', demandOption: true } as const;

/** Texts, because `80%`, `5m` and `none` are what people type. */
const word = (describe: string) => ({ type: 'string', requiresArg: true, describe }) as const;

export function addPoolCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command('pool', 'Pools: sets of disks with the same settings', (pool) =>
    pool
      .command('list', 'All pools', (one) => one, runAction(listPools))
      .command(
        'show <pool>',
        'One pool',
        (one) => one.positional('pool', POOL),
        runAction<PoolArgs>(showPool),
      )
      .command(
        'set <pool>',
        'Change settings',
        (one) =>
          one
            .positional('pool', POOL)
            .option('expand-at', word('Claim more disks from this fill on, like 80%'))
            .option('full-at', word('Refuse new data from this fill on, like 95%'))
            .option('max-disks', word('Expand by itself up to this many disks, or none'))
            .option('cooldown', word('Time between two expansions, like 60s or 5m'))
            .option('auto-expand', {
              type: 'boolean',
              describe: 'Expand by itself (--no-auto-expand: never)',
            })
            .option('claim-per-node', word('Disks claimed at once on a node, or none for all'))
            .option('claim-nodes', word('Nodes claimed at once, or none for all'))
            .example('$0 pool set default --expand-at 75% --max-disks 24', ''),
        runAction<PoolSettings>(setPool),
      )
      .demandCommand(1, 'What about pools? list, show or set'),
  );
}

async function listPools(cli: Cli): Promise<undefined> {
  const pools = await cli.api.get<readonly PoolView[]>('/pools');
  cli.show(pools, () =>
    renderTable(
      [
        { title: 'pool', read: (pool) => pool.name },
        { title: 'tier', read: (pool) => pool.tier ?? 'any' },
        { title: 'disks', isNumber: true, read: (pool) => String(pool.diskIds.length) },
        { title: 'size', isNumber: true, read: (pool) => formatBytes(pool.capacity.rawBytes) },
        { title: 'used', isNumber: true, read: (pool) => formatRatio(pool.capacity.usedRatio) },
        {
          title: 'room for',
          isNumber: true,
          read: (pool) => formatBytes(pool.capacity.usableBytes),
        },
        { title: 'volumes', isNumber: true, read: (pool) => String(pool.volumeCount) },
        { title: 'replicas', isNumber: true, read: (pool) => String(pool.defaultReplicas) },
        { title: 'pgs', read: (pool) => formatPgs(pool.pgs, cli.terminal.colors) },
      ],
      pools,
      cli.terminal.colors,
    ),
  );
}

async function showPool(cli: Cli, args: PoolArgs): Promise<undefined> {
  const pool = await cli.api.get<PoolView>(`/pools/${encodeURIComponent(args.pool)}`);
  cli.show(pool, () => renderPool(cli, pool));
}

function renderPool(cli: Cli, pool: PoolView): string {
  const { colors } = cli.terminal;
  const { capacity } = pool;
  const bound = (value: number | null) => (value === null ? 'no bound' : String(value));
  const expansion = pool.isAutoExpand
    ? `at ${formatRatio(pool.expandAtRatio)}, at most ${pool.diskCountMax ?? 'any number of'} disks, every ${formatDuration(pool.expandCooldownSeconds * 1000)}`
    : 'switched off';
  const last = pool.lastExpandAt === null ? 'never yet' : formatAge(pool.lastExpandAt, cli.now);
  return renderFacts(
    [
      ['Pool', `${colors.bold(pool.name)}${pool.isFull ? colors.red('  FULL') : ''}`],
      ['Capacity', `${formatCapacityBar(capacity, 40)} ${formatRatio(capacity.usedRatio)} used`],
      [
        '',
        `${formatBytes(capacity.usedBytes)} of ${formatBytes(capacity.rawBytes)} used, room for ${formatBytes(capacity.usableBytes)} of new data, ${formatBytes(capacity.reserveBytes)} kept for rebuilding`,
      ],
      ['Volumes', `${pool.volumeCount}, ${formatBytes(capacity.provisionedBytes)} promised`],
      ['Disks', `${pool.diskIds.length}, tier ${pool.tier ?? 'any'}`],
      [
        'Evenness',
        `no disk is more than ${formatRatio(pool.fillDeviationRatio)} away from the mean fill`,
      ],
      ['PGs', formatPgs(pool.pgs, colors)],
      ['Replicas', `${pool.defaultReplicas} by default, each on its own ${pool.failureDomain}`],
      ['Expansion', expansion],
      ['Last expansion', last],
      ['Forecast', describeFuture(pool)],
      ...(pool.capacityHook === null
        ? []
        : [['Capacity hook', describeHook(pool.capacityHook, cli.now)] as const]),
      ['Full at', formatRatio(pool.fullAtRatio)],
      [
        'Claims at once',
        `${bound(pool.claimPerNode)} per node, ${bound(pool.claimNodes)} of nodes`,
      ],
    ],
    colors,
  );
}

async function setPool(cli: Cli, args: PoolSettings): Promise<undefined> {
  const changes = readChanges(args);
  if (Object.keys(changes).length === 0) {
    throw usageError(
      'No setting was given',
      '"cistern pool set --help" lists them, for example: --expand-at 75%',
    );
  }
  const path = `/pools/${encodeURIComponent(args.pool)}`;
  const { body } = await cli.api.send<PoolView>('PATCH', path, { body: changes });
  cli.show(body, () => renderPool(cli, body));
}

function readChanges(args: PoolSettings): Readonly<Record<string, unknown>> {
  const changes: Record<string, unknown> = {};
  if (args.expandAt !== undefined)
    changes['expandAtRatio'] = readRatio('--expand-at', args.expandAt);
  if (args.fullAt !== undefined) changes['fullAtRatio'] = readRatio('--full-at', args.fullAt);
  if (args.maxDisks !== undefined)
    changes['diskCountMax'] = readBound('--max-disks', args.maxDisks);
  if (args.cooldown !== undefined) {
    changes['expandCooldownSeconds'] = readSeconds('--cooldown', args.cooldown);
  }
  if (args.autoExpand !== undefined) changes['isAutoExpand'] = args.autoExpand;
  if (args.claimPerNode !== undefined) {
    changes['claimPerNode'] = readBound('--claim-per-node', args.claimPerNode);
  }
  if (args.claimNodes !== undefined)
    changes['claimNodes'] = readBound('--claim-nodes', args.claimNodes);
  return changes;
}
