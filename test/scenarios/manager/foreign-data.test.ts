// What executors find out about disks: data of others, and the kind of device.
import { expect } from 'chai';
import { explainSubject } from '../../../scheduler/core/explain/explain.ts';
import { diskViews } from '../../../scheduler/core/views/node-views.ts';
import { diskId } from '../../../shared/base/ids.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

describe('foreign data and tiers', () => {
  it('files of others in a directory: named everywhere, never given back; emptied, it serves', () => {
    const cluster = new SimulatedCluster({ defaultPgCount: 16 });
    cluster.addNode();
    cluster.addNode();
    const node = cluster.addNode();
    const disk = cluster.executor(node).disks[0];
    if (disk === undefined) throw new Error('no disk');
    Object.assign(disk, {
      status: 'failed',
      error: 'Directory holds "letters.txt" and no superblock, expected it to be empty',
      foreign: { kind: 'unknown-files', found: 'letters.txt' },
    });
    cluster.run(3000);
    const id = disk.id;
    expect(cluster.state.facts.disks.get(id).phase).to.equal('failed');
    const [event] = cluster.events('disk.foreign');
    expect(event).to.match(/"\/mnt\/uuid3" on .* holds files that are not ours \(letters.txt\)/);
    const view = diskViews(cluster.state).find((one) => one.id === `d${id}`);
    expect(view?.foreign).to.include('"cistern disk activate d3"');
    const explained = explainSubject(cluster.state, 'd3', cluster.now());
    expect(explained?.explanations[0]?.message).to.include('letters.txt');
    expect(cluster.refusal({ kind: 'drain-disk', disk: id })).to.match(/^conflict: .*letters.txt/);
    delete disk.foreign;
    Object.assign(disk, { status: 'serving', error: '' });
    cluster.must({ kind: 'activate-disk', disk: id });
    cluster.run(3000);
    expect(cluster.state.facts.disks.get(id)).to.deep.include({ phase: 'serving', foreign: null });
  });

  it('a tier that was not known turns out to be another: given back before it holds anything', () => {
    const cluster = new SimulatedCluster({ defaultPgCount: 16 });
    cluster.must({
      kind: 'update-pool',
      pool: 'default',
      changes: { selector: { tiers: ['nvme'] } },
    });
    for (let index = 0; index < 3; index += 1) {
      const node = cluster.addNode();
      for (const disk of cluster.executor(node).disks) disk.tier = index === 2 ? 'hdd' : 'nvme';
    }
    cluster.run(3000);
    cluster.createVolume('v');
    cluster.run(3000);
    const phases = [...cluster.state.facts.disks.values()].map(({ phase, tier }) => [phase, tier]);
    expect(phases).to.deep.equal([
      ['serving', 'nvme'],
      ['serving', 'nvme'],
      ['releasing', 'hdd'],
    ]);
    expect(cluster.pgCountOf(diskId(3))).to.equal(0);
    const node = [...cluster.state.facts.nodes.values()][2];
    expect(node?.tiers, 'known at the next claim').to.deep.equal({ 'mount:/mnt/uuid3': 'hdd' });
  });

  it('a disk that holds data and is of another tier: stays until the pools are applied', () => {
    const cluster = new SimulatedCluster({ defaultPgCount: 16 });
    for (let index = 0; index < 4; index += 1) {
      const node = cluster.addNode();
      for (const disk of cluster.executor(node).disks) disk.tier = index === 3 ? 'hdd' : 'nvme';
    }
    cluster.run(3000);
    cluster.createVolume('v');
    cluster.must({
      kind: 'update-pool',
      pool: 'default',
      changes: { selector: { tiers: ['nvme'] } },
    });
    cluster.run(5000);
    expect(cluster.state.facts.disks.get(diskId(4)).phase).to.equal('serving');
    cluster.must({ kind: 'apply-pools', document: null });
    const isLeft = (): boolean => cluster.state.facts.disks.get(diskId(4)).phase === 'releasing';
    cluster.runUntil('the disk is empty', isLeft);
    expect(cluster.isClean()).to.equal(true);
  });
});
