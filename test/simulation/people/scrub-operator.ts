/**
 * Starts scrubs while faults are about, as a schedule or an operator would, and sometimes calls one off: scrub has
 * to tell what decays from what is only under way. Whatever it finds where no disk has changed data by itself
 * is judged at the end of the run.
 */
import type { Prng } from '../../../shared/base/prng.ts';
import type { Cluster } from '../cluster.ts';

export class ScrubOperator {
  readonly #cluster: Cluster;
  readonly #intervalMs: number;
  readonly #random: Prng;
  #isActive = false;

  /** `intervalMs`: mean time between two attempts; Infinity for none. */
  constructor(cluster: Cluster, intervalMs: number) {
    this.#cluster = cluster;
    this.#intervalMs = intervalMs;
    this.#random = cluster.random.fork('scrubs');
  }

  start(): void {
    this.#isActive = Number.isFinite(this.#intervalMs);
    if (this.#isActive) this.#next();
  }

  /** One that runs goes on to its end. */
  stop(): void {
    this.#isActive = false;
  }

  #next(): void {
    this.#cluster.clock.after(this.#intervalMs * 2 * this.#random.fraction(), () => {
      if (!this.#isActive) return;
      this.#act();
      this.#next();
    });
  }

  #act(): void {
    const running = [...(this.#cluster.state?.facts.jobs.values() ?? [])].find(
      ({ kind, phase }) => kind === 'scrub' && phase === 'running',
    );
    if (running !== undefined) {
      if (this.#random.chance(0.3)) {
        this.#cluster.trace.add('operator', `> cancel-job ${running.id}`);
        void this.#cluster.execute({ kind: 'cancel-job', job: running.id });
      }
      return;
    }
    const disks = [...(this.#cluster.state?.facts.disks.keys() ?? [])];
    const disk = disks.length > 0 && this.#random.chance(0.3) ? this.#random.pick(disks) : null;
    const scope = { pool: null, volume: null, disk };
    const isScheduled = this.#random.chance(0.5);
    this.#cluster.trace.add('operator', `> start-scrub ${disk === null ? 'all' : `d${disk}`}`);
    void this.#cluster.execute({ kind: 'start-scrub', scope, isScheduled });
  }
}
