/** Three schedulers on a real ZooKeeper under verified I/O: what happens to the leader costs no I/O. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { present } from '../../../shared/base/assert.ts';
import { HaCluster, LEADER_FAULTS } from '../../ha/ha-cluster.ts';
import { STORES } from '../../ha/store-servers.ts';
import { TEST_TIMEOUT_MS } from '../../integration/cluster/harness.ts';

/** A session of six seconds, and all nodes have found the next one; more on a machine that does much else. */
const FAILOVER_MS_MAX = 15_000;
/** Nothing waits for a scheduler: this is a busy machine, not a lease (4 s) that ran out. */
const PAUSE_MS_MAX = 3_500;

describe('ha: the leading scheduler', function () {
  this.timeout(TEST_TIMEOUT_MS);
  let directory: string;
  let cluster: HaCluster;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'cistern-ha-'));
    cluster = await HaCluster.start(directory, await present(STORES['zookeeper'], 'ZooKeeper')());
    cluster.client.start();
  });

  after(async () => {
    await cluster?.close();
    rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  });

  for (const fault of LEADER_FAULTS) {
    it(`${fault}: another one leads, no I/O waits, executors stay, the deposed one does nothing`, async () => {
      const { completeMs, pauseMs } = await cluster.failOver(fault);
      expect(completeMs).to.be.below(FAILOVER_MS_MAX);
      expect(pauseMs).to.be.below(PAUSE_MS_MAX);
    });
  }

  it('store away: nobody leads, I/O goes on, standbys wait, and one leads when it is back', async () => {
    cluster.client.pauses.reset();
    await cluster.loseStore();
    expect(cluster.client.pauses.pauseMsMax).to.be.below(PAUSE_MS_MAX);
    await cluster.client.stop();
    expect(await cluster.client.verifyAll()).to.be.greaterThan(0);
  });
});
