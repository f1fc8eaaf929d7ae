/**
 * A large cluster around the production scheduler (its shell, with the whole core): simulated store, clock,
 * Mesos and executors. Only what the scheduler does is measured: what the others answer is made
 * beside the measurement. Time is the simulator's; figures are processor time of this process.
 */
import { createState } from '../../scheduler/core/bootstrap.ts';
import type {
  Command,
  CommandResult,
  Event,
  ManagerOptions,
} from '../../scheduler/core/contract.ts';
import type { State } from '../../scheduler/core/state.ts';
import { Scheduler } from '../../scheduler/scheduler.ts';
import type { DiskId } from '../../shared/base/ids.ts';
import { Prng } from '../../shared/base/prng.ts';
import { MiB } from '../../shared/base/units.ts';
import type { Resource, SchedulerCall, TaskInfo } from '../../shared/mesos/messages.ts';
import type { Offer, SchedulerEvent } from '../../shared/mesos/scheduler-messages.ts';
import type { ManagerMessage } from '../../shared/model/control.ts';
import { decodeTaskData } from '../../shared/model/task-data.ts';
import type { StoreEntry } from '../../shared/ports.ts';
import { SimulatedStore } from '../../test/simulation/ports/simulated-store.ts';
import { VirtualClock } from '../../test/simulation/ports/virtual-clock.ts';
import { ModelAgent, mount, scalar } from '../../test/unit/offers/agent-model.ts';
import { DISK_BYTES, Fleet, type FleetNode } from './fleet.ts';
import type { ScaleSizes } from './settings.ts';

export interface Cost {
  readonly cpuMs: number;
  /** Longest single run of the event loop's work. */
  readonly stepMsMax: number;
}

/** Offers in one event of the master. */
const OFFERS_PER_EVENT = 50;
/** Reports that the shell finds in its inbox at a time. */
const REPORTS_PER_BATCH = 50;
const TICK_MS = 250;
/** Several commits of the simulated store: the shell has worked off what it was given by then. */
const COMMIT_MS = 20;

function managerOptions(sizes: ScaleSizes): ManagerOptions {
  return {
    clusterName: 'scale',
    role: 'cistern',
    principal: 'cistern',
    user: 'root',
    webuiUrl: null,
    failoverTimeoutSeconds: 604_800,
    leaseMs: 4_000,
    silentMs: 2_500,
    leaseMarginMs: 250,
    memberFailureMs: 2_000,
    rebuildAfterMs: 600_000,
    resyncBytesPerSecond: 256 * MiB,
    concurrentJoinsPerDisk: 2,
    defaultPgCount: sizes.pgs,
    claimPerNode: null,
    claimNodes: null,
    expandAtRatio: 0.8,
    fullAtRatio: 0.95,
    expandCooldownMs: 30_000,
    overcommitRatio: 10,
    controlAddress: 'scheduler:7500',
    executor: {
      version: 'scale',
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

export class ScaleCluster {
  readonly sizes: ScaleSizes;
  readonly clock = new VirtualClock();
  readonly store = new SimulatedStore(this.clock, new Prng('scale'));
  readonly fleet: Fleet;
  readonly agents = new Map<string, ModelAgent>();
  readonly #calls: SchedulerCall[] = [];
  #launches: TaskInfo[] = [];
  #scheduler: Scheduler | null = null;
  readonly abdications: string[] = [];

  constructor(sizes: ScaleSizes) {
    this.sizes = sizes;
    this.fleet = new Fleet(sizes.volumes);
  }

  get scheduler(): Scheduler {
    if (this.#scheduler === null) throw new Error('No scheduler leads');
    return this.#scheduler;
  }

  get state(): State {
    return this.scheduler.state;
  }

  /** A scheduler takes over: loads everything and makes its state. */
  async lead(): Promise<{ readonly load: Cost; readonly entries: number }> {
    this.#scheduler?.close();
    this.#scheduler = null;
    this.fleet.forgetSessions();
    const store = this.store.open();
    const campaign = store.campaign({ address: 'scheduler:7500' });
    await this.clock.runFor(COMMIT_MS);
    const { term } = await campaign;
    const loading = store.load();
    await this.clock.runFor(COMMIT_MS);
    const { revision, entries } = await loading;
    const load = await this.measure(async () => {
      const state = this.#createState(entries, term);
      this.#scheduler = new Scheduler(state, revision, {
        clock: this.clock,
        log: () => undefined,
        store,
        mesos: { call: (call) => this.#calls.push(call) },
        control: {
          send: (session, message) => this.#take(session, message),
          closeSession: (session) => this.fleet.closed(session),
        },
        onAbdicated: (reason) => this.abdications.push(reason),
      });
    });
    return { load, entries: entries.length };
  }

  #createState(entries: readonly StoreEntry[], term: number): State {
    const setup = {
      options: managerOptions(this.sizes),
      entries,
      term,
      newClusterId: '0123456789abcdef0123456789abcdef',
    };
    return createState(setup, { ms: this.clock.now(), wallMs: this.clock.wall() });
  }

  async measure(action: () => Promise<void>): Promise<Cost> {
    const before = process.cpuUsage();
    await action();
    const { user, system } = process.cpuUsage(before);
    const cpuMs = (user + system) / 1000;
    return { cpuMs, stepMsMax: cpuMs };
  }

  /** Posts events, lets the shell work them off (with its commits), and says what that took. */
  async work(events: readonly Event[]): Promise<Cost> {
    return this.measure(async () => {
      for (const event of events) this.scheduler.post(event);
      await this.clock.runFor(COMMIT_MS);
      if (this.abdications.length > 0) throw new Error(`It gave up: ${this.abdications.join()}`);
    });
  }

  command(command: Command): Promise<Cost> {
    return this.commands([command]);
  }

  /** Commands that come at once. Throws when one fails. */
  async commands(commands: readonly Command[]): Promise<Cost> {
    const answers: Promise<CommandResult>[] = [];
    const cost = await this.measure(async () => {
      for (const command of commands) answers.push(this.scheduler.execute(command));
      await this.clock.runFor(COMMIT_MS);
    });
    for (const result of await Promise.all(answers)) {
      if (result.kind === 'failed') throw result.error;
    }
    return cost;
  }

  // ── Mesos ──────────────────────────────────────────────────────────────────────────────────

  async subscribe(): Promise<Cost> {
    return this.work([
      mesos({
        type: 'SUBSCRIBED',
        subscribed: { framework_id: { value: 'framework-1' }, heartbeat_interval_seconds: 15 },
      }),
    ]);
  }

  addAgent(index: number, zones = 10): ModelAgent {
    const hostname = `host${String(index).padStart(5, '0')}`;
    const mib = DISK_BYTES / MiB;
    const disks: Resource[] = [];
    for (let disk = 0; disk < this.sizes.disksPerAgent; disk += 1) {
      disks.push(mount(`/mnt/disk${disk}`, mib));
    }
    const agent = new ModelAgent(hostname, [scalar('cpus', 16), scalar('mem', 65_536), ...disks]);
    const zone = { name: `z${index % zones}` };
    agent.domain = { fault_domain: { region: { name: 'r1' }, zone } };
    this.agents.set(agent.agentId, agent);
    return agent;
  }

  /** Offers what the agents have free, as a master does after SUBSCRIBED or REVIVE. */
  async offerAll(
    agents: Iterable<ModelAgent>,
  ): Promise<{ readonly cost: Cost; readonly offers: number }> {
    const offers: Offer[] = [...agents].map((agent) => agent.offer());
    const events: Event[] = [];
    for (let from = 0; from < offers.length; from += OFFERS_PER_EVENT) {
      const some = offers.slice(from, from + OFFERS_PER_EVENT);
      events.push(mesos({ type: 'OFFERS', offers: { offers: some } }));
    }
    const cost = await this.work(events);
    return { cost, offers: offers.length };
  }

  /** What the scheduler called since the last time; accepts are carried out, launches remembered. */
  takeCalls(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const call of this.#calls.splice(0)) {
      const type = call.type ?? 'UNKNOWN';
      counts.set(type, (counts.get(type) ?? 0) + 1);
      if (type !== 'ACCEPT') continue;
      for (const operation of call.accept?.operations ?? []) {
        const id = call.accept?.offer_ids?.[0]?.value ?? '';
        const agent = this.agents.get(`agent-${id.slice(0, id.lastIndexOf('-O'))}-S0`);
        agent?.apply([operation]);
        this.#launches.push(...(operation.launch?.task_infos ?? []));
      }
    }
    return counts;
  }

  /** Launched tasks come up: their updates, then the executors' hellos. */
  async startTasks(): Promise<{
    readonly updates: Cost;
    readonly hellos: Cost;
    readonly tasks: number;
  }> {
    const launches = this.#launches;
    this.#launches = [];
    const fresh = new Set<FleetNode>();
    const updates = launches.map((task) => {
      const data = decodeTaskData(task.data ?? Buffer.alloc(0));
      const agent = this.agents.get(task.agent_id.value);
      const executorId = task.executor?.executor_id.value ?? '';
      const node = this.fleet.add(agent?.hostname ?? '', task.agent_id.value, executorId);
      this.fleet.addDisk(node, { id: data.disk as DiskId, uuid: data.uuid });
      fresh.add(node);
      return update(task.task_id.value, task.agent_id.value, executorId);
    });
    const updateCost = await this.work(updates);
    const hellos = await this.greet([...fresh].filter((node) => node.session === null));
    return { updates: updateCost, hellos, tasks: launches.length };
  }

  /** Answers of the master about all tasks, as after RECONCILE. */
  async reconcile(): Promise<Cost> {
    const events: Event[] = [];
    for (const disk of this.state.facts.disks.values()) {
      const node = this.state.facts.nodes.get(disk.node);
      if (disk.taskId !== null) events.push(update(disk.taskId, node.agentId, node.executorId));
    }
    return this.work(events);
  }

  // ── Executors ──────────────────────────────────────────────────────────────────────────────

  async greet(nodes: readonly FleetNode[]): Promise<Cost> {
    const { clusterId } = this.state.facts.cluster;
    return this.work(
      nodes.map((node): Event => ({ kind: 'node-hello', ...this.fleet.hello(node, clusterId) })),
    );
  }

  /** One second of the cluster: every living node reports once, the scheduler ticks four times. */
  async second(): Promise<Cost> {
    const alive = [...this.fleet.nodes.values()].filter((node) => node.isAlive && node.session);
    let cpuMs = 0;
    let stepMsMax = 0;
    const take = (cost: Cost): void => {
      cpuMs += cost.cpuMs;
      stepMsMax = Math.max(stepMsMax, cost.cpuMs);
    };
    const quarter = Math.ceil(alive.length / 4);
    for (let index = 0; index < 4; index += 1) {
      const untilMs = this.clock.now() + TICK_MS;
      const some = alive.slice(index * quarter, (index + 1) * quarter);
      for (let from = 0; from < some.length; from += REPORTS_PER_BATCH) {
        const events = some.slice(from, from + REPORTS_PER_BATCH).map((node) => this.#report(node));
        take(await this.work(events));
      }
      take(await this.tick());
      await this.clock.runUntil(Math.max(untilMs, this.clock.now()));
    }
    return { cpuMs, stepMsMax };
  }

  /** One node reports. */
  reportOf(node: FleetNode): Promise<Cost> {
    return this.work([this.#report(node)]);
  }

  tick(): Promise<Cost> {
    return this.work([{ kind: 'tick' }]);
  }

  #report(node: FleetNode): Event {
    node.sequence += 1;
    const { session, sequence } = node;
    const report = this.fleet.report(node);
    return { kind: 'node-report', session: session ?? '', sequence, report };
  }

  #take(session: string, message: ManagerMessage): void {
    this.fleet.note(message.kind);
    if (message.kind === 'welcome') this.fleet.welcome(session, message.node);
    else if (message.kind === 'map') this.fleet.takeMap(session, message.map);
    else if (message.kind === 'delta') this.fleet.takeMap(session, message.delta);
  }
}

function mesos(event: SchedulerEvent): Event {
  return { kind: 'mesos', event };
}

let uuids = 0;

function update(taskId: string, agentId: string, executorId: string): Event {
  uuids += 1;
  const uuid = Buffer.alloc(16);
  uuid.writeUInt32BE(uuids, 12);
  return mesos({
    type: 'UPDATE',
    update: {
      status: {
        task_id: { value: taskId },
        state: 'TASK_RUNNING',
        source: 'SOURCE_EXECUTOR',
        agent_id: { value: agentId },
        executor_id: { value: executorId },
        uuid,
      },
    },
  });
}
