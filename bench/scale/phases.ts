/**
 * What is measured, in order: a cluster comes up, works, changes by one node, loses a rack and gets it back,
 * and its scheduler is replaced. Each phase returns rows for the table.
 */
import type { Command } from '../../scheduler/core/contract.ts';
import { planPlacement } from '../../scheduler/core/placement/placement.ts';
import { placementDisks, placementFamilies } from '../../scheduler/core/placement/planner.ts';
import type { VolumeId } from '../../shared/base/ids.ts';
import { GiB } from '../../shared/base/units.ts';
import type { ModelAgent } from '../../test/unit/offers/agent-model.ts';
import { movement, worstDeviation } from './balance.ts';
import type { FleetNode } from './fleet.ts';
import type { Cost, ScaleCluster } from './scale-cluster.ts';

export interface Row {
  readonly what: string;
  readonly value: number;
  readonly unit: 'ms' | 's' | 'per s' | 'MiB' | 'PGs' | 'ratio' | 'count';
  /** It should be at most this (for rates: at least); null: no promise. */
  readonly target: number | null;
}

const row = (
  what: string,
  value: number,
  unit: Row['unit'],
  target: number | null = null,
): Row => ({ what, value, unit, target });

const seconds = (cost: Cost): number => cost.cpuMs / 1000;

/** From nothing to a cluster with all its volumes attached. */
export async function comeUp(cluster: ScaleCluster): Promise<Row[]> {
  const { agents, pgs, volumes } = cluster.sizes;
  await cluster.lead();
  await cluster.subscribe();
  await cluster.tick();
  for (let index = 0; index < agents; index += 1) cluster.addAgent(index);
  const { cost: offers, offers: count } = await cluster.offerAll(cluster.agents.values());
  cluster.takeCalls();
  const started = await cluster.startTasks();
  await cluster.second();
  const family = await cluster.command(volume(0));
  const creations = await inTurns(cluster, volumes - 1, (index) => volume(index + 1));
  const attachments = await inTurns(cluster, volumes, (index) => ({
    kind: 'attach-volume',
    volume: (index + 1) as VolumeId,
    node: null,
    isForced: false,
  }));
  return [
    row('offers with 4 new disks each', count / seconds(offers), 'per s'),
    row('task updates', started.tasks / seconds(started.updates), 'per s'),
    row('hellos, each with a full map', count / seconds(started.hellos), 'per s'),
    row(`first volume: ${pgs} new PGs`, seconds(family), 's', 10),
    row('volumes created', (volumes - 1) / (creations / 1000), 'per s'),
    row('volumes attached', volumes / (attachments / 1000), 'per s'),
  ];
}

/** Commands that clients send at a time. */
const COMMANDS_AT_ONCE = 100;

/** Processor time of many commands, in milliseconds, with a second of the cluster after each thousand. */
async function inTurns(
  cluster: ScaleCluster,
  count: number,
  make: (index: number) => Command,
): Promise<number> {
  let cpuMs = 0;
  for (let from = 0; from < count; from += COMMANDS_AT_ONCE) {
    const length = Math.min(COMMANDS_AT_ONCE, count - from);
    const commands = Array.from({ length }, (_, index) => make(from + index));
    cpuMs += (await cluster.commands(commands)).cpuMs;
    if (from % 1000 === 900) await cluster.second();
  }
  return cpuMs;
}

function volume(index: number): Command {
  return {
    kind: 'create-volume',
    name: `volume-${index}`,
    sizeBytes: 40 * GiB,
    replicas: 3,
    pool: null,
  };
}

/** All nodes report every second and nothing happens. */
export async function stayQuiet(cluster: ScaleCluster, what: string): Promise<Row[]> {
  const { quietSeconds } = cluster.sizes;
  await cluster.second();
  let cpuMs = 0;
  let worst = 0;
  for (let index = 0; index < quietSeconds; index += 1) {
    const cost = await cluster.second();
    cpuMs += cost.cpuMs;
    worst = Math.max(worst, cost.stepMsMax);
  }
  const tick = await cluster.tick();
  const idle = await cluster.tick();
  return [
    row(`${what}: one second, all nodes report`, cpuMs / quietSeconds, 'ms', 500),
    row(`${what}: longest piece of work`, worst, 'ms', 250),
    row(`${what}: a tick`, Math.min(tick.cpuMs, idle.cpuMs), 'ms', 50),
  ];
}

/** The whole placement, as a manager that starts plans it. */
export async function planAll(cluster: ScaleCluster): Promise<Row[]> {
  const { work, facts } = cluster.state;
  for (const pool of facts.pools.values()) {
    work.replan.set(pool.name, 'asked for by the measurement');
    work.replanAfterMs.delete(pool.name);
  }
  const plan = await cluster.tick();
  return [row('full plan', seconds(plan), 's', 10), ...balance(cluster)];
}

function balance(cluster: ScaleCluster): Row[] {
  return [row('fullest disk above its share', worstDeviation(cluster.state), 'PGs', 1)];
}

/** One node more, until all is in place again. */
export async function addNode(cluster: ScaleCluster): Promise<Row[]> {
  const agent = cluster.addAgent(cluster.agents.size);
  await cluster.offerAll([agent]);
  cluster.takeCalls();
  await cluster.startTasks();
  return change(cluster, 'one node added');
}

/** One node is emptied. */
export async function drainNode(cluster: ScaleCluster): Promise<Row[]> {
  const [first] = cluster.state.facts.nodes.keys();
  if (first === undefined) return [];
  const cost = await cluster.command({ kind: 'drain-node', node: first });
  const rows = await change(cluster, 'one node removed');
  return [row('one node removed: the command', seconds(cost), 's', 1), ...rows];
}

async function change(cluster: ScaleCluster, what: string): Promise<Row[]> {
  // Disks are seen to serve with the next reports; the plan waits for its pause.
  const before = new Map([...cluster.state.facts.pgs.values()].map((pg) => [pg.id, pg.target]));
  let plan = 0;
  let cpuMs = 0;
  let worst = 0;
  let elapsed = 0;
  do {
    const cost = await cluster.second();
    cluster.takeCalls();
    plan = Math.max(plan, cost.stepMsMax);
    cpuMs += cost.cpuMs;
    worst = Math.max(worst, cost.cpuMs);
    elapsed += 1;
  } while ((elapsed < 8 || cluster.state.work.unsettled.size > 0) && elapsed < 600);
  const { moved, least } = movement(cluster.state, before);
  return [
    row(`${what}: plan and first moves`, plan / 1000, 's', 1),
    row(`${what}: until all is in place, per second`, cpuMs / elapsed, 'ms', 1000),
    row(`${what}: its worst second`, worst, 'ms', 2000),
    row(`${what}: seconds of the cluster`, elapsed, 'count'),
    row(`${what}: moved / least possible`, moved / Math.max(1, least), 'ratio', 1.05),
    ...balance(cluster),
  ];
}

/** A rack falls silent, stays away for a while, and comes back in one moment. */
export async function loseRack(cluster: ScaleCluster): Promise<Row[]> {
  const rack = [...cluster.fleet.nodes.values()].slice(-cluster.sizes.rack);
  for (const node of rack) node.isAlive = false;
  const gone = await watch(cluster, 15);
  for (const node of rack) node.isAlive = true;
  const hellos = await cluster.greet(rack);
  const back = await watch(cluster, 30);
  let settledAfter = 30;
  for (; cluster.state.work.unsettled.size > 0 && settledAfter < 300; settledAfter += 1) {
    await cluster.second();
    cluster.takeCalls();
  }
  const name = `rack of ${rack.length}`;
  return [
    row(`${name} gone: worst second`, gone.worst, 'ms', 2000),
    row(`${name} gone: longest piece of work`, gone.piece, 'ms', 1000),
    row(`${name} back: hellos`, seconds(hellos), 's', 2),
    row(`${name} back: worst second`, back.worst, 'ms', 2000),
    row(`${name} back: longest piece of work`, back.piece, 'ms', 1000),
    row(`${name} back: seconds until all is in place`, settledAfter, 'count', 120),
  ];
}

async function watch(
  cluster: ScaleCluster,
  count: number,
): Promise<{ readonly worst: number; readonly piece: number }> {
  let worst = 0;
  let piece = 0;
  for (let index = 0; index < count; index += 1) {
    const cost = await cluster.second();
    cluster.takeCalls();
    worst = Math.max(worst, cost.cpuMs);
    piece = Math.max(piece, cost.stepMsMax);
  }
  return { worst, piece };
}

/** The Mesos master fails over: reconciliation, then every agent is offered again. */
export async function failMasterOver(cluster: ScaleCluster): Promise<Row[]> {
  await cluster.work([{ kind: 'mesos-disconnected', reason: 'master failed over' }]);
  const subscribed = await cluster.subscribe();
  const updates = await cluster.reconcile();
  await cluster.tick();
  cluster.takeCalls();
  const agents: ModelAgent[] = [...cluster.agents.values()];
  const { cost, offers } = await cluster.offerAll(agents);
  cluster.takeCalls();
  return [
    row('master failover: SUBSCRIBED', seconds(subscribed), 's', 1),
    row('master failover: answers about all tasks', seconds(updates), 's', 2),
    row('master failover: offers of all agents', offers / seconds(cost), 'per s'),
  ];
}

/** Another scheduler takes over: it loads, plans, and greets every node. */
export async function failOver(cluster: ScaleCluster): Promise<Row[]> {
  const { load, entries } = await cluster.lead();
  const subscribed = await cluster.subscribe();
  const first = await cluster.tick();
  const nodes: FleetNode[] = [...cluster.fleet.nodes.values()];
  const hellos = await cluster.greet(nodes);
  const second = await cluster.second();
  return [
    row('scheduler failover: records', entries, 'count'),
    row('scheduler failover: load', seconds(load), 's', 15),
    row('scheduler failover: SUBSCRIBED', seconds(subscribed), 's', 1),
    row('scheduler failover: first tick', seconds(first), 's', 10),
    row('scheduler failover: hellos of all nodes', seconds(hellos), 's', 5),
    row('scheduler failover: first second', second.cpuMs, 'ms', 2000),
  ];
}

/** By the planner alone: the same cluster with one zone more, when zones are the failure domain. */
export function addZone(cluster: ScaleCluster): Row[] {
  const { state } = cluster;
  const [pool] = state.facts.pools.values();
  if (pool === undefined) return [];
  const disks = placementDisks(state, pool.name);
  const families = [...placementFamilies(state, pool).values()].map((family) => ({
    ...family,
    failureDomain: 'zone' as const,
  }));
  const first = planPlacement({ disks, families });
  const grown = [
    ...disks,
    ...disks
      .filter((disk) => disk.zone === 'z0')
      .map((disk) => ({
        ...disk,
        id: (disk.id + 1_000_000) as typeof disk.id,
        node: (disk.node + 1_000_000) as typeof disk.node,
        zone: 'new',
      })),
  ];
  const after = families.map((family) => ({
    ...family,
    pgs: family.pgs.map((pg) => ({ ...pg, current: first.targets.get(pg.id) ?? [] })),
  }));
  const before = process.cpuUsage();
  const plan = planPlacement({ disks: grown, families: after });
  const { user, system } = process.cpuUsage(before);
  const worst = Math.max(...plan.disks.map(({ deviation }) => deviation));
  return [
    row('a zone added: plan', (user + system) / 1e6, 's', 10),
    row(
      'a zone added: moved / least possible',
      plan.movedReplicas / plan.movedReplicasMin,
      'ratio',
      1.05,
    ),
    row('a zone added: fullest disk above its share', worst, 'PGs', 1),
  ];
}

/** Heap after a collection (with --expose-gc), and the whole process. */
export function memory(what: string): Row[] {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
  const mib = 1024 * 1024;
  return [
    row(`${what}: heap and buffers`, (heapUsed + arrayBuffers) / mib, 'MiB', 1024),
    row(`${what}: resident, with the simulated cluster`, rss / mib, 'MiB', 1024),
  ];
}
