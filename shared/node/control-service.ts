/** The gRPC services of the control link, for both ends; bytes come from `control-codec.ts`. */
import type grpc from '@grpc/grpc-js';
import {
  type Announcement,
  decodeAnnouncement,
  encodeAnnouncement,
} from '../model/announcement.ts';
import type { GrantReply, GrantRequest, ManagerMessage, NodeMessage } from '../model/control.ts';
import { decodeNodeMemory, encodeNodeMemory, type NodeMemory } from '../model/recall.ts';
import { CONTROL_MESSAGE_BYTES_MAX, type ControlCodec } from './control-codec.ts';

/**
 * Keep-alive finds a peer that is gone without a word within a few seconds; the application's own
 * deadlines (leases, silent links) are what decides.
 */
export const CONTROL_CHANNEL_OPTIONS: grpc.ChannelOptions = {
  'grpc.max_receive_message_length': CONTROL_MESSAGE_BYTES_MAX,
  'grpc.max_send_message_length': CONTROL_MESSAGE_BYTES_MAX,
  'grpc.keepalive_time_ms': 5_000,
  'grpc.keepalive_timeout_ms': 3_000,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1_000,
  'grpc.enable_http_proxy': 0,
};

export type SessionMethod = grpc.MethodDefinition<NodeMessage, ManagerMessage>;
export type GrantMethod = grpc.MethodDefinition<GrantRequest, GrantReply>;

/** The bidirectional stream between an executor and the manager. */
export function sessionMethod(codec: ControlCodec): SessionMethod {
  return {
    path: '/cistern.control.Control/Session',
    requestStream: true,
    responseStream: true,
    requestSerialize: (message) => codec.encodeNodeMessage(message),
    requestDeserialize: (bytes) => codec.decodeNodeMessage(bytes),
    responseSerialize: (message) => codec.encodeManagerMessage(message),
    responseDeserialize: (bytes) => codec.decodeManagerMessage(bytes),
  };
}

/** One question between executors. */
export function grantMethod(codec: ControlCodec): GrantMethod {
  return {
    path: '/cistern.control.Grants/Grant',
    requestStream: false,
    responseStream: false,
    requestSerialize: (request) => codec.encodeGrantRequest(request),
    requestDeserialize: (bytes) => codec.decodeGrantRequest(bytes),
    responseSerialize: (reply) => codec.encodeGrantReply(reply),
    responseDeserialize: (bytes) => codec.decodeGrantReply(bytes),
  };
}

/** Empty on the wire: there is nothing to say to an announcement. */
export type Heard = Readonly<Record<string, never>>;

/** A new manager tells an executor where it is, as JSON (shared/model/announcement.ts). */
export const ANNOUNCE_METHOD: grpc.MethodDefinition<Announcement, Heard> = {
  path: '/cistern.control.Grants/Announce',
  requestStream: false,
  responseStream: false,
  requestSerialize: encodeAnnouncement,
  requestDeserialize: decodeAnnouncement,
  responseSerialize: () => Buffer.alloc(0),
  responseDeserialize: () => ({}),
};

/** Empty on the wire; gRPC takes null for no message at all. */
export type RecallRequest = Readonly<Record<string, never>>;
export type RecallMethod = grpc.MethodDefinition<RecallRequest, NodeMemory>;

/** A recovery's question to an executor: what it remembers, as JSON (shared/model/recall.ts). */
export const RECALL_METHOD: RecallMethod = {
  path: '/cistern.control.Grants/Recall',
  requestStream: false,
  responseStream: false,
  requestSerialize: () => Buffer.alloc(0),
  requestDeserialize: () => ({}),
  responseSerialize: encodeNodeMemory,
  responseDeserialize: decodeNodeMemory,
};
