// A fifth agent joins four: data moves until disks are even, and no more than has to. Then one leaves.
import { expect } from 'chai';
import { waitFor } from '../../../dev/demo/api-client.ts';
import type { DiskView, NodeView } from '../../../shared/model/api-views.ts';
import { type AttachedVolume, PATIENCE_MS, TEST_TIMEOUT_MS, TestCluster } from './harness.ts';

const PG_COUNT = 256;
const EXTENT_MB = 4;
const REPLICAS = 2;
/** One extent in every PG: fill follows placement exactly. */
const DATA_MB = PG_COUNT * EXTENT_MB;
const DEVIATION_MAX = 0.05;
const MOVED_OVER_FAIR_SHARE_MAX = 1.1;

describe('cluster: an agent joins four, and leaves again', function () {
  this.timeout(TEST_TIMEOUT_MS);
  let cluster: TestCluster;
  let volume: AttachedVolume;

  before(async () => {
    cluster = await TestCluster.start({
      agents: 4,
      pgCount: PG_COUNT,
      diskSizeMb: 2048,
      resyncMibPerSecond: 400,
    });
    volume = await cluster.attach('data', { sizeMb: DATA_MB, replicas: REPLICAS });
  });

  after(async () => cluster?.close());

  const pattern = { pattern: 'write', blockKb: 1024, depth: 4 } as const;

  function deviationOf(disks: readonly DiskView[]): number {
    const mean = disks.reduce((sum, disk) => sum + disk.usedRatio, 0) / disks.length;
    return Math.max(...disks.map((disk) => Math.abs(disk.usedRatio - mean))) / mean;
  }

  /** Once those that gave data away have freed it. */
  function disksWithoutLeftovers(): Promise<readonly DiskView[]> {
    return waitFor('disks to free what moved away', PATIENCE_MS, async () => {
      const disks = await cluster.disks();
      const usedBytes = disks.reduce((sum, disk) => sum + disk.usedBytes, 0);
      return usedBytes <= DATA_MB * 1024 ** 2 * REPLICAS ? disks : null;
    });
  }

  it('join: fill within 5 % of the mean, moved at most a fair share and a tenth', async () => {
    await cluster.fio({ uri: volume.unixUri, sizeMb: DATA_MB, ...pattern }).done;
    const dataBytes = DATA_MB * 1024 ** 2 * REPLICAS;
    await waitFor('disks to report what was written', PATIENCE_MS, async () => {
      const { capacity } = await cluster.pool();
      return capacity.usedBytes >= dataBytes ? true : null;
    });
    const { name } = await cluster.addAgent();
    const job = await cluster.waitForJob('rebalance');
    await cluster.waitUntilHealthy();
    expect(job.figures['fillDeviationRatio'], 'deviation, as the job says').to.be.below(
      DEVIATION_MAX,
    );
    expect(job.figures['movedOverFairShareRatio'], 'moved, as the job says')
      .to.be.above(0)
      .and.at.most(MOVED_OVER_FAIR_SHARE_MAX);

    // The disks themselves agree.
    const disks = await disksWithoutLeftovers();
    expect(disks).to.have.length(10);
    expect(deviationOf(disks), 'deviation, as the disks say').to.be.below(DEVIATION_MAX);
    const gained = disks
      .filter((disk) => disk.hostname === name)
      .reduce((sum, disk) => sum + disk.usedBytes, 0);
    expect(gained, 'bytes on the new agent').to.be.at.most(
      (dataBytes / 5) * MOVED_OVER_FAIR_SHARE_MAX,
    );
    expect(job.figures['copiedBytes'], 'bytes copied').to.be.at.most(
      (dataBytes / 5) * MOVED_OVER_FAIR_SHARE_MAX,
    );
    expect(job.doneBytes, 'bytes moved').to.be.at.most((dataBytes / 5) * MOVED_OVER_FAIR_SHARE_MAX);
  });

  it('drain: everything leaves one agent, every byte is still there', async () => {
    const [host = ''] = await cluster.othersThan(volume);
    await cluster.api.post(`/nodes/${host}/drain`);
    const node = await waitFor(`${host} to be drained`, PATIENCE_MS, async () => {
      const now = await cluster.api.get<NodeView>(`/nodes/${host}`);
      return now.state === 'drained' ? now : null;
    });
    const disks = await disksWithoutLeftovers();
    for (const disk of disks.filter((one) => one.node === node.id)) {
      expect(disk.pgCount, `PGs on ${disk.id}`).to.equal(0);
    }
    const others = disks.filter((one) => one.node !== node.id);
    expect(deviationOf(others), 'deviation of the others').to.be.below(DEVIATION_MAX);
    const verified = await cluster.fio({
      uri: volume.unixUri,
      sizeMb: DATA_MB,
      ...pattern,
      isVerifyOnly: true,
    }).done;
    expect(verified.readBytes).to.equal(DATA_MB * 1024 ** 2);
  });
});
