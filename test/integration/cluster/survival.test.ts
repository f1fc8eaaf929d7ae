// What must survive: every process killed at once, a block that rots on one replica; and what cannot survive is said.
import { closeSync, openSync, readdirSync, readFileSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { waitFor } from '../../../dev/demo/api-client.ts';
import type { EventView } from '../../../shared/model/api-views.ts';
import type { ExplainView } from '../../../shared/model/explanation-view.ts';
import { NBD_ERROR } from '../../../shared/wire/nbd.ts';
import { NbdClient } from '../../chaos/nbd-client.ts';
import { VerifyingClient } from '../../chaos/verifying-client.ts';
import { ChaosWorld } from '../../chaos/world.ts';
import { type AttachedVolume, PATIENCE_MS, TEST_TIMEOUT_MS, TestCluster } from './harness.ts';

const BLOCK = 4096;
const EXTENT = 4 * 1024 ** 2;

describe('cluster: what must survive', function () {
  this.timeout(TEST_TIMEOUT_MS);
  let cluster: TestCluster;
  let world: ChaosWorld;

  before(async () => {
    cluster = await TestCluster.start({ agents: 3, pgCount: 16, rebuildAfterSeconds: 60 });
    const agents = (await cluster.agents()).map((agent) => agent.name);
    world = new ChaosWorld(cluster, null, agents, () => undefined);
  });

  after(async () => cluster?.close());

  it('all processes of all nodes are killed at once: it starts by itself, every write is there', async () => {
    await cluster.attach('survivor', { sizeMb: 32 });
    const before = await cluster.cluster();
    const client = new VerifyingClient({
      volume: 'survivor',
      sizeBytes: 32 * 1024 ** 2,
      depth: 16,
      rate: 1_000,
      isReading: true,
      seed: 5,
      locate: () => world.locate('survivor'),
      report: () => undefined,
    });
    try {
      client.start();
      await waitFor('the client to write and flush', PATIENCE_MS, async () => {
        return client.figures.writes > 1_000 && client.figures.flushes > 3 ? true : null;
      });
      await world.killEverything();
      const atKill = client.figures.writes;
      await waitFor('the client to go on', PATIENCE_MS, async () => {
        return client.figures.writes > atKill + 500 ? true : null;
      });
      await client.stop();
      expect(await client.verifyAll()).to.be.above(1_000);
      expect(client.complaints).to.deep.equal([]);
      expect(client.figures.errors).to.equal(0);
    } finally {
      client.close();
    }
    await cluster.waitUntilHealthy();
    const after = await cluster.cluster();
    expect(after.clusterId).to.equal(before.clusterId);
    expect(after.term).to.be.above(before.term);
  });

  describe('blocks rot', () => {
    /** Second block of the fourth extent of a volume that holds nothing else of the kind. */
    const offset = 3 * EXTENT + BLOCK;
    const good = Buffer.alloc(BLOCK, 'good as new, ');
    const neighbour = Buffer.alloc(BLOCK, 'next door. ');
    let volume: AttachedVolume;
    let client: NbdClient;

    before(async () => {
      volume = await cluster.attach('rotten', { sizeMb: 32 });
      client = await NbdClient.open(volume.unixUri);
      await client.write(offset - BLOCK, neighbour);
      await client.write(offset, good);
      await client.write(offset + BLOCK, neighbour);
      expect((await client.flush()).error).to.equal(0);
    });

    after(() => client?.close());

    it('on one replica: the read is right, the block is repaired, an event names disk, volume, extent', async () => {
      const copies = findCopies();
      expect(copies.map((copy) => copy.agent)).to.have.length(2);
      // The gateway reads from its own node first, when that has a copy.
      const local = copies.find((copy) => copy.agent === volume.hostname) ?? copies[0];
      if (local === undefined) throw new Error('no copy was found');
      flipBit(local);
      // Where neither copy is local, either may be asked.
      await waitFor('the bad copy to be met and repaired', PATIENCE_MS, async () => {
        const answer = await client.read(offset, BLOCK);
        expect(answer.error).to.equal(0);
        expect(answer.data?.equals(good), 'what is read').to.equal(true);
        return readCopy(local).equals(good) ? true : null;
      });
      const said = await waitForEvent('block.repaired');
      const disks = await cluster.disks();
      const disk = disks.find((one) => one.sourceRoot === local.root);
      expect(said.message)
        .to.contain(disk?.id ?? 'its disk')
        .and.to.contain('extent 3');
      expect(said.message).to.match(/\bv\d+\b/);
    });

    it('on all replicas: EIO for that block and nothing else, explain says it, a new write heals it', async () => {
      for (const copy of findCopies()) flipBit(copy);
      expect((await client.read(offset, BLOCK)).error).to.equal(NBD_ERROR.io);
      for (const place of [offset - BLOCK, offset + BLOCK]) {
        const answer = await client.read(place, BLOCK);
        expect(answer.error, `read at ${place}`).to.equal(0);
        expect(answer.data?.equals(neighbour), `what is read at ${place}`).to.equal(true);
      }
      expect((await waitForEvent('block.lost')).message).to.contain('extent 3');
      const explained = await waitFor('explain to say it', PATIENCE_MS, async () => {
        const { explanations } = await cluster.api.get<ExplainView>('/explain/rotten');
        return explanations.find((one) => JSON.stringify(one).includes('extent 3')) ?? null;
      });
      expect(explained.action).not.to.equal('');
      expect((await client.write(offset, good)).error).to.equal(0);
      const answer = await client.read(offset, BLOCK);
      expect(answer.error).to.equal(0);
      expect(answer.data?.equals(good)).to.equal(true);
      await waitFor('the volume to be green', PATIENCE_MS, async () => {
        const { explanations } = await cluster.api.get<ExplainView>('/explain/rotten');
        return explanations.length === 0 ? true : null;
      });
    });

    interface Copy {
      readonly agent: string;
      readonly root: string;
      readonly path: string;
      readonly at: number;
    }

    function findCopies(): readonly Copy[] {
      return world.agents.flatMap((agent) =>
        ([1, 2] as const).flatMap((number) => {
          const root = world.diskDirectory(agent, number);
          const slabs = join(root, 'slabs');
          return readdirSync(slabs).flatMap((name) => {
            const path = join(slabs, name);
            const at = readFileSync(path).indexOf(good);
            return at < 0 ? [] : [{ agent, root, path, at }];
          });
        }),
      );
    }

    async function waitForEvent(kind: string): Promise<EventView> {
      return waitFor(`an event ${kind}`, PATIENCE_MS, async () => {
        const events = await cluster.api.get<readonly EventView[]>('/events?limit=1000');
        return events.findLast((event) => event.kind === kind) ?? null;
      });
    }

    function flipBit(copy: Copy): void {
      const bytes = readCopy(copy);
      const fd = openSync(copy.path, 'r+');
      writeSync(fd, Buffer.of((bytes[100] ?? 0) ^ 4), 0, 1, copy.at + 100);
      closeSync(fd);
    }

    function readCopy(copy: Copy): Buffer {
      const bytes = Buffer.alloc(BLOCK);
      const fd = openSync(copy.path, 'r');
      readSync(fd, bytes, 0, BLOCK, copy.at);
      closeSync(fd);
      return bytes;
    }
  });
});
