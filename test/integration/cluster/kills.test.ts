// Processes are killed under verified writes: executor, scheduler, data process, in known and in random order.
import { expect } from 'chai';
import { Prng } from '../../../shared/base/prng.ts';
import { type AttachedVolume, sleep, TEST_TIMEOUT_MS, TestCluster } from './harness.ts';

/** Random writes of 4 KiB at this pace: a process that is away costs a pause, not the machine. */
const IOPS = 1_500;
/** About 22 s of them: 33 024 blocks, each written once. */
const LONG_MB = 129;
const SHORT_MB = 64;
/** A node's lease is 4 s: without the grants of its peers it would pause for longer than this. */
const NO_PAUSE_MS = 2_500;
/** A dead member is out as soon as Mesos says so, at the latest when its lease has run out; much longer is a fault. */
const MEMBER_PAUSE_MS = 20_000;

const RANDOM_KILLS = 8;
/** CISTERN_TEST_SEEDS=1,2,3 tries others. */
const SEEDS = (process.env['CISTERN_TEST_SEEDS'] ?? '7').split(',').map(Number);

describe('cluster: processes are killed under I/O', function () {
  this.timeout(TEST_TIMEOUT_MS);
  let cluster: TestCluster;
  let volume: AttachedVolume;

  before(async () => {
    cluster = await TestCluster.start({ agents: 3, pgCount: 64, rebuildAfterSeconds: 60 });
    volume = await cluster.attach('live', { sizeMb: 512 });
  });

  after(async () => cluster?.close());

  async function executorPids(): Promise<readonly (number | null)[]> {
    return (await cluster.agents()).map((agent) => agent.pid);
  }

  it('executor of another agent: SIGKILL, no I/O error, all verified, healthy again', async () => {
    const [victim = ''] = await cluster.othersThan(volume);
    const pid = await cluster.executorPid(victim);
    const run = cluster.fio({ uri: volume.unixUri, sizeMb: LONG_MB, rateIops: IOPS });
    await cluster.waitForWrites(volume);
    await cluster.kill(pid);
    const written = await run.done;
    expect(written.errors).to.equal(0);
    expect(written.writeBytes).to.equal(LONG_MB * 1024 ** 2);
    expect(written.writeMsMax).to.be.below(MEMBER_PAUSE_MS);
    await cluster.waitUntilHealthy();
    const status = await cluster.cli('status', '--json');
    expect(status.stdout).to.match(/"health": "ok"/);
    const verified = await cluster.fio({ uri: volume.unixUri, sizeMb: LONG_MB, isVerifyOnly: true })
      .done;
    expect(verified.readBytes).to.equal(LONG_MB * 1024 ** 2);
    expect(await cluster.executorPid(victim)).not.to.equal(pid);
  });

  it('scheduler: SIGKILL and restart, same framework, same executors, no pause', async () => {
    const before = await cluster.cluster();
    const pids = await executorPids();
    const run = cluster.fio({ uri: volume.unixUri, sizeMb: SHORT_MB, rateIops: IOPS });
    await cluster.waitForWrites(volume);
    await cluster.kill(cluster.schedulerPid);
    const after = await cluster.waitForScheduler(before.term);
    const written = await run.done;
    expect(after.frameworkId).to.equal(before.frameworkId);
    expect(after.clusterId).to.equal(before.clusterId);
    expect(await executorPids()).to.deep.equal(pids);
    expect(written.writeMsMax).to.be.below(NO_PAUSE_MS);
    await cluster.waitUntilHealthy();
    await cluster.fio({ uri: volume.unixUri, sizeMb: SHORT_MB, isVerifyOnly: true }).done;
  });

  it('scheduler: away for two leases, I/O goes on with the grants of the peers', async () => {
    const before = await cluster.cluster();
    const pids = await executorPids();
    const run = cluster.fio({ uri: volume.unixUri, sizeMb: SHORT_MB, rateIops: IOPS });
    await cluster.waitForWrites(volume);
    await cluster.keepSchedulerAway(8_500);
    const written = await run.done;
    const after = await cluster.waitForScheduler(before.term);
    expect(after.frameworkId).to.equal(before.frameworkId);
    expect(await executorPids()).to.deep.equal(pids);
    expect(written.errors).to.equal(0);
    expect(written.writeMsMax).to.be.below(NO_PAUSE_MS);
    await cluster.waitUntilHealthy();
    await cluster.fio({ uri: volume.unixUri, sizeMb: SHORT_MB, isVerifyOnly: true }).done;
  });

  for (const seed of SEEDS) {
    it(`data process, executor, scheduler: killed at random, all verified (seed ${seed})`, async () => {
      const random = new Prng(seed);
      const others = await cluster.othersThan(volume);
      const run = cluster.fio({ uri: volume.unixUri, sizeMb: LONG_MB, rateIops: IOPS });
      await cluster.waitForWrites(volume);
      for (let kill = 0; kill < RANDOM_KILLS; kill += 1) {
        await sleep(random.between(0, 3_000));
        const agent = others[random.below(others.length)] ?? '';
        const kind = (['data', 'executor', 'scheduler'] as const)[random.below(3)];
        if (kind === 'scheduler') await cluster.kill(cluster.schedulerPid);
        else if (kind === 'executor') await cluster.kill(await cluster.executorPid(agent));
        else await cluster.kill(await cluster.dataPid(agent));
      }
      const written = await run.done;
      expect(written.errors).to.equal(0);
      expect(written.writeBytes).to.equal(LONG_MB * 1024 ** 2);
      await cluster.waitUntilHealthy();
      const job = { uri: volume.unixUri, sizeMb: LONG_MB, isVerifyOnly: true };
      expect((await cluster.fio(job).done).readBytes).to.equal(LONG_MB * 1024 ** 2);
    });
  }
});
