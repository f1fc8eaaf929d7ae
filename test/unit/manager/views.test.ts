import { expect } from 'chai';
import { attachmentViews } from '../../../scheduler/core/views/attachment-views.ts';
import { diskViews, nodeView, nodeViews } from '../../../scheduler/core/views/node-views.ts';
import { clusterView, pgViews, poolViews } from '../../../scheduler/core/views/views.ts';
import { volumeViews } from '../../../scheduler/core/views/volume-views.ts';
import type { DiskId, NodeId, VolumeId } from '../../../shared/base/ids.ts';
import { GiB, MiB } from '../../../shared/base/units.ts';
import { SimulatedCluster } from '../../scenarios/manager/simulated-cluster.ts';

const N3 = 3 as NodeId;

function boot(): { cluster: SimulatedCluster; volume: VolumeId } {
  const cluster = new SimulatedCluster();
  for (let index = 0; index < 4; index += 1) cluster.addNode();
  cluster.run(3000);
  // The scenarios have no Mesos: health is about the rest.
  cluster.state.mesos.isSubscribed = true;
  const volume = cluster.createVolume('data', 2, 20 * GiB);
  cluster.write(volume, 640 * MiB);
  cluster.run(3000);
  return { cluster, volume };
}

describe('views', () => {
  it('views: a healthy cluster, counts and capacity add up', () => {
    const { cluster } = boot();
    const view = clusterView(cluster.state, cluster.now());
    expect(view).to.deep.include({ health: 'ok', reasons: [], nodeCount: 4, nodesUp: 4 });
    expect(view).to.deep.include({ diskCount: 4, disksServing: 4, volumeCount: 1 });
    expect(view.pgs).to.deep.equal({
      total: 64,
      clean: 64,
      degraded: 0,
      misplaced: 0,
      unavailable: 0,
    });
    expect(view.capacity).to.deep.equal({
      rawBytes: 400 * GiB,
      usedBytes: 1280 * MiB,
      freeBytes: 400 * GiB - 1280 * MiB,
      // The largest node, since three are left for two replicas.
      reserveBytes: 100 * GiB,
      usableBytes: (380 * GiB - 1280 * MiB - 100 * GiB) / 2,
      provisionedBytes: 20 * GiB,
      usedRatio: 1280 / (400 * 1024),
    });
  });

  it('views: two nodes for two replicas, no reserve is kept', () => {
    const cluster = new SimulatedCluster();
    cluster.addNode();
    cluster.addNode();
    cluster.run(3000);
    const [pool] = poolViews(cluster.state);
    expect(pool?.capacity.reserveBytes).to.equal(0);
    expect(pool?.diskIds).to.deep.equal(['d1', 'd2']);
  });

  it('views: a claimed node before its executor was heard, starting', () => {
    const cluster = new SimulatedCluster();
    const node = cluster.addNode();
    cluster.executor(node).isAlive = false;
    cluster.run(1000);
    expect(nodeView(cluster.state, node, cluster.now())).to.deep.include({
      state: 'starting',
      lastSeenAt: null,
      diskIds: ['d1'],
    });
    expect(nodeView(cluster.state, 9 as NodeId, cluster.now())).to.equal(null);
  });

  it('views: a node that dies, fenced then down, each with a reason and what happens next', () => {
    const { cluster } = boot();
    cluster.kill(N3);
    cluster.run(3000);
    const find = (): string | undefined =>
      nodeViews(cluster.state, cluster.now()).find((view) => view.id === 'n3')?.state;
    expect(find()).to.equal('fenced');
    cluster.run(10_000);
    expect(find()).to.equal('down');
    const { health, reasons } = clusterView(cluster.state, cluster.now());
    expect(health).to.equal('degraded');
    expect(reasons.map((reason) => reason.subject)).to.deep.equal(['default', 'n3']);
    expect(reasons[0]?.message).to.equal('32 of 64 PGs of pool "default" lack a replica');
    expect(reasons[1]?.next).to.match(
      /^Its replicas are rebuilt on other nodes in 47s unless it comes back$/,
    );
    expect(pgViews(cluster.state, { state: 'degraded' }).length).to.equal(32);
    expect(pgViews(cluster.state, { disk: 'd3' }).length, 'still the target').to.equal(32);
    expect(pgViews(cluster.state, { pool: 'other' }).length).to.equal(0);
    expect(diskViews(cluster.state)[2]).to.deep.include({ id: 'd3', state: 'down', pgCount: 0 });
  });

  it('views: an attachment, waiting, then serving with a URI, then paused with its node', () => {
    const { cluster, volume } = boot();
    const view = () => attachmentViews(cluster.state, cluster.now())[0];
    const state = () => volumeViews(cluster.state, cluster.now())[0]?.state;
    expect(state()).to.equal('ready');
    cluster.must({ kind: 'attach-volume', volume, node: N3, isForced: false });
    expect(view()).to.deep.include({ state: 'waiting', node: 'n3', generation: 1, unixUri: null });
    expect(state()).to.equal('attaching');
    cluster.run(1500);
    expect(view()).to.deep.include({
      state: 'serving',
      volumeName: 'data',
      unixUri: 'nbd+unix:///data?socket=/run/v1',
      tcpUri: null,
    });
    expect(state()).to.equal('attached');
    cluster.kill(N3);
    cluster.run(4000);
    expect(view()).to.deep.include({ state: 'paused', unixUri: null });
    const [health] = volumeViews(cluster.state, cluster.now());
    expect(health?.health).to.equal('critical');
  });

  it('views: a full pool, critical with a way out', () => {
    const { cluster } = boot();
    cluster.must({ kind: 'update-pool', pool: 'default', changes: { isAutoExpand: false } });
    for (const disk of [1, 2, 3, 4] as DiskId[]) {
      const [stored] = cluster.disk(disk).stored.values();
      stored?.set(1 as VolumeId, 96 * GiB);
    }
    cluster.run(3000);
    const { health, reasons } = clusterView(cluster.state, cluster.now());
    expect(health).to.equal('critical');
    expect(reasons[0]).to.deep.equal({
      subject: 'default',
      message: 'Pool "default" is full: writes that need new space get ENOSPC',
      next: 'Add disks or delete data: automatic expansion is switched off',
    });
  });
});
