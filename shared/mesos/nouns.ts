/**
 * The nouns of the Mesos v1 APIs as TypeScript sees them: resources, frameworks, agents, executors,
 * tasks. The complete schema is in `proto/mesos/v1`; listed here are the fields that Cistern and
 * its Mesos stand-in use. Every field that the protocol calls optional may be missing; none is ever
 * null.
 */

export type Id = { readonly value: string };

export type TimeInfo = { readonly nanoseconds: number | string };
export type DurationInfo = { readonly nanoseconds: number | string };

export type Unavailability = {
  readonly start: TimeInfo;
  readonly duration?: DurationInfo | undefined;
};

export type Label = { readonly key: string; readonly value?: string | undefined };
export type Labels = { readonly labels?: readonly Label[] | undefined };

export type Address = {
  readonly hostname?: string | undefined;
  readonly ip?: string | undefined;
  readonly port: number;
};

export type Url = {
  readonly scheme: string;
  readonly address: Address;
  readonly path?: string | undefined;
};

export type MachineId = {
  readonly hostname?: string | undefined;
  readonly ip?: string | undefined;
};

export type DomainInfo = {
  readonly fault_domain?:
    | { readonly region: { readonly name: string }; readonly zone: { readonly name: string } }
    | undefined;
};

export type ValueType = 'SCALAR' | 'RANGES' | 'SET' | 'TEXT';
export type Scalar = { readonly value: number };
/** Both ends belong to the range. */
export type ValueRange = { readonly begin: number | string; readonly end: number | string };
export type Ranges = { readonly range?: readonly ValueRange[] | undefined };
export type ValueSet = { readonly item?: readonly string[] | undefined };

export type Attribute = {
  readonly name: string;
  readonly type: ValueType;
  readonly scalar?: Scalar | undefined;
  readonly ranges?: Ranges | undefined;
  readonly set?: ValueSet | undefined;
  readonly text?: { readonly value: string } | undefined;
};

export type ReservationInfo = {
  readonly type?: 'UNKNOWN' | 'STATIC' | 'DYNAMIC' | undefined;
  readonly role?: string | undefined;
  readonly principal?: string | undefined;
  readonly labels?: Labels | undefined;
};

export type DiskSource = {
  readonly type: 'UNKNOWN' | 'PATH' | 'MOUNT' | 'BLOCK' | 'RAW';
  readonly path?: { readonly root?: string | undefined } | undefined;
  readonly mount?: { readonly root?: string | undefined } | undefined;
  readonly vendor?: string | undefined;
  readonly id?: string | undefined;
  readonly metadata?: Labels | undefined;
  readonly profile?: string | undefined;
};

export type Volume = {
  readonly mode: 'RW' | 'RO';
  readonly container_path: string;
  readonly host_path?: string | undefined;
};

export type DiskInfo = {
  readonly persistence?:
    | { readonly id: string; readonly principal?: string | undefined }
    | undefined;
  readonly volume?: Volume | undefined;
  readonly source?: DiskSource | undefined;
};

/** Amounts of `disk` and `mem` are MiB. `reservations` is a stack: the last one owns. */
export type Resource = {
  readonly name: string;
  readonly type: ValueType;
  readonly scalar?: Scalar | undefined;
  readonly ranges?: Ranges | undefined;
  readonly set?: ValueSet | undefined;
  readonly role?: string | undefined;
  readonly allocation_info?: { readonly role?: string | undefined } | undefined;
  readonly reservation?: ReservationInfo | undefined;
  readonly reservations?: readonly ReservationInfo[] | undefined;
  readonly disk?: DiskInfo | undefined;
  readonly revocable?: Readonly<Record<string, never>> | undefined;
  readonly shared?: Readonly<Record<string, never>> | undefined;
  readonly provider_id?: Id | undefined;
};

export type FrameworkCapability =
  | 'UNKNOWN'
  | 'REVOCABLE_RESOURCES'
  | 'TASK_KILLING_STATE'
  | 'GPU_RESOURCES'
  | 'SHARED_RESOURCES'
  | 'PARTITION_AWARE'
  | 'MULTI_ROLE'
  | 'RESERVATION_REFINEMENT'
  | 'REGION_AWARE';

export type ResourceQuantities = {
  readonly quantities?: Readonly<Record<string, Scalar>> | undefined;
};

export type OfferFilters = {
  readonly min_allocatable_resources?:
    | { readonly quantities?: readonly ResourceQuantities[] | undefined }
    | undefined;
};

export type FrameworkInfo = {
  readonly user: string;
  readonly name: string;
  readonly id?: Id | undefined;
  /** Seconds. */
  readonly failover_timeout?: number | undefined;
  readonly checkpoint?: boolean | undefined;
  readonly role?: string | undefined;
  readonly roles?: readonly string[] | undefined;
  readonly hostname?: string | undefined;
  readonly principal?: string | undefined;
  readonly webui_url?: string | undefined;
  readonly capabilities?:
    | readonly { readonly type?: FrameworkCapability | undefined }[]
    | undefined;
  readonly labels?: Labels | undefined;
  readonly offer_filters?: Readonly<Record<string, OfferFilters>> | undefined;
};

export type MasterInfo = {
  readonly id: string;
  readonly ip: number;
  readonly port: number;
  readonly pid?: string | undefined;
  readonly hostname?: string | undefined;
  readonly version?: string | undefined;
  readonly address?: Address | undefined;
  readonly domain?: DomainInfo | undefined;
  readonly capabilities?: readonly { readonly type?: string | undefined }[] | undefined;
};

export type AgentInfo = {
  readonly hostname: string;
  readonly port?: number | undefined;
  readonly resources?: readonly Resource[] | undefined;
  readonly attributes?: readonly Attribute[] | undefined;
  readonly id?: Id | undefined;
  readonly domain?: DomainInfo | undefined;
};

export type CommandUri = {
  readonly value: string;
  readonly executable?: boolean | undefined;
  /** Missing means true. */
  readonly extract?: boolean | undefined;
  readonly cache?: boolean | undefined;
  readonly output_file?: string | undefined;
};

export type EnvironmentVariable = {
  readonly name: string;
  readonly type?: 'UNKNOWN' | 'VALUE' | 'SECRET' | undefined;
  readonly value?: string | undefined;
};

export type CommandInfo = {
  readonly uris?: readonly CommandUri[] | undefined;
  readonly environment?:
    | { readonly variables?: readonly EnvironmentVariable[] | undefined }
    | undefined;
  /** Missing means true. */
  readonly shell?: boolean | undefined;
  readonly value?: string | undefined;
  readonly arguments?: readonly string[] | undefined;
  readonly user?: string | undefined;
};

export type ContainerInfo = {
  readonly type: 'DOCKER' | 'MESOS';
  readonly volumes?: readonly Volume[] | undefined;
  readonly hostname?: string | undefined;
  readonly mesos?:
    | {
        readonly image?:
          | {
              readonly type: 'DOCKER';
              readonly docker?: { readonly name: string } | undefined;
            }
          | undefined;
      }
    | undefined;
};

export type DiscoveryInfo = {
  readonly visibility: 'FRAMEWORK' | 'CLUSTER' | 'EXTERNAL';
  readonly name?: string | undefined;
  readonly ports?:
    | {
        readonly ports?:
          | readonly {
              readonly number: number;
              readonly name?: string | undefined;
              readonly protocol?: string | undefined;
            }[]
          | undefined;
      }
    | undefined;
  readonly labels?: Labels | undefined;
};

export type ExecutorInfo = {
  readonly executor_id: Id;
  readonly type?: 'UNKNOWN' | 'DEFAULT' | 'CUSTOM' | undefined;
  readonly framework_id?: Id | undefined;
  readonly command?: CommandInfo | undefined;
  readonly container?: ContainerInfo | undefined;
  readonly resources?: readonly Resource[] | undefined;
  readonly name?: string | undefined;
  readonly source?: string | undefined;
  readonly data?: Buffer | undefined;
  readonly discovery?: DiscoveryInfo | undefined;
  readonly shutdown_grace_period?: DurationInfo | undefined;
  readonly labels?: Labels | undefined;
};

export type KillPolicy = { readonly grace_period?: DurationInfo | undefined };

export type TaskInfo = {
  readonly name: string;
  readonly task_id: Id;
  readonly agent_id: Id;
  readonly resources?: readonly Resource[] | undefined;
  readonly executor?: ExecutorInfo | undefined;
  readonly command?: CommandInfo | undefined;
  readonly container?: ContainerInfo | undefined;
  readonly kill_policy?: KillPolicy | undefined;
  readonly data?: Buffer | undefined;
  readonly labels?: Labels | undefined;
  readonly discovery?: DiscoveryInfo | undefined;
  readonly limits?: Readonly<Record<string, Scalar>> | undefined;
};

export type TaskState =
  | 'TASK_STAGING'
  | 'TASK_STARTING'
  | 'TASK_RUNNING'
  | 'TASK_KILLING'
  | 'TASK_FINISHED'
  | 'TASK_FAILED'
  | 'TASK_KILLED'
  | 'TASK_ERROR'
  | 'TASK_LOST'
  | 'TASK_DROPPED'
  | 'TASK_UNREACHABLE'
  | 'TASK_GONE'
  | 'TASK_GONE_BY_OPERATOR'
  | 'TASK_UNKNOWN';

export type StatusSource = 'SOURCE_MASTER' | 'SOURCE_AGENT' | 'SOURCE_EXECUTOR';

export type StatusReason =
  | 'REASON_COMMAND_EXECUTOR_FAILED'
  | 'REASON_EXECUTOR_TERMINATED'
  | 'REASON_EXECUTOR_UNREGISTERED'
  | 'REASON_FRAMEWORK_REMOVED'
  | 'REASON_GC_ERROR'
  | 'REASON_INVALID_FRAMEWORKID'
  | 'REASON_INVALID_OFFERS'
  | 'REASON_MASTER_DISCONNECTED'
  | 'REASON_CONTAINER_LIMITATION_MEMORY'
  | 'REASON_RECONCILIATION'
  | 'REASON_AGENT_DISCONNECTED'
  | 'REASON_AGENT_REMOVED'
  | 'REASON_AGENT_RESTARTED'
  | 'REASON_AGENT_UNKNOWN'
  | 'REASON_TASK_INVALID'
  | 'REASON_TASK_UNAUTHORIZED'
  | 'REASON_TASK_UNKNOWN'
  | 'REASON_CONTAINER_PREEMPTED'
  | 'REASON_RESOURCES_UNKNOWN'
  | 'REASON_CONTAINER_LIMITATION'
  | 'REASON_CONTAINER_LIMITATION_DISK'
  | 'REASON_CONTAINER_LAUNCH_FAILED'
  | 'REASON_CONTAINER_UPDATE_FAILED'
  | 'REASON_EXECUTOR_REGISTRATION_TIMEOUT'
  | 'REASON_EXECUTOR_REREGISTRATION_TIMEOUT'
  | 'REASON_TASK_GROUP_INVALID'
  | 'REASON_TASK_GROUP_UNAUTHORIZED'
  | 'REASON_IO_SWITCHBOARD_EXITED'
  | 'REASON_TASK_CHECK_STATUS_UPDATED'
  | 'REASON_TASK_HEALTH_CHECK_STATUS_UPDATED'
  | 'REASON_TASK_KILLED_DURING_LAUNCH'
  | 'REASON_AGENT_REMOVED_BY_OPERATOR'
  | 'REASON_AGENT_REREGISTERED'
  | 'REASON_MAX_COMPLETION_TIME_REACHED'
  | 'REASON_AGENT_DRAINING';

export type ContainerStatus = {
  readonly container_id?: Id | undefined;
  readonly network_infos?:
    | readonly {
        readonly ip_addresses?:
          | readonly {
              readonly protocol?: 'IPv4' | 'IPv6' | undefined;
              readonly ip_address?: string | undefined;
            }[]
          | undefined;
      }[]
    | undefined;
  readonly executor_pid?: number | undefined;
};

/**
 * `timestamp`: seconds since 1970. `uuid`: 16 bytes, there exactly when the status must be
 * acknowledged.
 */
export type TaskStatus = {
  readonly task_id: Id;
  readonly state: TaskState;
  readonly message?: string | undefined;
  readonly source?: StatusSource | undefined;
  readonly reason?: StatusReason | undefined;
  readonly data?: Buffer | undefined;
  readonly agent_id?: Id | undefined;
  readonly executor_id?: Id | undefined;
  readonly timestamp?: number | undefined;
  readonly uuid?: Buffer | undefined;
  readonly healthy?: boolean | undefined;
  readonly labels?: Labels | undefined;
  readonly container_status?: ContainerStatus | undefined;
  readonly unreachable_time?: TimeInfo | undefined;
};
