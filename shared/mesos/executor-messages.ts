/**
 * Calls and events of the executor API (POST /api/v1/executor on the executor's agent), as types.
 */

import type {
  AgentInfo,
  ExecutorInfo,
  FrameworkInfo,
  Id,
  KillPolicy,
  TaskInfo,
  TaskStatus,
} from './nouns.ts';

export type ExecutorCall = {
  readonly executor_id: Id;
  readonly framework_id: Id;
  readonly type?: 'UNKNOWN' | 'SUBSCRIBE' | 'UPDATE' | 'MESSAGE' | 'HEARTBEAT' | undefined;
  readonly subscribe?:
    | {
        readonly unacknowledged_tasks?: readonly TaskInfo[] | undefined;
        readonly unacknowledged_updates?: readonly { readonly status: TaskStatus }[] | undefined;
      }
    | undefined;
  readonly update?: { readonly status: TaskStatus } | undefined;
  readonly message?: { readonly data: Buffer } | undefined;
};

export type ExecutorEventType =
  | 'UNKNOWN'
  | 'SUBSCRIBED'
  | 'LAUNCH'
  | 'LAUNCH_GROUP'
  | 'KILL'
  | 'ACKNOWLEDGED'
  | 'MESSAGE'
  | 'ERROR'
  | 'SHUTDOWN'
  | 'HEARTBEAT';

/** `type` says which one of the bodies is there. An event of a newer Mesos has no type: skip it. */
export type ExecutorEvent = {
  readonly type?: ExecutorEventType | undefined;
  readonly subscribed?:
    | {
        readonly executor_info: ExecutorInfo;
        readonly framework_info: FrameworkInfo;
        readonly agent_info: AgentInfo;
        readonly container_id?: Id | undefined;
      }
    | undefined;
  readonly acknowledged?: { readonly task_id: Id; readonly uuid: Buffer } | undefined;
  readonly launch?: { readonly task: TaskInfo } | undefined;
  readonly launch_group?:
    | { readonly task_group: { readonly tasks?: readonly TaskInfo[] | undefined } }
    | undefined;
  readonly kill?:
    | { readonly task_id: Id; readonly kill_policy?: KillPolicy | undefined }
    | undefined;
  readonly message?: { readonly data: Buffer } | undefined;
  readonly error?: { readonly message: string } | undefined;
};
