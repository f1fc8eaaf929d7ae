/** planPlacement on named situations. Properties over random clusters: placement-properties.test.ts. */
import { expect } from 'chai';
import { planPlacement } from '../../../scheduler/core/placement/placement.ts';
import { diskId, pgId } from '../../../shared/base/ids.ts';
import { checkPlan, countOf, countsByNode, makeDisks, makeFamily, setNode } from './clusters.ts';

const spread = (counts: readonly number[]): number => Math.max(...counts) - Math.min(...counts);

describe('placement: growth', () => {
  for (const perNode of [1, 2]) {
    it(`placement: fifth node joins four, even and only its share moves (${perNode} disks each)`, () => {
      const four = makeDisks({ nodes: 4, perNode });
      const before = planPlacement({
        disks: four,
        families: [makeFamily({ pgs: 256, replicas: 2 })],
      });
      expect(countsByNode(before, four)).to.deep.equal([128, 128, 128, 128]);

      const five = [...four, ...makeDisks({ nodes: 1, first: 4, perNode })];
      const input = {
        disks: five,
        families: [makeFamily({ pgs: 256, replicas: 2, after: before })],
      };
      const after = planPlacement(input);

      checkPlan(input, after);
      const byNode = countsByNode(after, five);
      expect(byNode.reduce((a, b) => a + b, 0)).to.equal(512);
      for (const count of byNode) expect(count, 'node').to.be.oneOf([102, 103]);
      expect(spread(after.disks.map((disk) => disk.pgCount))).to.be.at.most(1);
      expect(after.movedReplicas).to.equal(byNode[4]);
      expect(after.movedReplicas).to.be.at.most((1.1 * 512) / 5);
      for (const [id, target] of after.targets) {
        const gained = target.filter((disk) => !before.targets.get(id)?.includes(disk));
        for (const disk of gained) expect(Math.floor(disk / 10), `pg${id}`).to.equal(4);
      }
    });
  }

  it('placement: balanced cluster planned again, nothing moves and targets keep their order', () => {
    const disks = makeDisks({ nodes: 7, perNode: 3 });
    const first = planPlacement({ disks, families: [makeFamily({ pgs: 512, replicas: 3 })] });
    const families = [makeFamily({ pgs: 512, replicas: 3, after: first })];
    const second = planPlacement({ disks, families });
    expect(second.movedReplicas).to.equal(0);
    expect([...second.targets]).to.deep.equal([...first.targets]);
  });

  it('placement: planned again while moves are under way, same targets', () => {
    const four = makeDisks({ nodes: 4 });
    const before = planPlacement({
      disks: four,
      families: [makeFamily({ pgs: 256, replicas: 2 })],
    });
    const disks = [...four, ...makeDisks({ nodes: 1, first: 4 })];
    const families = [makeFamily({ pgs: 256, replicas: 2, after: before })];
    const after = planPlacement({ disks, families });
    const pgs = [...after.targets].map(([id, target]) => ({
      id,
      current: [...new Set([...target, ...(before.targets.get(id) ?? [])])],
    }));
    const again = planPlacement({ disks, families: [{ pgs, replicas: 2, failureDomain: 'node' }] });
    expect([...again.targets]).to.deep.equal([...after.targets]);
    expect(again.movedReplicas).to.equal(0);
  });

  it('placement: members named before the planned joins, the old plan is found again', () => {
    const four = makeDisks({ nodes: 4 });
    const before = planPlacement({
      disks: four,
      families: [makeFamily({ pgs: 256, replicas: 2 })],
    });
    const disks = [...four, ...makeDisks({ nodes: 1, first: 4 })];
    const families = [makeFamily({ pgs: 256, replicas: 2, after: before })];
    const after = planPlacement({ disks, families });
    const pgs = [...after.targets].map(([id, target]) => ({
      id,
      current: [...new Set([...(before.targets.get(id) ?? []), ...target])],
    }));
    const again = planPlacement({ disks, families: [{ pgs, replicas: 2, failureDomain: 'node' }] });
    expect(again.movedReplicas).to.equal(0);
    expect(countOf(again, 40)).to.equal(102);
  });

  it('placement: same facts in another order, same plan', () => {
    const disks = makeDisks({ nodes: 5, perNode: 2, zones: 3 });
    const family = makeFamily({ pgs: 128, replicas: 3, failureDomain: 'zone' });
    const plan = planPlacement({ disks, families: [family] });
    const turned = planPlacement({
      disks: [...disks].reverse(),
      families: [{ ...family, pgs: [...family.pgs].reverse() }],
    });
    expect(turned).to.deep.equal(plan);
  });
});

describe('placement: shrinking', () => {
  it('placement: node leaves, it is emptied and only its replicas move', () => {
    const disks = makeDisks({ nodes: 6, perNode: 2 });
    const before = planPlacement({ disks, families: [makeFamily({ pgs: 256, replicas: 3 })] });
    const left = setNode(disks, 2, 'leaving');
    const input = { disks: left, families: [makeFamily({ pgs: 256, replicas: 3, after: before })] };
    const after = planPlacement(input);
    checkPlan(input, after);
    expect(countOf(after, 20) + countOf(after, 21)).to.equal(0);
    expect(after.movedReplicas).to.equal(128);
    expect(
      spread(after.disks.filter((d) => d.weightedMean > 0).map((d) => d.pgCount)),
    ).to.be.at.most(1);
  });

  it('placement: node gone and back with its data, every PG is where it was', () => {
    const disks = makeDisks({ nodes: 5 });
    const before = planPlacement({ disks, families: [makeFamily({ pgs: 256, replicas: 2 })] });
    const gone = planPlacement({
      disks: setNode(disks, 1, 'leaving'),
      families: [makeFamily({ pgs: 256, replicas: 2, after: before })],
    });
    const pgs = [...gone.targets].map(([id, target]) => ({
      id,
      current: [...new Set([...(before.targets.get(id) ?? []), ...target])],
    }));
    const back = planPlacement({ disks, families: [{ pgs, replicas: 2, failureDomain: 'node' }] });
    expect(back.movedReplicas).to.equal(0);
    for (const [id, target] of back.targets) {
      expect(new Set(target), `pg${id}`).to.deep.equal(new Set(before.targets.get(id)));
    }
  });

  it('placement: node is away for a while, it keeps its PGs and a new node takes from others', () => {
    const four = makeDisks({ nodes: 4 });
    const before = planPlacement({
      disks: four,
      families: [makeFamily({ pgs: 256, replicas: 2 })],
    });
    const disks = setNode([...four, ...makeDisks({ nodes: 1, first: 4 })], 0, 'away');
    const families = [makeFamily({ pgs: 256, replicas: 2, after: before })];
    const input = { disks, families };
    const after = planPlacement(input);
    checkPlan(input, after);
    expect(countOf(after, 0)).to.equal(128);
    expect(countOf(after, 40)).to.equal(96);
  });
});

describe('placement: capacity', () => {
  it('placement: uneven disks, counts follow weights', () => {
    const disks = [
      ...makeDisks({ nodes: 3, weight: 1 }),
      ...makeDisks({ nodes: 3, first: 3, weight: 3 }),
    ];
    const plan = planPlacement({ disks, families: [makeFamily({ pgs: 240, replicas: 2 })] });
    expect(plan.disks.map((disk) => disk.pgCount)).to.deep.equal([40, 40, 40, 120, 120, 120]);
    expect(plan.disks.every((disk) => disk.deviation === 0)).to.equal(true);
  });

  it('placement: one huge disk, it holds every PG once and the rest is even', () => {
    const disks = [
      ...makeDisks({ nodes: 1, weight: 100 }),
      ...makeDisks({ nodes: 3, first: 1, weight: 1 }),
    ];
    const plan = planPlacement({ disks, families: [makeFamily({ pgs: 256, replicas: 2 })] });
    expect(plan.disks.map((disk) => disk.pgCount).sort((a, b) => b - a)).to.deep.equal([
      256, 86, 85, 85,
    ]);
    expect(plan.degraded).to.deep.equal([]);
  });

  it('placement: several families, sums over families are even too', () => {
    const disks = makeDisks({ nodes: 5 });
    // 64 · 2 / 5 = 25.6 each: rounded alike seven times, disks would differ by seven.
    const families = Array.from({ length: 7 }, (_, index) =>
      makeFamily({ pgs: 64, replicas: 2, firstPg: index * 64 }),
    );
    const plan = planPlacement({ disks, families });
    expect(spread(plan.disks.map((disk) => disk.pgCount))).to.be.at.most(1);
  });

  it('placement: partners of a disk, all other nodes share its PGs', () => {
    const disks = makeDisks({ nodes: 9 });
    const plan = planPlacement({ disks, families: [makeFamily({ pgs: 1024, replicas: 2 })] });
    const common = new Map<number, number>();
    for (const target of plan.targets.values()) {
      if (!target.includes(diskId(0))) continue;
      for (const disk of target) common.set(disk, (common.get(disk) ?? 0) + 1);
    }
    common.delete(0);
    // 228 PGs over eight partners are 28.4 each; chance alone would give 18 to 43.
    expect(common.size).to.equal(8);
    for (const [disk, count] of common) expect(count, `d${disk}`).to.be.within(25, 32);
  });
});

describe('placement: failure domains', () => {
  for (const replicas of [1, 2, 3, 4, 5]) {
    it(`placement: as many nodes as replicas, every node holds every PG (R=${replicas})`, () => {
      const disks = makeDisks({ nodes: replicas, perNode: 2 });
      const input = { disks, families: [makeFamily({ pgs: 64, replicas })] };
      const plan = planPlacement(input);
      checkPlan(input, plan);
      expect(plan.disks.map((disk) => disk.pgCount)).to.deep.equal(disks.map(() => 32));
    });

    it(`placement: two nodes, what is possible is placed and explained (R=${replicas})`, () => {
      const input = {
        disks: makeDisks({ nodes: 2 }),
        families: [makeFamily({ pgs: 64, replicas })],
      };
      const plan = planPlacement(input);
      checkPlan(input, plan);
      for (const target of plan.targets.values())
        expect(target.length).to.equal(Math.min(2, replicas));
      expect(plan.degraded.length).to.equal(replicas > 2 ? 64 : 0);
      expect(plan.explanations.length > 0).to.equal(replicas > 2);
    });
  }

  it('placement: zones enough, one replica in each of three zones', () => {
    const disks = makeDisks({ nodes: 9, zones: 3 });
    const family = makeFamily({ pgs: 128, replicas: 3, failureDomain: 'zone' });
    const plan = planPlacement({ disks, families: [family] });
    for (const [id, target] of plan.targets) {
      const zones = new Set(target.map((disk) => Math.floor(disk / 10) % 3));
      expect(zones.size, `pg${id}`).to.equal(3);
    }
    expect(plan.explanations).to.deep.equal([]);
  });

  it('placement: two zones for three replicas, nodes differ and no PG is in one zone only', () => {
    const disks = makeDisks({ nodes: 8, zones: 2 });
    const input = {
      disks,
      families: [makeFamily({ pgs: 128, replicas: 3, failureDomain: 'zone' })],
    };
    const plan = planPlacement(input);
    checkPlan(input, plan);
    for (const [id, target] of plan.targets) {
      expect(target.length, `pg${id}`).to.equal(3);
      const zones = new Set(target.map((disk) => Math.floor(disk / 10) % 2));
      expect(zones.size, `pg${id}`).to.equal(2);
    }
    expect(plan.explanations.join()).to.match(/only 2 zones/);
  });

  it('placement: no disks at all, every PG is degraded', () => {
    const plan = planPlacement({ disks: [], families: [makeFamily({ pgs: 4, replicas: 2 })] });
    expect(plan.degraded).to.deep.equal([0, 1, 2, 3].map(pgId));
    expect([...plan.targets.values()]).to.deep.equal([[], [], [], []]);
  });

  it('placement: replicas out of range, refused', () => {
    const family = makeFamily({ pgs: 4, replicas: 6 });
    expect(() => planPlacement({ disks: makeDisks({ nodes: 6 }), families: [family] })).to.throw(
      /replicas is within its range/,
    );
  });
});
