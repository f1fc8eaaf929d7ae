/** Members that come back from a power loss: who is believed, who is waited for, and for how long. */
import { expect } from 'chai';
import { explainPg } from '../../../scheduler/core/explain/explain-pg.ts';
import { createScene } from '../../../scheduler/core/explain/explanation.ts';
import type { PgRecord } from '../../../scheduler/core/records.ts';
import type { DiskId, NodeId } from '../../../shared/base/ids.ts';
import { MiB } from '../../../shared/base/units.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

const [N1, N2, N3] = [1, 2, 3] as NodeId[] as [NodeId, NodeId, NodeId];
const WAIT_MS = 20_000;

function boot(nodes: number): SimulatedCluster {
  const cluster = new SimulatedCluster({ suspectWaitMs: WAIT_MS });
  for (let index = 0; index < nodes; index += 1) cluster.addNode(1);
  cluster.run(3000);
  cluster.write(cluster.createVolume('data'), 64 * MiB);
  cluster.run(3000);
  return cluster;
}

function losePower(cluster: SimulatedCluster, node: NodeId): void {
  cluster.kill(node);
  cluster.executor(node).powerLosses += 1;
}

const pgsOf = (cluster: SimulatedCluster): PgRecord[] => [...cluster.state.facts.pgs.values()];
const suspectCount = (cluster: SimulatedCluster): number =>
  pgsOf(cluster).filter((pg) => pg.suspects !== undefined).length;
const inSyncOf = (cluster: SimulatedCluster, disk: number): number =>
  pgsOf(cluster).filter((pg) => pg.inSync.includes(disk as DiskId)).length;

describe('manager: members that lost their memory', () => {
  it('suspects: back before the lease ended, they leave on the word of the others and join anew', () => {
    const cluster = boot(3);
    const held = inSyncOf(cluster, 3);
    losePower(cluster, N3);
    cluster.run(300);
    cluster.executor(N3).restart();
    cluster.runUntil('suspects', () => suspectCount(cluster) === held, 5000);
    for (const pg of pgsOf(cluster)) if (pg.suspects) expect(pg.suspects).to.deep.equal([3]);
    cluster.runUntil('they left', () => suspectCount(cluster) === 0, 3000);
    expect(inSyncOf(cluster, 3)).to.equal(0);
    expect(pgsOf(cluster).every((pg) => pg.compareEpoch === undefined)).to.equal(true);
    cluster.runUntil('all are clean', () => cluster.isClean(), 60_000);
    expect(inSyncOf(cluster, 3)).to.equal(held);
  });

  it('suspects: a restart of the process alone, nobody leaves', () => {
    const cluster = boot(3);
    const epochs = pgsOf(cluster).map((pg) => pg.epoch);
    cluster.kill(N3);
    cluster.run(300);
    cluster.executor(N3).restart();
    cluster.run(10_000);
    expect(pgsOf(cluster).map((pg) => pg.epoch)).to.deep.equal(epochs);
  });

  it('suspects: all members lost power, they are trusted once the last one is back', () => {
    const cluster = boot(2);
    losePower(cluster, N1);
    losePower(cluster, N2);
    cluster.run(8000);
    cluster.executor(N1).restart();
    cluster.run(5000);
    expect(suspectCount(cluster), 'while one is away').to.equal(pgsOf(cluster).length);
    cluster.executor(N2).restart();
    cluster.runUntil('trust', () => suspectCount(cluster) === 0, 5000);
    for (const pg of pgsOf(cluster)) {
      expect(pg.inSync, `pg${pg.id}`).to.have.members([1, 2]);
      expect(pg.compareEpoch, `pg${pg.id}`).to.equal(pg.epoch);
    }
    expect(cluster.events('pg.trusted')).to.have.length(1);
  });

  it('suspects: the other one is away with its memory, it is waited for and believed', () => {
    const cluster = boot(2);
    cluster.kill(N2);
    losePower(cluster, N1);
    cluster.run(8000);
    cluster.executor(N1).restart();
    cluster.run(WAIT_MS / 2);
    expect(suspectCount(cluster)).to.equal(pgsOf(cluster).length);
    cluster.executor(N2).restart();
    cluster.runUntil('they left', () => suspectCount(cluster) === 0, 5000);
    for (const pg of pgsOf(cluster)) expect(pg.inSync, `pg${pg.id}`).to.deep.equal([2]);
  });

  it('suspects: the other one does not come back, given up at the bound, with event and reasons', () => {
    const cluster = boot(2);
    cluster.kill(N2);
    losePower(cluster, N1);
    cluster.run(8000);
    cluster.executor(N1).restart();
    cluster.run(5000);
    const scene = createScene(cluster.state, cluster.now());
    const [pg] = pgsOf(cluster);
    const explanation = pg === undefined ? null : explainPg(scene, pg.id);
    expect(explanation?.state).to.equal('unavailable');
    expect(explanation?.next).to.match(/goes on when d2 is back/);
    expect(explanation?.byMs).to.be.within(scene.now.wallMs, scene.now.wallMs + WAIT_MS);
    expect(explanation?.causes.map((cause) => cause.message).join()).to.match(
      /d1 lost with the power/,
    );
    cluster.runUntil('given up', () => suspectCount(cluster) === 0, WAIT_MS);
    for (const one of pgsOf(cluster)) expect(one.inSync, `pg${one.id}`).to.deep.equal([1]);
    expect(cluster.events('pg.given-up')[0]).to.match(/go on without d2.*may be lost/);
    cluster.executor(N2).restart();
    cluster.runUntil('all are clean', () => cluster.isClean(), 60_000);
  });

  it('suspects: two lost power, one still looks alive, its word does not count', () => {
    const cluster = boot(2);
    losePower(cluster, N1);
    // Silent, and its session is not known to be gone: for the manager it is still up.
    const { session } = cluster.executor(N2);
    losePower(cluster, N2);
    cluster.executor(N2).session = session;
    cluster.run(250);
    cluster.executor(N1).restart();
    cluster.run(1500);
    for (const pg of pgsOf(cluster)) expect(pg.inSync, `pg${pg.id}`).to.include(1);
    cluster.executor(N2).restart();
    cluster.runUntil('trust', () => suspectCount(cluster) === 0, 8000);
    for (const pg of pgsOf(cluster)) expect(pg.inSync, `pg${pg.id}`).to.have.members([1, 2]);
  });

  it('suspects: they survive the manager, and so does what it knew of memories', () => {
    const cluster = boot(2);
    cluster.kill(N2);
    losePower(cluster, N1);
    cluster.run(8000);
    cluster.executor(N1).restart();
    cluster.run(3000);
    cluster.restartManager();
    cluster.run(5000);
    expect(suspectCount(cluster)).to.equal(pgsOf(cluster).length);
    cluster.executor(N2).restart();
    cluster.runUntil('they left', () => suspectCount(cluster) === 0, 20_000);
    for (const pg of pgsOf(cluster)) expect(pg.inSync, `pg${pg.id}`).to.deep.equal([2]);
  });

  it('joining: a member that loses its memory begins anew in a later epoch', () => {
    const cluster = boot(3);
    cluster.kill(N3);
    cluster.runUntil('left out', () => cluster.pgCountOf(3 as DiskId) === 0, 20_000);
    cluster.executor(N3).restart();
    const joining = (): PgRecord | undefined =>
      pgsOf(cluster).find((pg) => pg.joining.includes(3 as DiskId));
    cluster.runUntil('a join', () => joining() !== undefined, 10_000);
    const before = joining();
    losePower(cluster, N3);
    cluster.run(100);
    cluster.executor(N3).restart();
    cluster.runUntil(
      'it left',
      () => {
        const now = cluster.state.facts.pgs.find(before?.id ?? (0 as never));
        return (now?.epoch ?? 0) > (before?.epoch ?? 0);
      },
      5000,
    );
    cluster.runUntil('all are clean', () => cluster.isClean(), 60_000);
  });

  it('store: another one where the replicas were, the disk fails instead of serving zeros', () => {
    const cluster = boot(3);
    cluster.kill(N3);
    cluster.run(300);
    cluster.executor(N3).powerLosses = 1_000_000;
    cluster.executor(N3).restart();
    cluster.runUntil('failed', () => cluster.events('disk.failed').length > 0, 5000);
    expect(cluster.events('disk.failed')[0]).to.match(/emptied or replaced/);
    cluster.runUntil('left out', () => inSyncOf(cluster, 3) === 0, 10_000);
  });
});
