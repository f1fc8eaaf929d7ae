/** `cistern node …`: list, show, explain, drain, activate, decommission, forget. */
import { formatBytes } from '../shared/base/units.ts';
import type { DiskView, JobView, NodeView } from '../shared/model/api-views.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import { failure } from './failures.ts';
import { colorState, formatAge, formatRatio, plural } from './figures.ts';
import { jobExitCode, watchJob } from './job-progress.ts';
import { type AgentArgs, explainAgent } from './node-explain.ts';
import { renderFacts, renderTable } from './table.ts';

interface NodeArgs {
  readonly node: string;
}

interface NodeAnswer {
  readonly node: NodeView;
  readonly job: JobView | null;
}

const NODE = {
  describe: 'Id (n3) or hostname',
  type: 'string',
  demandOption: true,
} as const;

export function addNodeCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command('node', 'Nodes: the agents that serve disks', (node) =>
    node
      .command('list', 'All nodes', (one) => one, runAction(listNodes))
      .command(
        'show <node>',
        'One node with its disks',
        (one) => one.positional('node', NODE),
        runAction<NodeArgs>(showNode),
      )
      .command(
        'drain <node>',
        'Move all data off a node, for maintenance or for good',
        (one) =>
          one.positional('node', NODE).option('wait', {
            type: 'boolean',
            default: false,
            describe: 'Wait until the node is empty, with progress',
          }),
        runAction<NodeArgs & { wait: boolean }>(drainNode),
      )
      .command(
        'activate <node>',
        'Let a drained or draining node hold data again',
        (one) => one.positional('node', NODE),
        runAction<NodeArgs>(activateNode),
      )
      .command(
        'decommission <node>',
        'Take a node out for good: empty it, then give everything on it back to Mesos',
        (one) =>
          one
            .positional('node', NODE)
            .option('wait', {
              type: 'boolean',
              default: false,
              describe: 'Wait until nothing is left there, with progress',
            })
            .option('yes', { type: 'boolean', default: false, describe: 'Do not ask' }),
        runAction<NodeArgs & { wait: boolean; yes: boolean }>(decommissionNode),
      )
      .command(
        'forget <node>',
        'Your word that a node will never come back',
        (one) =>
          one
            .positional('node', NODE)
            .option('yes', { type: 'boolean', default: false, describe: 'Do not ask' }),
        runAction<NodeArgs & { yes: boolean }>(forgetNode),
      )
      .command(
        'explain <agent>',
        'What an agent offers, and why it was or was not taken; also where no node runs',
        (one) =>
          one.positional('agent', {
            describe: "Mesos' id of the agent, a hostname, or a node (n3)",
            type: 'string',
            demandOption: true,
          }),
        runAction<AgentArgs>(explainAgent),
      )
      .demandCommand(
        1,
        'What about nodes? list, show, explain, drain, activate, decommission or forget',
      ),
  );
}

function path(node: string): string {
  return `/nodes/${encodeURIComponent(node)}`;
}

async function listNodes(cli: Cli): Promise<undefined> {
  const nodes = await cli.api.get<readonly NodeView[]>('/nodes');
  cli.show(nodes, () => {
    const { colors } = cli.terminal;
    if (nodes.length === 0) {
      return 'No node has joined yet: nodes join by themselves when Mesos offers their disks.';
    }
    return renderTable(
      [
        { title: 'node', read: (node) => node.id },
        { title: 'host', read: (node) => node.hostname },
        { title: 'state', read: (node) => colorState(node.state, colors) },
        { title: 'zone', read: (node) => node.zone ?? '–' },
        { title: 'disks', isNumber: true, read: (node) => String(node.diskIds.length) },
        { title: 'size', isNumber: true, read: (node) => formatBytes(node.capacity.rawBytes) },
        { title: 'used', isNumber: true, read: (node) => formatRatio(node.capacity.usedRatio) },
        { title: 'attached', isNumber: true, read: (node) => String(node.attachedVolumes.length) },
        { title: 'note', read: (node) => node.stateReason },
      ],
      nodes,
      colors,
    );
  });
}

async function showNode(cli: Cli, args: NodeArgs): Promise<undefined> {
  const node = await cli.api.get<NodeView>(path(args.node));
  const disks = (await cli.api.get<readonly DiskView[]>('/disks')).filter(
    (disk) => disk.node === node.id,
  );
  cli.show({ ...node, disks }, () => renderNode(cli, node, disks));
}

function renderNode(cli: Cli, node: NodeView, disks: readonly DiskView[]): string {
  const { colors } = cli.terminal;
  const attributes = Object.entries(node.attributes).map(([name, value]) => `${name}=${value}`);
  const { capacity } = node;
  const facts = renderFacts(
    [
      ['Node', `${colors.bold(node.id)} on ${node.hostname}`],
      ['State', [colorState(node.state, colors), node.stateReason].filter(Boolean).join(': ')],
      ['Last heard', node.lastSeenAt === null ? 'never' : formatAge(node.lastSeenAt, cli.now)],
      ['Zone', [node.zone, node.region].filter(Boolean).join(' in ') || '–'],
      ['Attributes', attributes.join(', ') || '–'],
      ['Address', node.dataAddress ?? '–'],
      [
        'Capacity',
        `${formatBytes(capacity.usedBytes)} of ${formatBytes(capacity.rawBytes)} used (${formatRatio(capacity.usedRatio)})`,
      ],
      ['Memory', node.memoryBytes === null ? '–' : formatBytes(node.memoryBytes)],
      ['Attached', node.attachedVolumes.join(', ') || 'no volumes'],
      ['Mesos agent', node.agentId],
      ['Executor', node.executorId],
    ],
    colors,
  );
  if (disks.length === 0) return `${facts}\n\nNo disks.`;
  const table = renderTable(
    [
      { title: 'disk', read: (disk) => disk.id },
      { title: 'state', read: (disk) => colorState(disk.state, colors) },
      { title: 'size', isNumber: true, read: (disk) => formatBytes(disk.sizeBytes) },
      { title: 'used', isNumber: true, read: (disk) => formatRatio(disk.usedRatio) },
      { title: 'path', read: (disk) => disk.sourceRoot ?? disk.path ?? '–' },
      { title: 'note', read: (disk) => disk.error },
    ],
    disks,
    colors,
  );
  return `${facts}\n\n${table}`;
}

async function drainNode(
  cli: Cli,
  args: NodeArgs & { wait: boolean },
): Promise<number | undefined> {
  const { body } = await cli.api.send<NodeAnswer>('POST', `${path(args.node)}/drain`);
  const { node, job } = body;
  if (!args.wait || job === null) {
    cli.show(body, () =>
      job === null
        ? `Node ${node.id} is ${node.state}: nothing to move.`
        : `Node ${node.id} is being drained by job ${job.id}; "cistern job watch ${job.id}" follows it.`,
    );
    return undefined;
  }
  cli.explain(
    `Node ${node.id} is being drained by job ${job.id}; ending this watch does not stop it`,
  );
  const ended = await watchJob(cli, job.id);
  const after = await cli.api.get<NodeView>(path(node.id));
  cli.show({ node: after, job: ended }, () => `Node ${after.id} is ${after.state}.`);
  return jobExitCode(ended);
}

async function decommissionNode(
  cli: Cli,
  args: NodeArgs & { wait: boolean; yes: boolean },
): Promise<number | undefined> {
  const before = await cli.api.get<NodeView>(path(args.node));
  if (!args.yes) {
    cli.explain(
      `Node ${before.id} (${before.hostname}) is emptied; then the volumes of its ${plural(before.diskIds.length, 'disk')} are destroyed and given back to Mesos`,
    );
    if (!(await cli.terminal.confirm(`Type "${before.id}" to take it out: `, before.id))) {
      throw failure('Nothing was done', 'to empty it and keep it: cistern node drain');
    }
  }
  const { body } = await cli.api.send<NodeAnswer>('POST', `${path(before.id)}/decommission`);
  const { node, job } = body;
  if (!args.wait || job === null) {
    cli.show(
      body,
      () =>
        `Node ${node.id} is being taken out${job === null ? '' : ` by job ${job.id}; "cistern job watch ${job.id}" follows it`}.`,
    );
    return undefined;
  }
  cli.explain(
    `Node ${node.id} is being taken out by job ${job.id}; ending this watch does not stop it`,
  );
  const ended = await watchJob(cli, job.id);
  cli.show({ node, job: ended }, () => `Taking out node ${node.id}: ${ended.state}.`);
  return jobExitCode(ended);
}

async function activateNode(cli: Cli, args: NodeArgs): Promise<undefined> {
  const { body } = await cli.api.send<NodeAnswer>('POST', `${path(args.node)}/activate`);
  cli.show(body, () => `Node ${body.node.id} may hold data again; it is ${body.node.state}.`);
}

async function forgetNode(cli: Cli, args: NodeArgs & { yes: boolean }): Promise<undefined> {
  const before = await cli.api.get<NodeView>(path(args.node));
  if (!args.yes) {
    const lost = `${plural(before.diskIds.length, 'disk')} with ${formatBytes(before.capacity.usedBytes)}`;
    cli.explain(
      `Node ${before.id} (${before.hostname}) is ${before.state}. Forgetting it gives up ${lost}`,
    );
    if (!(await cli.terminal.confirm(`Type "${before.id}" to forget it: `, before.id))) {
      throw failure('Nothing was done', 'to move its data away instead: cistern node drain');
    }
  }
  const { body } = await cli.api.send<NodeAnswer>('POST', `${path(before.id)}/forget`);
  cli.show(body, () => `Node ${before.id} is forgotten; what it held is made again elsewhere.`);
}
