import { expect } from 'chai';
import { changeMembers, setTarget } from '../../../scheduler/core/members/members.ts';
import { onMemberReports } from '../../../scheduler/core/members/membership.ts';
import type { PgRecord } from '../../../scheduler/core/records.ts';
import type { DiskId, NodeId, PgId } from '../../../shared/base/ids.ts';
import type { JoinReport, MemberFailure } from '../../../shared/model/node-report.ts';
import { SimulatedCluster } from '../../scenarios/manager/simulated-cluster.ts';

const PG = 0 as PgId;
const D = (id: number): DiskId => id as DiskId;

/** One PG with two replicas on d1 and d2; d3 and d4 are empty and wanted nowhere. */
function boot(): SimulatedCluster {
  const cluster = new SimulatedCluster({ defaultPgCount: 1 });
  for (let index = 0; index < 4; index += 1) cluster.addNode();
  cluster.run(3000);
  cluster.createVolume('data');
  const { state } = cluster;
  setTarget(state, PG, [D(1), D(2)]);
  const pg = state.facts.pgs.get(PG);
  if (pg.inSync.join() !== '1,2') changeMembers(state, PG, { inSync: [D(1), D(2)], joining: [] });
  return cluster;
}

function join(cluster: SimulatedCluster, disk: number, fields: Partial<JoinReport>): PgRecord {
  const { state } = cluster;
  const { epoch } = state.facts.pgs.get(PG);
  const entry: JoinReport = {
    pg: PG,
    disk: D(disk),
    epoch,
    totalBytes: 1,
    doneBytes: 1,
    isComplete: true,
    error: '',
    ...fields,
  };
  const node = state.facts.nodes.get(disk as NodeId);
  const report = { ...cluster.executor(node.id).report(), joins: [entry] };
  onMemberReports(state, node, report, cluster.now());
  return state.facts.pgs.get(PG);
}

describe('membership: promotion', () => {
  const moves: readonly [string, number[], number[], number[], number[]][] = [
    ['a move', [1, 2], [3], [1, 3], [1, 3]],
    ['a move of both, the first half', [1, 2], [3], [3, 4], [2, 3]],
    ['a rebuild', [1], [3], [1, 3], [1, 3]],
    ['a join that is no longer wanted, redundancy is lost', [1], [3], [1, 2], [1, 3]],
    ['a target of one', [1, 2], [3], [3], [3]],
  ];
  for (const [name, inSync, joining, target, expected] of moves) {
    it(`membership: ${name}, [${inSync}] + ${joining} becomes [${expected}] (target [${target}])`, () => {
      const cluster = boot();
      setTarget(cluster.state, PG, target.map(D));
      changeMembers(cluster.state, PG, { inSync: inSync.map(D), joining: joining.map(D) });
      const before = cluster.state.facts.pgs.get(PG);
      const after = join(cluster, joining[0] ?? 0, {});
      expect(after.inSync).to.deep.equal(expected);
      expect(after.joining).to.deep.equal([]);
      expect(after.epoch).to.equal(before.epoch + 1);
    });
  }

  it('membership: a move while other members are silent, whoever serves stays', () => {
    const cluster = boot();
    setTarget(cluster.state, PG, [D(1), D(3)]);
    changeMembers(cluster.state, PG, { inSync: [D(1), D(2)], joining: [D(3)] });
    cluster.kill(1 as NodeId);
    cluster.run(2_600);
    // d1 belongs to the target, but nobody knows whether it comes back: d2 may be the only good copy.
    expect(join(cluster, 3, {}).inSync).to.include.members([2, 3]);
  });

  const refused: readonly [string, Partial<JoinReport>][] = [
    ['an older epoch', { epoch: 1 }],
    ['a later epoch', { epoch: 99 }],
    ['not complete', { isComplete: false }],
    ['a disk that does not join', { disk: D(4) }],
    ['an unknown PG', { pg: 77 as PgId }],
  ];
  for (const [name, fields] of refused) {
    it(`membership: report of a join with ${name}, nothing changes`, () => {
      const cluster = boot();
      setTarget(cluster.state, PG, [D(1), D(3)]);
      changeMembers(cluster.state, PG, { inSync: [D(1), D(2)], joining: [D(3)] });
      const before = cluster.state.facts.pgs.get(PG);
      expect(join(cluster, 3, fields)).to.deep.equal(before);
    });
  }

  it('membership: a disk joins by the word of another node, nothing changes', () => {
    const cluster = boot();
    changeMembers(cluster.state, PG, { inSync: [D(1), D(2)], joining: [D(3)] });
    const before = cluster.state.facts.pgs.get(PG);
    const entry = { pg: PG, disk: D(3), epoch: before.epoch, totalBytes: 1, doneBytes: 1 };
    const joins = [{ ...entry, isComplete: true, error: '' }];
    const report = { ...cluster.executor(4 as NodeId).report(), joins };
    onMemberReports(
      cluster.state,
      cluster.state.facts.nodes.get(4 as NodeId),
      report,
      cluster.now(),
    );
    expect(cluster.state.facts.pgs.get(PG)).to.deep.equal(before);
  });
});

describe('membership: removal', () => {
  it('membership: both members die, the one that returns goes on alone with what both had', () => {
    const cluster = boot();
    cluster.kill(1 as NodeId);
    cluster.kill(2 as NodeId);
    for (const node of [1, 2] as NodeId[]) {
      const observed = cluster.state.nodes.get(node);
      if (observed !== undefined) observed.executor = 'dead';
    }
    cluster.run(20_000);
    expect(cluster.state.facts.pgs.get(PG).inSync).to.deep.equal([1, 2]);
    cluster.executor(2 as NodeId).restart();
    cluster.runUntil(
      'n2 goes on',
      () => cluster.state.facts.pgs.get(PG).inSync.join() === '2',
      5000,
    );
  });

  const complaint = (pg: number, disk: number, sinceMs: number): MemberFailure => ({
    pg: pg as PgId,
    epoch: 1,
    disk: D(disk),
    reason: 'No ack',
    sinceMs,
  });

  it('membership: nobody leaves for the sake of a disk that fails elsewhere', () => {
    const cluster = boot();
    const { state } = cluster;
    const gateway = state.facts.nodes.get(3 as NodeId);
    const { epoch } = state.facts.pgs.get(PG);
    const here = { ...complaint(PG, 1, 5_000), epoch };
    const report = cluster.executor(gateway.id).report();
    // d2 has not answered in another PG for long; here nothing has waited for it long enough yet.
    const both = { ...report, failures: [here, complaint(77, 2, 22_000)] };
    onMemberReports(state, gateway, both, cluster.now());
    expect(state.facts.pgs.get(PG).inSync).to.deep.equal([1, 2]);
    onMemberReports(state, gateway, { ...report, failures: [here] }, cluster.now());
    expect(state.facts.pgs.get(PG).inSync).to.deep.equal([2]);
  });
});
