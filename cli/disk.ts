/** `cistern disk …`: list, show, drain, replace, activate, readmit. */
import { formatBytes } from '../shared/base/units.ts';
import type { DiskView, JobView } from '../shared/model/api-views.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import { colorState, formatBar, formatCount, formatRatio } from './figures.ts';
import { jobExitCode, watchJob } from './job-progress.ts';
import { renderFacts, renderTable } from './table.ts';

interface DiskArgs {
  readonly disk: string;
}

interface DiskAnswer {
  readonly disk: DiskView;
  readonly job: JobView | null;
}

const DISK = { describe: 'Id (d7) or UUID', type: 'string', demandOption: true } as const;

export function addDiskCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command('disk', 'Disks: directories on local devices that hold the data', (disk) =>
    disk
      .command(
        'list',
        'All disks',
        (one) =>
          one.option('node', {
            type: 'string',
            requiresArg: true,
            describe: 'Only those of this node (id or hostname)',
          }),
        runAction<{ node: string | undefined }>(listDisks),
      )
      .command(
        'show <disk>',
        'One disk',
        (one) => one.positional('disk', DISK),
        runAction<DiskArgs>(showDisk),
      )
      .command(
        'drain <disk>',
        'Move all data off a disk',
        (one) =>
          one.positional('disk', DISK).option('wait', {
            type: 'boolean',
            default: false,
            describe: 'Wait until the disk is empty, with progress',
          }),
        runAction<DiskArgs & { wait: boolean }>(drainDisk),
      )
      .command(
        'replace <disk>',
        'Replace a disk by another one of its node, then give it back to Mesos',
        (one) =>
          one
            .positional('disk', DISK)
            .option('with', {
              type: 'string',
              requiresArg: true,
              describe: 'Only this place may take over: /mnt/b, mount:/mnt/b',
            })
            .option('wait', {
              type: 'boolean',
              default: false,
              describe: 'Wait until the disk is given back, with progress',
            }),
        runAction<DiskArgs & { wait: boolean; with: string | undefined }>(replaceDisk),
      )
      .command(
        'activate <disk>',
        'Let a draining or failed disk hold data again',
        (one) => one.positional('disk', DISK),
        runAction<DiskArgs>(activateDisk),
      )
      .command(
        'readmit <disk>',
        'Let a disk that was taken out for its errors hold data again',
        (one) => one.positional('disk', DISK),
        runAction<DiskArgs>(readmitDisk),
      )
      .demandCommand(1, 'What about disks? list, show, drain, replace, activate or readmit'),
  );
}

function path(disk: string): string {
  return `/disks/${encodeURIComponent(disk)}`;
}

function describeState(cli: Cli, disk: DiskView): string {
  const state = colorState(disk.state, cli.terminal.colors);
  if (disk.outReason !== '') return `${state}, ${cli.terminal.colors.red('out')}`;
  if (disk.leavingReason !== '') return `${state}, leaving its pool`;
  return disk.isDraining ? `${state}, draining` : state;
}

async function listDisks(cli: Cli, args: { node: string | undefined }): Promise<undefined> {
  const all = await cli.api.get<readonly DiskView[]>('/disks');
  const disks = all.filter(
    (disk) => args.node === undefined || disk.node === args.node || disk.hostname === args.node,
  );
  cli.show(disks, () => {
    if (disks.length === 0)
      return args.node === undefined ? 'No disks yet.' : `No disks on "${args.node}".`;
    return renderTable(
      [
        { title: 'disk', read: (disk) => disk.id },
        { title: 'node', read: (disk) => disk.node },
        { title: 'host', read: (disk) => disk.hostname },
        { title: 'pool', read: (disk) => disk.pool },
        { title: 'tier', read: (disk) => disk.tier },
        { title: 'state', read: (disk) => describeState(cli, disk) },
        { title: 'size', isNumber: true, read: (disk) => formatBytes(disk.sizeBytes) },
        {
          title: 'fill',
          read: (disk) => `${formatBar(disk.usedRatio, 10)} ${formatRatio(disk.usedRatio)}`,
        },
        { title: 'pgs', isNumber: true, read: (disk) => formatCount(disk.pgCount) },
        { title: 'note', read: (disk) => disk.error || disk.outReason || disk.leavingReason },
      ],
      disks,
      cli.terminal.colors,
    );
  });
}

async function showDisk(cli: Cli, args: DiskArgs): Promise<undefined> {
  const disk = await cli.api.get<DiskView>(path(args.disk));
  const { colors } = cli.terminal;
  cli.show(disk, () =>
    renderFacts(
      [
        ['Disk', `${colors.bold(disk.id)} on ${disk.node} (${disk.hostname})`],
        ['State', describeState(cli, disk)],
        ['Error', disk.error || 'none'],
        ...(disk.outReason === '' ? [] : [['Taken out', disk.outReason] as const]),
        ...(disk.foreign === '' ? [] : [['Not ours', disk.foreign] as const]),
        ...(disk.leavingReason === '' ? [] : [['Leaves', disk.leavingReason] as const]),
        ['Pool', `${disk.pool}, tier ${disk.tier}`],
        [
          'Fill',
          `${formatBar(disk.usedRatio, 20)} ${formatBytes(disk.usedBytes)} of ${formatBytes(disk.sizeBytes)} (${formatRatio(disk.usedRatio)})`,
        ],
        ['PGs', formatCount(disk.pgCount)],
        ['Checksum errors', formatCount(disk.checksumErrorCount)],
        ['Device', `${disk.kind} ${disk.sourceRoot ?? '–'}`],
        ['Path', disk.path ?? '–'],
        ['UUID', disk.uuid],
        ['Mesos task', disk.taskId ?? '–'],
      ],
      colors,
    ),
  );
}

async function drainDisk(
  cli: Cli,
  args: DiskArgs & { wait: boolean },
): Promise<number | undefined> {
  const { body } = await cli.api.send<DiskAnswer>('POST', `${path(args.disk)}/drain`);
  const { disk, job } = body;
  if (!args.wait || job === null) {
    cli.show(body, () =>
      job === null
        ? `Disk ${disk.id} is draining: nothing to move.`
        : `Disk ${disk.id} is being drained by job ${job.id}; "cistern job watch ${job.id}" follows it.`,
    );
    return undefined;
  }
  cli.explain(
    `Disk ${disk.id} is being drained by job ${job.id}; ending this watch does not stop it`,
  );
  const ended = await watchJob(cli, job.id);
  cli.show({ disk, job: ended }, () => `Draining disk ${disk.id}: ${ended.state}.`);
  return jobExitCode(ended);
}

async function replaceDisk(
  cli: Cli,
  args: DiskArgs & { wait: boolean; with: string | undefined },
): Promise<number | undefined> {
  const { body } = await cli.api.send<DiskAnswer>('POST', `${path(args.disk)}/replace`, {
    body: args.with === undefined ? {} : { with: args.with },
  });
  const { disk, job } = body;
  if (!args.wait || job === null) {
    cli.show(
      body,
      () =>
        `Disk ${disk.id} is being replaced${job === null ? '' : ` by job ${job.id}; "cistern explain ${job.id}" says what it waits for`}.`,
    );
    return undefined;
  }
  cli.explain(
    `Disk ${disk.id} is being replaced by job ${job.id}; ending this watch does not stop it`,
  );
  const ended = await watchJob(cli, job.id);
  cli.show({ disk, job: ended }, () => `Replacing disk ${disk.id}: ${ended.state}.`);
  return jobExitCode(ended);
}

async function activateDisk(cli: Cli, args: DiskArgs): Promise<undefined> {
  const { body } = await cli.api.send<DiskAnswer>('POST', `${path(args.disk)}/activate`);
  cli.show(body, () => `Disk ${body.disk.id} may hold data again; it is ${body.disk.state}.`);
}

async function readmitDisk(cli: Cli, args: DiskArgs): Promise<undefined> {
  const { body } = await cli.api.send<DiskAnswer>('POST', `${path(args.disk)}/readmit`);
  cli.show(body, () => `Disk ${body.disk.id} may hold data again; it is ${body.disk.state}.`);
}
