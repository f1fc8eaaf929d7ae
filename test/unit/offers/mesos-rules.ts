/**
 * What a framework must never do to Mesos, as a judge that sits between the manager and its model world:
 * it sees every event that goes in, every call that comes out, and the facts that were durable then, and
 * throws the moment a rule is broken. All tests of offers and tasks run under it, random walks included.
 *
 * The rules have names; `mesos-rules.test.ts` shows that each catches what it is for.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ExecutorInfo, Resource, TaskStatus } from '../../../shared/mesos/messages.ts';
import type {
  OfferOperation,
  SchedulerCall,
  SchedulerEvent,
} from '../../../shared/mesos/scheduler-messages.ts';

export type Rule =
  | 'type-known'
  | 'offer-answered'
  | 'offer-current'
  | 'revive-throttled'
  | 'filter-bounded'
  | 'no-blind-relaunch'
  | 'task-id-fresh'
  | 'destroy-recorded'
  | 'own-resources'
  | 'volume-path'
  | 'no-operation-id'
  | 'acknowledged-once'
  | 'executor-info-stable'
  | 'nothing-secret'
  | 'no-teardown'
  | 'silent-while-away';

/** What the judge needs to know of the durable facts. */
export interface KnownFacts {
  /** Persistence ids and disk labels of disks that are recorded for deletion. */
  readonly releasing: ReadonlySet<string>;
  readonly role: string;
  readonly principal: string;
  readonly clusterId: string;
  /** Texts that must not stand in an ExecutorInfo: they change from scheduler to scheduler. */
  readonly passing: readonly string[];
}

/** MESOS 8.2: at least so long between two REVIVEs. */
const REVIVE_EVERY_MS = 5_000;
const REFUSE_SECONDS_MAX = 3_600;
const LABEL_CLUSTER = 'cistern.cluster';

/** After these a task certainly does not run any more. */
const OVER = new Set([
  'TASK_FINISHED',
  'TASK_FAILED',
  'TASK_KILLED',
  'TASK_ERROR',
  'TASK_DROPPED',
  'TASK_GONE',
  'TASK_GONE_BY_OPERATOR',
]);

interface KnownTask {
  readonly agentId: string;
  /** The word that counts: the last one, but an end is never taken back. */
  state: string;
}

export class MesosRules {
  /** Offers of the present subscription that were not answered yet: their agents. */
  readonly #offers = new Map<string, string>();
  readonly #tasks = new Map<string, KnownTask>();
  readonly #executors = new Map<string, ExecutorInfo>();
  #lastReviveMs = Number.NEGATIVE_INFINITY;
  #isSubscribed = false;
  #owedUuids: string[] = [];

  /** Before the manager sees it. */
  onEvent(event: SchedulerEvent): void {
    this.#owedUuids = [];
    if (event.type === 'SUBSCRIBED') {
      this.#isSubscribed = true;
      this.#offers.clear();
    }
    for (const { id, agent_id } of event.offers?.offers ?? []) {
      this.#offers.set(id.value, agent_id.value);
    }
    const rescinded = event.rescind?.offer_id.value;
    if (rescinded !== undefined) this.#offers.delete(rescinded);
    if (event.update !== undefined) this.#onStatus(event.update.status);
    if (event.type === 'ERROR') this.#isSubscribed = false;
  }

  onDisconnected(): void {
    this.#isSubscribed = false;
    this.#offers.clear();
  }

  /** A new manager subscribes suppressed: its first REVIVE is no repetition. */
  onRestart(): void {
    this.onDisconnected();
    this.#lastReviveMs = Number.NEGATIVE_INFINITY;
  }

  #onStatus(status: TaskStatus): void {
    const task = this.#tasks.get(status.task_id.value);
    if (task !== undefined && !OVER.has(task.state)) task.state = status.state;
    if (status.uuid !== undefined && status.agent_id !== undefined) {
      this.#owedUuids.push(status.uuid.toString('hex'));
    }
  }

  /** What came out of one step, in order. */
  onCalls(calls: readonly SchedulerCall[], facts: KnownFacts, nowMs: number): void {
    for (const call of calls) this.#judge(call, facts, nowMs);
    if (this.#owedUuids.length > 0) fail('acknowledged-once', 'an update was not acknowledged');
    if (this.#offers.size > 0) fail('offer-answered', `${[...this.#offers.keys()]} not answered`);
  }

  #judge(call: SchedulerCall, facts: KnownFacts, nowMs: number): void {
    if (call.type === undefined || call.type === 'UNKNOWN') {
      fail('type-known', 'a call without a type kills the master');
    }
    if (call.type === 'TEARDOWN') fail('no-teardown', 'TEARDOWN ends all executors for good');
    if (!this.#isSubscribed) fail('silent-while-away', `${call.type} without a subscription`);
    if (call.type === 'REVIVE') {
      if (nowMs - this.#lastReviveMs < REVIVE_EVERY_MS) {
        fail('revive-throttled', `REVIVE after ${nowMs - this.#lastReviveMs} ms`);
      }
      this.#lastReviveMs = nowMs;
    }
    this.#judgeFilters(call);
    this.#judgeAcknowledgement(call);
    for (const { value } of (call.accept ?? call.decline)?.offer_ids ?? []) {
      if (!this.#offers.has(value)) fail('offer-current', `offer "${value}" is not there`);
    }
    if (call.accept !== undefined) this.#judgeAccept(call, facts);
    for (const { value } of (call.accept ?? call.decline)?.offer_ids ?? []) {
      this.#offers.delete(value);
    }
    const text = JSON.stringify(call.accept ?? {});
    if (/token|secret|password/i.test(text)) fail('nothing-secret', 'a launch shows a secret');
  }

  #judgeFilters(call: SchedulerCall): void {
    const filters =
      call.accept?.filters ??
      call.decline?.filters ??
      call.accept_inverse_offers?.filters ??
      call.decline_inverse_offers?.filters;
    const isFilter = call.accept !== undefined || call.decline !== undefined;
    if (!isFilter && filters === undefined) return;
    const seconds = filters?.refuse_seconds;
    if (seconds === undefined || !(seconds > 0) || seconds > REFUSE_SECONDS_MAX) {
      fail('filter-bounded', `${call.type} refuses for ${seconds} s`);
    }
  }

  #judgeAcknowledgement({ acknowledge }: SchedulerCall): void {
    if (acknowledge === undefined) return;
    const uuid = acknowledge.uuid.toString('hex');
    if (!this.#owedUuids.includes(uuid)) {
      fail('acknowledged-once', `update "${uuid}" was not asked to be acknowledged`);
    }
    this.#owedUuids = this.#owedUuids.filter((one) => one !== uuid);
  }

  #judgeAccept({ accept }: SchedulerCall, facts: KnownFacts): void {
    const agents = new Set((accept?.offer_ids ?? []).map(({ value }) => this.#offers.get(value)));
    if (agents.size !== 1) fail('offer-current', 'one ACCEPT is about one agent');
    for (const operation of accept?.operations ?? []) {
      if (operation.id !== undefined) fail('no-operation-id', `${operation.type} has an id`);
      this.#judgeResources(operation, facts);
      for (const task of operation.launch?.task_infos ?? []) {
        this.#judgeLaunch(task.task_id.value, task.agent_id.value);
        if (task.executor !== undefined) this.#judgeExecutor(task.executor, facts);
      }
    }
  }

  #judgeResources(operation: OfferOperation, facts: KnownFacts): void {
    const { destroy, unreserve, reserve, create, launch, grow_volume: grow } = operation;
    const given = [...(destroy?.volumes ?? []), ...(unreserve?.resources ?? [])];
    const taken = [
      ...(reserve?.resources ?? []),
      ...(create?.volumes ?? []),
      ...(grow === undefined ? [] : [grow.volume]),
      ...(launch?.task_infos ?? []).flatMap((task) => [
        ...(task.resources ?? []),
        ...(task.executor?.resources ?? []),
      ]),
    ];
    if (operation.type === 'SHRINK_VOLUME') fail('own-resources', 'Mesos leaks what is shrunk');
    for (const resource of [...given, ...taken]) judgeOwner(resource, facts);
    for (const { disk } of destroy?.volumes ?? []) {
      const id = disk?.persistence?.id ?? '';
      if (!facts.releasing.has(id))
        fail('destroy-recorded', `"${id}" is not recorded for deletion`);
    }
    for (const resource of unreserve?.resources ?? []) {
      const disk = labelsOf(resource)['cistern.disk'];
      if (resource.name === 'disk' && (disk === undefined || !facts.releasing.has(disk))) {
        fail('destroy-recorded', `a reservation of ${disk} is given back, which stays`);
      }
    }
    for (const { disk } of taken) {
      const path = disk?.volume?.container_path;
      if (path !== undefined && !/^[^/]+$/.test(path)) {
        fail('volume-path', `Mesos ignores container path "${path}"`);
      }
    }
  }

  #judgeLaunch(taskId: string, agentId: string): void {
    if (this.#tasks.has(taskId)) fail('task-id-fresh', `task id "${taskId}" was used before`);
    const disk = taskId.replace(/-\d+$/, '');
    for (const [other, task] of this.#tasks) {
      // An agent under another id has certainly ended what ran there before.
      if (other.replace(/-\d+$/, '') !== disk || task.agentId !== agentId) continue;
      if (!OVER.has(task.state)) {
        fail('no-blind-relaunch', `"${taskId}" is launched while "${other}" is ${task.state}`);
      }
    }
    this.#tasks.set(taskId, { agentId, state: 'TASK_STAGING' });
  }

  #judgeExecutor(executor: ExecutorInfo, facts: KnownFacts): void {
    const id = executor.executor_id.value;
    const known = this.#executors.get(id);
    if (known !== undefined && !isDeepStrictEqual(known, executor)) {
      fail('executor-info-stable', `ExecutorInfo of "${id}" changed`);
    }
    this.#executors.set(id, executor);
    const text = JSON.stringify(executor);
    for (const word of facts.passing) {
      if (text.includes(word)) fail('executor-info-stable', `ExecutorInfo holds "${word}"`);
    }
  }
}

/** Only cpus, memory and disk, with our labelled reservation on top. */
function judgeOwner(resource: Resource, facts: KnownFacts): void {
  const { name, revocable, provider_id: provider } = resource;
  if (name !== 'cpus' && name !== 'mem' && name !== 'disk') fail('own-resources', `takes ${name}`);
  if (revocable !== undefined || provider !== undefined) fail('own-resources', `${name} of others`);
  const top = resource.reservations?.at(-1);
  const isOurs =
    top?.type === 'DYNAMIC' && top.role === facts.role && top.principal === facts.principal;
  if (!isOurs || labelsOf(resource)[LABEL_CLUSTER] !== facts.clusterId) {
    fail('own-resources', `${name} without our reservation: ${JSON.stringify(top ?? null)}`);
  }
}

function labelsOf(resource: Resource): Record<string, string | undefined> {
  const labels = resource.reservations?.at(-1)?.labels?.labels ?? [];
  return Object.fromEntries(labels.map(({ key, value }) => [key, value]));
}

function fail(rule: Rule, what: string): never {
  throw new Error(`Rule "${rule}" is broken: ${what}`);
}
