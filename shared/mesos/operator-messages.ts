/** Calls and answers of the operator API (POST /api/v1 on the leading master), as types. */

import type {
  AgentInfo,
  DurationInfo,
  ExecutorInfo,
  FrameworkInfo,
  Id,
  Labels,
  MachineId,
  MasterInfo,
  Resource,
  TaskState,
  TaskStatus,
  TimeInfo,
  Unavailability,
} from './nouns.ts';
import type { InverseOffer, Offer, OfferOperation, OperationStatus } from './scheduler-messages.ts';

export type MaintenanceSchedule = {
  readonly windows?:
    | readonly {
        readonly machine_ids?: readonly MachineId[] | undefined;
        readonly unavailability: Unavailability;
      }[]
    | undefined;
};

export type OperatorCallType =
  | 'UNKNOWN'
  | 'GET_HEALTH'
  | 'GET_FLAGS'
  | 'GET_VERSION'
  | 'GET_METRICS'
  | 'GET_STATE'
  | 'GET_AGENTS'
  | 'GET_FRAMEWORKS'
  | 'GET_EXECUTORS'
  | 'GET_TASKS'
  | 'GET_ROLES'
  | 'GET_MASTER'
  | 'SUBSCRIBE'
  | 'RESERVE_RESOURCES'
  | 'UNRESERVE_RESOURCES'
  | 'CREATE_VOLUMES'
  | 'DESTROY_VOLUMES'
  | 'GET_MAINTENANCE_STATUS'
  | 'GET_MAINTENANCE_SCHEDULE'
  | 'UPDATE_MAINTENANCE_SCHEDULE'
  | 'START_MAINTENANCE'
  | 'STOP_MAINTENANCE'
  | 'GET_QUOTA'
  | 'TEARDOWN'
  | 'MARK_AGENT_GONE'
  | 'GET_OPERATIONS'
  | 'DRAIN_AGENT'
  | 'DEACTIVATE_AGENT'
  | 'REACTIVATE_AGENT';

type OfAgent = { readonly agent_id: Id };
type Machines = { readonly machines?: readonly MachineId[] | undefined };
type Resources = { readonly resources?: readonly Resource[] | undefined };
type Volumes = { readonly volumes?: readonly Resource[] | undefined };

export type OperatorCall = {
  readonly type?: OperatorCallType | undefined;
  readonly reserve_resources?: (OfAgent & Resources) | undefined;
  readonly unreserve_resources?: (OfAgent & Resources) | undefined;
  readonly create_volumes?: (OfAgent & Volumes) | undefined;
  readonly destroy_volumes?: (OfAgent & Volumes) | undefined;
  readonly update_maintenance_schedule?: { readonly schedule: MaintenanceSchedule } | undefined;
  readonly start_maintenance?: Machines | undefined;
  readonly stop_maintenance?: Machines | undefined;
  readonly teardown?: { readonly framework_id: Id } | undefined;
  readonly mark_agent_gone?: OfAgent | undefined;
  readonly drain_agent?:
    | (OfAgent & {
        readonly max_grace_period?:
          | { readonly seconds?: number | string | undefined; readonly nanos?: number | undefined }
          | undefined;
        readonly mark_gone?: boolean | undefined;
      })
    | undefined;
  readonly deactivate_agent?: OfAgent | undefined;
  readonly reactivate_agent?: OfAgent | undefined;
};

export type DrainInfo = {
  readonly state: 'UNKNOWN' | 'DRAINING' | 'DRAINED';
  readonly config: {
    readonly max_grace_period?: DurationInfo | undefined;
    readonly mark_gone?: boolean | undefined;
  };
};

export type OperatorAgent = {
  readonly agent_info: AgentInfo;
  readonly active: boolean;
  readonly deactivated?: boolean | undefined;
  readonly version: string;
  readonly pid?: string | undefined;
  readonly registered_time?: TimeInfo | undefined;
  readonly reregistered_time?: TimeInfo | undefined;
  readonly total_resources?: readonly Resource[] | undefined;
  readonly allocated_resources?: readonly Resource[] | undefined;
  readonly offered_resources?: readonly Resource[] | undefined;
  readonly capabilities?: readonly { readonly type?: string | undefined }[] | undefined;
  readonly drain_info?: DrainInfo | undefined;
  readonly estimated_drain_start_time?: TimeInfo | undefined;
};

export type OperatorFramework = {
  readonly framework_info: FrameworkInfo;
  readonly active: boolean;
  readonly connected: boolean;
  readonly recovered: boolean;
  readonly registered_time?: TimeInfo | undefined;
  readonly reregistered_time?: TimeInfo | undefined;
  readonly unregistered_time?: TimeInfo | undefined;
  readonly offers?: readonly Offer[] | undefined;
  readonly inverse_offers?: readonly InverseOffer[] | undefined;
  readonly allocated_resources?: readonly Resource[] | undefined;
  readonly offered_resources?: readonly Resource[] | undefined;
};

export type OperatorTask = {
  readonly name: string;
  readonly task_id: Id;
  readonly framework_id: Id;
  readonly executor_id?: Id | undefined;
  readonly agent_id: Id;
  readonly state: TaskState;
  readonly resources?: readonly Resource[] | undefined;
  readonly statuses?: readonly TaskStatus[] | undefined;
  readonly status_update_state?: TaskState | undefined;
  readonly status_update_uuid?: Buffer | undefined;
  readonly labels?: Labels | undefined;
};

export type GetTasks = {
  readonly pending_tasks?: readonly OperatorTask[] | undefined;
  readonly tasks?: readonly OperatorTask[] | undefined;
  readonly completed_tasks?: readonly OperatorTask[] | undefined;
  readonly unreachable_tasks?: readonly OperatorTask[] | undefined;
};

export type GetAgents = {
  readonly agents?: readonly OperatorAgent[] | undefined;
  readonly recovered_agents?: readonly AgentInfo[] | undefined;
};

export type GetFrameworks = {
  readonly frameworks?: readonly OperatorFramework[] | undefined;
  readonly completed_frameworks?: readonly OperatorFramework[] | undefined;
};

export type GetExecutors = {
  readonly executors?:
    | readonly { readonly executor_info: ExecutorInfo; readonly agent_id: Id }[]
    | undefined;
};

export type GetState = {
  readonly get_tasks?: GetTasks | undefined;
  readonly get_executors?: GetExecutors | undefined;
  readonly get_frameworks?: GetFrameworks | undefined;
  readonly get_agents?: GetAgents | undefined;
};

export type InverseOfferStatus = {
  readonly status: 'UNKNOWN' | 'ACCEPT' | 'DECLINE';
  readonly framework_id: Id;
  readonly timestamp: TimeInfo;
};

export type MaintenanceStatus = {
  readonly draining_machines?:
    | readonly {
        readonly id: MachineId;
        readonly statuses?: readonly InverseOfferStatus[] | undefined;
      }[]
    | undefined;
  readonly down_machines?: readonly MachineId[] | undefined;
};

export type OperatorOperation = {
  readonly framework_id?: Id | undefined;
  readonly agent_id?: Id | undefined;
  readonly info: OfferOperation;
  readonly latest_status: OperationStatus;
  readonly uuid: { readonly value: Buffer };
};

export type OperatorResponse = {
  readonly type?: OperatorCallType | undefined;
  readonly get_health?: { readonly healthy: boolean } | undefined;
  readonly get_version?:
    | {
        readonly version_info: {
          readonly version: string;
          readonly build_date?: string | undefined;
          readonly build_time?: number | undefined;
          readonly build_user?: string | undefined;
          readonly git_sha?: string | undefined;
        };
      }
    | undefined;
  readonly get_state?: GetState | undefined;
  readonly get_agents?: GetAgents | undefined;
  readonly get_frameworks?: GetFrameworks | undefined;
  readonly get_executors?: GetExecutors | undefined;
  readonly get_tasks?: GetTasks | undefined;
  readonly get_master?: { readonly master_info?: MasterInfo | undefined } | undefined;
  readonly get_maintenance_status?: { readonly status: MaintenanceStatus } | undefined;
  readonly get_maintenance_schedule?: { readonly schedule: MaintenanceSchedule } | undefined;
  readonly get_operations?:
    | { readonly operations?: readonly OperatorOperation[] | undefined }
    | undefined;
};

/** The first events of an operator's SUBSCRIBE; later ones are not decoded by us. */
export type OperatorEvent = {
  readonly type?: string | undefined;
  readonly subscribed?:
    | {
        readonly get_state?: GetState | undefined;
        readonly heartbeat_interval_seconds?: number | undefined;
      }
    | undefined;
};
