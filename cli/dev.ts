/**
 * `cistern dev …`: a development cluster on this machine: a Mesos stand-in with real schedulers and
 * executors. The work is done in `dev/cluster/`, which is loaded only when it is used.
 */
import type { DevAgent, DevCluster, DevPlace } from '../dev/cluster/commands.ts';
import type { DevSettings } from '../dev/cluster/layout.ts';
import { devDirectory } from '../dev/cluster/layout.ts';
import { MiB } from '../shared/base/units.ts';
import { type Cli, type GlobalArgv, runAction } from './cli.ts';
import { EXIT_FAILED, EXIT_OK } from './failures.ts';
import { readBound, readCount, readSeconds, readSize } from './quantities.ts';
import { renderTable } from './table.ts';

/** Texts without a default: what is not given stays as the cluster was created. */
const word = (describe: string) => ({ type: 'string', requiresArg: true, describe }) as const;
const AGENT = {
  describe: 'Name, as "cistern dev agent list" shows it',
  type: 'string',
  demandOption: true,
} as const;

interface UpArgs {
  readonly detach: boolean;
  readonly agents: string | undefined;
  readonly disks: string | undefined;
  readonly diskSize: string | undefined;
  readonly claimPerNode: string | undefined;
  readonly zones: string | undefined;
  readonly pgs: string | undefined;
  readonly rebuildAfter: string | undefined;
  readonly artefact: boolean | undefined;
}

interface AddArgs {
  readonly disks: string | undefined;
  readonly diskSize: string | undefined;
  readonly zone: string | undefined;
}

interface AgentArgs {
  readonly agent: string;
}

export function addDevCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command('dev', 'A development cluster on this machine', (dev) =>
    addUpCommand(dev)
      .command(
        'down',
        'Stop it; its data stays for the next "up"',
        (one) =>
          one.option('purge', { type: 'boolean', default: false, describe: 'Delete all its data' }),
        runAction<{ purge: boolean }>(down),
      )
      .command('status', 'What runs', (one) => one, runAction(status))
      .command('agent', 'Agents of the development cluster', (agent) => addAgentCommands(agent))
      .demandCommand(1, 'What about the development cluster? up, down, status or agent'),
  );
}

function addUpCommand(parser: GlobalArgv): GlobalArgv {
  return parser.command(
    'up',
    'Start it, with the data it had; runs until Ctrl-C unless --detach',
    (one) =>
      one
        .option('detach', {
          alias: 'd',
          type: 'boolean',
          default: false,
          describe: 'Return when it is up; "cistern dev down" stops it',
        })
        .option('agents', word('Agents'))
        .option('disks', word('Disks per agent'))
        .option('disk-size', word('Size of a disk, like 4G'))
        .option('claim-per-node', word('Disks claimed at once on a node, or none for all'))
        .option('zones', word('Zones that agents are dealt to; 0 for none'))
        .option('pgs', word('Placement groups, a power of two'))
        .option('rebuild-after', word('How long a node may be away, like 10s'))
        .option('artefact', {
          type: 'boolean',
          describe: 'Run executors from the packed artefact, as in production',
        }),
    runAction<UpArgs>(up),
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
          .option('disks', word('Disks'))
          .option('disk-size', word('Size of a disk, like 4G'))
          .option('zone', word('Its failure domain')),
      runAction<AddArgs>(addAgent),
    )
    .command(
      'kill <agent>',
      'Like a power failure: everything on it dies at once',
      (one) => one.positional('agent', AGENT),
      runAction<AgentArgs>((cli, args) => actOnAgent(cli, args.agent, 'kill')),
    )
    .command(
      'stop <agent>',
      'End the agent process; its executors stay',
      (one) => one.positional('agent', AGENT),
      runAction<AgentArgs>((cli, args) => actOnAgent(cli, args.agent, 'stop')),
    )
    .command(
      'start <agent>',
      'Start a stopped or killed agent again',
      (one) => one.positional('agent', AGENT),
      runAction<AgentArgs>((cli, args) => actOnAgent(cli, args.agent, 'start')),
    )
    .demandCommand(1, 'What about agents? list, add, kill, stop or start');
}

function load(): Promise<typeof import('../dev/cluster/commands.ts')> {
  return import('../dev/cluster/commands.ts');
}

function place(cli: Cli): DevPlace {
  return { directory: devDirectory(cli.environment), report: (text) => cli.explain(text) };
}

async function up(cli: Cli, args: UpArgs): Promise<undefined> {
  const settings = readSettings(args);
  const { devUp } = await load();
  const cluster = await devUp({ ...place(cli), settings, isDetached: args.detach });
  if (!args.detach) return undefined;
  cli.show(cluster, () => renderCluster(cli, cluster));
  cli.explain('Next: cistern status, cistern volume create db --size 1G');
  return undefined;
}

function readSettings(args: UpArgs): Partial<DevSettings> {
  const { agents, disks, diskSize, claimPerNode, zones, pgs, rebuildAfter, artefact } = args;
  return {
    ...(agents === undefined ? {} : { agents: readCount('--agents', agents, 1) }),
    ...(disks === undefined ? {} : { disksPerAgent: readCount('--disks', disks, 1) }),
    ...(diskSize === undefined ? {} : { diskSizeMb: readMebibytes('--disk-size', diskSize) }),
    ...(claimPerNode === undefined
      ? {}
      : { claimPerNode: readBound('--claim-per-node', claimPerNode) }),
    ...(zones === undefined ? {} : { zones: readCount('--zones', zones, 0) }),
    ...(pgs === undefined ? {} : { pgCount: readCount('--pgs', pgs, 1) }),
    ...(rebuildAfter === undefined
      ? {}
      : { rebuildAfterSeconds: readSeconds('--rebuild-after', rebuildAfter) }),
    ...(artefact === undefined ? {} : { useArtefact: artefact }),
  };
}

/** Mesos counts disks in whole mebibytes. */
function readMebibytes(option: string, given: string): number {
  return Math.floor(readSize(option, given) / MiB);
}

async function down(cli: Cli, args: { purge: boolean }): Promise<undefined> {
  const { devDown } = await load();
  await devDown({ ...place(cli), isPurge: args.purge });
  cli.show({ isRunning: false, isPurged: args.purge }, () =>
    args.purge
      ? 'Stopped, and all data is deleted.'
      : 'Stopped; "cistern dev up" goes on with its data.',
  );
}

async function status(cli: Cli): Promise<number> {
  const { devStatus } = await load();
  const cluster = await devStatus(place(cli));
  cli.show(cluster, () => renderCluster(cli, cluster));
  return cluster.isRunning ? EXIT_OK : EXIT_FAILED;
}

function renderCluster(cli: Cli, cluster: DevCluster): string {
  const { colors } = cli.terminal;
  const where = colors.dim(`Data and logs are in ${cluster.directory}`);
  if (!cluster.isRunning) {
    return `${colors.yellow('Not running')}; start it with: cistern dev up --detach\n${where}`;
  }
  return [
    `${colors.green('Running')}; API and dashboard: ${colors.bold(cluster.api ?? '–')}`,
    where,
    ...cluster.problems.map((problem) => `${colors.red('•')} ${problem}`),
    '',
    renderAgents(cli, cluster.agents),
  ].join('\n');
}

async function listAgents(cli: Cli): Promise<undefined> {
  const { devStatus } = await load();
  const { agents } = await devStatus(place(cli));
  cli.show(agents, () => renderAgents(cli, agents));
}

function renderAgents(cli: Cli, agents: readonly DevAgent[]): string {
  const { colors } = cli.terminal;
  if (agents.length === 0) return 'No agents run.';
  return renderTable(
    [
      { title: 'agent', read: (agent) => agent.name },
      {
        title: 'state',
        read: ({ state }) => (state === 'running' ? colors.green(state) : colors.yellow(state)),
      },
      { title: 'pid', isNumber: true, read: (agent) => String(agent.pid ?? '–') },
      { title: 'zone', read: (agent) => agent.zone ?? '–' },
      { title: 'disks', read: (agent) => agent.disks.join(' ') || '–' },
    ],
    agents,
    colors,
  );
}

async function addAgent(cli: Cli, args: AddArgs): Promise<undefined> {
  const { disks, diskSize, zone } = args;
  const options = {
    ...place(cli),
    disks: disks === undefined ? null : readCount('--disks', disks, 0),
    diskSizeMb: diskSize === undefined ? null : readMebibytes('--disk-size', diskSize),
    zone: zone ?? null,
  };
  const { devAgentAdd } = await load();
  const agent = await devAgentAdd(options);
  cli.show(agent, () => `Agent ${agent.name} is ${agent.state}; its node joins in a few seconds.`);
}

async function actOnAgent(
  cli: Cli,
  name: string,
  action: 'kill' | 'stop' | 'start',
): Promise<undefined> {
  const { devAgentKill, devAgentStart, devAgentStop } = await load();
  const act = { kill: devAgentKill, stop: devAgentStop, start: devAgentStart }[action];
  const agent = await act({ ...place(cli), agent: name });
  cli.show(agent, () => `Agent ${agent.name} is ${agent.state}.`);
}
