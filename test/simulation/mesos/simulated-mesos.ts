/**
 * A small Mesos master: one framework, its subscription, offers of agents' free resources, and the
 * way of task updates from the agents. It accounts for resources as a master does (`ModelAgent`), and
 * refuses what does not fit. Messages take time, updates may come twice, agents may be out of reach.
 */
import type { Prng } from '../../../shared/base/prng.ts';
import type { Resource, TaskInfo, TaskState, TaskStatus } from '../../../shared/mesos/messages.ts';
import type {
  OfferOperation,
  SchedulerCall,
  SchedulerEvent,
} from '../../../shared/mesos/scheduler-messages.ts';
import type { Clock } from '../../../shared/ports.ts';
import { OrderedPath } from '../ports/ordered-path.ts';
import type { SimulatedNetwork } from '../ports/simulated-network.ts';
import type { Trace } from '../trace.ts';
import { AgentRegistry } from './agent-registry.ts';
import { MesosMaintenance } from './mesos-maintenance.ts';
import type {
  AgentPlace,
  MasterTask,
  MesosSubscriber,
  Registered,
  Subscriber,
} from './mesos-records.ts';
import type { AgentMachine, SimulatedAgent } from './simulated-agent.ts';

export interface MesosSubscription {
  call(call: SchedulerCall): void;
  /** The scheduler's process is gone. */
  close(): void;
}

export interface MesosModules {
  readonly clock: Clock;
  readonly random: Prng;
  readonly network: SimulatedNetwork;
  readonly trace: Trace;
}

export const MESOS_HOST = 'mesos';
export const SCHEDULER_HOST = 'scheduler';

const ALLOCATION_MS = 1_000;
const DELAY_MS_MAX = 20;
const DUPLICATE_CHANCE = 0.05;

export class SimulatedMesos {
  readonly #modules: MesosModules;
  readonly #agents: AgentRegistry;
  readonly #tasks = new Map<string, MasterTask>();
  readonly #offers = new Map<string, Registered>();
  #subscriber: Subscriber | null = null;
  #frameworkId: string | null = null;
  #isSuppressed = true;
  readonly maintenance: MesosMaintenance;
  /** Longest time that a word between agents, master and scheduler takes. */
  delayMsMax = DELAY_MS_MAX;
  duplicateChance = DUPLICATE_CHANCE;
  /** What the master refused, for the end of a run. */
  readonly refused: string[] = [];

  constructor(modules: MesosModules) {
    this.#modules = modules;
    const { random, trace } = modules;
    this.#agents = new AgentRegistry(modules, {
      tasks: this.#tasks,
      delayMsMax: () => this.delayMsMax,
      isDuplicated: () => random.chance(this.duplicateChance),
      note: (line) => trace.add(MESOS_HOST, line),
      send: (event) => this.#send(event),
      sendStatus: (status) => this.#sendStatus(status),
      sendMasterStatus: (taskId, task, more) => this.#sendMasterStatus(taskId, task, more),
      rescind: (entry) => this.#rescind(entry),
    });
    this.maintenance = new MesosMaintenance(modules.clock, {
      findHost: (hostname) => this.#agents.findHost(hostname),
      send: (event) => this.#send(event),
      rescind: (entry) => this.#rescind(entry),
    });
    this.#allocateLater();
  }

  addAgent(place: AgentPlace, resources: readonly Resource[], machine: AgentMachine): void {
    this.#agents.add(place, resources, machine);
  }

  readonly agentOf = (hostname: string): SimulatedAgent | undefined =>
    this.#agents.findHost(hostname)?.agent;

  bootAgent(hostname: string): void {
    this.#agents.boot(hostname);
  }

  /** Its agent begins anew under another id; `bootAgent`, or its machine, has it register. */
  renewAgent(hostname: string, isWiped = false): void {
    this.#agents.renew(hostname, isWiped);
  }

  setCutOff(hostname: string, isCutOff: boolean): void {
    this.#agents.setCutOff(hostname, isCutOff);
  }

  /** Words are quick again. */
  calm(): void {
    this.delayMsMax = DELAY_MS_MAX;
    this.duplicateChance = DUPLICATE_CHANCE;
  }

  enlargePaths(): void {
    this.#agents.enlargePaths();
  }

  /** Free resources are offered again, whatever was declined. */
  readonly reviveAll = (): void => {
    for (const entry of this.#agents.all) entry.filteredUntilMs = 0;
  };

  subscribe(handlers: MesosSubscriber, frameworkId: string | null): MesosSubscription {
    const { clock, random, network, trace } = this.#modules;
    const modules = { clock, random, network };
    const delay = (): number => this.delayMsMax;
    const path = new OrderedPath(MESOS_HOST, SCHEDULER_HOST, delay, modules);
    const up = new OrderedPath(SCHEDULER_HOST, MESOS_HOST, delay, modules);
    const subscriber: Subscriber = { handlers, path, isOver: false };
    up.send(() => {
      if (subscriber.isOver) return;
      const before = this.#subscriber;
      if (before !== null) {
        this.#sendTo(before, { type: 'ERROR', error: { message: 'Framework failed over' } });
        this.#drop(before);
      }
      this.#frameworkId ??= frameworkId ?? 'framework-1';
      this.#subscriber = subscriber;
      this.#isSuppressed = true;
      trace.add(MESOS_HOST, `subscribed ${this.#frameworkId}`);
      this.#send({
        type: 'SUBSCRIBED',
        subscribed: { framework_id: { value: this.#frameworkId }, heartbeat_interval_seconds: 15 },
      });
    });
    return {
      call: (call) =>
        up.send(() => {
          if (this.#subscriber === subscriber) this.#onCall(call);
        }),
      close: () => {
        subscriber.isOver = true;
        if (this.#subscriber === subscriber) this.#drop(subscriber);
      },
    };
  }

  /** The connection between master and scheduler breaks; the scheduler subscribes again. */
  disconnect(): void {
    const subscriber = this.#subscriber;
    if (subscriber !== null) this.#drop(subscriber);
    subscriber?.path.send(() => subscriber.handlers.onDisconnected('connection reset'));
  }

  // ── Towards the scheduler ──────────────────────────────────────────────────────────────────

  #send(event: SchedulerEvent): void {
    if (this.#subscriber !== null) this.#sendTo(this.#subscriber, event);
  }

  #sendTo(subscriber: Subscriber, event: SchedulerEvent): void {
    subscriber.path.send(() => {
      if (!subscriber.isOver) subscriber.handlers.onEvent(event);
    });
  }

  #drop(subscriber: Subscriber): void {
    if (this.#subscriber === subscriber) this.#subscriber = null;
    this.maintenance.forget();
    for (const entry of this.#offers.values()) entry.offerId = null;
    this.#offers.clear();
  }

  #sendStatus(status: TaskStatus): void {
    this.#modules.trace.add(
      MESOS_HOST,
      `${status.task_id.value} ${status.state} ${status.reason ?? ''}`,
    );
    this.#send({ type: 'UPDATE', update: { status } });
  }

  /** As the master says it: nothing to acknowledge. */
  #sendMasterStatus(taskId: string, task: MasterTask | null, more: Partial<TaskStatus>): void {
    this.#sendStatus({
      task_id: { value: taskId },
      state: task?.state ?? 'TASK_UNKNOWN',
      source: 'SOURCE_MASTER',
      timestamp: this.#modules.clock.wall() / 1000,
      ...(task === null ? {} : { agent_id: { value: task.agent.agent.agentId } }),
      ...more,
    });
  }

  // ── Calls ──────────────────────────────────────────────────────────────────────────────────

  #onCall(call: SchedulerCall): void {
    switch (call.type) {
      case 'ACCEPT':
        this.#onAccept(call);
        break;
      case 'DECLINE':
        for (const { value } of call.decline?.offer_ids ?? []) {
          this.#takeOffer(value, call.decline?.filters?.refuse_seconds ?? 5);
        }
        break;
      case 'SUPPRESS':
        this.#isSuppressed = true;
        break;
      case 'REVIVE':
        this.#isSuppressed = false;
        this.reviveAll();
        break;
      case 'ACKNOWLEDGE':
        this.#onAcknowledge(call);
        break;
      case 'RECONCILE':
        this.#onReconcile(call);
        break;
      case 'KILL':
        this.#onKill(call);
        break;
      case 'SHUTDOWN':
        this.#agents.toAgent(call.shutdown?.agent_id.value, (agent) =>
          agent.shutdown(call.shutdown?.executor_id.value ?? ''),
        );
        break;
      case 'MESSAGE': {
        const { message } = call;
        if (message === undefined) break;
        const executorId = message.executor_id.value;
        this.#agents.toAgent(message.agent_id.value, (agent) =>
          agent.message(executorId, message.data),
        );
        break;
      }
      case 'ACCEPT_INVERSE_OFFERS':
      case 'DECLINE_INVERSE_OFFERS':
        this.maintenance.onAnswer(call);
        break;
      default:
        this.refused.push(`call ${call.type ?? 'without type'}`);
    }
  }

  #takeOffer(offerId: string, refuseSeconds: number): Registered | null {
    const entry = this.#offers.get(offerId);
    if (entry === undefined) return null;
    this.#offers.delete(offerId);
    entry.offerId = null;
    entry.filteredUntilMs = this.#modules.clock.now() + refuseSeconds * 1000;
    return entry;
  }

  #onAccept(call: SchedulerCall): void {
    const { accept } = call;
    let entry: Registered | null = null;
    for (const { value } of accept?.offer_ids ?? []) {
      entry = this.#takeOffer(value, accept?.filters?.refuse_seconds ?? 5);
    }
    for (const operation of accept?.operations ?? []) this.#operate(entry, operation);
  }

  #operate(entry: Registered | null, operation: OfferOperation): void {
    const tasks = operation.launch?.task_infos ?? [];
    if (entry === null || entry.lostSinceMs !== null) {
      for (const task of tasks) this.#refuseTask(task, 'TASK_DROPPED', 'REASON_INVALID_OFFERS');
      return;
    }
    const what = `${operation.type ?? ''} on ${entry.model.hostname}`;
    this.#modules.trace.add(MESOS_HOST, what);
    const running = new Set(entry.model.executors.keys());
    try {
      entry.model.apply([operation]);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      this.refused.push(`${what}: ${text}`);
      for (const task of tasks) this.#refuseTask(task, 'TASK_ERROR', 'REASON_TASK_INVALID');
      return;
    }
    for (const task of tasks) {
      const executorId = task.executor?.executor_id.value ?? '';
      const startsExecutor = !running.has(executorId);
      running.add(executorId);
      const known: MasterTask = { agent: entry, executorId, state: 'TASK_STAGING', isOver: false };
      this.#tasks.set(task.task_id.value, known);
      this.#agents.toAgent(entry.agent.agentId, (agent) => agent.run(task, startsExecutor));
    }
  }

  #refuseTask(
    task: TaskInfo,
    state: TaskState,
    reason: 'REASON_INVALID_OFFERS' | 'REASON_TASK_INVALID',
  ): void {
    this.#sendMasterStatus(task.task_id.value, null, { state, reason, agent_id: task.agent_id });
  }

  #onAcknowledge(call: SchedulerCall): void {
    const { acknowledge } = call;
    if (acknowledge === undefined) return;
    const taskId = acknowledge.task_id.value;
    const task = this.#tasks.get(taskId);
    if (task?.isOver === true) this.#tasks.delete(taskId);
    this.#agents.toAgent(acknowledge.agent_id.value, (agent) =>
      agent.acknowledge(taskId, acknowledge.uuid),
    );
  }

  #onReconcile(call: SchedulerCall): void {
    const asked = call.reconcile?.tasks ?? [];
    const reason = 'REASON_RECONCILIATION' as const;
    for (const [taskId, task] of asked.length === 0 ? this.#tasks : []) {
      this.#sendMasterStatus(taskId, task, { reason });
    }
    for (const { task_id, agent_id } of asked) {
      const task = this.#tasks.get(task_id.value);
      if (task !== undefined) {
        this.#sendMasterStatus(task_id.value, task, { reason });
        continue;
      }
      const agent = this.#agents.find(agent_id?.value);
      const state: TaskState =
        agent === undefined
          ? 'TASK_UNKNOWN'
          : agent.isUnreachable
            ? 'TASK_UNREACHABLE'
            : 'TASK_GONE';
      this.#sendMasterStatus(task_id.value, null, { state, reason, agent_id });
    }
  }

  #onKill(call: SchedulerCall): void {
    const taskId = call.kill?.task_id.value ?? '';
    const task = this.#tasks.get(taskId);
    if (task === undefined) {
      const status = { state: 'TASK_GONE', reason: 'REASON_RECONCILIATION' } as const;
      this.#sendMasterStatus(taskId, null, { ...status, agent_id: call.kill?.agent_id });
      return;
    }
    this.#agents.toAgent(task.agent.agent.agentId, (agent) => void agent.kill(taskId));
  }

  // ── Offers ─────────────────────────────────────────────────────────────────────────────────

  #rescind(entry: Registered): void {
    const offerId = entry.offerId;
    if (offerId === null) return;
    this.#offers.delete(offerId);
    entry.offerId = null;
    this.#send({ type: 'RESCIND', rescind: { offer_id: { value: offerId } } });
  }

  #allocateLater(): void {
    this.#modules.clock.after(ALLOCATION_MS, () => {
      this.#agents.watch();
      if (this.#subscriber !== null) this.maintenance.ask();
      this.#allocate();
      this.#allocateLater();
    });
  }

  #allocate(): void {
    if (this.#subscriber === null || this.#isSuppressed) return;
    const nowMs = this.#modules.clock.now();
    for (const entry of this.#agents.all) {
      if (entry.offerId !== null || entry.filteredUntilMs > nowMs) continue;
      if (entry.lostSinceMs !== null || entry.model.free.length === 0) continue;
      const offer = entry.model.offer();
      entry.offerId = offer.id.value;
      this.#offers.set(offer.id.value, entry);
      this.#send({ type: 'OFFERS', offers: { offers: [structuredClone(offer)] } });
    }
  }
}
