/**
 * Messages as a real Mesos writes them: in JSON, optional fields that declare a default are there even when
 * nobody set them, and empty lists are not; in protobuf only what was set.
 */

import type protobuf from 'protobufjs';
import {
  type ContentType,
  encode,
  JSON_TYPE,
  type MessageKinds,
} from '../../shared/mesos/codec.ts';
import { findField, messageType, valueKind } from '../../shared/mesos/schema.ts';

export function encodeAnswer<Kind extends keyof MessageKinds>(
  kind: Kind,
  message: MessageKinds[Kind],
  contentType: ContentType,
): Buffer {
  if (contentType !== JSON_TYPE) return encode(kind, message, contentType);
  // Only fields of the same message were added.
  const whole = withDefaults(messageType(kind), message) as unknown as MessageKinds[Kind];
  return encode(kind, whole, contentType);
}

function withDefaults(type: protobuf.Type, message: object): Record<string, unknown> {
  const whole: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(message)) {
    const field = findField(type, name);
    if (field === undefined || value === undefined || value === null) whole[name] = value;
    else if (!Array.isArray(value) || value.length > 0) whole[name] = fieldValue(field, value);
  }
  for (const field of type.fieldsArray) {
    const preset = field.getOption('default') as unknown;
    const isOld = field.getOption('deprecated') === true;
    if (preset !== undefined && !isOld && whole[field.name] === undefined)
      whole[field.name] = preset;
  }
  return whole;
}

function fieldValue(field: protobuf.Field, value: unknown): unknown {
  const kind = valueKind(field);
  if (kind.kind !== 'message' || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => withDefaults(kind.type, item as object));
  if (!('keyType' in field)) return withDefaults(kind.type, value);
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, withDefaults(kind.type, item as object)]),
  );
}
