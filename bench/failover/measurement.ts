/**
 * The cluster with its two writers, and one measurement: everything is healthy, the pause meters are set to zero, the
 * failure happens, everything heals, the longest silence of each writer is read. Every write is kept in mind and
 * read back after each failure: a fast failover that loses a write is none.
 */
import { describeError, StorageError } from '../../shared/base/errors.ts';
import { ChaosNetwork } from '../../test/chaos/network.ts';
import { HEAL_MS } from '../../test/chaos/run.ts';
import { VerifyingClient } from '../../test/chaos/verifying-client.ts';
import { ChaosWorld } from '../../test/chaos/world.ts';
import { type AttachedVolume, sleep, TestCluster } from '../../test/integration/cluster/harness.ts';
import type { FailureCase } from './cases.ts';

const NODES = 4;
const VOLUME_MB = 64;
/** Steady and far from what the machine can do: silence comes from the failure, not from the load. */
const WRITES_PER_SECOND = 300;
const DEPTHS = [1, 16] as const;
/** Healed, resynced, and writing again before the next failure. */
const CALM_MS = 2_000;
const ATTACH_TRIES = 60;

export interface Pauses {
  /** Longest silence of each writer, in the order of the depths. */
  readonly pauseMs: readonly number[];
  /** Slowest single write of both. */
  readonly slowestMs: number;
  readonly blocksVerified: number;
}

export class FailoverSite {
  readonly world: ChaosWorld;
  readonly #writers: readonly VerifyingClient[];
  readonly #volumes: readonly string[];
  readonly #report: (text: string) => void;
  #home: string;
  #turn = 0;

  private constructor(
    world: ChaosWorld,
    writers: readonly VerifyingClient[],
    volumes: readonly string[],
    home: string,
    report: (text: string) => void,
  ) {
    this.world = world;
    this.#writers = writers;
    this.#volumes = volumes;
    this.#home = home;
    this.#report = report;
  }

  static async open(
    directory: string,
    isIsolated: boolean,
    report: (text: string) => void,
  ): Promise<FailoverSite> {
    const network = isIsolated ? ChaosNetwork.create(directory, NODES) : null;
    const agents = Array.from({ length: NODES }, (_, index) => `agent${index + 1}`);
    // Nothing is rebuilt elsewhere meanwhile: this is about pauses.
    const cluster = await TestCluster.start({
      agents: NODES,
      disksPerAgent: 1,
      pgCount: 64,
      rebuildAfterSeconds: 600,
      network: network?.settings ?? null,
    });
    const world = new ChaosWorld(cluster, network, agents, report);
    const volumes: AttachedVolume[] = [];
    for (const depth of DEPTHS) {
      volumes.push(
        await cluster.attach(`depth-${depth}`, { sizeMb: VOLUME_MB, node: agents[0] ?? '' }),
      );
    }
    const writers = DEPTHS.map(
      (depth, index) =>
        new VerifyingClient({
          volume: `depth-${depth}`,
          sizeBytes: VOLUME_MB * 1024 ** 2,
          depth,
          rate: WRITES_PER_SECOND,
          isReading: false,
          seed: index + 1,
          locate: () => world.locate(`depth-${depth}`),
          report: () => undefined,
        }),
    );
    const names = volumes.map((volume) => volume.name);
    return new FailoverSite(world, writers, names, agents[0] ?? '', report);
  }

  async measure(failure: FailureCase, awaySeconds: number): Promise<Pauses> {
    const { cluster, agents } = this.world;
    await cluster.waitUntilHealthy(HEAL_MS);
    for (const writer of this.#writers) writer.start();
    await sleep(CALM_MS);
    for (const writer of this.#writers) writer.pauses.reset();
    const home = this.#home;
    // In turn: a node that fails again and again is let in again later and later.
    this.#turn += 1;
    const others = agents.filter((agent) => agent !== home);
    const other = others[this.#turn % others.length] ?? '';
    const third = others[(this.#turn + 1) % others.length] ?? '';
    await failure.run({
      world: this.world,
      home,
      other,
      awaySeconds,
      moveVolumes: async () => {
        await Promise.all(this.#volumes.map((volume) => this.#attach(volume, third)));
        this.#home = third;
      },
    });
    await cluster.waitUntilHealthy(HEAL_MS);
    await sleep(CALM_MS);
    for (const writer of this.#writers) await writer.stop();
    const pauseMs = this.#writers.map((writer) => writer.pauses.pauseMsMax);
    const slowestMs = Math.max(...this.#writers.map((writer) => writer.pauses.latencyMsMax));
    return { pauseMs, slowestMs, blocksVerified: await this.#verify() };
  }

  async close(): Promise<void> {
    for (const writer of this.#writers) writer.close();
    await this.world.cluster.close();
  }

  /** As an operator would who sees the node die: again until it is accepted. */
  async #attach(volume: string, node: string): Promise<void> {
    let last = '';
    for (let attempt = 0; attempt < ATTACH_TRIES; attempt += 1) {
      const run = await this.world.cluster.cli('volume', 'attach', volume, '--node', node);
      if (run.code === 0) return;
      last = run.stderr.trim();
    }
    throw new StorageError('timeout', `Attaching "${volume}" to ${node} was refused: ${last}`);
  }

  async #verify(): Promise<number> {
    let blocks = 0;
    for (const writer of this.#writers) {
      blocks += await writer.verifyAll().catch((error: unknown) => {
        throw new StorageError('corrupt', `Reading back failed: ${describeError(error)}`);
      });
      const { complaints, figures } = writer;
      if (complaints.length > 0) throw new StorageError('corrupt', complaints.join('; '));
      if (figures.errors > 0) {
        throw new StorageError('disk-failed', `${figures.errors} requests failed`);
      }
    }
    this.#report(`  ${blocks} blocks right`);
    return blocks;
  }
}
