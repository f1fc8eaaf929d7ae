/** `cistern pg list`: placement groups, those that need something first. */
import { formatBytes } from '../shared/base/units.ts';
import type { PgView } from '../shared/model/api-views.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import { colorState } from './figures.ts';
import { readCount } from './quantities.ts';
import { renderTable } from './table.ts';

interface PgArgs {
  readonly pool: string | undefined;
  readonly state: string | undefined;
  readonly disk: string | undefined;
  readonly limit: string;
}

/** Worst first. */
const URGENCY = ['unavailable', 'degraded', 'misplaced', 'clean'];

const word = (describe: string) => ({ type: 'string', requiresArg: true, describe }) as const;

export function addPgCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command('pg', 'Placement groups: where data lives', (pg) =>
    pg
      .command(
        'list',
        'Placement groups, the worst first',
        (one) =>
          one
            .option('pool', word('Only those of this pool'))
            .option('state', {
              choices: ['clean', 'degraded', 'misplaced', 'unavailable'] as const,
              describe: 'Only those in this state',
            })
            .option('disk', word('Only those on this disk'))
            .option('limit', { ...word('At most this many; 0 for all'), default: '40' }),
        runAction<PgArgs>(listPgs),
      )
      .demandCommand(1, 'What about placement groups? list'),
  );
}

async function listPgs(cli: Cli, args: PgArgs): Promise<undefined> {
  const limit = readCount('--limit', args.limit, 0);
  const query = new URLSearchParams();
  for (const name of ['pool', 'state', 'disk'] as const) {
    const value = args[name];
    if (value !== undefined) query.set(name, value);
  }
  const pgs = await cli.api.get<readonly PgView[]>(`/pgs?${query}`);
  cli.show(pgs, () => renderPgs(cli, pgs, limit));
}

function renderPgs(cli: Cli, pgs: readonly PgView[], limit: number): string {
  const { colors } = cli.terminal;
  if (pgs.length === 0) return 'No placement groups.';
  const sorted = pgs.toSorted(
    (one, other) => URGENCY.indexOf(one.state) - URGENCY.indexOf(other.state),
  );
  const shown = limit === 0 ? sorted : sorted.slice(0, limit);
  const table = renderTable(
    [
      { title: 'pg', read: (pg) => pg.id },
      { title: 'pool', read: (pg) => pg.pool },
      { title: 'state', read: (pg) => colorState(pg.state, colors) },
      {
        title: 'in sync',
        read: (pg) => `${pg.inSync.length}/${pg.replicas} ${pg.inSync.join(' ')}`,
      },
      { title: 'joining', read: (pg) => pg.joining.join(' ') || '–' },
      { title: 'target', read: (pg) => pg.target.join(' ') },
      { title: 'epoch', isNumber: true, read: (pg) => String(pg.epoch) },
      { title: 'data', isNumber: true, read: (pg) => formatBytes(pg.bytes) },
    ],
    shown,
    colors,
  );
  const hidden = pgs.length - shown.length;
  return hidden === 0
    ? table
    : `${table}\n${colors.dim(`… and ${hidden} more (--limit 0 for all)`)}`;
}
