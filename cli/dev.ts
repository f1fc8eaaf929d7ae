/** `cistern dev …`: a development cluster on this machine; the work is done in `dev/cluster/`. */

import { devDirectory } from './api-address.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import type { DevAgentView, DevClusterView, DevPlace } from './dev-commands.ts';
import { loadDevCommands } from './dev-commands.ts';
import { EXIT_FAILED, EXIT_OK } from './failures.ts';
import { colorState } from './figures.ts';
import { readCount, readSize } from './quantities.ts';
import { renderTable } from './table.ts';

const number = (describe: string, initial: string) =>
  ({ type: 'string', requiresArg: true, default: initial, describe }) as const;
const AGENT = {
  describe: 'Name, as "dev agent list" shows it',
  type: 'string',
  demandOption: true,
} as const;

interface UpArgs {
  readonly agents: string;
  readonly disks: string;
  readonly diskSize: string;
  readonly port: string;
}

interface AddArgs {
  readonly disks: string;
  readonly diskSize: string;
  readonly zone: string | undefined;
}

interface AgentArgs {
  readonly agent: string;
}

export function addDevCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command('dev', 'A development cluster on this machine', (dev) =>
    dev
      .command(
        'up',
        'Start it, or start again what has ended',
        (one) =>
          one
            .option('agents', number('Agents', '3'))
            .option('disks', number('Disks per agent', '1'))
            .option('disk-size', number('Size of a disk, like 20G', '20G'))
            .option('port', number('Port of the API; 0 for any', '0')),
        runAction<UpArgs>(up),
      )
      .command(
        'down',
        'Stop it; the data stays',
        (one) =>
          one.option('purge', { type: 'boolean', default: false, describe: 'Delete all its data' }),
        runAction<{ purge: boolean }>(down),
      )
      .command('status', 'What runs', (one) => one, runAction(status))
      .command('agent', 'Agents of the development cluster', (agent) => addAgentCommands(agent))
      .demandCommand(1, 'What about the development cluster? up, down, status or agent'),
  );
}

function addAgentCommands(parser: GlobalArgv): GlobalArgv {
  return parser
    .command('list', 'All agents', (one) => one, runAction(listAgents))
    .command(
      'add',
      'Start one more agent',
      (one) =>
        one
          .option('disks', number('Disks', '1'))
          .option('disk-size', number('Size of a disk, like 20G', '20G'))
          .option('zone', { type: 'string', requiresArg: true, describe: 'Its failure domain' }),
      runAction<AddArgs>(addAgent),
    )
    .command(
      'kill <agent>',
      'Like a power failure: everything on it dies at once',
      (one) => one.positional('agent', AGENT),
      runAction<AgentArgs>(async (cli, args) =>
        showAgent(cli, await (await loadDevCommands()).devAgentKill({ ...place(cli), ...args })),
      ),
    )
    .command(
      'stop <agent>',
      'Stop it in order',
      (one) => one.positional('agent', AGENT),
      runAction<AgentArgs>(async (cli, args) =>
        showAgent(cli, await (await loadDevCommands()).devAgentStop({ ...place(cli), ...args })),
      ),
    )
    .command(
      'start <agent>',
      'Start a stopped or killed agent again',
      (one) => one.positional('agent', AGENT),
      runAction<AgentArgs>(async (cli, args) =>
        showAgent(cli, await (await loadDevCommands()).devAgentStart({ ...place(cli), ...args })),
      ),
    )
    .demandCommand(1, 'What about agents? list, add, kill, stop or start');
}

export function place(cli: Cli): DevPlace {
  return { directory: devDirectory(cli.environment), report: (line) => cli.explain(line) };
}

async function up(cli: Cli, args: UpArgs): Promise<undefined> {
  const options = {
    ...place(cli),
    agents: readCount('--agents', args.agents, 1),
    disksPerAgent: readCount('--disks', args.disks, 1),
    diskSizeBytes: readSize('--disk-size', args.diskSize),
    port: readCount('--port', args.port, 0),
  };
  const cluster = await (await loadDevCommands()).devUp(options);
  cli.show(cluster, () => renderCluster(cli, cluster));
  cli.explain('Next: cistern status, cistern volume create db --size 1G');
}

async function down(cli: Cli, args: { purge: boolean }): Promise<undefined> {
  await (await loadDevCommands()).devDown({ ...place(cli), isPurge: args.purge });
  cli.show({ isRunning: false, isPurged: args.purge }, () =>
    args.purge
      ? 'Stopped, and all data deleted.'
      : 'Stopped; "cistern dev up" goes on with its data.',
  );
}

async function status(cli: Cli): Promise<number> {
  const cluster = await (await loadDevCommands()).devStatus(place(cli));
  cli.show(cluster, () => renderCluster(cli, cluster));
  return cluster.isRunning ? EXIT_OK : EXIT_FAILED;
}

async function listAgents(cli: Cli): Promise<undefined> {
  const { agents } = await (await loadDevCommands()).devStatus(place(cli));
  cli.show(agents, () => renderAgents(cli, agents));
}

async function addAgent(cli: Cli, args: AddArgs): Promise<undefined> {
  const options = {
    ...place(cli),
    disks: readCount('--disks', args.disks, 0),
    diskSizeBytes: readSize('--disk-size', args.diskSize),
    zone: args.zone ?? null,
  };
  showAgent(cli, await (await loadDevCommands()).devAgentAdd(options));
}

function showAgent(cli: Cli, agent: DevAgentView): undefined {
  cli.show(agent, () => `Agent ${agent.name} is ${agent.state}.`);
}

function renderCluster(cli: Cli, cluster: DevClusterView): string {
  const { colors } = cli.terminal;
  const running = cluster.isRunning
    ? `${colors.green('running')}, API and dashboard at ${colors.bold(cluster.api ?? '–')}`
    : `${colors.yellow('not running')}; start it with "cistern dev up"`;
  const lines = [
    `Development cluster ${running}`,
    colors.dim(`Its state is in ${cluster.directory}`),
    ...cluster.problems.map((problem) => `${colors.red('•')} ${problem}`),
  ];
  if (cluster.agents.length > 0) lines.push('', renderAgents(cli, cluster.agents));
  return lines.join('\n');
}

function renderAgents(cli: Cli, agents: readonly DevAgentView[]): string {
  const { colors } = cli.terminal;
  if (agents.length === 0) return 'No agents.';
  return renderTable(
    [
      { title: 'agent', read: (agent) => agent.name },
      {
        title: 'state',
        read: (agent) =>
          agent.state === 'running' ? colors.green(agent.state) : colorState(agent.state, colors),
      },
      { title: 'pid', isNumber: true, read: (agent) => String(agent.pid ?? '–') },
      { title: 'zone', read: (agent) => agent.zone ?? '–' },
      { title: 'disks', read: (agent) => agent.disks.join(' ') || '–' },
    ],
    agents,
    colors,
  );
}
