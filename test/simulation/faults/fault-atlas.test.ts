/** The atlas lets through what loses nothing, and keeps faults from the last good copy. */
import { expect } from 'chai';
import { Cluster } from '../cluster.ts';
import type { SimulatedNode } from '../simulated-node.ts';
import { drawOptions } from '../swarm.ts';
import { FaultAtlas } from './fault-atlas.ts';

interface Setup {
  readonly cluster: Cluster;
  readonly atlas: FaultAtlas;
  readonly nodes: readonly SimulatedNode[];
}

/** Three nodes with a disk each, and a volume of two replicas that nobody writes to. */
async function boot(): Promise<Setup> {
  const { cluster: drawn } = drawOptions(1);
  const cluster = new Cluster({ ...drawn, nodeCount: 3, disksPerNode: 1, zoneCount: 0 });
  const atlas = new FaultAtlas(cluster);
  cluster.onCommit = (state) => atlas.onCommit(state);
  cluster.startScheduler();
  const isServing = (): boolean =>
    [...(cluster.state?.facts.disks.values() ?? [])].filter(({ phase }) => phase === 'serving')
      .length === 3;
  await cluster.clock.runWhile(() => !isServing(), 60_000);
  const creating = cluster.execute({
    kind: 'create-volume',
    name: 'vol',
    sizeBytes: 64 << 20,
    replicas: 2,
    pool: null,
  });
  await cluster.clock.runFor(2_000);
  expect((await creating).kind).to.equal('done');
  return { cluster, atlas, nodes: cluster.nodes };
}

function diskOf(node: SimulatedNode | undefined): NonNullable<ReturnType<typeof first>> {
  const disk = node === undefined ? undefined : first(node);
  if (disk === undefined) throw new Error('The node has no disk');
  return disk;
}

const first = (node: SimulatedNode) => [...node.disks.values()][0];

describe('fault atlas', () => {
  it('fault atlas: a whole cluster, everybody may leave and one may lose its power', async () => {
    const { atlas, nodes } = await boot();
    expect(atlas.mayLeave(nodes)).to.equal(true);
    for (const node of nodes) expect(atlas.mayLosePower(node)).to.equal(true);
  });

  it('fault atlas: one lost its power, nobody else may and no other disk may die', async () => {
    const { atlas, nodes } = await boot();
    const [victim, ...others] = nodes;
    if (victim === undefined) throw new Error('There are nodes');
    atlas.notePowerLoss(victim);
    victim.losePower();
    for (const node of others) {
      expect(atlas.mayLosePower(node)).to.equal(false);
      expect(atlas.mayLoseDisk(diskOf(node), 2)).to.equal(false);
      expect(atlas.mayLeave([node])).to.equal(false);
    }
  });

  it('fault atlas: a node out of reach, the others keep their power until some time after', async () => {
    const { atlas, cluster, nodes } = await boot();
    const [away, other] = nodes;
    if (away === undefined || other === undefined) throw new Error('There are nodes');
    const end = atlas.beginAway(away);
    expect(atlas.mayLosePower(other)).to.equal(false);
    expect(atlas.mayLeave([other])).to.equal(true);
    end();
    expect(atlas.mayLosePower(other)).to.equal(false);
    await cluster.clock.runFor(10_000);
    expect(atlas.mayLosePower(other)).to.equal(true);
  });

  it('fault atlas: disks die only while enough nodes are left for all copies', async () => {
    const { atlas, nodes } = await boot();
    expect(atlas.mayLoseDisk(diskOf(nodes[0]), 3)).to.equal(false);
    expect(atlas.mayLoseDisk(diskOf(nodes[0]), 2)).to.equal(true);
    atlas.noteDead(diskOf(nodes[0]));
    expect(atlas.mayLoseDisk(diskOf(nodes[1]), 2)).to.equal(false);
  });
});
