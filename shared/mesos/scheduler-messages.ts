/**
 * Calls and events of the scheduler API (POST /api/v1/scheduler on the leading master), as types.
 */

import type {
  Attribute,
  DomainInfo,
  ExecutorInfo,
  FrameworkInfo,
  Id,
  KillPolicy,
  MasterInfo,
  Resource,
  Scalar,
  TaskInfo,
  TaskStatus,
  Unavailability,
  Url,
} from './nouns.ts';

export type Offer = {
  readonly id: Id;
  readonly framework_id: Id;
  readonly agent_id: Id;
  readonly hostname: string;
  readonly url?: Url | undefined;
  readonly domain?: DomainInfo | undefined;
  readonly resources?: readonly Resource[] | undefined;
  readonly attributes?: readonly Attribute[] | undefined;
  /** Executors of this framework that run on the agent already. */
  readonly executor_ids?: readonly Id[] | undefined;
  readonly unavailability?: Unavailability | undefined;
  readonly allocation_info?: { readonly role?: string | undefined } | undefined;
};

export type InverseOffer = {
  readonly id: Id;
  readonly url?: Url | undefined;
  readonly framework_id: Id;
  readonly agent_id?: Id | undefined;
  readonly unavailability: Unavailability;
  readonly resources?: readonly Resource[] | undefined;
};

export type OperationType =
  | 'UNKNOWN'
  | 'LAUNCH'
  | 'LAUNCH_GROUP'
  | 'RESERVE'
  | 'UNRESERVE'
  | 'CREATE'
  | 'DESTROY'
  | 'GROW_VOLUME'
  | 'SHRINK_VOLUME'
  | 'CREATE_DISK'
  | 'DESTROY_DISK';

/** `type` says which one of the bodies is meant. */
export type OfferOperation = {
  readonly type?: OperationType | undefined;
  /** Asks for feedback (UPDATE_OPERATION_STATUS); must be fresh. Not allowed on LAUNCH. */
  readonly id?: Id | undefined;
  readonly launch?: { readonly task_infos?: readonly TaskInfo[] | undefined } | undefined;
  readonly launch_group?:
    | {
        readonly executor: ExecutorInfo;
        readonly task_group: { readonly tasks?: readonly TaskInfo[] | undefined };
      }
    | undefined;
  readonly reserve?:
    | {
        readonly source?: readonly Resource[] | undefined;
        readonly resources?: readonly Resource[] | undefined;
      }
    | undefined;
  readonly unreserve?: { readonly resources?: readonly Resource[] | undefined } | undefined;
  readonly create?: { readonly volumes?: readonly Resource[] | undefined } | undefined;
  readonly destroy?: { readonly volumes?: readonly Resource[] | undefined } | undefined;
  readonly grow_volume?: { readonly volume: Resource; readonly addition: Resource } | undefined;
  readonly shrink_volume?: { readonly volume: Resource; readonly subtract: Scalar } | undefined;
};

export type OperationState =
  | 'OPERATION_UNSUPPORTED'
  | 'OPERATION_PENDING'
  | 'OPERATION_FINISHED'
  | 'OPERATION_FAILED'
  | 'OPERATION_ERROR'
  | 'OPERATION_DROPPED'
  | 'OPERATION_UNREACHABLE'
  | 'OPERATION_GONE_BY_OPERATOR'
  | 'OPERATION_RECOVERING'
  | 'OPERATION_UNKNOWN';

/** `uuid` is a message here, but raw bytes in the acknowledgement. */
export type OperationStatus = {
  readonly operation_id?: Id | undefined;
  readonly state: OperationState;
  readonly message?: string | undefined;
  readonly converted_resources?: readonly Resource[] | undefined;
  readonly uuid?: { readonly value: Buffer } | undefined;
  readonly agent_id?: Id | undefined;
  readonly resource_provider_id?: Id | undefined;
};

/** Seconds for which what was not taken is kept away; missing means 5. */
export type Filters = { readonly refuse_seconds?: number | undefined };

export type AttributeConstraint = {
  readonly selector: {
    readonly pseudoattribute_type?: 'UNKNOWN' | 'HOSTNAME' | 'REGION' | 'ZONE' | undefined;
    readonly attribute_name?: string | undefined;
  };
  readonly predicate: {
    readonly exists?: Readonly<Record<string, never>> | undefined;
    readonly not_exists?: Readonly<Record<string, never>> | undefined;
    readonly text_equals?: { readonly value: string } | undefined;
    readonly text_not_equals?: { readonly value: string } | undefined;
    readonly text_matches?: { readonly regex: string } | undefined;
    readonly text_not_matches?: { readonly regex: string } | undefined;
  };
};

export type OfferConstraints = {
  readonly role_constraints?:
    | Readonly<
        Record<
          string,
          {
            readonly groups?:
              | readonly {
                  readonly attribute_constraints?: readonly AttributeConstraint[] | undefined;
                }[]
              | undefined;
          }
        >
      >
    | undefined;
};

export type Subscribe = {
  readonly framework_info: FrameworkInfo;
  readonly suppressed_roles?: readonly string[] | undefined;
  readonly offer_constraints?: OfferConstraints | undefined;
};

export type Accept = {
  readonly offer_ids?: readonly Id[] | undefined;
  readonly operations?: readonly OfferOperation[] | undefined;
  readonly filters?: Filters | undefined;
};

export type InverseOfferAnswer = {
  readonly inverse_offer_ids?: readonly Id[] | undefined;
  readonly filters?: Filters | undefined;
};

export type SchedulerCallType =
  | 'UNKNOWN'
  | 'SUBSCRIBE'
  | 'TEARDOWN'
  | 'ACCEPT'
  | 'DECLINE'
  | 'ACCEPT_INVERSE_OFFERS'
  | 'DECLINE_INVERSE_OFFERS'
  | 'REVIVE'
  | 'KILL'
  | 'SHUTDOWN'
  | 'ACKNOWLEDGE'
  | 'ACKNOWLEDGE_OPERATION_STATUS'
  | 'RECONCILE'
  | 'RECONCILE_OPERATIONS'
  | 'MESSAGE'
  | 'REQUEST'
  | 'SUPPRESS'
  | 'UPDATE_FRAMEWORK';

/** `type` says which one of the bodies is meant. */
export type SchedulerCall = {
  readonly framework_id?: Id | undefined;
  readonly type?: SchedulerCallType | undefined;
  readonly subscribe?: Subscribe | undefined;
  readonly accept?: Accept | undefined;
  readonly decline?:
    | { readonly offer_ids?: readonly Id[] | undefined; readonly filters?: Filters | undefined }
    | undefined;
  readonly accept_inverse_offers?: InverseOfferAnswer | undefined;
  readonly decline_inverse_offers?: InverseOfferAnswer | undefined;
  readonly revive?: { readonly roles?: readonly string[] | undefined } | undefined;
  readonly suppress?: { readonly roles?: readonly string[] | undefined } | undefined;
  readonly kill?:
    | {
        readonly task_id: Id;
        readonly agent_id?: Id | undefined;
        readonly kill_policy?: KillPolicy | undefined;
      }
    | undefined;
  readonly shutdown?: { readonly executor_id: Id; readonly agent_id: Id } | undefined;
  readonly acknowledge?:
    | { readonly agent_id: Id; readonly task_id: Id; readonly uuid: Buffer }
    | undefined;
  readonly acknowledge_operation_status?:
    | {
        readonly agent_id?: Id | undefined;
        readonly resource_provider_id?: Id | undefined;
        readonly uuid: Buffer;
        readonly operation_id: Id;
      }
    | undefined;
  readonly reconcile?:
    | {
        readonly tasks?:
          | readonly { readonly task_id: Id; readonly agent_id?: Id | undefined }[]
          | undefined;
      }
    | undefined;
  readonly reconcile_operations?:
    | {
        readonly operations?:
          | readonly {
              readonly operation_id: Id;
              readonly agent_id?: Id | undefined;
              readonly resource_provider_id?: Id | undefined;
            }[]
          | undefined;
      }
    | undefined;
  readonly message?:
    | { readonly agent_id: Id; readonly executor_id: Id; readonly data: Buffer }
    | undefined;
  readonly update_framework?: Subscribe | undefined;
};

export type SchedulerEventType =
  | 'UNKNOWN'
  | 'SUBSCRIBED'
  | 'OFFERS'
  | 'INVERSE_OFFERS'
  | 'RESCIND'
  | 'RESCIND_INVERSE_OFFER'
  | 'UPDATE'
  | 'UPDATE_OPERATION_STATUS'
  | 'MESSAGE'
  | 'FAILURE'
  | 'ERROR'
  | 'HEARTBEAT';

/** `type` says which one of the bodies is there. An event of a newer Mesos has no type: skip it. */
export type SchedulerEvent = {
  readonly type?: SchedulerEventType | undefined;
  readonly subscribed?:
    | {
        readonly framework_id: Id;
        readonly heartbeat_interval_seconds?: number | undefined;
        readonly master_info?: MasterInfo | undefined;
      }
    | undefined;
  readonly offers?: { readonly offers?: readonly Offer[] | undefined } | undefined;
  readonly inverse_offers?:
    | { readonly inverse_offers?: readonly InverseOffer[] | undefined }
    | undefined;
  readonly rescind?: { readonly offer_id: Id } | undefined;
  readonly rescind_inverse_offer?: { readonly inverse_offer_id: Id } | undefined;
  readonly update?: { readonly status: TaskStatus } | undefined;
  readonly update_operation_status?: { readonly status: OperationStatus } | undefined;
  readonly message?:
    | { readonly agent_id: Id; readonly executor_id: Id; readonly data: Buffer }
    | undefined;
  /** Without executor: the agent was removed. `status` is as waitpid() gives it, -1 unknown. */
  readonly failure?:
    | {
        readonly agent_id?: Id | undefined;
        readonly executor_id?: Id | undefined;
        readonly status?: number | undefined;
      }
    | undefined;
  readonly error?: { readonly message: string } | undefined;
};
