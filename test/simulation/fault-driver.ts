/**
 * Brings about the faults of a run, one after the other, within a budget: at most `replicas - 1` nodes
 * are impaired at a time, and a node stays impaired until the cluster was whole again. A correct system
 * survives every such run.
 */
import type { Prng } from '../../shared/base/prng.ts';
import type { Timer } from '../../shared/ports.ts';
import type { Cluster } from './cluster.ts';
import { findUnrest } from './manager-watch.ts';
import { SCHEDULER_HOST } from './simulated-mesos.ts';
import type { SimulatedNode } from './simulated-node.ts';
import type { FaultKind, SwarmOptions } from './swarm.ts';

/** Longer than a lease and the manager's patience together: see MISSING.quickPowerLoss. */
const POWER_LOSS_MS_MIN = 14_000;
const POWER_LOSS_MS_MAX = 54_000;
const QUICK_LOSS_MS_MIN = 300;
const QUICK_LOSS_MS_MAX = 6_000;

export class FaultDriver {
  readonly #cluster: Cluster;
  readonly #options: SwarmOptions;
  readonly #random: Prng;
  readonly #impaired = new Set<SimulatedNode>();
  /** What undoes each fault that lasts. */
  readonly #undo = new Set<() => void>();
  #timer: Timer | null = null;
  #failedDisks = 0;
  readonly counts = new Map<FaultKind, number>();

  constructor(cluster: Cluster, options: SwarmOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#random = cluster.random.fork('faults');
  }

  start(): void {
    if (this.#options.faults.length === 0) return;
    this.#next();
  }

  /** Ends all faults: power, network, stalls and the scheduler come back. */
  healAll(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#cluster.trace.add('faults', 'heal all');
    for (const undo of [...this.#undo]) undo();
    this.#cluster.network.healAll();
    for (const node of this.#cluster.nodes) node.restorePower();
    this.#cluster.startScheduler();
    this.#cluster.mesos.reviveAll();
  }

  #next(): void {
    const waitMs = this.#options.faultIntervalMs * 2 * this.#random.fraction();
    this.#timer = this.#cluster.clock.after(waitMs, () => {
      if (this.#undo.size === 0 && findUnrest(this.#cluster.state) === '') this.#impaired.clear();
      const kind = this.#random.pick(this.#options.faults);
      if (this.#inject(kind)) this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
      this.#next();
    });
  }

  #inject(kind: FaultKind): boolean {
    switch (kind) {
      case 'connection-loss':
        return this.#loseConnection();
      case 'one-way-partition':
        return this.#blockOneWay();
      case 'isolation':
        return this.#isolate();
      case 'data-process-crash':
      case 'executor-crash':
      case 'power-loss':
        return this.#crash(kind);
      case 'scheduler-restart':
        return this.#restartScheduler();
      case 'store-stall':
        this.#cluster.store.stall(this.#random.between(500, 8_000));
        return this.#note(kind, 'store');
      case 'disk-stall':
        return this.#stallDisk();
      case 'disk-error':
        return this.#failDisk();
      case 'agent-cut-off':
        return this.#cutOffAgent();
      case 'mesos-disconnect':
        this.#cluster.mesos.disconnect();
        return this.#note(kind, 'mesos');
    }
  }

  #note(kind: FaultKind, what: string): boolean {
    this.#cluster.trace.add('faults', `${kind} ${what}`);
    return true;
  }

  #during(ms: number, undo: () => void): void {
    const once = (): void => {
      if (this.#undo.delete(once)) undo();
    };
    this.#undo.add(once);
    this.#cluster.clock.after(ms, once);
  }

  /** Takes the node into the budget; false when there is no room for another one. */
  #impair(node: SimulatedNode): boolean {
    if (this.#impaired.has(node)) return true;
    if (this.#impaired.size >= this.#options.replicas - 1) return false;
    this.#impaired.add(node);
    return true;
  }

  #pickNode(): SimulatedNode {
    return this.#random.pick(this.#cluster.nodes);
  }

  #loseConnection(): boolean {
    const a = this.#pickNode();
    const b = this.#pickNode();
    if (a === b) this.#cluster.control.cut(a.host);
    else this.#cluster.network.host(a.host).cut(b.host);
    return this.#note('connection-loss', `${a.host} ${a === b ? SCHEDULER_HOST : b.host}`);
  }

  #blockOneWay(): boolean {
    const node = this.#pickNode();
    if (!this.#impair(node)) return false;
    const others = [...this.#cluster.nodes.map(({ host }) => host), SCHEDULER_HOST];
    const other = this.#random.pick(others.filter((host) => host !== node.host));
    const [from, to] = this.#random.chance(0.5) ? [node.host, other] : [other, node.host];
    this.#cluster.network.block(from, to);
    this.#during(this.#random.between(200, 15_000), () => this.#cluster.network.unblock(from, to));
    return this.#note('one-way-partition', `${from} > ${to}`);
  }

  #isolate(): boolean {
    const node = this.#pickNode();
    if (!this.#impair(node)) return false;
    const { network } = this.#cluster;
    const others = [...this.#cluster.nodes.map(({ host }) => host), SCHEDULER_HOST].filter(
      (host) => host !== node.host,
    );
    for (const other of others) network.partition(node.host, other);
    this.#during(this.#random.between(500, 20_000), () => {
      for (const other of others) {
        network.unblock(node.host, other);
        network.unblock(other, node.host);
      }
    });
    return this.#note('isolation', node.host);
  }

  #crash(kind: 'data-process-crash' | 'executor-crash' | 'power-loss'): boolean {
    const node = this.#pickNode();
    if (!node.isPowered || !this.#impair(node)) return false;
    this.#note(kind, node.host);
    if (kind === 'data-process-crash') node.crashDataProcess();
    else if (kind === 'executor-crash') node.crashExecutor();
    else {
      node.losePower();
      const awayMs = this.#options.isPowerLossQuick
        ? this.#random.between(QUICK_LOSS_MS_MIN, QUICK_LOSS_MS_MAX)
        : this.#random.between(POWER_LOSS_MS_MIN, POWER_LOSS_MS_MAX);
      this.#during(awayMs, () => node.restorePower());
    }
    return true;
  }

  #restartScheduler(): boolean {
    this.#cluster.crashScheduler();
    const awayMs = this.#random.pick([100, 1_000, 5_000, 15_000]);
    this.#during(awayMs, () => this.#cluster.startScheduler());
    return this.#note('scheduler-restart', `away ${awayMs} ms`);
  }

  #stallDisk(): boolean {
    const node = this.#pickNode();
    if (!this.#impair(node)) return false;
    const [path, disk] = this.#random.pick([...node.disks]);
    disk.stall();
    this.#during(this.#random.between(100, 12_000), () => disk.resume());
    return this.#note('disk-stall', path);
  }

  /** Once per run, and only where the others can take over. */
  #failDisk(): boolean {
    const node = this.#pickNode();
    const spare = this.#cluster.nodes.length - this.#options.replicas;
    if (this.#failedDisks >= Math.min(1, spare) || !this.#impair(node)) return false;
    this.#failedDisks += 1;
    const [path, disk] = this.#random.pick([...node.disks]);
    const op = this.#random.pick(['read', 'write', 'sync', 'commit'] as const);
    disk.inject({ op, code: 'EIO' });
    return this.#note('disk-error', `${path} ${op}`);
  }

  #cutOffAgent(): boolean {
    const node = this.#pickNode();
    this.#cluster.mesos.setCutOff(node.host, true);
    const ms = this.#random.between(1_000, 50_000);
    this.#during(ms, () => this.#cluster.mesos.setCutOff(node.host, false));
    return this.#note('agent-cut-off', node.host);
  }
}
