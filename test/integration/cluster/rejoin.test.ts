// Agents go away and come back: executors survive a restart of their agent; a dead node copies only what changed.
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { waitFor } from '../../../dev/demo/api-client.ts';
import type { NodeView } from '../../../shared/model/api-views.ts';
import {
  type AttachedVolume,
  PATIENCE_MS,
  sleep,
  TEST_TIMEOUT_MS,
  TestCluster,
} from './harness.ts';

const BASE_MB = 192;
const CHANGED_MB = 32;
/** Index, journal and whole extents around what changed: well below the 128 MiB that the node holds. */
const COPY_MB_MAX = 64;

const pattern = { pattern: 'write', blockKb: 1024, depth: 4 } as const;

describe('cluster: agents go away and come back', function () {
  this.timeout(TEST_TIMEOUT_MS);
  let cluster: TestCluster;
  let base: AttachedVolume;

  before(async () => {
    // Nothing is rebuilt elsewhere while a test has a node down.
    cluster = await TestCluster.start({ agents: 3, pgCount: 64, rebuildAfterSeconds: 600 });
    base = await cluster.attach('base', { sizeMb: 256, node: 'agent1' });
    await cluster.fio({ uri: base.unixUri, sizeMb: BASE_MB, ...pattern }).done;
  });

  after(async () => cluster?.close());

  it('agent process restarts: executors go on, nothing is copied', async () => {
    const pids = (await cluster.agents()).map((agent) => agent.pid);
    const volume = await cluster.attach('steady', { sizeMb: 64, node: 'agent1' });
    const run = cluster.fio({ uri: volume.unixUri, sizeMb: 24, rateIops: 1_000 });
    await cluster.waitForWrites(volume);
    await cluster.stopAgent('agent2');
    await sleep(1_500);
    await cluster.startAgent('agent2');
    const written = await run.done;
    expect(written.writeMsMax).to.be.below(2_500);
    await cluster.waitUntilHealthy();
    expect((await cluster.agents()).map((agent) => agent.pid)).to.deep.equal(pids);
    expect(await cluster.jobs('rebuild')).to.deep.equal([]);
    await cluster.fio({ uri: volume.unixUri, sizeMb: 24, isVerifyOnly: true }).done;
  });

  it('agent dies and comes back: only what changed meanwhile is copied', async () => {
    const before = await cluster.jobs('rebuild');
    const late = await cluster.attach('late', { sizeMb: 64, node: 'agent1' });
    await cluster.killAgent('agent3');
    await waitFor('agent3 to be down', PATIENCE_MS, async () => {
      const node = await cluster.api.get<NodeView>('/nodes/agent3');
      return node.state === 'down' ? node : null;
    });
    await cluster.fio({ uri: late.unixUri, sizeMb: CHANGED_MB, ...pattern }).done;
    await cluster.startAgent('agent3');
    await cluster.waitUntilHealthy();
    const job = await cluster.waitForJob('rebuild', before);
    expect(job.movesDone).to.be.above(0);
    const copiedMb = (job.figures['copiedBytes'] ?? Number.NaN) / 1024 ** 2;
    expect(copiedMb, 'MiB copied, as the job says').to.be.above(0).and.at.most(COPY_MB_MAX);
    const { wchar } = ioOf(await cluster.dataPid('agent3'));
    expect(wchar / 1024 ** 2, 'MiB that its new data process wrote').to.be.below(COPY_MB_MAX);
    // The others read through agent3 too once it is in sync.
    await cluster.fio({ uri: late.unixUri, sizeMb: CHANGED_MB, ...pattern, isVerifyOnly: true })
      .done;
    await cluster.fio({ uri: base.unixUri, sizeMb: BASE_MB, ...pattern, isVerifyOnly: true }).done;
  });

  it('agent that has a gateway dies: its volume moves to another node with every byte', async () => {
    const home = await cluster.attach('home', { sizeMb: 64, node: 'agent2' });
    await cluster.fio({ uri: home.unixUri, sizeMb: 32, ...pattern }).done;
    await cluster.killAgent('agent2');
    const moved = await cluster.attachAgain('home', 'agent1');
    expect(moved.hostname).to.equal('agent1');
    const verified = await cluster.fio({
      uri: moved.unixUri,
      sizeMb: 32,
      ...pattern,
      isVerifyOnly: true,
    }).done;
    expect(verified.readBytes).to.equal(32 * 1024 ** 2);
    await cluster.startAgent('agent2');
    await cluster.waitUntilHealthy();
  });

  it('whole cluster goes down and comes up: the same cluster with every byte', async () => {
    const before = await cluster.cluster();
    await cluster.restart();
    await cluster.waitUntilHealthy();
    const after = await cluster.cluster();
    expect(after.clusterId).to.equal(before.clusterId);
    expect(after.diskCount).to.equal(before.diskCount);
    base = await cluster.attachAgain('base');
    await cluster.fio({ uri: base.unixUri, sizeMb: BASE_MB, ...pattern, isVerifyOnly: true }).done;
  });
});

/** Bytes that a process has written by system calls, to files and sockets. */
function ioOf(pid: number): { readonly wchar: number } {
  const match = /^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'));
  return { wchar: Number(match?.[1] ?? Number.NaN) };
}
