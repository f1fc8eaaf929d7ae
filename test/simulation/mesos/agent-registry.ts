/**
 * The agents that the simulated Mesos master knows: their connections, what they report, how they are lost
 * and register again, and what that means for tasks and resources. Offers and the framework are the
 * master's own (simulated-mesos.ts).
 */
import type { Prng } from '../../../shared/base/prng.ts';
import type { Resource, TaskStatus } from '../../../shared/mesos/messages.ts';
import type { SchedulerEvent } from '../../../shared/mesos/scheduler-messages.ts';
import type { Clock } from '../../../shared/ports.ts';
import { ModelAgent, path } from '../../unit/offers/agent-model.ts';
import { AgentLink } from './agent-link.ts';
import type { AgentPlace, MasterTask, Registered } from './mesos-records.ts';
import { type AgentMachine, isTerminal, SimulatedAgent } from './simulated-agent.ts';

/** Mesos' own default is 75 s (five pings of 15 s); shorter here, so that runs see both sides of it. */
const AGENT_TIMEOUT_MS = 30_000;

/** What the master does for its agents. */
export interface MasterSide {
  readonly tasks: Map<string, MasterTask>;
  /** Longest time that a word takes now. */
  delayMsMax(): number;
  isDuplicated(): boolean;
  note(line: string): void;
  send(event: SchedulerEvent): void;
  sendStatus(status: TaskStatus): void;
  sendMasterStatus(taskId: string, task: MasterTask | null, more: Partial<TaskStatus>): void;
  rescind(entry: Registered): void;
}

export class AgentRegistry {
  readonly #clock: Clock;
  readonly #random: Prng;
  readonly #master: MasterSide;
  readonly #agents = new Map<string, Registered>();
  /** As they were before anything was reserved. */
  readonly #resources = new Map<string, readonly Resource[]>();
  #renewals = 0;

  constructor(modules: { readonly clock: Clock; readonly random: Prng }, master: MasterSide) {
    this.#clock = modules.clock;
    this.#random = modules.random;
    this.#master = master;
  }

  add(place: AgentPlace, resources: readonly Resource[], machine: AgentMachine): void {
    const { hostname, zone } = place;
    const model = new ModelAgent(hostname, resources);
    if (zone !== null) {
      model.domain = { fault_domain: { region: { name: 'region' }, zone: { name: zone } } };
    }
    this.#resources.set(hostname, resources);
    this.#enter(model, machine);
  }

  #enter(model: ModelAgent, machine: AgentMachine): Registered {
    const clock = this.#clock;
    const random = this.#random;
    const delayMsMax = (): number => this.#master.delayMsMax();
    const { agentId, hostname } = model;
    const identity = { agentId, hostname };
    const agent = new SimulatedAgent(
      identity,
      machine,
      {
        update: (status) => this.#fromAgent(entry, () => this.#onUpdate(entry, status)),
        message: (executorId, data) =>
          this.#fromAgent(entry, () => this.#onMessage(entry, executorId, data)),
        executorEnded: (executorId) =>
          this.#fromAgent(entry, () => this.#onExecutorEnded(entry, executorId)),
      },
      { clock, random: random.fork(agentId) },
    );
    const entry: Registered = {
      agent,
      model,
      machine,
      link: new AgentLink({ clock, random: random.fork(`link ${agentId}`), delayMsMax }),
      lostSinceMs: null,
      isUnreachable: false,
      isRegistering: false,
      offerId: null,
      filteredUntilMs: 0,
      isRetired: false,
      isCutOff: false,
    };
    this.#agents.set(agentId, entry);
    return entry;
  }

  /** The agent starts after power loss; it registers again, however short it was away. */
  boot(hostname: string): void {
    const entry = this.findHost(hostname);
    if (entry === undefined) return;
    this.#onBroken(entry);
    entry.agent.boot();
    this.#register(entry);
  }

  /**
   * The agent could not recover and begins anew, under another id, without its tasks, executors and
   * unacknowledged updates. What it had reserved and created is kept apart and offered again; unless
   * its directory was emptied (`isWiped`): then its resources are free.
   */
  renew(hostname: string, isWiped: boolean): void {
    const former = this.findHost(hostname);
    if (former === undefined) return;
    this.#onBroken(former);
    former.isRetired = true;
    const { model, machine } = former;
    for (const executorId of [...model.executors.keys()]) model.endExecutor(executorId);
    for (const taskId of [...model.tasks.keys()]) model.endTask(taskId);
    if (isWiped) model.free = [...(this.#resources.get(hostname) ?? [])];
    this.#renewals += 1;
    model.agentId = `agent-${hostname}-S${this.#renewals}`;
    const entry = this.#enter(model, machine);
    entry.lostSinceMs = this.#clock.now();
    this.#master.note(`${hostname} begins anew as ${model.agentId}`);
  }

  /** Between agent and master nothing passes while `isCutOff`. */
  setCutOff(hostname: string, isCutOff: boolean): void {
    const entry = this.findHost(hostname);
    if (entry === undefined) return;
    entry.isCutOff = isCutOff;
    if (isCutOff) this.#onBroken(entry);
  }

  get all(): Iterable<Registered> {
    return this.#agents.values();
  }

  find(agentId: string | undefined): Registered | undefined {
    return agentId === undefined ? undefined : this.#agents.get(agentId);
  }

  findHost(hostname: string): Registered | undefined {
    return [...this.#agents.values()].find(
      (entry) => entry.model.hostname === hostname && !entry.isRetired,
    );
  }

  /** Lost when the agent cannot be reached, as messages to a disconnected agent are. */
  toAgent(agentId: string | undefined, action: (agent: SimulatedAgent) => void): void {
    const entry = this.find(agentId);
    if (entry === undefined || entry.lostSinceMs !== null) return;
    entry.link.down(() => {
      if (isConnected(entry)) action(entry.agent);
    });
  }

  /** Now and then: who was lost, who is back. */
  watch(): void {
    for (const entry of this.#agents.values()) this.#watch(entry);
  }

  #watch(entry: Registered): void {
    const nowMs = this.#clock.now();
    if (isConnected(entry)) {
      if (entry.lostSinceMs === null) return;
      if (!entry.isRegistering) this.#register(entry);
    } else if (entry.lostSinceMs === null || entry.isRegistering) this.#onBroken(entry);
    const lostMs = nowMs - (entry.lostSinceMs ?? nowMs);
    if (entry.isUnreachable || lostMs < AGENT_TIMEOUT_MS) return;
    entry.isUnreachable = true;
    this.#master.note(`${entry.model.hostname} is unreachable`);
    for (const [taskId, task] of this.#master.tasks) {
      if (task.agent !== entry || task.isOver) continue;
      task.state = 'TASK_UNREACHABLE';
      this.#master.sendMasterStatus(taskId, task, { reason: 'REASON_AGENT_REMOVED' });
    }
    this.#master.send({ type: 'FAILURE', failure: { agent_id: { value: entry.agent.agentId } } });
  }

  /** It registers again: the master hears which tasks are still there, and ends those that are not. */
  #onAgentBack(
    entry: Registered,
    has: { readonly tasks: ReadonlySet<string>; readonly executors: ReadonlySet<string> },
  ): void {
    this.#removeFormer(entry);
    const wasUnreachable = entry.isUnreachable;
    entry.isRegistering = false;
    entry.lostSinceMs = null;
    entry.isUnreachable = false;
    entry.filteredUntilMs = 0;
    for (const [taskId, task] of this.#master.tasks) {
      if (task.agent !== entry || task.isOver) continue;
      if (has.tasks.has(taskId)) {
        if (!wasUnreachable) continue;
        task.state = 'TASK_RUNNING';
        this.#master.sendMasterStatus(taskId, task, { reason: 'REASON_AGENT_REREGISTERED' });
        continue;
      }
      this.#master.tasks.delete(taskId);
      entry.model.endTask(taskId);
      this.#master.sendMasterStatus(taskId, task, {
        state: 'TASK_DROPPED',
        reason: 'REASON_RECONCILIATION',
      });
    }
    for (const executorId of [...entry.model.executors.keys()]) {
      if (!has.executors.has(executorId)) this.#onExecutorEnded(entry, executorId);
    }
  }

  /** A new agent registers at the address of another one: unless that was given up before, it is now. */
  #removeFormer({ machine }: Registered): void {
    for (const former of [...this.#agents.values()]) {
      if (!former.isRetired || former.machine !== machine) continue;
      const { agentId } = former.agent;
      this.#agents.delete(agentId);
      if (former.isUnreachable) continue;
      for (const [taskId, task] of [...this.#master.tasks]) {
        if (task.agent !== former) continue;
        this.#master.tasks.delete(taskId);
        if (task.isOver) continue;
        const reason = 'REASON_AGENT_REMOVED' as const;
        this.#master.sendMasterStatus(taskId, task, { state: 'TASK_LOST', reason });
      }
      this.#master.send({ type: 'FAILURE', failure: { agent_id: { value: agentId } } });
    }
  }

  /** The master hears no agent that has not registered (again). */
  #fromAgent(entry: Registered, action: () => void): void {
    entry.link.up(() => {
      if (isConnected(entry) && entry.lostSinceMs === null) action();
    });
  }

  #onBroken(entry: Registered): void {
    entry.link.break();
    entry.isRegistering = false;
    entry.lostSinceMs ??= this.#clock.now();
    this.#master.rescind(entry);
  }

  /** The agent says which tasks and executors it has; what it says later arrives after that. */
  #register(entry: Registered): void {
    const { agent } = entry;
    const tasks = new Set([...this.#master.tasks.keys()].filter((taskId) => agent.knows(taskId)));
    const executors = new Set(
      [...entry.model.executors.keys()].filter((executorId) => agent.hasExecutor(executorId)),
    );
    entry.isRegistering = true;
    entry.link.up(() => {
      if (isConnected(entry)) this.#onAgentBack(entry, { tasks, executors });
      else entry.isRegistering = false;
    });
  }

  /** Agents got larger file systems: there is as much space again beside each PATH disk. */
  enlargePaths(): void {
    for (const entry of this.all) {
      const roots = new Map<string, number>();
      for (const { disk, scalar: size } of entry.model.all()) {
        const root = disk?.source?.path?.root;
        if (root !== undefined) roots.set(root, (roots.get(root) ?? 0) + (size?.value ?? 0));
      }
      this.#release(entry, () => {
        for (const [root, mib] of roots) entry.model.enlarge(path(root, mib));
      });
    }
  }

  #onUpdate(entry: Registered, status: TaskStatus): void {
    const taskId = status.task_id.value;
    const task = this.#master.tasks.get(taskId);
    if (task !== undefined && !task.isOver) {
      task.state = status.state;
      if (isTerminal(status.state)) {
        task.isOver = true;
        this.#release(entry, () => entry.model.endTask(taskId));
      }
    }
    this.#master.sendStatus(status);
    if (this.#master.isDuplicated()) this.#master.sendStatus(status);
  }

  #onMessage(entry: Registered, executorId: string, data: Buffer): void {
    const agent_id = { value: entry.agent.agentId };
    this.#master.send({
      type: 'MESSAGE',
      message: { agent_id, executor_id: { value: executorId }, data },
    });
  }

  #onExecutorEnded(entry: Registered, executorId: string): void {
    this.#release(entry, () => void entry.model.endExecutor(executorId));
    this.#master.send({
      type: 'FAILURE',
      failure: {
        agent_id: { value: entry.agent.agentId },
        executor_id: { value: executorId },
        status: 9,
      },
    });
  }

  /** Recovered resources are more than what was filtered: they are offered at once. */
  #release(entry: Registered, action: () => void): void {
    action();
    entry.filteredUntilMs = 0;
    if (entry.offerId !== null) this.#master.rescind(entry);
  }
}

function isConnected(entry: Registered): boolean {
  return entry.agent.isPowered && !entry.isCutOff && !entry.isRetired;
}
