/**
 * The Mesos v1 messages as bytes, in both content types. Messages are plain objects spelled as in
 * Mesos' JSON: snake_case names, enums as strings, 64-bit integers as a number when that is exact
 * and else as decimal digits, bytes as `Buffer`. Only fields that are set are there.
 */

import type { ExecutorCall, ExecutorEvent } from './executor-messages.ts';
import { decodeJson, encodeJson, type JsonFindings } from './json-codec.ts';
import type {
  AgentInfo,
  ExecutorInfo,
  FrameworkInfo,
  Resource,
  TaskInfo,
  TaskStatus,
} from './nouns.ts';
import type { OperatorCall, OperatorEvent, OperatorResponse } from './operator-messages.ts';
import { decodeProtobuf, encodeProtobuf } from './protobuf-codec.ts';
import type { Offer, SchedulerCall, SchedulerEvent } from './scheduler-messages.ts';
import { messageType } from './schema.ts';

export const JSON_TYPE = 'application/json';
export const PROTOBUF_TYPE = 'application/x-protobuf';

export type ContentType = typeof JSON_TYPE | typeof PROTOBUF_TYPE;

/** The messages that travel (or that we keep) by themselves. */
export type MessageKinds = {
  'scheduler.Call': SchedulerCall;
  'scheduler.Event': SchedulerEvent;
  'executor.Call': ExecutorCall;
  'executor.Event': ExecutorEvent;
  'master.Call': OperatorCall;
  'master.Response': OperatorResponse;
  'master.Event': OperatorEvent;
  Offer: Offer;
  Resource: Resource;
  TaskInfo: TaskInfo;
  TaskStatus: TaskStatus;
  ExecutorInfo: ExecutorInfo;
  FrameworkInfo: FrameworkInfo;
  AgentInfo: AgentInfo;
};

/** Throws `invalid-argument`, naming the field, when the message cannot be written. */
export function encode<Kind extends keyof MessageKinds>(
  kind: Kind,
  message: MessageKinds[Kind],
  contentType: ContentType,
): Buffer {
  const type = messageType(kind);
  return contentType === JSON_TYPE ? encodeJson(type, message) : encodeProtobuf(type, message);
}

/**
 * Throws `protocol` when the bytes are not such a message. `findings` gathers what reading JSON
 * passed over (unknown fields, unknown enum names), as Mesos itself does.
 */
export function decode<Kind extends keyof MessageKinds>(
  kind: Kind,
  bytes: Uint8Array,
  contentType: ContentType,
  findings?: JsonFindings,
): MessageKinds[Kind] {
  const type = messageType(kind);
  const plain =
    contentType === JSON_TYPE ? decodeJson(type, bytes, findings) : decodeProtobuf(type, bytes);
  // The walk over the reflection type is what makes this true; required fields were checked there.
  return plain as unknown as MessageKinds[Kind];
}
