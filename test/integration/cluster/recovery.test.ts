// The metadata store is lost under I/O: recovered from executors and disks, everything goes on.
import { existsSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { RecoveryPlan } from '../../../recovery/decision.ts';
import type { RecoverOutcome } from '../../../recovery/recover.ts';
import { present } from '../../../shared/base/assert.ts';
import { type AttachedVolume, type CliRun, TEST_TIMEOUT_MS, TestCluster } from './harness.ts';
import { listeningPorts } from './processes.ts';

const SIZE_MB = 64;
const IOPS = 1_000;
/** Grants of the peers keep the leases alive while nobody leads. */
const NO_PAUSE_MS = 2_500;

type PlanView = Omit<RecoveryPlan, 'entries'> & { readonly recordCount: number };

describe('cluster: the metadata store is lost', function () {
  this.timeout(TEST_TIMEOUT_MS);
  let cluster: TestCluster;
  let quiet: AttachedVolume;
  let busy: AttachedVolume;

  before(async () => {
    cluster = await TestCluster.start({ agents: 3, pgCount: 32, rebuildAfterSeconds: 60 });
    quiet = await cluster.attach('quiet', { sizeMb: 128 });
    busy = await cluster.attach('busy', { sizeMb: 128 });
  });

  after(async () => cluster?.close());

  function recover(...args: readonly string[]): Promise<CliRun> {
    return cluster.cli(
      'recover',
      '--from-executors',
      '--json',
      '--state-dir',
      cluster.paths.store,
      ...args,
    );
  }

  function planOf(run: CliRun): PlanView {
    const { decision } = JSON.parse(run.stdout) as RecoverOutcome;
    expect(decision.kind, run.stdout + run.stderr).to.equal('plan');
    return decision as unknown as PlanView;
  }

  it('recovered under I/O: same cluster and framework, volumes attached, data verified', async () => {
    await cluster.fio({ uri: quiet.unixUri, sizeMb: SIZE_MB }).done;
    const before = await cluster.cluster();
    const pids = (await cluster.agents()).map(({ pid }) => pid);
    const run = cluster.fio({ uri: busy.unixUri, sizeMb: SIZE_MB, rateIops: IOPS });
    await cluster.waitForWrites(busy);
    const plan = await cluster.withoutScheduler(async () => {
      const full = await recover('--from', cluster.paths.mesos);
      expect(full.code, 'a store that is there is not written over').to.equal(1);
      expect(full.stdout + full.stderr).to.match(/not empty/);
      renameSync(cluster.paths.store, `${cluster.paths.store}.lost`);
      const shown = planOf(await recover('--from', cluster.paths.mesos, '--plan'));
      expect(existsSync(join(cluster.paths.store, 'data.mdb'))).to.equal(false);
      // The addresses come from the disks; one executor names the others as well.
      const written = planOf(await recover('--from', cluster.paths.mesos));
      expect({ ...written, basedOn: null }).to.deep.equal({ ...shown, basedOn: null });
      return written;
    });
    expect(plan.clusterId).to.equal(before.clusterId);
    expect(plan.frameworkId).to.equal(before.frameworkId);
    // The executors were asked, not only their disks.
    expect(plan.basedOn.sources.join()).to.match(/executor .*executor .*executor /);
    expect(plan.missingNodes).to.deep.equal([]);
    expect(plan.volumes.map(({ name }) => name).sort()).to.deep.equal(['busy', 'quiet']);
    const after = await cluster.waitForScheduler(plan.term);
    const written = await run.done;
    expect(written.errors).to.equal(0);
    expect(written.writeMsMax).to.be.below(NO_PAUSE_MS);
    expect(after.clusterId).to.equal(before.clusterId);
    expect(after.frameworkId).to.equal(before.frameworkId);
    await cluster.waitUntilHealthy();
    expect((await cluster.agents()).map(({ pid }) => pid)).to.deep.equal(pids);
    for (const { unixUri: uri } of [quiet, busy]) {
      const verified = await cluster.fio({ uri, sizeMb: SIZE_MB, isVerifyOnly: true }).done;
      expect(verified.readBytes).to.equal(SIZE_MB * 1024 ** 2);
    }
    // It is a whole manager: volumes are made, attached elsewhere, written.
    const fresh = await cluster.attach('fresh', { sizeMb: 64 });
    await cluster.fio({ uri: fresh.unixUri, sizeMb: 16 }).done;
    expect(readdirSync(cluster.paths.store)).to.include('data.mdb');
  });

  it('a node does not answer: refused by name, accepted when the operator says so', async () => {
    const [victim = ''] = await cluster.othersThan(busy);
    const node = present(
      (await cluster.nodes()).find(({ hostname }) => hostname === victim),
      victim,
    );
    await cluster.killAgent(victim);
    const stateDir = join(cluster.directory, 'another-store');
    const [port] = listeningPorts(await cluster.executorPid(busy.hostname));
    const ask = (...args: readonly string[]): Promise<CliRun> =>
      recover('--executor', `127.0.0.1:${port}`, '--state-dir', stateDir, ...args);
    const refused = await ask();
    expect(refused.code).to.equal(1);
    expect(refused.stdout, refused.stdout).to.match(new RegExp(`No answer from ${node.id} `));
    expect(existsSync(join(stateDir, 'data.mdb'))).to.equal(false);
    const plan = planOf(await ask('--accept-missing', node.id, '--plan'));
    expect(plan.missingNodes).to.have.length(1);
    expect(plan.changes[0]).to.match(/epoch/);
    await cluster.startAgent(victim);
  });
});
