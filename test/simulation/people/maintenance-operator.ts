/**
 * Announces maintenance of machines while faults are about, now and then withdraws it, and lets it pass: nothing may be
 * lost by what is moved for it, and whoever says that a machine may go must have nothing there. The machine
 * itself goes on: taking it away is for the faults.
 */
import type { Prng } from '../../../shared/base/prng.ts';
import type { Cluster } from '../cluster.ts';
import type { SwarmOptions } from '../swarm.ts';

/** A few windows in a run whose faults go on for a minute. */
const INTERVAL_MS = 12_000;
const NOTICE_MS_MAX = 20_000;
/** Words are on their way for so long, at most. */
const DOUBT_MS = 10_000;
const WINDOW_MS_MAX = 120_000;

export class MaintenanceOperator {
  readonly #cluster: Cluster;
  readonly #options: SwarmOptions;
  readonly #random: Prng;
  #host: string | null = null;
  #isActive = false;

  constructor(cluster: Cluster, options: SwarmOptions, onViolation: (what: string) => void) {
    this.#cluster = cluster;
    this.#options = options;
    this.#random = cluster.random.fork('maintenance');
    cluster.mesos.maintenance.onAccepted = (host) => {
      // A window that is over, or about to be, asks for nothing.
      if (cluster.mesos.maintenance.endsInMs(host) < DOUBT_MS) return;
      const left = this.#replicasOn(host);
      cluster.trace.add('operator', `< maintenance of ${host} is accepted`);
      if (left > 0) onViolation(`maintenance of ${host} was accepted with ${left} replicas there`);
    };
  }

  start(): void {
    this.#isActive = Number.isFinite(this.#options.commandIntervalMs);
    if (this.#isActive) this.#next();
  }

  /** The schedule is empty from now on. */
  stop(): void {
    this.#isActive = false;
    this.#withdraw();
  }

  #next(): void {
    this.#cluster.clock.after(INTERVAL_MS * 2 * this.#random.fraction(), () => {
      if (!this.#isActive) return;
      if (this.#host === null) this.#announce();
      else if (this.#random.chance(0.25)) this.#withdraw();
      this.#next();
    });
  }

  #announce(): void {
    const { nodes, mesos, trace } = this.#cluster;
    const victims = nodes.slice(this.#options.gatewayNodes);
    if (nodes.length <= this.#options.replicas || victims.length === 0) return;
    const { host } = this.#random.pick(victims);
    const inMs = this.#random.fraction() * NOTICE_MS_MAX;
    const durationMs = 1_000 + this.#random.fraction() * WINDOW_MS_MAX;
    trace.add('operator', `> maintenance of ${host} in ${Math.round(inMs)} ms`);
    mesos.maintenance.announce(host, inMs, durationMs);
    this.#host = host;
  }

  #withdraw(): void {
    if (this.#host === null) return;
    this.#cluster.trace.add('operator', `> no maintenance of ${this.#host}`);
    this.#cluster.mesos.maintenance.withdraw(this.#host);
    this.#host = null;
  }

  /** Members of groups on the agent of that host, by the facts of whoever leads; 0 while nobody does. */
  #replicasOn(host: string): number {
    const { state } = this.#cluster;
    if (state === null) return 0;
    const { nodes, disks } = state.facts;
    let count = 0;
    // The question is about an agent: what a former one had there was out of reach before.
    const agentId = this.#cluster.mesos.agentOf(host)?.agentId;
    for (const node of nodes.values()) {
      if (node.agentId !== agentId || node.admin === 'gone') continue;
      for (const disk of disks.values()) {
        if (disk.node === node.id) count += state.work.pgsOfDisk.get(disk.id)?.size ?? 0;
      }
    }
    return count;
  }
}
