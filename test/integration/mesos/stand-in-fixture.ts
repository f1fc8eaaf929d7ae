/**
 * A stand-in for a test: its own directory, any free port, one agent to begin with, gone
 * afterwards.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AgentSpec } from '../../../dev/mesos/agent-spec.ts';
import { MesosStandIn, type StandInOptions } from '../../../dev/mesos/cluster.ts';

export function agentSpec(name: string, more: Partial<AgentSpec> = {}): AgentSpec {
  return {
    name,
    zone: `zone-of-${name}`,
    attributes: { rack: 'r1', gen: 1 },
    cpus: 4,
    mem: 2048,
    ports: { begin: 31000, end: 31099 },
    disks: [
      { kind: 'root', sizeMb: 1024 },
      { kind: 'path', sizeMb: 1000 },
      { kind: 'mount', sizeMb: 250 },
      { kind: 'mount', sizeMb: 250 },
    ],
    ...more,
  };
}

const open: { standIn: MesosStandIn; directory: string }[] = [];

/** Starts a stand-in with `agents`. `closeStandIns` ends it. */
export async function startStandIn(
  agents: readonly AgentSpec[] = [agentSpec('agent1')],
  options: Partial<StandInOptions> = {},
): Promise<MesosStandIn> {
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), 'mesos-stand-in-')));
  const standIn = await MesosStandIn.start({ timeScale: 10, masterPort: 0, ...options, directory });
  open.push({ standIn, directory });
  for (const spec of agents) await standIn.addAgent(spec);
  return standIn;
}

export async function closeStandIns(): Promise<void> {
  const all = open.splice(0);
  for (const { standIn } of all) await standIn.close();
  for (const { directory } of all) await rm(directory, { recursive: true, force: true });
}
