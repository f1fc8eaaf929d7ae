// Small disks are filled with real data: the pool grows while there are disks, then only allocating writes fail.
import { expect } from 'chai';
import { waitFor } from '../../../dev/demo/api-client.ts';
import { assert } from '../../../shared/base/assert.ts';
import type { EventView } from '../../../shared/model/api-views.ts';
import { type ClientRun, runClient } from '../../e2e/nbd/clients.ts';
import {
  type AttachedVolume,
  PATIENCE_MS,
  sleep,
  TEST_TIMEOUT_MS,
  TestCluster,
} from './harness.ts';

const DISK_MB = 256;
const DISKS = 6;
/** 83 % of the three disks that are claimed at first, with two copies. */
const FIRST_MB = 320;
const STEP_MB = 8;
/** Several steps at once below the first; above the second fill of its fullest disk a small pool is written slowly: limits are seen every second. */
const HURRY_RATIO = 0.65;
const CAREFUL_RATIO = 0.85;
const CAREFUL_MS = 1_000;
/** The limit is 95 %; once reached it stays until 93 %. */
const LIMIT_RATIO_MIN = 0.93;
/** Looks in a row, a second apart: the pool is not just passing by its limit. */
const LOOKS_AT_LIMIT = 3;
const EXTENT_MB = 4;

const pattern = { pattern: 'write', blockKb: 1024, depth: 4 } as const;

describe('cluster: a pool fills up', function () {
  this.timeout(TEST_TIMEOUT_MS);
  let cluster: TestCluster;
  let first: AttachedVolume;
  let second: AttachedVolume;
  /** MiB of the second volume that were written and acknowledged, from its start. */
  let writtenMb = 0;

  before(async () => {
    cluster = await TestCluster.start({
      agents: 3,
      disksPerAgent: 2,
      claimPerNode: 1,
      diskSizeMb: DISK_MB,
      pgCount: 32,
      expandCooldownSeconds: 1,
    });
    first = await cluster.attach('first', { sizeMb: 512, node: 'agent1' });
    second = await cluster.attach('second', { sizeMb: 1024, node: 'agent2' });
  });

  after(async () => cluster?.close());

  function qemu(volume: AttachedVolume, ...commands: readonly string[]): Promise<ClientRun> {
    const args = ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), volume.unixUri];
    return runClient('qemu-io', args, { cwd: cluster.directory });
  }

  async function fullestRatio(): Promise<number> {
    return Math.max(...(await cluster.disks()).map((disk) => disk.usedRatio));
  }

  async function eventKinds(): Promise<readonly string[]> {
    const events = await cluster.api.get<readonly EventView[]>('/events?limit=1000');
    return events.map((event) => event.kind);
  }

  it('threshold: unclaimed disks are claimed, and the job says why', async () => {
    expect((await cluster.pool()).diskIds).to.have.length(3);
    await cluster.fio({ uri: first.unixUri, sizeMb: FIRST_MB, ...pattern }).done;
    await cluster.waitForJob('expand');
    // Small disks may need a second one while data still moves to the first: that has its own reason.
    const jobs = [...(await cluster.jobs('expand'))];
    const [job] = jobs.sort((a, b) => Number(a.id.slice(1)) - Number(b.id.slice(1)));
    assert(job !== undefined, 'there is a job');
    expect(job.reason).to.match(/8\d(\.\d)? % used, the threshold is 80 %/);
    expect(job.figures['usedRatioBefore']).to.be.above(0.8);
    const { capacity, diskIds } = await waitFor('the pool to be below', PATIENCE_MS, async () => {
      const pool = await cluster.pool();
      return pool.diskIds.length > 3 && pool.capacity.usedRatio < 0.8 ? pool : null;
    });
    expect(capacity.rawBytes).to.be.above(DISK_MB * 1024 ** 2 * 3);
    expect(diskIds.length).to.be.at.most(DISKS);
    await cluster.waitUntilHealthy();
  });

  it('nothing left to claim: allocating writes get ENOSPC, everything else goes on', async () => {
    // Step by step: the pool grows in between, and its limit is seen before its end.
    let enospc = 0;
    let looksAtLimit = 0;
    const full = await waitFor('the pool to be full', PATIENCE_MS, async () => {
      const steps = (await fullestRatio()) < HURRY_RATIO ? 4 : 1;
      const run = await qemu(second, ...writesFrom(writtenMb, steps));
      if (run.code === 0) writtenMb += steps * STEP_MB;
      else {
        expect(run.stdout + run.stderr).to.contain('No space left on device');
        enospc += 1;
      }
      const pool = await cluster.pool();
      const ratio = await fullestRatio();
      if (ratio > CAREFUL_RATIO) await sleep(CAREFUL_MS);
      // A disk that was at the limit may have room again: data still moves to the newest disks.
      const isAtLimit = pool.isFull && ratio >= LIMIT_RATIO_MIN;
      looksAtLimit =
        isAtLimit && pool.diskIds.length === DISKS && enospc > 0 ? looksAtLimit + 1 : 0;
      return looksAtLimit >= LOOKS_AT_LIMIT ? { pool, ratio } : null;
    });
    expect(full.pool.capacity.usedRatio).to.be.above(0.8).and.below(1);
    expect(full.ratio).to.be.below(1);
    expect((await cluster.cluster()).health).to.equal('critical');
    expect(await eventKinds()).to.include('pool.full');
    const untouched = `${writtenMb + 2 * STEP_MB}M`;
    const refused = await waitFor('writes that allocate to be refused', PATIENCE_MS, async () => {
      const run = await qemu(second, `write -P 1 ${untouched} 1M`);
      return run.code === 0 ? null : run;
    });
    expect(refused.stdout + refused.stderr).to.contain('No space left on device');

    const others = await qemu(
      second,
      'write -P 0x77 0 1M',
      'write -f -P 0x78 1M 64k',
      'flush',
      'read -P 0x77 0 1M',
      'read -P 0x78 1M 64k',
      `discard ${EXTENT_MB}M 1M`,
      `read -P 0 ${EXTENT_MB}M 1M`,
    );
    expect(others.code, others.stdout + others.stderr).to.equal(0);
  });

  it('a volume is deleted: its space comes back, and writes go on', async () => {
    const verified = await cluster.fio({
      uri: first.unixUri,
      sizeMb: FIRST_MB,
      ...pattern,
      isVerifyOnly: true,
    }).done;
    expect(verified.readBytes, 'every byte survived the expansions').to.equal(FIRST_MB * 1024 ** 2);
    const before = await cluster.pool();
    await cluster.api.post('/volumes/first/detach');
    const answer = await cluster.call('DELETE', '/volumes/first?wait=60');
    expect(answer.status, JSON.stringify(answer.body)).to.equal(204);
    await waitFor('space to come back', PATIENCE_MS, async () => {
      const { capacity, isFull } = await cluster.pool();
      const freed = before.capacity.usedBytes - capacity.usedBytes;
      return !isFull && freed > FIRST_MB * 1024 ** 2 * 2 * 0.95 ? true : null;
    });
    await waitFor('writes to be taken again', PATIENCE_MS, async () => {
      const run = await qemu(second, ...writesFrom(writtenMb, 1));
      return run.code === 0 ? true : null;
    });
    const steps = [];
    for (let atMb = STEP_MB; atMb <= writtenMb; atMb += STEP_MB) {
      steps.push(`read -P ${patternAt(atMb)} ${atMb}M ${STEP_MB}M`);
    }
    const read = await qemu(second, ...steps);
    expect(read.code, read.stdout + read.stderr).to.equal(0);
    await cluster.waitUntilHealthy();
  });

  function writesFrom(atMb: number, steps: number): readonly string[] {
    return Array.from({ length: steps }, (_, step) => {
      const stepMb = atMb + step * STEP_MB;
      return `write -P ${patternAt(stepMb)} ${stepMb}M ${STEP_MB}M`;
    });
  }

  function patternAt(atMb: number): number {
    return ((atMb / STEP_MB) % 200) + 10;
  }
});
