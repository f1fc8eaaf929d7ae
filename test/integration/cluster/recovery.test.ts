// The metadata store is lost under I/O: recovered from executors and disks, everything goes on.
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { waitFor } from '../../../dev/demo/api-client.ts';
import type { RecoveryPlan } from '../../../recovery/decision.ts';
import type { RangeVerdict, VerdictBytes } from '../../../recovery/range-report.ts';
import type { RecoverOutcome } from '../../../recovery/recover.ts';
import { present } from '../../../shared/base/assert.ts';
import { expectClient, sha256Of } from '../../e2e/nbd/clients.ts';
import {
  type AttachedVolume,
  type CliRun,
  PATIENCE_MS,
  TEST_TIMEOUT_MS,
  TestCluster,
} from './harness.ts';
import { listeningPorts } from './processes.ts';

const MiB = 1024 ** 2;
const SIZE_MB = 48;
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
    await cluster.startAgent(victim);
  });

  describe('everything is killed', () => {
    let source: string;
    /** Of the disks that hold parts of the volume. */
    let disks: readonly string[];

    before(async () => {
      await cluster.waitUntilHealthy();
      source = join(cluster.directory, 'source.raw');
      const fd = openSync(source, 'w');
      // Data, a hole across extents, data.
      for (const atMb of [0, 1, 2, 3, 4, 5, 14, 15, 22, 23]) {
        writeSync(fd, randomBytes(MiB), 0, MiB, atMb * MiB);
      }
      closeSync(fd);
      const { unixUri } = await cluster.attach('precious', { sizeMb: SIZE_MB });
      await expectClient('nbdcopy', ['--flush', source, unixUri], { cwd: cluster.directory });
      truncateSync(source, SIZE_MB * MiB);
      const { code, stderr } = await cluster.cli('volume', 'detach', 'precious');
      expect(code, stderr).to.equal(0);
      // Disks keep a new map within a second or so, and later when their device is busy.
      await waitFor('the volume is on the disks', PATIENCE_MS, async () => {
        const { stdout } = await rescue('list', cluster.paths.mesos);
        const { volumes } = JSON.parse(stdout) as ListView;
        return volumes.some(({ name }) => name === 'precious') ? true : null;
      });
      cluster.killEverything();
      const listed = await rescue('list', cluster.paths.mesos);
      expect(listed.code, listed.stderr).to.equal(0);
      const view = JSON.parse(listed.stdout) as ListView;
      disks = view.disks.map(({ path }) => path);
      expect(disks).to.have.length(6);
      const line = view.volumes.find(({ name }) => name === 'precious');
      expect(line).to.deep.include({ state: 'known', sizeBytes: SIZE_MB * MiB, behind: 0 });
      expect(line?.dirty, 'a volume that was detached is clean').to.equal(0);
    });

    function rescue(...args: readonly string[]): Promise<CliRun> {
      return cluster.cli('rescue', ...args, '--json');
    }

    async function exportFrom(from: readonly string[], expectedCode: number): Promise<ExportView> {
      const output = join(cluster.directory, 'rescued.raw');
      const prints = disks.map(fingerprint);
      const run = await rescue(
        'export',
        '--force',
        '--volume',
        'precious',
        '--output',
        output,
        ...from,
      );
      expect(run.code, run.stdout + run.stderr).to.equal(expectedCode);
      expect(disks.map(fingerprint), 'the disks are not touched').to.deep.equal(prints);
      if (expectedCode !== 5) expect(await sha256Of(output)).to.equal(await sha256Of(source));
      expect(statSync(output).blocks * 512, 'holes stay holes').to.be.below(12 * MiB);
      return JSON.parse(run.stdout) as ExportView;
    }

    it('rescue: all disks, the image is the same byte for byte, all of it good', async () => {
      const { bytes } = await exportFrom([cluster.paths.mesos], 0);
      expect(bytes).to.deep.equal({ good: SIZE_MB * MiB, older: 0, conflicting: 0, lost: 0 });
    });

    it('rescue: one disk is missing, the same image, and who could not be asked', async () => {
      const { bytes, absentDisks } = await exportFrom(disks.slice(1), 4);
      expect(bytes.good).to.equal(SIZE_MB * MiB);
      expect(absentDisks).to.have.length(1);
    });

    it('rescue: bytes flipped on one disk, the block comes from the other one', async () => {
      const needle = readFileSync(source).subarray(5 * MiB, 5 * MiB + 4096);
      flipIn(disks, needle, 1);
      const { bytes } = await exportFrom(disks, 0);
      expect(bytes.good).to.equal(SIZE_MB * MiB);
    });

    it('rescue: bytes flipped on both, that block is lost and nothing else', async () => {
      const at = 14 * MiB + 8 * 4096;
      const needle = readFileSync(source).subarray(at, at + 4096);
      flipIn(disks, needle, 2);
      const { bytes, ranges } = await exportFrom(disks, 5);
      expect(bytes).to.deep.include({ lost: 4096, good: SIZE_MB * MiB - 4096 });
      expect(ranges.find(({ verdict }) => verdict === 'lost')).to.deep.include({
        offset: at,
        length: 4096,
      });
    });

    it('rescue: no maps and a damaged index, by number, doubtful and still the same bytes', async () => {
      for (const disk of disks) {
        for (const name of ['map-a', 'map-b']) rmSync(join(disk, name), { force: true });
      }
      const listed = JSON.parse((await rescue('list', ...disks)).stdout) as ListView;
      expect(listed.volumes.every(({ state }) => state === 'unnamed')).to.equal(true);
      const [broken = ''] = disks;
      const index = openSync(join(broken, 'index', 'data.mdb'), 'r+');
      writeSync(index, Buffer.alloc(64, 7), 0, 64, 0);
      closeSync(index);
      const output = join(cluster.directory, 'unnamed.raw');
      const { id = '' } = listed.volumes.at(-1) ?? {};
      const run = await rescue('export', '--volume', id, '--output', output, ...disks);
      const { bytes, problems } = JSON.parse(run.stdout) as ExportView;
      // One block was lost on both disks above; the rest is there.
      expect(run.code).to.equal(5);
      expect(problems.join()).to.match(/does not begin like a database/);
      expect(bytes.older).to.be.above(6 * MiB);
    });
  });
});

interface ListView {
  readonly disks: readonly { readonly path: string }[];
  readonly volumes: readonly {
    readonly id: string;
    readonly name: string | null;
    readonly state: string;
    readonly sizeBytes: number;
    readonly behind: number;
    readonly dirty: number;
  }[];
}

interface ExportView {
  readonly bytes: VerdictBytes;
  readonly absentDisks: readonly string[];
  readonly problems: readonly string[];
  readonly ranges: readonly RangeVerdict[];
}

/** Names, sizes and times of everything on a disk. */
function fingerprint(disk: string): string {
  const files = readdirSync(disk, { recursive: true, withFileTypes: true });
  return files
    .filter((file) => file.isFile())
    .map((file) => {
      const path = join(file.parentPath, file.name);
      const { size, mtimeMs } = statSync(path);
      return `${path} ${size} ${mtimeMs}`;
    })
    .sort()
    .join('\n');
}

/** Flips a bit of the block with that content, on `count` disks that have it. */
function flipIn(disks: readonly string[], content: Buffer, count: number): void {
  let flipped = 0;
  for (const path of disks.flatMap(slabsOf)) {
    const at = readFileSync(path).indexOf(content);
    if (at < 0 || flipped === count) continue;
    const fd = openSync(path, 'r+');
    writeSync(fd, Buffer.of((content[99] ?? 0) ^ 8), 0, 1, at + 99);
    closeSync(fd);
    flipped += 1;
  }
  expect(flipped, 'disks with that block').to.equal(count);
}

function slabsOf(disk: string): readonly string[] {
  const folder = join(disk, 'slabs');
  return existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
}
