/**
 * That the scheduler's work follows what changed and not the size of the cluster, judged by counting the rows
 * it looks at: the cluster of `npm run scale`, small. Time is measured there, and nowhere in tests.
 */
import { expect } from 'chai';
import * as phases from '../../../bench/scale/phases.ts';
import { ScaleCluster } from '../../../bench/scale/scale-cluster.ts';
import { checkInvariants } from '../../../scheduler/core/invariants.ts';

const SIZES = {
  agents: 24,
  disksPerAgent: 4,
  pgs: 4096,
  volumes: 60,
  rack: 3,
  quietSeconds: 1,
} as const;

/** Counts how often the rows of a table are looked at. */
function countLooks(table: {
  find(key: never): unknown;
  get(key: never): unknown;
  values(): IterableIterator<unknown>;
  readonly size: number;
}): () => number {
  let looks = 0;
  const { find, get, values } = table;
  Object.assign(table, {
    find: (key: never) => {
      looks += 1;
      return find.call(table, key);
    },
    get: (key: never) => {
      looks += 1;
      return get.call(table, key);
    },
    values: () => {
      looks += table.size;
      return values.call(table);
    },
  });
  return () => {
    const count = looks;
    looks = 0;
    return count;
  };
}

describe('scale: work done, by counting', () => {
  let cluster: ScaleCluster;

  before(async function () {
    this.timeout(120_000);
    cluster = new ScaleCluster(SIZES);
    await phases.comeUp(cluster);
    for (let index = 0; index < 3; index += 1) await cluster.second();
  });

  it('scale: a quiet cluster, no PG is looked at by ticks or reports', async () => {
    const looks = countLooks(cluster.state.facts.pgs);
    await cluster.second();
    expect(looks()).to.equal(0);
  });

  it('scale: a report of one node, few disks are looked at', async () => {
    const [node] = cluster.fleet.nodes.values();
    if (node === undefined) throw new Error('The fleet has a node');
    const looks = countLooks(cluster.state.facts.disks);
    await cluster.reportOf(node);
    const ofReport = looks();
    expect(ofReport).to.be.below(10 * SIZES.disksPerAgent);
  });

  it('scale: one node more, moved is its share and disks stay even', async () => {
    const rows = await phases.addNode(cluster);
    const value = (what: string): number =>
      rows.find((row) => row.what === what)?.value ?? Number.NaN;
    expect(value('one node added: moved / least possible')).to.be.at.most(1.05);
    expect(value('fullest disk above its share')).to.be.at.most(1);
    expect(checkInvariants(cluster.state)).to.deep.equal([]);
  }).timeout(120_000);

  it('scale: one node drained, only its replicas move', async () => {
    const rows = await phases.drainNode(cluster);
    const value = (what: string): number =>
      rows.find((row) => row.what === what)?.value ?? Number.NaN;
    expect(value('one node removed: moved / least possible')).to.be.at.most(1.05);
    expect(value('fullest disk above its share')).to.be.at.most(1);
  }).timeout(120_000);

  it('scale: all nodes say hello to a new scheduler, the map is made once', async () => {
    await cluster.lead();
    await cluster.subscribe();
    const looks = countLooks(cluster.state.facts.pgs);
    await cluster.greet([...cluster.fleet.nodes.values()]);
    const nodes = cluster.fleet.nodes.size;
    // The shell may find the hellos in a few batches; each may need a map of its own.
    expect(looks()).to.be.below((4 * SIZES.pgs * nodes) / 10);
    expect(cluster.fleet.received.get('map')).to.be.at.least(nodes);
  });
});
