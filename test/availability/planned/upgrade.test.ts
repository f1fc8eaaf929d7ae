// A rolling upgrade of five nodes under verified I/O, with one node failing in the middle: no error, and it gets done.
import { expect } from 'chai';
import type { DevSettings } from '../../../dev/cluster/layout.ts';
import { readJson, writeJson } from '../../../dev/cluster/layout.ts';
import { waitFor } from '../../../dev/demo/api-client.ts';
import { present } from '../../../shared/base/assert.ts';
import type { UpgradeView } from '../../../shared/model/api-views.ts';
import { VerifyingClient } from '../../chaos/verifying-client.ts';
import { ChaosWorld } from '../../chaos/world.ts';
import { PATIENCE_MS, TEST_TIMEOUT_MS, TestCluster } from '../../integration/cluster/harness.ts';

describe('planned work: upgrade of the executors', function () {
  this.timeout(2 * TEST_TIMEOUT_MS);
  let cluster: TestCluster;

  before(async () => {
    cluster = await TestCluster.start({
      agents: 5,
      disksPerAgent: 1,
      pgCount: 8,
      zones: 1,
      rebuildAfterSeconds: 3,
      executorVersion: '1.0.0',
    });
  });

  after(async () => cluster?.close());

  const status = (): Promise<UpgradeView> => cluster.api.get<UpgradeView>('/upgrade');

  function versions(view: UpgradeView): string[] {
    return view.nodes.map(({ version }) => version);
  }

  it('five nodes one after the other, one fails in the middle: no I/O error, all run the new version', async () => {
    const volume = await cluster.attach('rolling', { sizeMb: 16 });
    const agents = (await cluster.agents()).map(({ name }) => name);
    const world = new ChaosWorld(cluster, null, agents, () => undefined);
    const client = new VerifyingClient({
      volume: 'rolling',
      sizeBytes: 16 * 1024 ** 2,
      depth: 8,
      rate: 300,
      isReading: true,
      seed: 7,
      locate: () => world.locate('rolling'),
      report: () => undefined,
    });
    try {
      client.start();
      const { term } = await cluster.waitUntilHealthy();
      const settings = present(readJson<DevSettings>(cluster.paths.settings), 'settings');
      writeJson(cluster.paths.settings, { ...settings, executorVersion: '1.1.0' });
      await cluster.kill(cluster.schedulerPid);
      await cluster.waitForScheduler(term);
      const before = await status();
      expect(before.state).to.equal('available');
      expect(versions(before)).to.deep.equal(Array.from({ length: 5 }, () => '1.0.0'));

      const started = await cluster.cli('upgrade', 'start');
      expect(started.code, started.stderr).to.equal(0);
      const middle = await waitFor('the upgrade to be in the middle', 2 * PATIENCE_MS, async () => {
        const view = await status();
        return view.nodes.filter(({ state }) => state === 'done').length >= 2 ? view : null;
      });
      const victim = present(
        middle.nodes.findLast(
          ({ state, hostname }) => state === 'waiting' && hostname !== volume.hostname,
        ),
        'a node that waits',
      ).hostname;
      await cluster.killAgent(victim);
      await waitFor('the upgrade to wait for health', PATIENCE_MS, async () => {
        const { reason } = await status();
        return /not whole|does not serve|not up/.test(reason) ? true : null;
      });
      await cluster.startAgent(victim);
      const after = await waitFor('the upgrade to be done', 3 * PATIENCE_MS, async () => {
        const view = await status();
        return view.state === 'done' ? view : null;
      });
      expect(versions(after)).to.deep.equal(Array.from({ length: 5 }, () => '1.1.0'));
      const executors = (await cluster.nodes()).map(({ executorId }) => executorId);
      expect(executors.every((id) => id.endsWith('-1.1.0'))).to.equal(true);
      await client.stop();
      expect(await client.verifyAll()).to.be.above(100);
      expect(client.complaints).to.deep.equal([]);
      expect(client.figures.errors).to.equal(0);
    } finally {
      client.close();
    }
    await cluster.waitUntilHealthy();
  });
});
