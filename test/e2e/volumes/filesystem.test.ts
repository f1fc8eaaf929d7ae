// A file system on a volume: nbdfuse, a loop device and ext4, while an executor dies.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { waitFor } from '../../../dev/demo/api-client.ts';
import { PATIENCE_MS, TEST_TIMEOUT_MS, TestCluster } from '../../integration/cluster/harness.ts';
import { expectClient, runClient, sha256Of } from '../nbd/clients.ts';

const MiB = 1024 ** 2;
const FILES = 24;

/** Null when this machine can mount; else why it cannot. */
function findObstacle(): string | null {
  if (process.getuid?.() !== 0) return 'mounting needs root';
  if (!existsSync('/dev/fuse')) return 'there is no /dev/fuse';
  if (!existsSync('/dev/loop-control')) return 'there is no /dev/loop-control';
  return null;
}

describe('volumes: a file system', function () {
  this.timeout(TEST_TIMEOUT_MS);
  let cluster: TestCluster;
  let fuse: ChildProcess | null = null;
  let loop: string | null = null;
  const obstacle = findObstacle();

  before(async () => {
    if (obstacle !== null) return;
    cluster = await TestCluster.start({ agents: 3, pgCount: 64, rebuildAfterSeconds: 60 });
  });

  after(async () => {
    if (cluster === undefined) return;
    const { directory } = cluster;
    await runClient('umount', [join(directory, 'mount')], { cwd: '/' });
    if (loop !== null) await runClient('losetup', ['-d', loop], { cwd: '/' });
    await runClient('fusermount3', ['-u', '-z', join(directory, 'fuse')], { cwd: '/' });
    fuse?.kill('SIGTERM');
    await cluster.close();
  });

  it('ext4: files are written while an executor dies, fsck is clean, every file is right', async function () {
    if (obstacle !== null) {
      console.log(`      not run here: ${obstacle}`);
      this.skip();
    }
    const cwd = cluster.directory;
    const volume = await cluster.attach('files', { sizeMb: 256 });
    const fuseDirectory = join(cwd, 'fuse');
    const mount = join(cwd, 'mount');
    mkdirSync(fuseDirectory);
    mkdirSync(mount);
    fuse = spawn('nbdfuse', [join(fuseDirectory, 'vol'), volume.unixUri], { stdio: 'ignore' });
    await waitFor('nbdfuse to mount', PATIENCE_MS, async () => {
      return existsSync(join(fuseDirectory, 'vol')) ? true : null;
    });
    const setup = ['-f', '--show', '--direct-io=on', join(fuseDirectory, 'vol')];
    const device = (await expectClient('losetup', setup, { cwd })).trim();
    loop = device;
    await expectClient('mkfs.ext4', ['-q', '-E', 'nodiscard', device], { cwd });
    await expectClient('mount', ['-o', 'discard', device, mount], { cwd });

    const [victim = ''] = await cluster.othersThan(volume);
    const names = Array.from({ length: FILES }, (_, index) => `file${index}`);
    const sums = new Map<string, string>();
    for (const [index, name] of names.entries()) {
      const original = join(cwd, name);
      writeFileSync(original, randomBytes(2 * MiB + index * 1111));
      sums.set(name, await sha256Of(original));
      await expectClient('cp', [original, join(mount, name)], { cwd });
      if (index % 4 === 0) await expectClient('sync', ['-f', mount], { cwd });
      if (index === FILES / 2) await cluster.kill(await cluster.executorPid(victim));
    }
    await expectClient('rm', [join(mount, 'file3')], { cwd });
    await expectClient('umount', [mount], { cwd });
    await cluster.waitUntilHealthy();

    await expectClient('e2fsck', ['-fn', device], { cwd });
    await expectClient('mount', ['-o', 'ro', device, mount], { cwd });
    expect(existsSync(join(mount, 'file3'))).to.equal(false);
    for (const [name, sum] of sums) {
      if (name === 'file3') continue;
      expect(await sha256Of(join(mount, name)), name).to.equal(sum);
    }
    await expectClient('umount', [mount], { cwd });
  });
});
