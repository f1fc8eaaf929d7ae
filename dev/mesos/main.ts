/**
 * Command line of the Mesos stand-in: serves a cluster from a directory until it is told to end.
 */

import type { Options } from 'yargs';
import { hideBin } from 'yargs/helpers';
import yargs from 'yargs/yargs';
import type { AgentSpec, DiskSpec } from './agent-spec.ts';
import { MesosStandIn } from './cluster.ts';

const SERVE_OPTIONS = {
  dir: { type: 'string', demandOption: true, describe: 'Holds all state' },
  host: { type: 'string', default: '127.0.0.1' },
  port: { type: 'number', default: 5050, describe: 'Port of the master' },
  agents: { type: 'number', default: 3, describe: 'Agents in a new directory' },
  zones: { type: 'number', default: 3, describe: 'Zones the agents are dealt to' },
  'disks-per-agent': { type: 'number', default: 2 },
  'disk-size': { type: 'number', default: 10_240, describe: 'MiB of each disk' },
  'disk-kind': { choices: ['mount', 'path'], default: 'mount' },
  cpus: { type: 'number', default: 4 },
  mem: { type: 'number', default: 4096, describe: 'MiB of each agent' },
  'time-scale': { type: 'number', default: 1, describe: 'Divides all intervals' },
  lint: { type: 'boolean', default: false, describe: 'Refuse silent mistakes' },
  zk: { type: 'string', describe: 'Announce the master in ZooKeeper: zk://host:port,…/path' },
  'keep-executors': {
    type: 'boolean',
    default: false,
    describe: 'Leave executors running at the end',
  },
} as const satisfies Record<string, Options>;

type ServeOptions = {
  readonly dir: string;
  readonly host: string;
  readonly port: number;
  readonly agents: number;
  readonly zones: number;
  readonly disksPerAgent: number;
  readonly diskSize: number;
  readonly diskKind: DiskSpec['kind'];
  readonly cpus: number;
  readonly mem: number;
  readonly timeScale: number;
  readonly lint: boolean;
  readonly zk: string | undefined;
  readonly keepExecutors: boolean;
};

async function serve(options: ServeOptions): Promise<void> {
  const standIn = await MesosStandIn.start({
    directory: options.dir,
    host: options.host,
    masterPort: options.port,
    timeScale: options.timeScale,
    lint: options.lint,
    ...(options.zk === undefined ? {} : { zookeeper: options.zk }),
  });
  if (standIn.agentNames.length === 0) {
    for (let index = 0; index < options.agents; index++) {
      await standIn.addAgent(newAgent(options, index));
    }
  }
  process.stdout.write(`Mesos stand-in: ${standIn.masterUrl}, ${standIn.agentNames.join(', ')}\n`);
  let isClosing = false;
  const close = () => {
    if (isClosing) return;
    isClosing = true;
    void standIn.close({ keepExecutors: options.keepExecutors }).then(() => process.exit(0));
  };
  process.on('SIGINT', close);
  process.on('SIGTERM', close);
}

function newAgent(options: ServeOptions, index: number): AgentSpec {
  const disk: DiskSpec = { kind: options.diskKind, sizeMb: options.diskSize };
  return {
    name: `agent${index + 1}`,
    zone: `zone${(index % options.zones) + 1}`,
    attributes: { rack: `rack${index + 1}` },
    cpus: options.cpus,
    mem: options.mem,
    disks: Array.from({ length: options.disksPerAgent }, () => disk),
  };
}

await yargs(hideBin(process.argv))
  .scriptName('mesos-stand-in')
  .command(
    'serve',
    'Run a master and agents until SIGINT or SIGTERM',
    SERVE_OPTIONS,
    async (given) =>
      serve({
        dir: given.dir,
        host: given.host,
        port: given.port,
        agents: given.agents,
        zones: given.zones,
        disksPerAgent: given['disks-per-agent'],
        diskSize: given['disk-size'],
        diskKind: given['disk-kind'],
        cpus: given.cpus,
        mem: given.mem,
        timeScale: given['time-scale'],
        lint: given.lint,
        zk: given.zk,
        keepExecutors: given['keep-executors'],
      }),
  )
  .demandCommand(1)
  .strict()
  .parseAsync();
