// An operator drains an agent in Mesos under a cluster with a volume: a planned outage, and everything back after it.
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
import { MesosOperator, pgsOn } from './operator.ts';

const REBUILD_AFTER_SECONDS = 2;
/** Twice what an unplanned absence may last before replicas are made anew. */
const OUTAGE_MS = 2 * REBUILD_AFTER_SECONDS * 1_000;
const SIZE_BYTES = 16 * 1024 ** 2;

describe('planned work: an agent drained in Mesos', function () {
  this.timeout(TEST_TIMEOUT_MS);
  let cluster: TestCluster;
  let operator: MesosOperator;

  before(async () => {
    cluster = await TestCluster.start({
      agents: 3,
      disksPerAgent: 2,
      pgCount: 8,
      zones: 1,
      rebuildAfterSeconds: REBUILD_AFTER_SECONDS,
    });
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

  it('drained, its groups wait for it, reactivated, its disks are back, no I/O is lost', async () => {
    const volume = await cluster.attach('calm', { sizeMb: SIZE_BYTES / 1024 ** 2 });
    const [victim = ''] = await cluster.othersThan(volume);
    const agents = (await cluster.agents()).map(({ name }) => name);
    const world = new ChaosWorld(cluster, null, agents, () => undefined);
    const client = new VerifyingClient({
      volume: 'calm',
      sizeBytes: SIZE_BYTES,
      depth: 8,
      rate: 200,
      isReading: true,
      seed: 11,
      locate: () => world.locate('calm'),
      report: () => undefined,
    });
    try {
      client.start();
      await cluster.waitUntilHealthy();
      const { diskIds } = await node(victim);
      const groups = await pgsOn(cluster, diskIds);
      expect(groups, 'groups there before').to.have.length.above(0);
      const agentId = await operator.agentId(victim);
      await operator.drain(agentId);
      await waitFor('the agent to be drained', PATIENCE_MS, async () => {
        return (await operator.drainState(agentId)) === 'DRAINED' ? true : null;
      });
      await waitFor('its disks to stop', PATIENCE_MS, async () => {
        const disks = await cluster.disks();
        const own = disks.filter(({ id }) => diskIds.includes(id));
        return own.every(({ state }) => state === 'down') ? true : null;
      });
      const { writes } = client.figures;
      await waitFor('I/O to go on without the disks', PATIENCE_MS, async () => {
        return client.figures.writes > writes + 100 ? true : null;
      });
      await sleep(OUTAGE_MS);
      expect(await cluster.jobs('rebuild'), 'rebuilds').to.deep.equal([]);

      await operator.reactivate(agentId);
      await cluster.waitUntilHealthy();
      expect((await node(victim)).diskIds, 'the same disks').to.deep.equal(diskIds);
      // Which ones is a matter of balance, that there are any of the data that stayed.
      expect(await pgsOn(cluster, diskIds), 'groups there again').to.have.length.above(0);
      await client.stop();
      expect(await client.verifyAll()).to.be.above(100);
      expect(client.complaints).to.deep.equal([]);
      expect(client.figures.errors).to.equal(0);
    } finally {
      client.close();
    }
  });
});
