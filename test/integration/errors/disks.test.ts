// Disks that are not what they should be: each is left alone with a clear error, and the rest serves on.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { waitFor } from '../../../dev/demo/api-client.ts';
import type { DiskView, EventView } from '../../../shared/model/api-views.ts';
import {
  type AttachedVolume,
  PATIENCE_MS,
  TEST_TIMEOUT_MS,
  TestCluster,
} from '../cluster/harness.ts';

const DATA_MB = 64;
const pattern = { pattern: 'write', blockKb: 1024, depth: 4 } as const;

describe('errors: disks with the wrong contents', function () {
  this.timeout(TEST_TIMEOUT_MS);
  let cluster: TestCluster;
  let volume: AttachedVolume;

  before(async () => {
    cluster = await TestCluster.start({
      agents: 5,
      disksPerAgent: 2,
      claimPerNode: 1,
      pgCount: 16,
      rebuildAfterSeconds: 2,
      // Four of ten disks fail, one after another: what is asked here is what becomes of each.
      brakeWindowSeconds: 0,
    });
    volume = await cluster.attach('data', { sizeMb: DATA_MB, node: 'agent1' });
    await cluster.fio({ uri: volume.unixUri, sizeMb: DATA_MB, ...pattern }).done;
  });

  after(async () => cluster?.close());

  function diskPath(agent: string, disk: string): string {
    return join(cluster.paths.mesos, 'agents', agent, disk);
  }

  function waitForFailure(agent: string, root: string): Promise<DiskView> {
    return waitFor(`a disk of ${agent} to fail`, PATIENCE_MS, async () => {
      const disks = await cluster.disks();
      const found = disks.find((disk) => disk.hostname === agent && disk.sourceRoot === root);
      return found?.state === 'failed' ? found : null;
    });
  }

  async function expectDataIntact(): Promise<void> {
    await waitFor('every placement group to be clean', PATIENCE_MS, async () => {
      const { pgs } = await cluster.cluster();
      return pgs.clean === pgs.total ? true : null;
    });
    const job = { uri: volume.unixUri, sizeMb: DATA_MB, ...pattern, isVerifyOnly: true };
    const verified = await cluster.fio(job).done;
    expect(verified.readBytes).to.equal(DATA_MB * 1024 ** 2);
  }

  it('claimed disk holds foreign data: refused, nothing is touched', async () => {
    const root = diskPath('agent2', 'disk2');
    writeFileSync(join(root, 'family.jpg'), 'precious');
    const answer = await cluster.call('PATCH', '/pools/default', { claimPerNode: 2 });
    expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
    const disk = await waitForFailure('agent2', root);
    expect(disk.error).to.contain('family.jpg').and.to.contain('expected it to be empty');
    expect(readdirSync(root)).to.deep.equal(['family.jpg']);
    expect(readFileSync(join(root, 'family.jpg'), 'utf8')).to.equal('precious');
    await waitFor('the other disks to serve', PATIENCE_MS, async () => {
      const disks = await cluster.disks();
      return disks.filter((one) => one.state === 'serving').length === 9 ? true : null;
    });
    await expectDataIntact();
  });

  for (const [what, agent, file, spoil, message] of [
    [
      'index is garbage',
      'agent5',
      'index/data.mdb',
      (bytes: Buffer) => Buffer.alloc(bytes.length, 0xa5),
      /does not begin like a database/,
    ],
    [
      'superblock is damaged',
      'agent3',
      'superblock.json',
      (bytes: Buffer) => {
        bytes[40] = (bytes[40] ?? 0) ^ 1;
        return bytes;
      },
      /[Ss]uperblock/,
    ],
    [
      'superblock is of another disk',
      'agent4',
      'superblock.json',
      () => readFileSync(join(diskPath('agent1', 'disk1'), 'superblock.json')),
      /has (diskId|uuid) ".*", expected/,
    ],
  ] as const) {
    it(`${what}: the disk is out, the executor and its other disk serve, no byte is lost`, async () => {
      const root = diskPath(agent, 'disk1');
      await cluster.killAgent(agent);
      const path = join(root, file);
      const spoiled = spoil(readFileSync(path));
      writeFileSync(path, spoiled);
      await cluster.startAgent(agent);
      const disk = await waitForFailure(agent, root);
      expect(disk.error).to.match(message);
      expect(readFileSync(path).equals(spoiled), 'it is left alone').to.equal(true);
      await waitFor('its other disk to serve', PATIENCE_MS, async () => {
        const disks = await cluster.disks();
        const other = disks.find((one) => one.hostname === agent && one.sourceRoot !== root);
        return other?.state === 'serving' ? true : null;
      });
      await expectDataIntact();
      const events = await cluster.api.get<readonly EventView[]>('/events?limit=1000');
      const said = events.filter((event) => event.message.includes(disk.error));
      expect(said, 'an event says why').not.to.deep.equal([]);
    });
  }
});
