/** planMoves: urgency, limits, spread, cancels, and that following it always ends at the targets. */
import { expect } from 'chai';
import fc from 'fast-check';
import {
  type MoveDisk,
  type MoveInput,
  type MoveLimits,
  type MovePg,
  planMoves,
} from '../../../scheduler/core/placement/move-plan.ts';
import { planPlacement } from '../../../scheduler/core/placement/placement.ts';
import { currentHolders } from '../../../scheduler/core/placement/placement-current.ts';
import { type DiskId, diskId, nodeId, pgId } from '../../../shared/base/ids.ts';
import { makeDisks, makeFamily, setNode } from './clusters.ts';

const LIMITS: MoveLimits = { joinsInMax: 2, joinsOutMax: 2, joinsTotalMax: 100, paused: [] };

function pg(id: number, state: Partial<Record<'inSync' | 'joining' | 'target', number[]>>): MovePg {
  const { inSync = [], joining = [], target = [] } = state;
  return {
    id: pgId(id),
    replicas: 2,
    inSync: inSync.map(diskId),
    joining: joining.map(diskId),
    target: target.map(diskId),
    bytes: 10,
  };
}

function disk(id: number, changes: Partial<MoveDisk> = {}): MoveDisk {
  return {
    id: diskId(id),
    node: nodeId(id),
    isUsable: true,
    isLeaving: false,
    usedBytes: 0,
    limitBytes: 1000,
    ...changes,
  };
}

function plan(pgs: MovePg[], changes: Partial<MoveInput> = {}) {
  const disks = Array.from({ length: 10 }, (_, id) => disk(id));
  return planMoves({ pgs, disks, limits: LIMITS, ...changes });
}

describe('moves: what is done', () => {
  it('moves: everything in place, nothing to do', () => {
    const result = plan([pg(1, { inSync: [1, 2], target: [2, 1] })]);
    expect(result.steps).to.deep.equal([]);
    expect(result.cancels).to.deep.equal([]);
    expect(result.drops).to.deep.equal([]);
    expect(Object.values(result.waiting).every((count) => count === 0)).to.equal(true);
  });

  it('moves: a replica is missing, it is rebuilt and nobody leaves', () => {
    const result = plan([pg(1, { inSync: [1], target: [1, 5] })]);
    expect(result.steps).to.deep.equal([
      { pg: 1, join: 5, replaces: null, reason: 'rebuild', source: 1 },
    ]);
  });

  it('moves: a member leaves its disk, drain names whom it replaces', () => {
    const disks = [disk(1), disk(2, { isUsable: false, isLeaving: true }), disk(5)];
    const result = plan([pg(1, { inSync: [2, 1], target: [1, 5] })], { disks });
    expect(result.steps).to.deep.equal([
      { pg: 1, join: 5, replaces: 2, reason: 'drain', source: 2 },
    ]);
  });

  it('moves: both members change, one after the other', () => {
    const first = plan([pg(1, { inSync: [1, 2], target: [5, 6] })]);
    expect(first.steps.map((step) => step.join)).to.deep.equal([5]);
    const during = plan([pg(1, { inSync: [1, 2], joining: [5], target: [5, 6] })]);
    expect(during.steps).to.deep.equal([]);
    expect(during.waiting['join-running']).to.equal(1);
  });

  it('moves: member replaced on its own node, that one leaves', () => {
    const disks = [disk(1), disk(2), disk(5, { node: nodeId(2) }), disk(6)];
    const result = plan([pg(1, { inSync: [1, 2], target: [5, 6] })], { disks });
    expect(result.steps.map((step) => [step.join, step.replaces])).to.deep.equal([[5, 2]]);
  });

  it('moves: target is complete, the member too many is dropped', () => {
    const result = plan([pg(1, { inSync: [1, 2, 5], target: [1, 5] })]);
    expect(result.drops).to.deep.equal([{ pg: 1, drop: 2 }]);
    expect(plan([pg(1, { inSync: [1, 2], target: [1, 5] })]).drops).to.deep.equal([]);
  });

  it('moves: more copies than replicas before the target is complete, one goes and the next joins', () => {
    const disks = [disk(1), disk(2, { isUsable: false, isLeaving: true }), disk(5), disk(6)];
    const result = plan([pg(1, { inSync: [1, 2, 5], target: [5, 6] })], { disks });
    expect(result.drops).to.deep.equal([{ pg: 1, drop: 2 }]);
    expect(result.steps.map((step) => [step.join, step.replaces])).to.deep.equal([[6, 1]]);
  });

  it('moves: more copies than replicas and two on one node, of these the unwanted one goes', () => {
    const disks = [disk(1), disk(2), disk(5, { node: nodeId(2) }), disk(6)];
    const result = plan([pg(1, { inSync: [1, 2, 5], target: [5, 6] })], { disks });
    expect(result.drops).to.deep.equal([{ pg: 1, drop: 2 }]);
  });

  it('moves: a copy too many, but a member of the target does not answer, nobody is dropped', () => {
    const disks = [disk(1, { isUsable: false }), disk(2), disk(5)];
    const result = plan([pg(1, { inSync: [1, 2, 5], target: [1, 5] })], { disks });
    expect(result.drops).to.deep.equal([]);
  });

  it('moves: a leaving disk is dead, its copy does not count and it is no source', () => {
    const dead = disk(1, { isUsable: false, isLeaving: true, isServing: false });
    const disks = [dead, disk(2), disk(5), disk(6)];
    const result = plan([pg(1, { inSync: [1, 2, 5], target: [5, 6] })], { disks });
    expect(result.drops).to.deep.equal([]);
    const [step] = result.steps;
    expect([step?.join, step?.source, step?.replaces]).to.deep.equal([6, 2, 1]);
    const alone = plan([pg(1, { inSync: [1], target: [5, 6] })], { disks });
    expect(alone.waiting['no-source']).to.equal(1);
  });

  it('moves: target shorter than replicas, degraded PG is left in peace', () => {
    const result = plan([pg(1, { inSync: [1], target: [1] })]);
    expect(result.steps).to.deep.equal([]);
    expect(result.drops).to.deep.equal([]);
  });
});

describe('moves: order and limits', () => {
  it('moves: one place free, the PG with the fewest copies gets it', () => {
    const three = (id: number, inSync: number[]): MovePg => ({
      ...pg(id, { inSync, target: [1, 2, 3] }),
      replicas: 3,
    });
    const pgs = [
      pg(1, { inSync: [1, 4], target: [1, 5] }),
      three(2, [1, 2]),
      pg(3, { inSync: [1], target: [1, 2] }),
      three(4, [2]),
    ];
    const result = plan(pgs, { limits: { ...LIMITS, joinsTotalMax: 3 } });
    expect(result.steps.map((step) => step.pg)).to.deep.equal([4, 3, 2]);
    expect(result.waiting['total-limit']).to.equal(1);
  });

  it('moves: rebuild, drain and balance want the same disk, in that order', () => {
    const disks = [disk(1), disk(2), disk(3, { isLeaving: true }), disk(4), disk(5)];
    const pgs = [
      pg(1, { inSync: [1, 2], target: [1, 5] }),
      pg(2, { inSync: [2, 3], target: [2, 5] }),
      pg(3, { inSync: [4], target: [4, 5] }),
    ];
    const result = plan(pgs, { disks, limits: { ...LIMITS, joinsInMax: 3, joinsOutMax: 3 } });
    expect(result.steps.map((step) => step.reason)).to.deep.equal(['rebuild', 'drain', 'balance']);
  });

  it('moves: running joins count, receiver and source are not overloaded', () => {
    const running = pg(1, { inSync: [1], joining: [5], target: [1, 5] });
    const pgs = [2, 3, 4].map((id) => pg(id, { inSync: [id], target: [id, 5] }));
    const result = plan([running, ...pgs]);
    expect(result.steps.length).to.equal(1);
    expect(result.waiting['disk-busy']).to.equal(2);

    const sources = [2, 3, 4].map((id) => pg(id, { inSync: [1], target: [1, id + 4] }));
    expect(plan([running, ...sources]).steps.length).to.equal(1);
  });

  it('moves: receiver would be too full, not started; with what is on its way counted', () => {
    const disks = [disk(1), disk(2), disk(5, { usedBytes: 75, limitBytes: 100 })];
    const joining = { ...pg(1, { inSync: [1], joining: [5], target: [1, 5] }) };
    const half = new Map([[diskId(5), 0.5]]);
    const waiting = pg(2, { inSync: [2], target: [2, 5] });
    const more = pg(3, { inSync: [2], target: [2, 5] });
    const limits = { ...LIMITS, joinsInMax: 9, joinsOutMax: 9 };
    // 75 used, 5 to come for pg1, 10 for pg2: 90; pg3 would make it 100, which is allowed, pg4 not.
    const input = { disks, limits };
    const pgs = [{ ...joining, joinRatios: half }, waiting, more];
    expect(plan(pgs, input).steps.length).to.equal(2);
    const full = plan([...pgs, pg(4, { inSync: [2], target: [2, 5] })], input);
    expect(full.steps.length).to.equal(2);
    expect(full.waiting['receiver-full']).to.equal(1);
  });

  it('moves: paused kinds wait, others go on', () => {
    const pgs = [pg(1, { inSync: [1, 2], target: [1, 5] }), pg(2, { inSync: [3], target: [3, 6] })];
    const balance = plan(pgs, { limits: { ...LIMITS, paused: ['balance'] } });
    expect(balance.steps.map((step) => step.pg)).to.deep.equal([2]);
    expect(balance.waiting.paused).to.equal(1);
    const all = plan(pgs, { limits: { ...LIMITS, paused: ['rebuild', 'drain', 'balance'] } });
    expect(all.steps).to.deep.equal([]);
  });

  it('moves: no copy in sync, or receiver away, says what it waits for', () => {
    const disks = [disk(1), disk(5, { isUsable: false })];
    const pgs = [pg(1, { target: [1, 5] }), pg(2, { inSync: [1], target: [1, 5] })];
    const result = plan(pgs, { disks });
    expect(result.steps).to.deep.equal([]);
    expect(result.waiting['no-source']).to.equal(1);
    expect(result.waiting['receiver-unusable']).to.equal(1);
  });

  it('moves: node lost in a cluster of ten, many disks copy to many', () => {
    const disks = makeDisks({ nodes: 10 });
    const before = planPlacement({ disks, families: [makeFamily({ pgs: 512, replicas: 2 })] });
    const after = planPlacement({
      disks: setNode(disks, 0, 'leaving'),
      families: [makeFamily({ pgs: 512, replicas: 2, after: before })],
    });
    const pgs = [...after.targets].map(([id, target]): MovePg => {
      const inSync = (before.targets.get(id) ?? []).filter((member) => member !== 0);
      return { id, replicas: 2, inSync, joining: [], target, bytes: 1 };
    });
    const moveDisks = disks.map(({ id }) => disk(id, { isUsable: id !== 0 }));
    const limits = { ...LIMITS, joinsTotalMax: 9 };
    const { steps } = planMoves({ pgs, disks: moveDisks, limits });
    expect(steps.length).to.equal(9);
    // Nine joins: nearly every disk is given something to do before any gets a second one.
    expect(new Set(steps.map((step) => step.join)).size).to.be.at.least(8);
    expect(new Set(steps.map((step) => step.source)).size).to.be.at.least(8);
  });
});

describe('moves: cancels', () => {
  const ratios = (id: number, ratio: number) => new Map([[diskId(id), ratio]]);

  it('moves: joining disk died, its join is cancelled and nothing else starts yet', () => {
    const disks = [disk(1), disk(5, { isUsable: false }), disk(6)];
    const result = plan([pg(1, { inSync: [1], joining: [5], target: [1, 6] })], { disks });
    expect(result.cancels).to.deep.equal([{ pg: 1, joining: 5, reason: 'disk-gone' }]);
    expect(result.steps).to.deep.equal([]);
  });

  it('moves: join is no longer wanted, cancelled; unless it is half done and a copy is missing', () => {
    const lost = pg(1, { inSync: [1], joining: [7], target: [1, 5] });
    const cancelled = [{ pg: 1, joining: 7, reason: 'not-in-target' }];
    expect(plan([lost]).cancels).to.deep.equal(cancelled);
    expect(plan([{ ...lost, joinRatios: ratios(7, 0.4) }]).cancels).to.deep.equal(cancelled);
    expect(plan([{ ...lost, joinRatios: ratios(7, 0.6) }]).cancels).to.deep.equal([]);
    const whole = pg(1, { inSync: [1, 5], joining: [7], target: [1, 5] });
    expect(plan([{ ...whole, joinRatios: ratios(7, 0.9) }]).cancels).to.deep.equal(cancelled);
  });

  for (const [ratio, wanted] of [
    [0.1, 2],
    [0.9, 5],
  ] as const) {
    it(`moves: old member returns while another copy is at ${ratio}, d${wanted} is wanted`, () => {
      const disks = makeDisks({ nodes: 6 }).map((each, index) => ({ ...each, id: diskId(index) }));
      const current = currentHolders({
        replicas: 2,
        inSync: [diskId(1)],
        target: [diskId(1), diskId(5)],
        joinRatios: ratios(5, ratio),
        returning: [diskId(2)],
      });
      expect(current.slice(0, 2)).to.deep.equal([1, wanted]);
      const family = {
        pgs: [{ id: pgId(1), current }],
        replicas: 2,
        failureDomain: 'node',
      } as const;
      const target = planPlacement({ disks, families: [family] }).targets.get(pgId(1)) ?? [];
      expect(target).to.deep.equal([1, wanted]);

      const state = {
        ...pg(1, { inSync: [1], joining: [5] }),
        target,
        joinRatios: ratios(5, ratio),
      };
      const { cancels } = plan([state]);
      expect(cancels.map((cancel) => cancel.joining)).to.deep.equal(wanted === 2 ? [5] : []);
    });
  }

  it('moves: nothing is missing, a former member changes nothing', () => {
    const current = currentHolders({
      replicas: 2,
      inSync: [diskId(3), diskId(1)],
      target: [diskId(1), diskId(5)],
      joinRatios: new Map(),
      returning: [diskId(2)],
    });
    expect(current).to.deep.equal([1, 5, 3]);
  });
});

describe('moves: followed to the end', () => {
  it('moves: any state, limits hold, copies never get fewer, targets are reached', () => {
    const three = fc.uniqueArray(fc.integer({ min: 0, max: 7 }), { minLength: 2, maxLength: 2 });
    const state = fc.record({
      inSync: fc.uniqueArray(fc.integer({ min: 0, max: 7 }), { minLength: 1, maxLength: 2 }),
      target: three,
    });
    fc.assert(
      fc.property(
        fc.array(state, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 8 }),
        (states, perDisk, total) => {
          const limits = {
            joinsInMax: perDisk,
            joinsOutMax: perDisk,
            joinsTotalMax: total,
            paused: [],
          };
          follow(
            states.map((each, id) => pg(id, each)),
            limits,
          );
        },
      ),
    );
  });
});

/** Does what the plan says; every round half of the running joins finish. */
function follow(start: readonly MovePg[], limits: MoveLimits): void {
  const disks = Array.from({ length: 8 }, (_, id) => disk(id, { limitBytes: 1e6 }));
  let pgs = [...start];
  // At most two joins per PG, one at a time in the worst case, each with up to three rounds.
  for (let round = 0; round < 6 * start.length + 8; round += 1) {
    const result = planMoves({ pgs, disks, limits });
    checkLimits(pgs, result.steps, limits);
    expect(result.cancels).to.deep.equal([]);
    pgs = pgs.map((each, index) => {
      const step = result.steps.find((candidate) => candidate.pg === each.id);
      const dropped = result.drops.filter((drop) => drop.pg === each.id).map(({ drop }) => drop);
      const inSync = each.inSync.filter((id) => !dropped.includes(id));
      expect(inSync.length, `pg${each.id}`).to.be.at.least(Math.min(2, each.inSync.length));
      expect(inSync.length, `pg${each.id}`).to.be.at.most(2);
      if (step !== undefined) {
        expect(each.joining, `pg${each.id}`).to.deep.equal([]);
        expect(inSync).to.include(step.source);
        return { ...each, inSync, joining: [step.join] };
      }
      const [joined] = each.joining;
      if (joined === undefined || (index + round) % 2 === 1) return { ...each, inSync };
      return { ...each, inSync: [...inSync, joined], joining: [] };
    });
  }
  for (const each of pgs) {
    expect(new Set(each.inSync), `pg${each.id}`).to.deep.equal(new Set(each.target));
  }
}

function checkLimits(
  pgs: readonly MovePg[],
  steps: readonly { readonly join: DiskId }[],
  limits: MoveLimits,
): void {
  const joins = [...pgs.flatMap((each) => each.joining), ...steps.map((step) => step.join)];
  expect(joins.length).to.be.at.most(limits.joinsTotalMax);
  const perDisk = new Map<DiskId, number>();
  for (const id of joins) perDisk.set(id, (perDisk.get(id) ?? 0) + 1);
  for (const [id, count] of perDisk) expect(count, `d${id}`).to.be.at.most(limits.joinsInMax);
}
