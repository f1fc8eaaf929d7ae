/**
 * The small language in which these tests talk to the manager's Mesos half: agents offer, Mesos says, time
 * passes; what the manager calls is looked at, and applied to the agents unless it is "lost".
 */
import { expect } from 'chai';
import { createState } from '../../../scheduler/core/bootstrap.ts';
import type { Effect, ManagerOptions } from '../../../scheduler/core/contract.ts';
import { checkInvariants } from '../../../scheduler/core/invariants.ts';
import {
  onMesosDisconnected,
  onMesosEvent,
  planMesos,
} from '../../../scheduler/core/mesos/framework.ts';
import type { DiskRecord, NodeRecord } from '../../../scheduler/core/records.ts';
import type { Now, State } from '../../../scheduler/core/state.ts';
import { formatDisk } from '../../../shared/base/ids.ts';
import type { TaskState, TaskStatus } from '../../../shared/mesos/messages.ts';
import type {
  OfferOperation,
  SchedulerCall,
  SchedulerCallType,
  SchedulerEvent,
} from '../../../shared/mesos/scheduler-messages.ts';
import type { StoreChange, StoreEntry } from '../../../shared/ports.ts';
import type { ModelAgent } from './agent-model.ts';
import { type KnownFacts, MesosRules } from './mesos-rules.ts';

export const CLUSTER_ID = '1f2e3d4c-5b6a-4789-8abc-def012345678';

export const OPTIONS: ManagerOptions = {
  clusterName: 'test',
  role: 'cistern',
  principal: 'cistern',
  user: 'root',
  webuiUrl: null,
  failoverTimeoutSeconds: 2_419_200,
  leaseMs: 4000,
  silentMs: 2500,
  leaseMarginMs: 200,
  memberFailureMs: 1000,
  rebuildAfterMs: 10_000,
  resyncBytesPerSecond: 1e8,
  concurrentJoinsPerDisk: 2,
  defaultPgCount: 16,
  claimPerNode: 1,
  claimNodes: null,
  expandAtRatio: 0.8,
  fullAtRatio: 0.95,
  expandCooldownMs: 1000,
  overcommitRatio: 10,
  controlAddress: '10.0.0.1:7400',
  executor: {
    version: '0.1.0',
    command: './cistern-executor',
    uris: [],
    environment: { CISTERN_B: '2', CISTERN_A: '1' },
    cpus: 0.5,
    memoryMb: 256,
    taskCpus: 0.1,
    taskMemoryMb: 32,
  },
};

export class Scenario {
  state: State;
  nowMs = 1_000_000;
  /** Everything the manager called since it was last looked at. */
  calls: SchedulerCall[] = [];
  effects: Effect[] = [];
  readonly agents: readonly ModelAgent[];
  #options: ManagerOptions;
  readonly #store = new Map<string, string>();
  /** Judges every call, over restarts of the manager too: Mesos does not forget either. */
  readonly #rules = new MesosRules();
  #term = 1;
  #uuids = 0;

  constructor(agents: readonly ModelAgent[], options: Partial<ManagerOptions> = {}) {
    this.agents = agents;
    this.#options = { ...OPTIONS, ...options };
    this.state = this.#load();
  }

  get now(): Now {
    return { ms: this.nowMs, wallMs: 1_800_000_000_000 + this.nowMs };
  }

  /** What a new leader does: only durable facts survive. `options`: it has other settings, or another version. */
  restart(options: Partial<ManagerOptions> = {}): void {
    this.#term += 1;
    this.#rules.onRestart();
    this.#options = { ...this.#options, ...options };
    this.state = this.#load();
  }

  subscribe(): this {
    this.event({
      type: 'SUBSCRIBED',
      subscribed: { framework_id: { value: 'fw-1' }, heartbeat_interval_seconds: 15 },
    });
    return this;
  }

  /** Subscribed, reconciled (nothing to ask) and revived. */
  ready(): this {
    this.subscribe();
    this.tick();
    return this;
  }

  disconnect(): void {
    this.#rules.onDisconnected();
    this.#take(onMesosDisconnected(this.state, 'stream broke', this.now));
  }

  event(event: SchedulerEvent): SchedulerCall[] {
    this.#rules.onEvent(event);
    return this.#take(onMesosEvent(this.state, event, this.now));
  }

  tick(ms = 250): SchedulerCall[] {
    this.nowMs += ms;
    return this.#take(planMesos(this.state, this.now));
  }

  /** Ticks in steps of a second, as often as it takes. */
  pass(seconds: number): SchedulerCall[] {
    const calls: SchedulerCall[] = [];
    for (let second = 0; second < seconds; second += 1) calls.push(...this.tick(1000));
    return calls;
  }

  /** The agents offer all they have free; ACCEPTs are applied to them unless `isLost`. */
  offer(agents: readonly ModelAgent[] = this.agents, isLost = false): SchedulerCall[] {
    const offers = agents.map((agent) => agent.offer());
    const calls = this.event({ type: 'OFFERS', offers: { offers } });
    const answered = calls.flatMap(
      ({ accept, decline }) => (accept ?? decline)?.offer_ids?.map(({ value }) => value) ?? [],
    );
    expect(answered.toSorted(), 'every offer is answered exactly once').to.deep.equal(
      offers.map(({ id }) => id.value).toSorted(),
    );
    for (const { accept } of calls) {
      this.#expectHarmless(accept?.operations ?? []);
      const offer = offers.find(({ id }) => accept?.offer_ids?.[0]?.value === id.value);
      const agent = agents.find(({ agentId }) => agentId === offer?.agent_id.value);
      if (!isLost && accept !== undefined) agent?.apply(accept.operations ?? []);
    }
    return calls;
  }

  /** The rule above all: only what a releasing disk of our own store held is destroyed. */
  #expectHarmless(operations: readonly OfferOperation[]): void {
    for (const { persistence } of operations
      .flatMap(({ destroy }) => destroy?.volumes ?? [])
      .map(({ disk }) => disk ?? {})) {
      const owner = this.disks().find(({ persistenceId }) => persistenceId === persistence?.id);
      expect(owner?.phase, `volume ${persistence?.id} is destroyed`).to.equal('releasing');
    }
  }

  /** Mesos says something about a task; from an agent (with a uuid) unless said otherwise. */
  update(taskId: string, state: TaskState, more: Partial<TaskStatus> = {}): SchedulerCall[] {
    this.#uuids += 1;
    const uuid = Buffer.alloc(16, this.#uuids);
    const agent = this.agents.find(({ tasks }) => tasks.has(taskId)) ?? this.agents[0];
    const status: TaskStatus = {
      task_id: { value: taskId },
      state,
      source: 'SOURCE_EXECUTOR',
      agent_id: { value: agent?.agentId ?? 'nowhere' },
      uuid,
      ...more,
    };
    return this.event({ type: 'UPDATE', update: { status } });
  }

  /** As the master says it: no uuid, nothing to acknowledge. */
  masterUpdate(taskId: string, state: TaskState, more: Partial<TaskStatus> = {}): SchedulerCall[] {
    return this.update(taskId, state, { source: 'SOURCE_MASTER', uuid: undefined, ...more });
  }

  /** Offers, launches, and every task says that it runs. */
  bringUp(): this {
    this.offer();
    for (const disk of this.disks())
      if (disk.taskId !== null) this.update(disk.taskId, 'TASK_RUNNING');
    return this;
  }

  disks(): DiskRecord[] {
    return [...this.state.facts.disks.values()];
  }

  disk(index = 0): DiskRecord {
    const disk = this.disks()[index];
    if (disk === undefined) throw new Error(`no disk ${index}`);
    return disk;
  }

  taskId(index = 0): string {
    return this.disk(index).taskId ?? '';
  }

  node(index = 0): NodeRecord {
    const node = [...this.state.facts.nodes.values()][index];
    if (node === undefined) throw new Error(`no node ${index}`);
    return node;
  }

  executorLife(index = 0): string {
    return this.state.nodes.get(this.node(index).id)?.executor ?? 'unknown';
  }

  eventKinds(): string[] {
    return [...this.state.facts.events.values()].map(({ kind }) => kind);
  }

  /** Calls since the last look. */
  look(): SchedulerCall[] {
    const calls = this.calls;
    this.calls = [];
    return calls;
  }

  #take(effects: readonly Effect[]): SchedulerCall[] {
    expect(checkInvariants(this.state)).to.deep.equal([]);
    // Commit first, as the shell does: what a restart finds is what was committed before the calls.
    for (const change of this.state.facts.takeChanges().store) this.#keep(change);
    this.effects.push(...effects);
    const calls = effects.flatMap((effect) => (effect.kind === 'mesos-call' ? [effect.call] : []));
    this.calls.push(...calls);
    this.#rules.onCalls(calls, this.#knownFacts(), this.nowMs);
    return calls;
  }

  #knownFacts(): KnownFacts {
    const { role, principal, controlAddress } = this.#options;
    const releasing = this.disks().filter(({ phase }) => phase === 'releasing');
    return {
      role,
      principal,
      clusterId: CLUSTER_ID,
      releasing: new Set(
        releasing.flatMap(({ id, persistenceId }) => [formatDisk(id), persistenceId]),
      ),
      passing: [controlAddress],
    };
  }

  #keep({ key, value }: StoreChange): void {
    if (value === null) this.#store.delete(key);
    else this.#store.set(key, value);
  }

  #load(): State {
    const entries: StoreEntry[] = [...this.#store].map(([key, value]) => ({ key, value }));
    const setup = { options: this.#options, entries, term: this.#term, newClusterId: CLUSTER_ID };
    return createState(setup, this.now);
  }
}

export function typesOf(calls: readonly SchedulerCall[]): (SchedulerCallType | undefined)[] {
  return calls.map(({ type }) => type);
}

export function operationTypes(call: SchedulerCall | undefined): (string | undefined)[] {
  return (call?.accept?.operations ?? []).map(({ type }) => type);
}
