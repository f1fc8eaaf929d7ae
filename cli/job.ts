/** `cistern job …`: list, show, cancel, pause, resume, watch. */
import { formatBytes } from '../shared/base/units.ts';
import type { JobView } from '../shared/model/api-views.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import { colorState, formatAge, formatBar, formatJobProgress, formatRatio } from './figures.ts';
import { jobExitCode, watchJob } from './job-progress.ts';
import { renderFacts, renderTable } from './table.ts';

interface JobArgs {
  readonly job: string;
}

const JOB = { describe: 'Id (j4)', type: 'string', demandOption: true } as const;

export function addJobCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command('job', 'Jobs: rebuilds, rebalances, drains and other work', (job) =>
    job
      .command(
        'list',
        'Running jobs and those that ended lately',
        (one) => one,
        runAction(listJobs),
      )
      .command(
        'show <job>',
        'One job',
        (one) => one.positional('job', JOB),
        runAction<JobArgs>(showJob),
      )
      .command(
        'cancel <job>',
        'Cancel a running job',
        (one) => one.positional('job', JOB),
        runAction<JobArgs>((cli, args) => steerJob(cli, args, 'cancel')),
      )
      .command(
        'pause <job>',
        'Let a change of pools rest: copies that run end, no other begins',
        (one) => one.positional('job', JOB),
        runAction<JobArgs>((cli, args) => steerJob(cli, args, 'pause')),
      )
      .command(
        'resume <job>',
        'Let a paused job go on',
        (one) => one.positional('job', JOB),
        runAction<JobArgs>((cli, args) => steerJob(cli, args, 'resume')),
      )
      .command(
        'watch [job]',
        'Follow a job until it ends; without an id, all that are running',
        (one) => one.positional('job', { describe: 'Id (j4)', type: 'string' }),
        runAction<{ job: string | undefined }>(watchJobs),
      )
      .demandCommand(1, 'What about jobs? list, show, cancel, pause, resume or watch'),
  );
}

function path(job: string): string {
  return `/jobs/${encodeURIComponent(job)}`;
}

async function listJobs(cli: Cli): Promise<undefined> {
  const jobs = await cli.api.get<readonly JobView[]>('/jobs');
  cli.show(jobs, () => {
    const { colors } = cli.terminal;
    if (jobs.length === 0) return 'No jobs.';
    const order = jobs.toSorted((one, other) => other.startedAt.localeCompare(one.startedAt));
    return renderTable(
      [
        { title: 'job', read: (job) => job.id },
        { title: 'kind', read: (job) => job.kind },
        { title: 'subject', read: (job) => job.subject },
        { title: 'state', read: (job) => colorState(job.state, colors) },
        {
          title: 'progress',
          read: (job) => `${formatBar(job.progressRatio, 10)} ${formatRatio(job.progressRatio)}`,
        },
        { title: 'data', read: (job) => formatJobProgress(job) },
        { title: 'started', read: (job) => formatAge(job.startedAt, cli.now) },
        { title: 'reason', read: (job) => job.reason },
      ],
      order,
      colors,
    );
  });
}

async function showJob(cli: Cli, args: JobArgs): Promise<undefined> {
  const job = await cli.api.get<JobView>(path(args.job));
  cli.show(job, () => renderJob(cli, job));
}

function renderJob(cli: Cli, job: JobView): string {
  const { colors } = cli.terminal;
  const ended = job.endedAt === null ? 'not yet' : formatAge(job.endedAt, cli.now);
  return renderFacts(
    [
      ['Job', `${colors.bold(job.id)} ${job.kind} ${job.subject}`],
      ['State', colorState(job.state, colors)],
      ['Reason', job.reason],
      ['Progress', `${formatBar(job.progressRatio, 30)} ${formatRatio(job.progressRatio)}`],
      ['Data', formatJobProgress(job)],
      ['Moves', `${job.movesDone} of ${job.movesTotal} placement groups`],
      ['Started', formatAge(job.startedAt, cli.now)],
      ['Ended', ended],
      ...Object.entries(job.figures).map(([name, value]): [string, string] => [
        name,
        formatFigure(name, value),
      ]),
    ],
    colors,
  );
}

/** The unit is part of a figure's name. */
function formatFigure(name: string, value: number): string {
  if (name.endsWith('Bytes')) return formatBytes(value);
  if (name.endsWith('Ratio')) return `${(value * 100).toFixed(1)} %`;
  return String(value);
}

async function steerJob(
  cli: Cli,
  args: JobArgs,
  what: 'cancel' | 'pause' | 'resume',
): Promise<undefined> {
  const { body } = await cli.api.send<JobView>('POST', `${path(args.job)}/${what}`);
  cli.show(body, () => `Job ${body.id} is ${body.state}.`);
}

async function watchJobs(cli: Cli, args: { job: string | undefined }): Promise<number> {
  const ids =
    args.job === undefined
      ? (await cli.api.get<readonly JobView[]>('/jobs'))
          .filter((job) => job.state === 'running')
          .map((job) => job.id)
      : [args.job];
  if (ids.length === 0) cli.explain('No job is running.');
  const ended: JobView[] = [];
  for (const id of ids) ended.push(await watchJob(cli, id));
  if (cli.isJson) cli.show(ended, () => '');
  return Math.max(0, ...ended.map(jobExitCode));
}
