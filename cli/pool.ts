/** `cistern pool …`: list, show, create, set, delete. Several at once: `cistern apply` (plan.ts). */

import { formatBytes, formatDuration } from '../shared/base/units.ts';
import type { JobView, PoolView } from '../shared/model/api-views.ts';
import { describeSelector } from '../shared/model/pool-selector.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import { usageError } from './failures.ts';
import { formatAge, formatCapacityBar, formatPgs, formatRatio } from './figures.ts';
import { describeFuture, describeHook } from './pool-forecast.ts';
import { addPoolSettings, type PoolSettingArgs, readPoolSettings, word } from './pool-settings.ts';
import { readCount } from './quantities.ts';
import { renderFacts, renderTable } from './table.ts';

interface PoolArgs {
  readonly pool: string;
}

const POOL = { describe: 'Name', type: 'string', demandOption: true } as const;

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
        'create <pool>',
        'A new pool: name the disks that it takes',
        (one) =>
          addPoolSettings(one.positional('pool', POOL))
            .option('pg-count', word('Placement groups, a power of two; for ever'))
            .example('$0 pool create fast --tier nvme --path "/mnt/fast-*"', ''),
        runAction<PoolSettingArgs>(createPool),
      )
      .command(
        'set <pool>',
        'Change settings',
        (one) =>
          addPoolSettings(one.positional('pool', POOL)).example(
            '$0 pool set default --expand-at 75% --max-disks 24',
            '',
          ),
        runAction<PoolSettingArgs>(setPool),
      )
      .command(
        'delete <pool>',
        'Delete a pool without volumes; its disks leave it',
        (one) => one.positional('pool', POOL),
        runAction<PoolArgs>(deletePool),
      )
      .demandCommand(1, 'What about pools? list, show, create, set or delete'),
  );
}

async function listPools(cli: Cli): Promise<undefined> {
  const pools = await cli.api.get<readonly PoolView[]>('/pools');
  cli.show(pools, () =>
    renderTable(
      [
        { title: 'pool', read: (pool) => pool.name },
        { title: 'takes', read: (pool) => describeSelector(pool.selector) },
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
  const pool = await cli.api.get<PoolView>(poolPath(args.pool));
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
      ['Disks', `${pool.diskIds.length}${pool.isLeaving ? colors.yellow('  BEING DELETED') : ''}`],
      ['Takes', describeSelector(pool.selector)],
      ['Priority', `${pool.priority}, for disks that several pools would take`],
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

async function createPool(cli: Cli, args: PoolSettingArgs): Promise<undefined> {
  const pgCount =
    args.pgCount === undefined ? {} : { pgCount: readCount('--pg-count', args.pgCount, 1) };
  const pool = { name: args.pool, ...readPoolSettings(args), ...pgCount };
  const { body } = await cli.api.send<PoolView>('POST', '/pools', { body: pool });
  cli.show(body, () => renderPool(cli, body));
}

async function setPool(cli: Cli, args: PoolSettingArgs): Promise<undefined> {
  const changes = readPoolSettings(args);
  if (Object.keys(changes).length === 0) {
    throw usageError(
      'No setting was given',
      '"cistern pool set --help" lists them, for example: --expand-at 75%',
    );
  }
  const { body } = await cli.api.send<PoolView>('PATCH', poolPath(args.pool), { body: changes });
  cli.show(body, () => renderPool(cli, body));
  if ('selector' in changes) {
    cli.explain(
      'Disks that do not fit any more stay until "cistern apply"; "cistern plan" shows them.',
    );
  }
}

async function deletePool(cli: Cli, args: PoolArgs): Promise<undefined> {
  const { body } = await cli.api.send<{ job: JobView | null }>('DELETE', poolPath(args.pool));
  cli.show(body, () =>
    body.job === null
      ? `Pool ${args.pool} is deleted.`
      : `Pool ${args.pool} is being deleted: ${body.job.id} empties its disks.`,
  );
}

function poolPath(pool: string): string {
  return `/pools/${encodeURIComponent(pool)}`;
}
