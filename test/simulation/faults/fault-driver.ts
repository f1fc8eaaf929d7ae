/**
 * Brings about the faults of a run, one after the other. Each kind draws from a generator of its own, and
 * asks the atlas (fault-atlas.ts) whether it is safe now: a correct system survives every such run.
 */
import type { Prng } from '../../../shared/base/prng.ts';
import type { Timer } from '../../../shared/ports.ts';
import { findUnrest } from '../checkers/manager-watch.ts';
import type { Cluster } from '../cluster.ts';
import type { FaultKind, SwarmOptions } from '../swarm.ts';
import * as disks from './disk-faults.ts';
import { FaultAtlas } from './fault-atlas.ts';
import type { Fault } from './fault-site.ts';
import * as journals from './journal-faults.ts';
import * as mesos from './mesos-faults.ts';
import * as network from './network-faults.ts';
import * as processes from './process-faults.ts';

const FAULTS: Readonly<Record<FaultKind, Fault>> = {
  'connection-loss': network.loseConnection,
  'one-way-partition': network.blockOneWay,
  isolation: network.isolate,
  'group-partition': network.partitionGroups,
  'message-delay': network.delayMessages,
  clog: network.clog,
  'data-process-crash': processes.crashDataProcess,
  'data-process-stop': processes.stopDataProcess,
  'executor-crash': processes.crashExecutor,
  'executor-stop': processes.stopExecutor,
  'power-loss': processes.losePower,
  blackout: processes.blackOut,
  'clock-pace': processes.changePace,
  'scheduler-restart': processes.restartScheduler,
  'scheduler-gone': processes.loseScheduler,
  'store-stall': processes.stallStore,
  'leadership-loss': processes.loseLeadership,
  'disk-stall': disks.stallDisk,
  'disk-slow': disks.slowDisk,
  'disk-error': disks.failDisk,
  'disk-hang': disks.hangDisk,
  'disk-full': disks.fillDisk,
  'index-rot': disks.rotIndex,
  'journal-rot': journals.rotJournal,
  'bit-rot': disks.rotBits,
  'latent-error': disks.loseSector,
  'lost-write': disks.loseWrite,
  'misdirected-write': disks.misdirectWrite,
  'agent-cut-off': mesos.cutOffAgent,
  'agent-renewed': mesos.renewAgent,
  'agent-wiped': mesos.wipeAgent,
  'machine-replaced': mesos.replaceMachine,
  'mesos-disconnect': mesos.disconnect,
  'mesos-delay': mesos.delayMesos,
};

export class FaultDriver {
  readonly atlas: FaultAtlas;
  readonly #cluster: Cluster;
  readonly #options: SwarmOptions;
  readonly #random: Prng;
  readonly #randoms = new Map<FaultKind, Prng>();
  /** What undoes each fault that lasts. */
  readonly #undo = new Set<() => void>();
  #timer: Timer | null = null;
  readonly counts = new Map<FaultKind, number>();

  constructor(cluster: Cluster, options: SwarmOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#random = cluster.random.fork('faults');
    this.atlas = new FaultAtlas(cluster);
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
      if (this.#undo.size === 0 && findUnrest(this.#cluster.state) === '') this.atlas.onRest();
      this.#inject(this.#random.pick(this.#options.faults));
      this.#next();
    });
  }

  #inject(kind: FaultKind): void {
    const what = FAULTS[kind]({
      cluster: this.#cluster,
      options: this.#options,
      atlas: this.atlas,
      random: this.#randomOf(kind),
      during: (ms, undo) => this.#during(ms, undo),
    });
    if (what === null) return;
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    this.#cluster.trace.add('faults', `${kind} ${what}`);
  }

  #randomOf(kind: FaultKind): Prng {
    const known = this.#randoms.get(kind);
    if (known !== undefined) return known;
    const random = this.#random.fork(kind);
    this.#randoms.set(kind, random);
    return random;
  }

  #during(ms: number, undo: () => void): void {
    const once = (): void => {
      if (this.#undo.delete(once)) undo();
    };
    this.#undo.add(once);
    this.#cluster.clock.after(ms, once);
  }
}
