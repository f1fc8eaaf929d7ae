/** The size that DESIGN 3 names. The bound on time is generous: it tells seconds from hours. */
import { expect } from 'chai';
import { planPlacement } from '../../../scheduler/core/placement/placement.ts';
import { makeDisks, makeFamily, setNode } from './clusters.ts';

const PGS = 131_072;

describe('placement: at scale', () => {
  it('placement: 1,000 nodes × 4 disks × 128k PGs, planned, grown and shrunk (R=3)', function () {
    this.timeout(120_000);
    const disks = makeDisks({ nodes: 1000, perNode: 4 });
    const first = planPlacement({ disks, families: [makeFamily({ pgs: PGS, replicas: 3 })] });
    expect(first.placedReplicas).to.equal(3 * PGS);
    expect(Math.max(...first.disks.map((disk) => Math.abs(disk.deviation)))).to.be.below(1);

    const families = [makeFamily({ pgs: PGS, replicas: 3, after: first })];
    const grown = planPlacement({
      disks: [...disks, ...makeDisks({ nodes: 10, first: 1000, perNode: 4 })],
      families,
    });
    expect(grown.movedReplicas).to.be.at.most(1.05 * grown.movedReplicasMin);
    expect(grown.movedReplicas).to.be.at.most((1.05 * 3 * PGS * 10) / 1010);

    const shrunk = planPlacement({ disks: setNode(disks, 500, 'leaving'), families });
    const held = first.disks.filter((disk) => Math.floor(disk.id / 10) === 500);
    const toMove = held.reduce((sum, disk) => sum + disk.pgCount, 0);
    expect(shrunk.movedReplicas).to.be.within(toMove, 1.05 * toMove);
    expect(Math.max(...shrunk.disks.map((disk) => Math.abs(disk.deviation)))).to.be.below(1);
  });

  it('placement: few nodes and many PGs, chains stay cheap (R=3 of 4)', function () {
    this.timeout(60_000);
    const disks = makeDisks({ nodes: 4, perNode: 4 });
    const plan = planPlacement({ disks, families: [makeFamily({ pgs: PGS, replicas: 3 })] });
    expect(plan.disks.every((disk) => disk.pgCount === (3 * PGS) / 16)).to.equal(true);
  });
});
