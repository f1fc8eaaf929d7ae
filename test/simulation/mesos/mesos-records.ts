/** What the simulated master keeps of its agents, tasks and subscribers (simulated-mesos.ts). */
import type { TaskState } from '../../../shared/mesos/messages.ts';
import type { SchedulerEvent } from '../../../shared/mesos/scheduler-messages.ts';
import type { ModelAgent } from '../../unit/offers/agent-model.ts';
import type { OrderedPath } from '../ports/ordered-path.ts';
import type { AgentLink } from './agent-link.ts';
import type { AgentMachine, SimulatedAgent } from './simulated-agent.ts';

export interface AgentPlace {
  readonly hostname: string;
  /** Null: no fault domain. */
  readonly zone: string | null;
}

export interface MesosSubscriber {
  onEvent(event: SchedulerEvent): void;
  onDisconnected(reason: string): void;
}

export interface MasterTask {
  readonly agent: Registered;
  readonly executorId: string;
  state: TaskState;
  isOver: boolean;
}

export interface Registered {
  readonly agent: SimulatedAgent;
  readonly model: ModelAgent;
  readonly machine: AgentMachine;
  readonly link: AgentLink;
  /** Since when the master has not heard of it; null while it is connected. */
  lostSinceMs: number | null;
  isUnreachable: boolean;
  /** Its word that it is back is under way. */
  isRegistering: boolean;
  offerId: string | null;
  filteredUntilMs: number;
  /** Its machine has another agent now, which registers instead. */
  isRetired: boolean;
  /** Set by faults: no word passes between master and agent. */
  isCutOff: boolean;
}

export interface Subscriber {
  readonly handlers: MesosSubscriber;
  readonly path: OrderedPath;
  isOver: boolean;
}
