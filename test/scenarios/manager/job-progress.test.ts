/** What jobs say of their progress: bytes really to be copied, never less than before, and why they wait. */
import { expect } from 'chai';
import { explainSubject } from '../../../scheduler/core/explain/explain.ts';
import { jobViews } from '../../../scheduler/core/views/job-views.ts';
import type { DiskId, NodeId } from '../../../shared/base/ids.ts';
import { GiB } from '../../../shared/base/units.ts';
import type { JobView } from '../../../shared/model/api-views.ts';
import { findUnexplained } from './explained.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

const N3 = 3 as NodeId;
const D3 = 3 as DiskId;
/** What a copy takes in the simulated executor, whatever its group holds: a rejoin, mostly in place. */
const COPY_BYTES = 100;

function boot(): SimulatedCluster {
  const cluster = new SimulatedCluster({ concurrentJoinsPerDisk: 1 });
  for (let index = 0; index < 4; index += 1) cluster.addNode();
  cluster.run(3000);
  const volume = cluster.createVolume('data', 2, 20 * GiB);
  cluster.write(volume, 6 * GiB);
  cluster.run(3000);
  cluster.kill(N3);
  cluster.runUntil('d3 has left', () => cluster.pgCountOf(D3) === 0, 30_000);
  cluster.executor(N3).restart();
  cluster.runUntil('a rebuild', () => findJob(cluster) !== undefined, 30_000);
  return cluster;
}

function findJob(cluster: SimulatedCluster): JobView | undefined {
  return jobViews(cluster.state, cluster.now()).find((job) => job.kind === 'rebuild');
}

function job(cluster: SimulatedCluster): JobView {
  const found = findJob(cluster);
  if (found === undefined) throw new Error('there is no rebuild');
  return found;
}

describe('manager: progress of jobs', () => {
  it('job: a disk comes back with most of its data, what is copied is counted and not what is there', () => {
    const cluster = boot();
    let best = 0;
    cluster.runUntil('the rebuild ends', () => {
      const { doneBytes, totalBytes, progressRatio, state, etaSeconds } = job(cluster);
      expect(doneBytes, 'never less').to.be.at.least(best);
      expect(totalBytes).to.be.at.least(doneBytes);
      expect(progressRatio).to.be.within(0, 1);
      expect(etaSeconds === null || etaSeconds >= 0).to.equal(true);
      best = doneBytes;
      return state === 'done';
    });
    const { movesDone, doneBytes, figures } = job(cluster);
    expect(doneBytes).to.equal(movesDone * COPY_BYTES);
    expect(figures['heldBytes'], 'what the groups hold').to.be.above(GiB);
  });

  it('job: half of the copies are done, the estimate of the rest is by what copies took so far', () => {
    const cluster = boot();
    cluster.runUntil('half of it', () => job(cluster).movesDone >= job(cluster).movesTotal / 2);
    cluster.run(1000);
    const { movesTotal, totalBytes } = job(cluster);
    expect(totalBytes).to.be.at.most(movesTotal * COPY_BYTES * 1.1);
  });

  it('job: copies do not get on, no estimate is made up and explain says since when', () => {
    const cluster = boot();
    cluster.run(5000);
    cluster.executor(N3).isCopyStuck = true;
    cluster.run(90_000);
    const { id, etaSeconds, bytesPerSecond } = job(cluster);
    expect([etaSeconds, bytesPerSecond]).to.deep.equal([null, null]);
    const [found] = explainSubject(cluster.state, id, cluster.now())?.explanations ?? [];
    expect(found?.message).to.match(/copies do not get on; it has not moved for 1m \d+s$/);
    expect(findUnexplained(cluster.state, cluster.now())).to.deep.equal([]);
    cluster.executor(N3).isCopyStuck = false;
    cluster.runUntil('the rebuild ends', () => job(cluster).state === 'done');
  });
});
