/**
 * A whole cluster in one thread: the production scheduler on a simulated store and Mesos, and nodes
 * that run the production executor. It boots as a real one does, from the first offer; nothing is put
 * into the manager by hand.
 */
import type { StoreTuning } from '../../executor/disk/store-types.ts';
import { createState } from '../../scheduler/core/bootstrap.ts';
import type { Command, CommandResult, ManagerOptions } from '../../scheduler/core/contract.ts';
import { mesosSubscription } from '../../scheduler/core/mesos/framework.ts';
import type { State } from '../../scheduler/core/state.ts';
import { Scheduler } from '../../scheduler/scheduler.ts';
import { describeError, StorageError } from '../../shared/base/errors.ts';
import { Prng } from '../../shared/base/prng.ts';
import { findUnexplained } from '../scenarios/manager/explained.ts';
import { ClusterWatch } from './checkers/cluster-watch.ts';
import { LeaderWatch } from './checkers/leader-watch.ts';
import type { HeldSpace } from './checkers/space-watch.ts';
import { type MesosSubscription, SCHEDULER_HOST, SimulatedMesos } from './mesos/simulated-mesos.ts';
import { MachineClock } from './ports/machine-clock.ts';
import { ProcessClock } from './ports/process-clock.ts';
import { SimulatedControl, type SimulatedControlServer } from './ports/simulated-control.ts';
import { SimulatedNetwork } from './ports/simulated-network.ts';
import { SimulatedStore } from './ports/simulated-store.ts';
import { VirtualClock } from './ports/virtual-clock.ts';
import { SimulatedNode } from './simulated-node.ts';
import { Trace } from './trace.ts';

export interface ClusterOptions {
  readonly seed: number | string;
  readonly nodeCount: number;
  readonly disksPerNode: number;
  readonly diskMiB: number;
  /** PATH disks, which can grow, instead of MOUNT disks. */
  readonly areDisksShared?: boolean;
  readonly pgCount: number;
  /** Longest delay of a message of the data protocol. */
  readonly networkDelayMsMax: number;
  readonly diskLatencyMs: number;
  /** Clocks differ by up to this part: 0.005 is half a percent. */
  readonly clockSkew: number;
  readonly rebuildAfterMs: number;
  /** What a node may copy. */
  readonly resyncBytesPerSecond: number;
  /** Fault domains that agents are spread over; 0 for none. */
  readonly zoneCount: number;
  /** Of the extent stores. */
  readonly tuning: Partial<StoreTuning>;
}

/** The settings of production (scheduler/main.ts), but for size. */
function managerOptions(options: ClusterOptions): ManagerOptions {
  return {
    clusterName: 'simulated',
    role: 'cistern',
    principal: 'cistern',
    user: 'root',
    webuiUrl: null,
    failoverTimeoutSeconds: 604_800,
    leaseMs: 4_000,
    silentMs: 2_500,
    leaseMarginMs: 250,
    memberFailureMs: 2_000,
    rebuildAfterMs: options.rebuildAfterMs,
    resyncBytesPerSecond: options.resyncBytesPerSecond,
    concurrentJoinsPerDisk: 2,
    defaultPgCount: options.pgCount,
    claimPerNode: null,
    claimNodes: null,
    expandAtRatio: 0.8,
    fullAtRatio: 0.95,
    expandCooldownMs: 30_000,
    overcommitRatio: 10,
    controlAddress: `${SCHEDULER_HOST}:0`,
    executor: {
      version: 'simulated',
      command: 'cistern-executor',
      uris: [],
      environment: {},
      cpus: 0.5,
      memoryMb: 256,
      taskCpus: 0.01,
      taskMemoryMb: 32,
    },
  };
}

/** One life of the scheduler's process. */
interface SchedulerLife {
  readonly clock: ProcessClock;
  scheduler: Scheduler | null;
  control: SimulatedControlServer | null;
  mesos: MesosSubscription | null;
  isOver: boolean;
}

const FIRST_PORT = 7_500;
/** Marathon starts a scheduler that ended again. */
const RESTART_MS = 1_000;
/** All views and their explanations are made so often. */
const EXPLAIN_MS = 1_000;
const RESUBSCRIBE_MS = 500;

export class Cluster {
  readonly options: ClusterOptions;
  readonly clock = new VirtualClock();
  readonly trace: Trace;
  readonly random: Prng;
  readonly network: SimulatedNetwork;
  readonly control: SimulatedControl;
  readonly mesos: SimulatedMesos;
  readonly store: SimulatedStore;
  readonly watch: ClusterWatch;
  readonly #leaders: LeaderWatch;
  readonly nodes: SimulatedNode[] = [];
  /** Called with the manager's state after each of its commits. */
  onCommit: (state: State) => void = () => undefined;
  /** Called when all nodes lose power, just before. */
  onBlackout: () => void = () => undefined;
  /** What must never happen, from those who see it first. */
  onViolation: (what: string) => void = () => undefined;
  #nextExplainAtMs = 0;
  #life: SchedulerLife | null = null;
  #lives = 0;

  constructor(options: ClusterOptions) {
    this.options = options;
    this.random = new Prng(`cluster ${options.seed}`);
    this.trace = new Trace(this.clock);
    this.network = new SimulatedNetwork(this.clock, this.random.fork('network'), {
      delayMsMin: 0.05,
      delayMsMax: options.networkDelayMsMax,
      connectDeadlineMs: 3_000,
    });
    const { clock, network, trace } = this;
    this.control = new SimulatedControl({ clock, network, random: this.random.fork('control') });
    this.mesos = new SimulatedMesos({ clock, network, trace, random: this.random.fork('mesos') });
    this.store = new SimulatedStore(clock, this.random.fork('store'));
    this.#leaders = new LeaderWatch(clock, (what) => this.onViolation(what));
    this.watch = new ClusterWatch({
      clock,
      budget: {
        bytesPerSecond: options.resyncBytesPerSecond,
        disksPerNode: options.disksPerNode,
      },
      heldBy: (disk) => this.#heldBy(disk),
      onViolation: (what) => this.onViolation(what),
    });
    this.store.onCommitted = (changes) => this.watch.onCommitted(changes);
    for (let index = 0; index < options.nodeCount; index += 1) this.addNode();
  }

  #heldBy(disk: number): HeldSpace | null {
    for (const node of this.nodes) {
      const store = node.dataProcess?.stores.get(disk);
      if (store === undefined) continue;
      const { usedBytes, capacityBytes } = store.usage();
      const pgBytes = new Map(store.pgUsage().map(({ pg, bytes }) => [pg, bytes]));
      return { usedBytes, capacityBytes, pgBytes };
    }
    return null;
  }

  addNode(): SimulatedNode {
    const { disksPerNode, diskMiB, diskLatencyMs, clockSkew, zoneCount, tuning } = this.options;
    const { clock, network, control, mesos, trace, watch } = this;
    const host = `host${this.nodes.length + 1}`;
    const random = this.random.fork(host);
    const clockRate = 1 + (random.fraction() * 2 - 1) * clockSkew;
    const zone = zoneCount === 0 ? null : `zone${this.nodes.length % zoneCount}`;
    const node = new SimulatedNode(
      {
        host,
        zone,
        diskCount: disksPerNode,
        diskMiB,
        areDisksShared: this.options.areDisksShared === true,
        diskLatencyMs,
        clockRate,
        tuning,
      },
      { clock, network, control, mesos, trace, watch, random },
    );
    this.nodes.push(node);
    return node;
  }

  node(host: string): SimulatedNode | undefined {
    return this.nodes.find((node) => node.host === host);
  }

  /** Null while no scheduler leads. */
  get scheduler(): Scheduler | null {
    return this.#life?.scheduler ?? null;
  }

  get state(): State | null {
    return this.scheduler?.state ?? null;
  }

  startScheduler(): void {
    if (this.#life !== null) return;
    const life: SchedulerLife = {
      clock: new ProcessClock(new MachineClock(this.clock)),
      scheduler: null,
      control: null,
      mesos: null,
      isOver: false,
    };
    this.#life = life;
    this.#lives += 1;
    this.trace.add(SCHEDULER_HOST, `+ scheduler ${this.#lives}`);
    this.#lead(life, this.#lives).catch((error: unknown) => {
      this.trace.add(SCHEDULER_HOST, `! ${describeError(error)}`);
      // Another one leads: this one would have stopped by itself.
      if (!(error instanceof StorageError)) this.onViolation(`Scheduler: ${describeError(error)}`);
      this.#restart(life);
    });
  }

  /** The process is gone; nothing starts another one. */
  crashScheduler(): void {
    const life = this.#life;
    if (life === null) return;
    this.trace.add(SCHEDULER_HOST, '! scheduler crashes');
    this.#end(life);
  }

  /**
   * The process is stopped, with effects under way, and another one leads; after `ms` it goes on and
   * has to find that out.
   */
  usurpScheduler(ms: number): void {
    const life = this.#life;
    if (life === null) return;
    this.trace.add(SCHEDULER_HOST, '! scheduler is stopped, another one begins');
    life.clock.stop();
    this.#life = null;
    this.startScheduler();
    this.clock.after(ms, () => {
      if (life.isOver) return;
      this.trace.add(SCHEDULER_HOST, '! the stopped scheduler goes on');
      life.clock.goOn();
    });
  }

  /**
   * Another one leads while this one lives on with all its connections; it finds out when it asks the store,
   * or when Mesos or the executors turn away from it.
   */
  rivalScheduler(): void {
    const life = this.#life;
    if (life === null) return;
    this.trace.add(SCHEDULER_HOST, '! another scheduler begins beside this one');
    this.#life = null;
    this.startScheduler();
  }

  /** The answer of the manager; `unavailable` when it dies or does not answer. */
  execute(command: Command): Promise<CommandResult> {
    const { scheduler } = this;
    const unavailable = (why: string): CommandResult => ({
      kind: 'failed',
      error: new StorageError('unavailable', why),
    });
    if (scheduler === null) return Promise.resolve(unavailable('No scheduler leads'));
    return new Promise((resolve) => {
      const timer = this.clock.after(60_000, () => resolve(unavailable('No answer in time')));
      void scheduler.execute(command).then((result) => {
        timer.cancel();
        resolve(result);
      });
    });
  }

  async #lead(life: SchedulerLife, number: number): Promise<void> {
    const store = this.store.open((action) => life.clock.whenRunning(action));
    const address = `${SCHEDULER_HOST}:${FIRST_PORT + number}`;
    const { term } = await store.campaign({ address: `http://${address}` });
    this.#leaders.onElected(term);
    const snapshot = await store.load();
    if (life.isOver) return;
    const { clock } = life;
    const options = { ...managerOptions(this.options), controlAddress: address };
    const setup = { options, entries: snapshot.entries, term, newClusterId: CLUSTER_ID };
    const state = createState(setup, { ms: clock.now(), wallMs: clock.wall() });
    life.control = this.control.serve(address, clock, {
      onMessage: (session, message) => {
        if (message.kind === 'hello') {
          scheduler.post({ kind: 'node-hello', session, hello: message.hello });
        } else {
          const { sequence, report } = message;
          scheduler.post({ kind: 'node-report', session, sequence, report });
        }
      },
      onClose: (session, reason) => scheduler.onSessionClosed(session, reason),
    });
    const voice = this.#leaders.listen(term, {
      mesos: { call: (call) => life.mesos?.call(call) },
      control: life.control,
      announcer: this.control.announcer(SCHEDULER_HOST),
    });
    const scheduler = new Scheduler(state, snapshot.revision, {
      clock,
      log: this.trace.log(SCHEDULER_HOST),
      store,
      ...voice,
      onAbdicated: (reason) => {
        this.trace.add(SCHEDULER_HOST, `! abdicated: ${reason}`);
        if (!isExpectedEnd(reason)) this.onViolation(`Scheduler abdicated: ${reason}`);
        this.#restart(life);
      },
    });
    life.scheduler = scheduler;
    scheduler.subscribe(() => {
      if (this.#life !== life) return;
      this.onCommit(state);
      this.#lookForUnexplained(scheduler);
    });
    scheduler.start();
    await this.#subscribe(life, scheduler);
  }

  /** Whatever is not green in any view has an explanation, at every moment of every run. */
  #lookForUnexplained(scheduler: Scheduler): void {
    const nowMs = this.clock.now();
    if (nowMs < this.#nextExplainAtMs) return;
    this.#nextExplainAtMs = nowMs + EXPLAIN_MS;
    for (const complaint of findUnexplained(scheduler.state, scheduler.now())) {
      this.onViolation(`explain: ${complaint}`);
    }
  }

  async #subscribe(life: SchedulerLife, scheduler: Scheduler): Promise<void> {
    // As the adapter does: a subscription would throw out the scheduler that leads now.
    await scheduler.confirmLeadership().catch(() => undefined);
    if (life.isOver || !scheduler.isLeading) return;
    const { frameworkId } = mesosSubscription(scheduler.state);
    life.mesos = this.mesos.subscribe(
      {
        onEvent: (event) => {
          life.clock.whenRunning(() => scheduler.post({ kind: 'mesos', event }));
        },
        onDisconnected: (reason) => {
          life.mesos = null;
          life.clock.whenRunning(() => scheduler.post({ kind: 'mesos-disconnected', reason }));
          life.clock.after(RESUBSCRIBE_MS, () => void this.#subscribe(life, scheduler));
        },
      },
      frameworkId,
    );
  }

  #restart(life: SchedulerLife): void {
    if (life.isOver) return;
    this.#end(life);
    this.clock.after(RESTART_MS, () => this.startScheduler());
  }

  #end(life: SchedulerLife): void {
    life.isOver = true;
    life.clock.kill();
    life.scheduler?.close();
    life.control?.crash();
    life.mesos?.close();
    if (this.#life === life) this.#life = null;
  }
}

const CLUSTER_ID = '5c1a57e4-0000-4000-8000-000000000001';

/** Ends that the design provides for; anything else is a broken invariant. */
function isExpectedEnd(reason: string): boolean {
  return /Another scheduler subscribed|Term \d+ is over|Store is at/.test(reason);
}
