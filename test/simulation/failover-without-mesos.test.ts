/** The scheduler fails over while Mesos is out of reach: executors hear of the new one all the same. */
import { expect } from 'chai';
import { isNodeUp } from '../../scheduler/core/nodes/node-life.ts';
import type { State } from '../../scheduler/core/state.ts';
import { Cluster } from './cluster.ts';
import { MESOS_HOST, SCHEDULER_HOST } from './mesos/simulated-mesos.ts';
import { drawOptions } from './swarm.ts';

const BOOT_MS_MAX = 60_000;
/** Two repetitions of the announcement, and a session. */
const FOUND_MS_MAX = 5_000;

function upCount(state: State | null): number {
  if (state === null) return 0;
  return [...state.facts.nodes.values()].filter((node) => isNodeUp(state, node)).length;
}

describe('simulation: failover without Mesos', () => {
  it('failover: masters and agents are away, all executors find the new scheduler within seconds', async () => {
    const cluster = new Cluster(drawOptions(1, { faults: [], isShort: true }).cluster);
    const violations: string[] = [];
    cluster.onViolation = (what) => violations.push(what);
    cluster.startScheduler();
    const nodeCount = cluster.nodes.length;
    await cluster.clock.runWhile(() => upCount(cluster.state) < nodeCount, BOOT_MS_MAX);
    expect(upCount(cluster.state)).to.equal(nodeCount);

    cluster.network.partition(MESOS_HOST, SCHEDULER_HOST);
    for (const { host } of cluster.nodes) cluster.network.partition(MESOS_HOST, host);
    cluster.crashScheduler();
    await cluster.clock.runFor(10_000);
    cluster.startScheduler();
    await cluster.clock.runWhile(() => upCount(cluster.state) < nodeCount, FOUND_MS_MAX);
    expect(upCount(cluster.state)).to.equal(nodeCount);
    expect(cluster.state?.mesos.isSubscribed).to.equal(false);
    expect(violations).to.deep.equal([]);
  });
});
