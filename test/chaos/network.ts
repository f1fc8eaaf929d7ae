/**
 * The network of an isolated chaos run: every node and the scheduler in a network namespace of its own, all
 * routed through this process's. A link is cut by a rule that drops the packets from one address to another:
 * silently, as a dead switch does; each direction for itself.
 *
 * ```
 * hub 10.77.0.1   Mesos master and agents, clients
 * scheduler       10.77.100.2
 * agentN          10.77.N.2
 * ```
 *
 * An agent of Mesos stands on its node, so the link between the two is never cut.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DevNetwork } from '../../dev/cluster/layout.ts';
import { StorageError } from '../../shared/base/errors.ts';

export const SCHEDULER_PLACE = 'scheduler';
const HUB = '10.77.0.1';
const SCHEDULER_NET = 100;

export class ChaosNetwork {
  readonly settings: DevNetwork;

  private constructor(settings: DevNetwork) {
    this.settings = settings;
  }

  /** Makes namespaces for `agent1` … `agentN` and the scheduler. */
  static create(directory: string, agents: number): ChaosNetwork {
    ip('link', 'set', 'lo', 'up');
    ip('addr', 'add', `${HUB}/32`, 'dev', 'lo');
    writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
    mkdirSync('/run/netns', { recursive: true });
    run('mount', '-t', 'tmpfs', 'none', '/run/netns');
    for (let number = 1; number <= agents; number += 1) addPlace(`agent${number}`, number);
    addPlace(SCHEDULER_PLACE, SCHEDULER_NET);
    return new ChaosNetwork({
      mesosHost: HUB,
      schedulerHost: addressOf(SCHEDULER_PLACE),
      schedulerWrapper: ['nsenter', `--net=/run/netns/${SCHEDULER_PLACE}`, '--'],
      executorWrapper: writeWrapper(directory),
    });
  }

  /** Packets from one place to the other vanish from now on. */
  cut(from: string, to: string): void {
    ip('rule', 'add', 'from', addressOf(from), 'to', addressOf(to), 'blackhole');
  }

  mend(from: string, to: string): void {
    ip('rule', 'del', 'from', addressOf(from), 'to', addressOf(to), 'blackhole');
  }
}

function addPlace(name: string, number: number): void {
  const inside = ['nsenter', `--net=/run/netns/${name}`, '--', 'ip'] as const;
  ip('netns', 'add', name);
  ip('link', 'add', `hub${number}`, 'type', 'veth', 'peer', 'name', 'up0', 'netns', name);
  ip('addr', 'add', `10.77.${number}.1/30`, 'dev', `hub${number}`);
  ip('link', 'set', `hub${number}`, 'up');
  run(...inside, 'link', 'set', 'lo', 'up');
  run(...inside, 'addr', 'add', `10.77.${number}.2/30`, 'dev', 'up0');
  run(...inside, 'link', 'set', 'up0', 'up');
  run(...inside, 'route', 'add', 'default', 'via', `10.77.${number}.1`);
}

function addressOf(place: string): string {
  const number = place === SCHEDULER_PLACE ? SCHEDULER_NET : Number(place.replace('agent', ''));
  return `10.77.${number}.2`;
}

/** Mesos tells an executor its sandbox, and that lies below the agent's directory. */
function writeWrapper(directory: string): string {
  const path = join(directory, 'in-namespace');
  const script = `#!/bin/sh
rest="\${MESOS_SANDBOX#*/mesos/agents/}"
agent="\${rest%%/*}"
export CISTERN_NODE_HOST="10.77.\${agent#agent}.2"
exec nsenter "--net=/run/netns/$agent" -- "$@"
`;
  writeFileSync(path, script);
  chmodSync(path, 0o755);
  return path;
}

function ip(...args: readonly string[]): void {
  run('ip', ...args);
}

function run(program: string, ...args: readonly string[]): void {
  const result = spawnSync(program, args, { encoding: 'utf8' });
  if (result.status !== 0) {
    throw new StorageError(
      'unavailable',
      `Command "${program} ${args.join(' ')}" ended with ${result.status}: ${result.stderr.trim()}`,
    );
  }
}
