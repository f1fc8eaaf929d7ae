/**
 * The operator's work with pools in a run: at some time the second disks of all nodes become a pool of their own,
 * under load and faults; the job that moves them is paused, resumed, cancelled and applied again. Volumes are made in
 * both pools from then on.
 */
import type { Command, CommandResult } from '../../../scheduler/core/contract.ts';
import type { JobRecord } from '../../../scheduler/core/records.ts';
import type { Prng } from '../../../shared/base/prng.ts';
import type { PoolDocument } from '../../../shared/model/pool-settings.ts';
import type { Cluster } from '../cluster.ts';

const SECOND = 'second';
/** Roots are `/mnt/host3-0`, `/mnt/host3-1`. */
const SPLIT: PoolDocument = {
  isWhole: false,
  pools: [
    { name: SECOND, selector: { paths: ['/mnt/*-1'] } },
    { name: 'default', selector: { paths: ['/mnt/*-0'] } },
  ],
};
const RETRY_MS = 500;
/** Moving everything takes longer only when something stands in the way for good. */
const FINISH_MS = 240_000;
/** A pool may lack nodes while faults are about: then the volume goes to the other one. */
const TRIES_MAX = 20;

export class PoolPlanner {
  readonly #cluster: Cluster;
  readonly #execute: (command: Command) => Promise<CommandResult>;
  readonly #random: Prng;
  #isSplit = false;
  #isOver = false;
  #running: Promise<void> = Promise.resolve();
  #tries = 0;

  constructor(cluster: Cluster, execute: (command: Command) => Promise<CommandResult>) {
    this.#cluster = cluster;
    this.#execute = execute;
    this.#random = cluster.random.fork('pools');
  }

  startAfter(ms: number): void {
    if (!Number.isFinite(ms)) return;
    this.#cluster.clock.after(ms, () => {
      if (!this.#isOver) this.#running = this.#split();
    });
  }

  /** Where the next volume goes; null for the default pool. */
  pick(): string | null {
    if (!this.#isSplit) return null;
    this.#tries += 1;
    if (this.#tries > TRIES_MAX) {
      this.#tries = 0;
      return null;
    }
    return this.#random.chance(0.5) ? SECOND : null;
  }

  /** No fault stands in the way any more: what was begun is brought to its end. */
  async finish(): Promise<void> {
    this.#isOver = true;
    await this.#running;
    const untilMs = this.#cluster.clock.now() + FINISH_MS;
    for (;;) {
      const job = this.#job();
      if (job === null && this.#cluster.state !== null) return;
      if (job?.phase === 'paused') await this.#execute({ kind: 'resume-job', job: job.id });
      // Too few disks may be left for all replicas: then the job waits, as it should.
      if (job !== null && this.#cluster.clock.now() >= untilMs) {
        await this.#execute({ kind: 'cancel-job', job: job.id });
      }
      await this.#pause(RETRY_MS);
    }
  }

  async #split(): Promise<void> {
    for (;;) {
      const result = await this.#execute({ kind: 'apply-pools', document: SPLIT });
      if (result.kind === 'done') break;
      await this.#pause(RETRY_MS);
    }
    this.#isSplit = true;
    for (let round = 0; round < 4 && !this.#isOver; round += 1) {
      await this.#pause(this.#random.between(200, 4_000));
      const job = this.#job();
      if (job === null) continue;
      const kind = this.#random.pick(['pause-job', 'resume-job', 'cancel-job'] as const);
      await this.#execute({ kind, job: job.id });
      if (kind === 'cancel-job') await this.#execute({ kind: 'apply-pools', document: null });
    }
  }

  #job(): JobRecord | null {
    for (const job of this.#cluster.state?.facts.jobs.values() ?? []) {
      if (job.kind === 'apply' && (job.phase === 'running' || job.phase === 'paused')) return job;
    }
    return null;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#cluster.clock.after(ms, resolve);
    });
  }
}
