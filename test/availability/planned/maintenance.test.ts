// Maintenance of an agent that is announced ahead: the node is empty when the window opens, and back in use after it.
import { expect } from 'chai';
import { waitFor } from '../../../dev/demo/api-client.ts';
import { present } from '../../../shared/base/assert.ts';
import type { NodeView } from '../../../shared/model/api-views.ts';
import { VerifyingClient } from '../../chaos/verifying-client.ts';
import { ChaosWorld } from '../../chaos/world.ts';
import {
  PATIENCE_MS,
  sleep,
  TEST_TIMEOUT_MS,
  TestCluster,
} from '../../integration/cluster/harness.ts';
import { MesosOperator, pgsOn, RedundancyWatch } from './operator.ts';

/** Enough for 16 groups of some MiB; production announces days ahead. */
const NOTICE_MS = 15_000;
const WINDOW_MS = 600_000;

describe('planned work: maintenance announced in Mesos', function () {
  this.timeout(TEST_TIMEOUT_MS);
  let cluster: TestCluster;
  let operator: MesosOperator;

  before(async () => {
    cluster = await TestCluster.start({ agents: 4, disksPerAgent: 1, pgCount: 16, zones: 1 });
    operator = new MesosOperator(cluster);
  });

  after(async () => cluster?.close());

  async function node(name: string): Promise<NodeView> {
    const nodes = await cluster.nodes();
    return present(
      nodes.find(({ hostname }) => hostname === name),
      `node on "${name}"`,
    );
  }

  it('a window ahead: empty at its start, redundancy whole all the time, the agent stops, and comes back', async () => {
    const volume = await cluster.attach('steady', { sizeMb: 32 });
    const [victim = ''] = await cluster.othersThan(volume);
    const agents = (await cluster.agents()).map(({ name }) => name);
    const world = new ChaosWorld(cluster, null, agents, () => undefined);
    const client = new VerifyingClient({
      volume: 'steady',
      sizeBytes: 32 * 1024 ** 2,
      depth: 8,
      rate: 300,
      isReading: true,
      seed: 3,
      locate: () => world.locate('steady'),
      report: () => undefined,
    });
    const watch = new RedundancyWatch(cluster);
    try {
      client.start();
      await cluster.waitUntilHealthy();
      const { diskIds } = await node(victim);
      expect(await pgsOn(cluster, diskIds), 'groups there before').to.have.length.above(0);
      watch.start();
      const startMs = Date.now() + NOTICE_MS;
      await operator.schedule([victim], startMs, WINDOW_MS);
      await waitFor('the node to be emptied', PATIENCE_MS, async () => {
        return (await node(victim)).state === 'drained' ? true : null;
      });
      expect(Date.now(), 'emptied before the window opens').to.be.below(startMs);
      await waitFor('the framework to accept', PATIENCE_MS, async () => {
        return (await operator.inverseAnswers()).includes('ACCEPT') ? true : null;
      });
      await sleep(Math.max(0, startMs - Date.now()));
      expect(await pgsOn(cluster, diskIds), 'groups there at the window').to.deep.equal([]);
      await operator.startMaintenance(victim);
      await waitFor('the node to be away', PATIENCE_MS, async () => {
        return (await node(victim)).state === 'down' ? true : null;
      });
      await waitFor('its absence to trouble nobody', PATIENCE_MS, async () => {
        return (await cluster.cluster()).health === 'ok' ? true : null;
      });
      await watch.stop();
      expect(watch.lapses).to.deep.equal([]);
      expect(watch.looks).to.be.above(20);

      await operator.stopMaintenance(victim);
      await cluster.startAgent(victim);
      await waitFor('the node to hold data again', PATIENCE_MS, async () => {
        return (await pgsOn(cluster, (await node(victim)).diskIds)).length > 0 ? true : null;
      });
      expect((await node(victim)).diskIds, 'the same disks').to.deep.equal(diskIds);
      await cluster.waitUntilHealthy();
      await client.stop();
      expect(await client.verifyAll()).to.be.above(100);
      expect(client.complaints).to.deep.equal([]);
      expect(client.figures.errors).to.equal(0);
      expect(client.figures.reconnects, 'the client never noticed').to.equal(0);
    } finally {
      await watch.stop();
      client.close();
    }
  });
});
