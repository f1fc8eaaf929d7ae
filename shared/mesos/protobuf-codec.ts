/**
 * Plain objects ⇄ the protobuf wire format, for the Mesos messages. Decoded objects hold only the
 * fields that were on the wire; fields that our schema does not know are kept as raw bytes under
 * `UNKNOWN_FIELDS`, so that an offered resource of a newer Mesos is echoed whole.
 */

import Long from 'long';
import protobuf from 'protobufjs/light.js';
import { describeError, StorageError } from '../base/errors.ts';
import { findEnumNumber, findField, integerValue, type ValueKind, valueKind } from './schema.ts';

/** Key of the raw unknown fields (a list of encoded fields) of a decoded message. */
export const UNKNOWN_FIELDS: unique symbol = Symbol.for('mesos.unknown-fields');

export type PlainMessage = {
  readonly [field: string]: unknown;
  readonly [UNKNOWN_FIELDS]?: readonly Uint8Array[];
};

type MutablePlain = { [field: string]: unknown; [UNKNOWN_FIELDS]?: readonly Uint8Array[] };

/** Throws `protocol` when the bytes are not a complete message of this type. */
export function decodeProtobuf(type: protobuf.Type, bytes: Uint8Array): PlainMessage {
  let message: protobuf.Message;
  try {
    const reader = protobuf.Reader.create(bytes);
    reader.discardUnknown = false;
    message = type.decode(reader);
  } catch (error) {
    throw new StorageError(
      'protocol',
      `Failed to decode ${type.fullName} of ${bytes.length} bytes: ${describeError(error)}`,
      {},
      error,
    );
  }
  return toPlain(type, message);
}

function toPlain(type: protobuf.Type, message: object): PlainMessage {
  const plain: MutablePlain = {};
  for (const field of type.fieldsArray) {
    if (!Object.hasOwn(message, field.name)) continue;
    const value: unknown = Reflect.get(message, field.name);
    const kind = valueKind(field);
    if (field instanceof protobuf.MapField) {
      const entries = Object.entries(value as Record<string, unknown>);
      if (entries.length === 0) continue;
      plain[field.name] = Object.fromEntries(entries.map(([k, v]) => [k, valueToPlain(kind, v)]));
    } else if (field.repeated) {
      // protobufjs gives every message an empty list for a field that was not there.
      if ((value as unknown[]).length === 0) continue;
      plain[field.name] = (value as unknown[]).map((item) => valueToPlain(kind, item));
    } else {
      const single = valueToPlain(kind, value);
      if (single !== undefined) plain[field.name] = single;
    }
  }
  const unknowns = Reflect.get(message, '$unknowns') as readonly Uint8Array[] | undefined;
  if (unknowns !== undefined) plain[UNKNOWN_FIELDS] = unknowns;
  return plain;
}

function valueToPlain(kind: ValueKind, value: unknown): unknown {
  switch (kind.kind) {
    case 'message':
      return toPlain(kind.type, value as object);
    case 'enum':
      // A value of a newer Mesos: treated as unset, as every proto2 reader does.
      return kind.type.valuesById[value as number];
    case 'int64':
      return integerValue(value as Long | number);
    case 'bytes':
      return Buffer.from(value as Uint8Array);
    default:
      return value;
  }
}

/** Throws `invalid-argument`, naming the field, when the message cannot be written. */
export function encodeProtobuf(type: protobuf.Type, message: object): Buffer {
  const wire = toWire(type, message, type.name);
  return Buffer.from(type.encode(wire).finish());
}

function toWire(type: protobuf.Type, message: object, path: string): Record<string, unknown> {
  const wire: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(message)) {
    if (value === undefined || value === null) continue;
    const field = findField(type, name);
    const at = `${path}.${name}`;
    if (field === undefined) throw badField(at, 'no such field', value);
    wire[name] = fieldToWire(field, value, at);
  }
  for (const field of type.fieldsArray) {
    if (field.required && !(field.name in wire)) {
      throw badField(`${path}.${field.name}`, 'a value: the field is required', undefined);
    }
  }
  const unknowns = (message as PlainMessage)[UNKNOWN_FIELDS];
  if (unknowns !== undefined) wire['$unknowns'] = unknowns;
  return wire;
}

function fieldToWire(field: protobuf.Field, value: unknown, at: string): unknown {
  const kind = valueKind(field);
  if (field instanceof protobuf.MapField) {
    if (typeof value !== 'object' || value === null) throw badField(at, 'an object', value);
    const entries = Object.entries(value);
    return Object.fromEntries(entries.map(([k, v]) => [k, valueToWire(kind, v, `${at}.${k}`)]));
  }
  if (field.repeated) {
    if (!Array.isArray(value)) throw badField(at, 'a list', value);
    return value.map((item, index) => valueToWire(kind, item, `${at}[${index}]`));
  }
  return valueToWire(kind, value, at);
}

function valueToWire(kind: ValueKind, value: unknown, at: string): unknown {
  switch (kind.kind) {
    case 'message':
      if (typeof value !== 'object' || value === null) throw badField(at, 'an object', value);
      return toWire(kind.type, value, at);
    case 'enum': {
      const number = typeof value === 'string' ? findEnumNumber(kind.type, value) : undefined;
      if (number === undefined) throw badField(at, `a value of ${kind.type.name}`, value);
      return number;
    }
    case 'int64':
      return int64ToWire(kind.unsigned, value, at);
    case 'bytes':
      if (!(value instanceof Uint8Array)) throw badField(at, 'bytes', value);
      return value;
    case 'int32':
      if (!Number.isInteger(value)) throw badField(at, 'an integer', value);
      return value;
    case 'double':
      if (typeof value !== 'number') throw badField(at, 'a number', value);
      return value;
    case 'bool':
      if (typeof value !== 'boolean') throw badField(at, 'a boolean', value);
      return value;
    case 'string':
      if (typeof value !== 'string') throw badField(at, 'a string', value);
      return value;
  }
}

function int64ToWire(unsigned: boolean, value: unknown, at: string): Long {
  if (typeof value === 'number' && Number.isSafeInteger(value)) {
    return Long.fromNumber(value, unsigned);
  }
  if (typeof value === 'string' && /^-?\d{1,20}$/.test(value)) {
    return Long.fromString(value, unsigned);
  }
  throw badField(at, 'a safe integer or decimal digits', value);
}

function badField(at: string, allowed: string, given: unknown): StorageError {
  return new StorageError(
    'invalid-argument',
    `Failed to encode field "${at}": expected ${allowed}, given ${JSON.stringify(given) ?? 'nothing'}`,
    { field: at, given, allowed },
  );
}
