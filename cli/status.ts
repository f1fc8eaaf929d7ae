/**
 * `cistern status`: the whole cluster on one screen. What is wrong comes first, with what happens
 * about it; then capacity, placement groups, I/O, jobs, and the nodes, those in trouble on top.
 */
import { formatBytes, formatDuration } from '../shared/base/units.ts';
import type {
  ClusterView,
  DiskView,
  JobView,
  NodeView,
  PoolView,
} from '../shared/model/api-views.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import {
  colorState,
  formatBar,
  formatCapacityBar,
  formatIo,
  formatJobProgress,
  formatPgs,
  formatRatio,
  healthSign,
  plural,
  reasonLines,
} from './figures.ts';
import { describeSoonFull } from './pool-forecast.ts';
import { renderFacts, renderTable } from './table.ts';

/** Rows above and below the lists: title, facts, headings, prompt. */
const FIXED_ROWS = 16;
const NODES_MIN = 5;
const REASONS_MAX = 5;
const JOBS_MAX = 5;
const BAR_WIDTH = 40;

export function addStatusCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command(
    'status',
    'Health, capacity, nodes and running jobs on one screen',
    (one) => one,
    runAction(showStatus),
  );
}

async function showStatus(cli: Cli): Promise<undefined> {
  const [cluster, nodes, disks, jobs, pools] = await Promise.all([
    cli.api.get<ClusterView>('/cluster'),
    cli.api.get<readonly NodeView[]>('/nodes'),
    cli.api.get<readonly DiskView[]>('/disks'),
    cli.api.get<readonly JobView[]>('/jobs'),
    cli.api.get<readonly PoolView[]>('/pools'),
  ]);
  const running = jobs.filter((job) => job.state === 'running');
  cli.show({ cluster, nodes, disks, jobs: running }, () =>
    [
      ...renderHealth(cli, cluster),
      '',
      renderSums(cli, cluster, pools),
      ...renderJobs(cli, running),
      ...renderNodes(cli, nodes, disks),
    ].join('\n'),
  );
}

function renderHealth(cli: Cli, cluster: ClusterView): readonly string[] {
  const { colors } = cli.terminal;
  const uptime = formatDuration(cluster.uptimeSeconds * 1000);
  const where = colors.dim(`${cli.api.address}, version ${cluster.version}, leading for ${uptime}`);
  const lines = [
    `${colors.bold(cluster.name)}  ${healthSign(cluster.health, colors)}  ${where}`,
    ...reasonLines(cluster.reasons.slice(0, REASONS_MAX), cluster.health, colors),
  ];
  const hidden = cluster.reasons.length - REASONS_MAX;
  if (hidden > 0) lines.push(colors.dim(`  … and ${hidden} more (cistern status --json)`));
  if (cluster.reasons.length === 0) lines.push('Nothing to do.');
  return lines;
}

function renderSums(cli: Cli, cluster: ClusterView, pools: readonly PoolView[]): string {
  const { colors } = cli.terminal;
  const { capacity } = cluster;
  const bytes = [
    `${formatBytes(capacity.usedBytes)} of ${formatBytes(capacity.rawBytes)} used`,
    `room for ${formatBytes(capacity.usableBytes)} of new data`,
    `${formatBytes(capacity.reserveBytes)} kept for rebuilding`,
  ];
  return renderFacts(
    [
      [
        'Capacity',
        `${formatCapacityBar(capacity, BAR_WIDTH)} ${formatRatio(capacity.usedRatio)} used`,
      ],
      ['', bytes.join(', ')],
      ...describeSoonFull(pools).map((future) => ['Forecast', future] as const),
      [
        'Volumes',
        `${plural(cluster.volumeCount, 'volume')}, ${cluster.attachedCount} attached, ${formatBytes(capacity.provisionedBytes)} promised`,
      ],
      ['PGs', formatPgs(cluster.pgs, colors)],
      ['I/O', formatIo(cluster.io)],
    ],
    colors,
  );
}

function renderJobs(cli: Cli, jobs: readonly JobView[]): readonly string[] {
  if (jobs.length === 0) return [];
  const lines = jobs
    .slice(0, JOBS_MAX)
    .map(
      (job) =>
        `${job.id}  ${job.kind} ${job.subject}  ${formatBar(job.progressRatio, 20)} ${formatRatio(job.progressRatio)}  ${formatJobProgress(job)}`,
    );
  if (jobs.length > JOBS_MAX) {
    lines.push(cli.terminal.colors.dim(`… and ${jobs.length - JOBS_MAX} more (cistern job list)`));
  }
  return ['', ...lines];
}

function renderNodes(
  cli: Cli,
  nodes: readonly NodeView[],
  disks: readonly DiskView[],
): readonly string[] {
  const { colors, rows } = cli.terminal;
  if (nodes.length === 0) {
    return ['', 'No node has joined yet: nodes join by themselves when Mesos offers their disks.'];
  }
  const room = Math.max(NODES_MIN, rows - FIXED_ROWS);
  const inTrouble = (node: NodeView) =>
    node.state !== 'up' || disks.some((disk) => disk.node === node.id && disk.state !== 'serving');
  const sorted = nodes.toSorted((one, other) => Number(inTrouble(other)) - Number(inTrouble(one)));
  const table = renderTable(nodeColumns(cli, disks), sorted.slice(0, room), colors);
  const lines = ['', table];
  if (nodes.length > room) {
    lines.push(colors.dim(`… and ${nodes.length - room} more nodes (cistern node list)`));
  }
  return lines;
}

function nodeColumns(cli: Cli, disks: readonly DiskView[]) {
  const { colors } = cli.terminal;
  const disksOf = (node: NodeView) => disks.filter((disk) => disk.node === node.id);
  return [
    { title: 'node', read: (node: NodeView) => node.id },
    { title: 'host', read: (node: NodeView) => node.hostname },
    { title: 'state', read: (node: NodeView) => colorState(node.state, colors) },
    { title: 'disks', read: (node: NodeView) => countDisks(cli, disksOf(node)) },
    {
      title: 'fill',
      read: ({ capacity }: NodeView) =>
        `${formatBar(capacity.usedRatio, 10)} ${formatRatio(capacity.usedRatio)}`,
    },
    {
      title: 'size',
      isNumber: true,
      read: (node: NodeView) => formatBytes(node.capacity.rawBytes),
    },
    {
      title: 'attached',
      isNumber: true,
      read: (node: NodeView) => String(node.attachedVolumes.length),
    },
  ];
}

function countDisks(cli: Cli, disks: readonly DiskView[]): string {
  const serving = disks.filter((disk) => disk.state === 'serving').length;
  if (serving === disks.length) return String(disks.length);
  return cli.terminal.colors.red(`${serving} of ${disks.length}`);
}
