// Agents that come back as somebody else: with a new agent id, and with nothing left but the data on their disks.
import { expect } from 'chai';
import { request } from 'undici';
import { waitFor } from '../../../dev/demo/api-client.ts';
import type { DiskView, EventView, NodeView } from '../../../shared/model/api-views.ts';
import { type AttachedVolume, PATIENCE_MS, TEST_TIMEOUT_MS, TestCluster } from './harness.ts';

const BASE_MB = 64;
const pattern = { pattern: 'write', blockKb: 1024, depth: 4 } as const;

describe('cluster: who an agent and a disk are', function () {
  this.timeout(TEST_TIMEOUT_MS);
  let cluster: TestCluster;
  let base: AttachedVolume;

  before(async () => {
    // Nothing is rebuilt elsewhere while a test has a node down.
    cluster = await TestCluster.start({ agents: 3, pgCount: 32, rebuildAfterSeconds: 600 });
    base = await cluster.attach('base', { sizeMb: 2 * BASE_MB, node: 'agent1' });
    await cluster.fio({ uri: base.unixUri, sizeMb: BASE_MB, ...pattern }).done;
  });

  after(async () => cluster?.close());

  async function onAgent(agent: string, verb: 'retire' | 'wipe'): Promise<void> {
    const url = `${cluster.state.master}/stand-in/agents/${agent}/${verb}`;
    const answer = await request(url, { method: 'POST', body: '{}' });
    expect(answer.statusCode, await answer.body.text()).to.equal(200);
  }

  async function disksOn(hostname: string): Promise<readonly DiskView[]> {
    return (await cluster.disks()).filter((disk) => disk.hostname === hostname);
  }

  async function verify(): Promise<void> {
    await cluster.fio({ uri: base.unixUri, sizeMb: BASE_MB, ...pattern, isVerifyOnly: true }).done;
  }

  it('agent back under a new agent id: the same node and disks, by their labels', async () => {
    const before = await cluster.api.get<NodeView>('/nodes/agent2');
    const disks = await disksOn('agent2');
    await onAgent('agent2', 'retire');
    await cluster.startAgent('agent2');
    await waitFor('the node to have a new agent', PATIENCE_MS, async () => {
      const node = await cluster.api.get<NodeView>(`/nodes/${before.id}`);
      return node.agentId !== before.agentId && node.state === 'up' ? node : null;
    });
    await cluster.waitUntilHealthy();
    expect((await cluster.nodes()).length).to.equal(3);
    expect((await disksOn('agent2')).map(({ id, uuid }) => [id, uuid])).to.deep.equal(
      disks.map(({ id, uuid }) => [id, uuid]),
    );
    await verify();
  });

  it('work directory wiped: another node, which finds the store and goes on with its data', async () => {
    const ids = (await cluster.disks()).map(({ id }) => id).toSorted();
    const [old] = await disksOn('agent3');
    const oldNode = await cluster.api.get<NodeView>('/nodes/agent3');
    await cluster.killAgent('agent3');
    await onAgent('agent3', 'wipe');
    await cluster.fio({ uri: base.unixUri, sizeMb: BASE_MB / 4, ...pattern }).done;
    await cluster.startAgent('agent3');
    const adopted = await waitFor('the disk to serve on the new node', PATIENCE_MS, async () => {
      const disk = (await cluster.disks()).find(({ id }) => id === old?.id);
      return disk?.state === 'serving' && disk.node !== oldNode.id ? disk : null;
    });
    expect(adopted.uuid).to.equal(old?.uuid);
    const events = await cluster.api.get<readonly EventView[]>('/events?limit=1000');
    expect(events.map(({ kind }) => kind)).to.include('disk.adopted');
    // The node that was there has no agent any more, and nothing is left on it.
    await cluster.api.post(`/nodes/${oldNode.id}/forget`, {});
    await cluster.waitUntilHealthy();
    expect((await cluster.disks()).map(({ id }) => id).toSorted()).to.deep.equal(ids);
    await verify();
  });
});
