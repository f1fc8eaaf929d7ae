// Disks that share a file system with others: a pool that may take more of it grows them, under verified writes.
import { expect } from 'chai';
import { waitFor } from '../../../dev/demo/api-client.ts';
import type { EventView } from '../../../shared/model/api-views.ts';
import { type AttachedVolume, PATIENCE_MS, TEST_TIMEOUT_MS, TestCluster } from './harness.ts';

const PLACE_MB = 512;
/** Half of each place is claimed at first. */
const HALF_MB = PLACE_MB / 2;
const AGENTS = 3;
/** With two copies 83 % of what is claimed at first. */
const WRITTEN_MB = 320;

describe('cluster: PATH disks grow', function () {
  this.timeout(TEST_TIMEOUT_MS);
  let cluster: TestCluster;
  let volume: AttachedVolume;
  let side: AttachedVolume;

  before(async () => {
    cluster = await TestCluster.start({
      agents: 0,
      disksPerAgent: 1,
      diskKind: 'path',
      diskSizeMb: PLACE_MB,
      pgCount: 32,
      expandCooldownSeconds: 1,
    });
    await setShare(0.5);
    for (let agent = 0; agent < AGENTS; agent += 1) await cluster.addAgent();
    await waitFor('all disks to serve', PATIENCE_MS, async () => {
      const disks = await cluster.disks();
      return disks.length === AGENTS && disks.every(({ state }) => state === 'serving')
        ? true
        : null;
    });
    volume = await cluster.attach('grown', { sizeMb: 512, node: 'agent1' });
    side = await cluster.attach('side', { sizeMb: 8, node: 'agent2' });
  });

  after(async () => cluster?.close());

  async function setShare(shareRatioMax: number | null): Promise<void> {
    const answer = await cluster.call('PATCH', '/pools/default', { selector: { shareRatioMax } });
    expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
  }

  it('growth: the pool is nearly full and may take more, a disk grows and no write is lost', async () => {
    expect((await cluster.disks()).map(({ sizeBytes }) => sizeBytes / 1024 ** 2)).to.deep.equal(
      Array.from({ length: AGENTS }, () => HALF_MB),
    );
    const shape = { uri: volume.unixUri, sizeMb: WRITTEN_MB, blockKb: 1024, depth: 4 } as const;
    await cluster.fio({ ...shape, pattern: 'write' }).done;
    await setShare(null);
    // Writes flow all the time, over every group, while a disk leaves, is stopped and comes back.
    let isOver = false;
    let rounds = 0;
    const writing = (async (): Promise<void> => {
      while (!isOver) {
        await cluster.fio({ uri: side.unixUri, sizeMb: 8, rateIops: 200 }).done;
        rounds += 1;
      }
    })();
    try {
      await waitFor('a disk to have grown', PATIENCE_MS, async () => {
        const disks = await cluster.disks();
        return disks.some(({ sizeBytes }) => sizeBytes === PLACE_MB * 1024 ** 2) ? true : null;
      });
      await cluster.waitUntilHealthy();
    } finally {
      isOver = true;
    }
    await writing;
    expect(rounds).to.be.above(0);
    const disks = await cluster.disks();
    expect(disks, 'no second store on a file system').to.have.length(AGENTS);
    await cluster.fio({ ...shape, pattern: 'write', isVerifyOnly: true }).done;
    const verified = { uri: side.unixUri, sizeMb: 8, isVerifyOnly: true };
    await cluster.fio(verified).done;
    const events = await cluster.api.get<readonly EventView[]>('/events?limit=1000');
    const kinds = events.map(({ kind }) => kind);
    expect(kinds).to.include.members(['disk.growing', 'disk.grown', 'pool.expanded']);
    expect(kinds).not.to.include.members(['disk.unreachable']);
    expect((await cluster.pool()).capacity.usedRatio).to.be.below(0.8);
  });
});
