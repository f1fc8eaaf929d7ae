/** `cistern scrub …`: start, stop, status. */
import { formatBytes } from '../shared/base/units.ts';
import type { JobView, PgView, PoolView } from '../shared/model/api-views.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import { colorState, formatAge, formatBar, formatRatio } from './figures.ts';
import { renderFacts } from './table.ts';

interface StartArgs {
  readonly what: string | undefined;
}

export function addScrubCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command('scrub', 'Read everything and compare the replicas', (scrub) =>
    scrub
      .command(
        'start [what]',
        'Begin now; without a name, with everything',
        (one) => one.positional('what', { describe: 'Pool, volume or disk', type: 'string' }),
        runAction<StartArgs>(startScrub),
      )
      .command('stop', 'Call off the scrub that runs', (one) => one, runAction(stopScrub))
      .command(
        'status',
        'How far it is, what it found, and when everything was last looked at',
        (one) => one,
        runAction(showScrub),
      )
      .demandCommand(1, 'What about scrubs? start, stop or status'),
  );
}

async function startScrub(cli: Cli, args: StartArgs): Promise<undefined> {
  const scope = await scopeOf(cli, args.what);
  const { body } = await cli.api.send<JobView>('POST', '/scrubs', { body: scope });
  cli.show(body, () => `Scrub of ${body.subject} has begun: ${body.id}.`);
}

/** A name may be a pool's or a volume's; a pool comes first, since there are few. */
async function scopeOf(
  cli: Cli,
  what: string | undefined,
): Promise<Readonly<Record<string, string>>> {
  if (what === undefined) return {};
  if (/^d\d+$/.test(what)) return { disk: what };
  const pools = await cli.api.get<readonly PoolView[]>('/pools');
  return pools.some((pool) => pool.name === what) ? { pool: what } : { volume: what };
}

async function stopScrub(cli: Cli): Promise<undefined> {
  const job = findRunning(await cli.api.get<readonly JobView[]>('/jobs'));
  if (job === null) {
    cli.show(null, () => 'No scrub is running.');
    return;
  }
  const { body } = await cli.api.send<JobView>('POST', `/jobs/${job.id}/cancel`);
  cli.show(body, () => `Scrub ${body.id} of ${body.subject} is ${body.state}.`);
}

function findRunning(jobs: readonly JobView[]): JobView | null {
  return jobs.find((job) => job.kind === 'scrub' && job.state === 'running') ?? null;
}

async function showScrub(cli: Cli): Promise<undefined> {
  const jobs = await cli.api.get<readonly JobView[]>('/jobs');
  const pgs = await cli.api.get<readonly PgView[]>('/pgs');
  const scrubs = jobs.filter((job) => job.kind === 'scrub');
  const last = scrubs.toSorted((a, b) => b.startedAt.localeCompare(a.startedAt))[0] ?? null;
  const times = pgs.flatMap((pg) => (pg.lastScrubAt === null ? [] : [pg.lastScrubAt])).sort();
  const view = {
    job: last,
    pgCount: pgs.length,
    scrubbedPgCount: times.length,
    oldestScrubAt: times[0] ?? null,
  };
  cli.show(view, () => {
    const oldest = view.oldestScrubAt === null ? 'never' : formatAge(view.oldestScrubAt, cli.now);
    const facts: [string, string][] = [
      [
        'Scrubbed',
        `${view.scrubbedPgCount} of ${view.pgCount} placement groups, the first ${oldest}`,
      ],
      ...(last === null ? [['Scrub', 'none yet'] as [string, string]] : jobFacts(cli, last)),
    ];
    return renderFacts(facts, cli.terminal.colors);
  });
}

function jobFacts(cli: Cli, job: JobView): [string, string][] {
  const { figures } = job;
  const count = (name: string): number => figures[name] ?? 0;
  return [
    ['Scrub', `${job.id} of ${job.subject}, ${colorState(job.state, cli.terminal.colors)}`],
    ['Progress', `${formatBar(job.progressRatio, 30)} ${formatRatio(job.progressRatio)}`],
    ['Replicas', `${job.movesDone} of ${job.movesTotal}`],
    ['Read', formatBytes(count('checkedBytes'))],
    ['Bad blocks', String(count('badBlocks'))],
    ['Differing', `${count('differingBlocks')} blocks in ${count('healedExtents')} extents`],
    ['Started', formatAge(job.startedAt, cli.now)],
  ];
}
