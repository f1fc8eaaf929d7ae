/**
 * The master's memory: frameworks, agents, tasks, offers, operations; what of it survives a restart
 * (the registry); and the sums that are derived from it. The rules stand in the files that work on
 * it.
 */

import { randomUUID } from 'node:crypto';
import type { ContentType } from '../../shared/mesos/codec.ts';
import type {
  AgentInfo,
  ExecutorInfo,
  FrameworkInfo,
  InverseOffer,
  InverseOfferStatus,
  MachineId,
  MaintenanceSchedule,
  MasterInfo,
  Offer,
  OfferConstraints,
  Resource,
  SchedulerEvent,
  TaskInfo,
  TaskState,
  TaskStatus,
  Unavailability,
} from '../../shared/mesos/messages.ts';
import { type AgentSide, isTerminal, type Link, type OperationReport } from './agent-protocol.ts';
import { encodeAnswer } from './answer-codec.ts';
import { Checkpoint } from './checkpoint.ts';
import type { EventStream } from './event-stream.ts';
import type { MisbehaviourSwitch } from './misbehaviour.ts';
import { type Resources, subtractAvailable, sum, withoutAllocation } from './resources.ts';
import type { Cancel, Timing } from './timing.ts';

export type Subscription = {
  readonly stream: EventStream;
  readonly streamId: string;
  readonly contentType: ContentType;
  readonly cancelHeartbeat: Cancel;
};

/** What was declined, until when it is not offered again. */
export type OfferFilter = {
  readonly role: string;
  readonly agentId: string;
  readonly resources: Resources;
  /** Real time, as Date.now(). */
  readonly expiresAt: number;
};

export type FrameworkRecord = {
  readonly id: string;
  info: FrameworkInfo;
  constraints: OfferConstraints | undefined;
  suppressed: Set<string>;
  subscription: Subscription | undefined;
  filters: OfferFilter[];
  /** Agents whose inverse offer is not sent again before this time. */
  inverseFilters: Map<string, number>;
  cancelFailover: Cancel;
  readonly registeredAt: string;
  reregisteredAt: string | undefined;
  /** Known only from agents that came back after a master failover. */
  isRecovered: boolean;
};

export type DrainRecord = {
  readonly maxGracePeriodMs: number | undefined;
  readonly markGone: boolean;
  readonly startedAt: string;
  state: 'DRAINING' | 'DRAINED';
};

export type AgentRecord = {
  readonly id: string;
  info: AgentInfo;
  pid: string;
  ip: string;
  side: AgentSide;
  link: Link;
  isConnected: boolean;
  isDeactivated: boolean;
  drain: DrainRecord | undefined;
  total: Resources;
  /** Freed by SHRINK_VOLUME, and lost to the allocator: a real Mesos has this leak. */
  leaked: Resources;
  /** By framework and executor id. */
  executors: Map<string, { readonly frameworkId: string; readonly info: ExecutorInfo }>;
  readonly registeredAt: string;
  reregisteredAt: string | undefined;
  unavailability: Unavailability | undefined;
  cancelPing: Cancel;
};

export type TaskRecord = {
  readonly frameworkId: string;
  readonly agentId: string;
  readonly executorId: string | undefined;
  readonly info: TaskInfo;
  state: TaskState;
  status: TaskStatus | undefined;
  isUnreachable: boolean;
};

export type OfferRecord = {
  readonly offer: Offer;
  readonly frameworkId: string;
  readonly agentId: string;
  readonly role: string;
  readonly resources: readonly Resource[];
};

export type InverseOfferRecord = {
  readonly offer: InverseOffer;
  readonly frameworkId: string;
  readonly agentId: string;
};

export type OperationRecord = OperationReport & { readonly agentId: string };

/** What survives a restart of the master. */
export type Registry = {
  readonly agents: Record<string, AgentInfo>;
  readonly unreachable: Record<string, { readonly since: string }>;
  readonly gone: Record<string, { readonly since: string }>;
  readonly deactivated: string[];
  readonly drains: Record<string, DrainRecord>;
  schedule: MaintenanceSchedule;
  readonly down: MachineId[];
};

export type MasterOptions = {
  readonly directory: string;
  readonly host: string;
  readonly port: number;
  readonly hostname: string;
  /** Each step of a start lasts this long. Real milliseconds. */
  readonly startStepMs: number;
  readonly region: string;
  readonly zone: string;
  readonly timing: Timing;
  readonly misbehaviour: MisbehaviourSwitch;
  /** Refuse what a real master would pass over in silence. */
  readonly lint: boolean;
  /** Principals and secrets; missing: nobody is asked. */
  readonly credentials: Readonly<Record<string, string>> | undefined;
};

export const VERSION = '1.12.0';

/** What /version says: of a build that never was. */
export const VERSION_ANSWER = {
  build_date: '1970-01-01 00:00:00 UTC',
  build_time: 0,
  build_user: '',
  git_branch: 'stand-in',
  git_sha: '0'.repeat(40),
  version: VERSION,
};

export class MasterCore {
  readonly options: MasterOptions;
  readonly masterId = randomUUID();
  readonly frameworks = new Map<string, FrameworkRecord>();
  readonly completed = new Map<string, FrameworkInfo>();
  readonly agents = new Map<string, AgentRecord>();
  /** By framework and task id. */
  readonly tasks = new Map<string, TaskRecord>();
  readonly offers = new Map<string, OfferRecord>();
  readonly inverseOffers = new Map<string, InverseOfferRecord>();
  readonly inverseStatuses = new Map<string, InverseOfferStatus[]>();
  /** By uuid. */
  readonly operations = new Map<string, OperationRecord>();
  readonly registry: Registry;
  readonly #checkpoint: Checkpoint<Registry>;
  #nextOffer = 0;
  #nextFramework = 0;
  #nextAgent = 0;

  constructor(options: MasterOptions) {
    this.options = options;
    this.#checkpoint = new Checkpoint(`${options.directory}/master.json`);
    this.registry = this.#checkpoint.load() ?? {
      agents: {},
      unreachable: {},
      gone: {},
      deactivated: [],
      drains: {},
      schedule: {},
      down: [],
    };
  }

  saveRegistry(): void {
    this.#checkpoint.save(this.registry);
  }

  newOfferId(): string {
    return `${this.masterId}-O${this.#nextOffer++}`;
  }

  newFrameworkId(): string {
    return `${this.masterId}-${String(this.#nextFramework++).padStart(4, '0')}`;
  }

  newAgentId(): string {
    return `${this.masterId}-S${this.#nextAgent++}`;
  }

  masterInfo(): MasterInfo {
    const { host, port, hostname, region, zone } = this.options;
    return {
      id: this.masterId,
      ip: host.split('.').reduceRight((number, byte) => number * 256 + Number(byte), 0),
      port,
      pid: `master@${host}:${port}`,
      hostname,
      version: VERSION,
      address: { hostname, ip: host, port },
      domain: { fault_domain: { region: { name: region }, zone: { name: zone } } },
      capabilities: [{ type: 'AGENT_UPDATE' }, { type: 'AGENT_DRAINING' }, { type: 'QUOTA_V2' }],
    };
  }

  /** Sends an event if the framework is subscribed; otherwise it is lost, as with a real master. */
  send(framework: FrameworkRecord, event: SchedulerEvent): void {
    const subscription = framework.subscription;
    if (subscription === undefined) return;
    subscription.stream.send(encodeAnswer('scheduler.Event', event, subscription.contentType));
  }

  sendStatus(frameworkId: string, status: TaskStatus): void {
    const framework = this.frameworks.get(frameworkId);
    if (framework !== undefined) this.send(framework, { type: 'UPDATE', update: { status } });
  }

  toAgent(agent: AgentRecord, action: (side: AgentSide) => void): void {
    if (agent.isConnected) agent.link.send(() => action(agent.side));
  }

  findTask(frameworkId: string, taskId: string): TaskRecord | undefined {
    return this.tasks.get(taskKey(frameworkId, taskId));
  }

  tasksOf(agentId: string): TaskRecord[] {
    return [...this.tasks.values()].filter((task) => task.agentId === agentId);
  }

  offersOf(agentId: string): OfferRecord[] {
    return [...this.offers.values()].filter((offer) => offer.agentId === agentId);
  }

  /** What tasks and executors have, with allocation. */
  used(agent: AgentRecord): Resource[] {
    const tasks = this.tasksOf(agent.id).filter(
      (task) => !isTerminal(task.state) && !task.isUnreachable,
    );
    return sum(
      ...tasks.map((task) => task.info.resources ?? []),
      ...[...agent.executors.values()].map((executor) => executor.info.resources ?? []),
    );
  }

  offered(agent: AgentRecord): Resource[] {
    return sum(...this.offersOf(agent.id).map((offer) => offer.resources));
  }

  /** What could be offered now, without allocation. */
  available(agent: AgentRecord): Resource[] {
    const used = withoutAllocation(this.used(agent));
    const offered = withoutAllocation(this.offered(agent));
    return subtractAvailable(agent.total, sum(used, offered, agent.leaked));
  }

  /** Takes an offer back. With `tellFramework` the framework hears of it. */
  removeOffer(offerId: string, tellFramework: boolean): OfferRecord | undefined {
    const offer = this.offers.get(offerId);
    if (offer === undefined) return undefined;
    this.offers.delete(offerId);
    const framework = this.frameworks.get(offer.frameworkId);
    if (tellFramework && framework !== undefined) {
      this.send(framework, { type: 'RESCIND', rescind: { offer_id: { value: offerId } } });
    }
    return offer;
  }

  removeInverseOffer(offerId: string, tellFramework: boolean): void {
    const offer = this.inverseOffers.get(offerId);
    if (offer === undefined) return;
    this.inverseOffers.delete(offerId);
    const framework = this.frameworks.get(offer.frameworkId);
    if (!tellFramework || framework === undefined) return;
    this.send(framework, {
      type: 'RESCIND_INVERSE_OFFER',
      rescind_inverse_offer: { inverse_offer_id: { value: offerId } },
    });
  }

  /** The scheduler has acknowledged an update: a task that has ended is forgotten. */
  acknowledged(frameworkId: string, taskId: string, uuid: Buffer): void {
    const task = this.findTask(frameworkId, taskId);
    if (task === undefined || !isTerminal(task.state)) return;
    // The newest state may be terminal while an older update is being acknowledged.
    if (task.status?.uuid?.equals(uuid) !== true) return;
    this.tasks.delete(taskKey(frameworkId, taskId));
  }

  acknowledgedOperation(statusUuid: Buffer): void {
    for (const [uuid, operation] of this.operations) {
      if (operation.status.uuid?.value.equals(statusUuid)) this.operations.delete(uuid);
    }
  }

  rescindAll(agent: AgentRecord): void {
    for (const offer of this.offersOf(agent.id)) this.removeOffer(offer.offer.id.value, true);
    for (const [id, inverse] of this.inverseOffers) {
      if (inverse.agentId === agent.id) this.removeInverseOffer(id, true);
    }
  }
}

export function taskKey(frameworkId: string, taskId: string): string {
  return `${frameworkId}/${taskId}`;
}

/** The roles of a framework, in either spelling. */
export function rolesOf(info: FrameworkInfo): string[] {
  if (info.capabilities?.some((one) => one.type === 'MULTI_ROLE') === true) {
    return [...(info.roles ?? [])];
  }
  return [info.role ?? '*'];
}
