/**
 * Plain objects ⇄ Mesos' JSON spelling of its messages: snake_case names, enum names, base64 bytes,
 * bare 64-bit numbers.
 *
 * Reading follows Mesos' own leniency, because the Mesos stand-in reads with this code as well:
 * unknown fields are ignored (and reported to whoever asks), null is unset, a bare value stands for
 * a list of one, an integer may be a string. Numeric enums, numbers for strings and a missing
 * required field are refused.
 */

import Long from 'long';
import protobuf from 'protobufjs/light.js';
import { describeError, StorageError } from '../base/errors.ts';
import type { PlainMessage } from './protobuf-codec.ts';
import { findEnumNumber, findField, type ValueKind, valueKind } from './schema.ts';

/** Gathers what the lenient rules passed over, such as misspelled field names. */
export type JsonFindings = { readonly ignored: string[] };

type Walk = { readonly findings: JsonFindings; readonly missing: string[] };

/** Throws `protocol`, worded as Mesos words it, when the text is not a message of this type. */
export function decodeJson(
  type: protobuf.Type,
  bytes: Uint8Array,
  findings: JsonFindings = { ignored: [] },
): PlainMessage {
  const value = parseText(Buffer.from(bytes).toString('utf8'));
  if (!isObject(value)) throw refuse('Expecting a JSON object');
  const walk: Walk = { findings, missing: [] };
  const message = objectToPlain(type, value, '', walk);
  if (walk.missing.length > 0) {
    const text = `Missing required fields: ${walk.missing.join(', ')}`;
    throw refuse(`Failed to convert JSON into ${type.name} protobuf: ${text}`);
  }
  return message;
}

/** 16 digits and more do not fit a double: such integers are read as strings. */
const LONG_INTEGER = /"(?:[^"\\]|\\.)*"|(?<![\d.eE+])-?\d{16,}(?![\d.eE])/g;

function parseText(text: string): unknown {
  const exact = /\d{16}/.test(text)
    ? text.replace(LONG_INTEGER, (found) => (found.startsWith('"') ? found : `"${found}"`))
    : text;
  try {
    return JSON.parse(exact) as unknown;
  } catch (error) {
    const cause = describeError(error);
    throw new StorageError('protocol', `Failed to parse body into JSON: ${cause}`, {}, error);
  }
}

function objectToPlain(
  type: protobuf.Type,
  object: Readonly<Record<string, unknown>>,
  path: string,
  walk: Walk,
): PlainMessage {
  const plain: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(object)) {
    const field = findField(type, name);
    const at = path === '' ? name : `${path}.${name}`;
    if (field === undefined) walk.findings.ignored.push(at);
    else if (value !== null) {
      const converted = fieldToPlain(field, value, at, walk);
      if (converted !== undefined) plain[name] = converted;
    }
  }
  for (const field of type.fieldsArray) {
    if (field.required && !(field.name in plain)) {
      walk.missing.push(path === '' ? field.name : `${path}.${field.name}`);
    }
  }
  return plain;
}

function fieldToPlain(field: protobuf.Field, value: unknown, at: string, walk: Walk): unknown {
  const kind = valueKind(field);
  if (field instanceof protobuf.MapField) {
    if (!isObject(value)) throw unexpected(field.name, value);
    const entries = Object.entries(value).filter(([, item]) => item !== null);
    return Object.fromEntries(
      entries.map(([key, item]) => [key, valueToPlain(kind, field, item, `${at}[${key}]`, walk)]),
    );
  }
  if (!field.repeated) return valueToPlain(kind, field, value, at, walk);
  const items = Array.isArray(value) ? value : [value];
  // An empty list is not set.
  if (items.length === 0) return undefined;
  return items
    .map((item, index) => valueToPlain(kind, field, item, `${at}[${index}]`, walk))
    .filter((item) => item !== undefined);
}

function valueToPlain(
  kind: ValueKind,
  field: protobuf.Field,
  value: unknown,
  at: string,
  walk: Walk,
): unknown {
  switch (kind.kind) {
    case 'message':
      if (!isObject(value)) throw unexpected(field.name, value);
      return objectToPlain(kind.type, value, at, walk);
    case 'enum':
      if (typeof value !== 'string') throw unexpected(field.name, value);
      if (findEnumNumber(kind.type, value) !== undefined) return value;
      walk.findings.ignored.push(`${at} (unknown value "${value}")`);
      return undefined;
    case 'int64':
    case 'int32':
    case 'double':
      return numberToPlain(kind, field, value);
    case 'bool':
      if (typeof value !== 'boolean') throw unexpected(field.name, value);
      return value;
    case 'string':
      if (typeof value !== 'string') throw unexpected(field.name, value);
      return value;
    case 'bytes':
      if (typeof value !== 'string') throw unexpected(field.name, value);
      return base64ToPlain(field, value);
  }
}

function numberToPlain(kind: ValueKind, field: protobuf.Field, value: unknown): number | string {
  const isText = typeof value === 'string' && value.trim() !== '';
  const number = isText ? Number(value) : value;
  if (typeof number !== 'number' || Number.isNaN(number)) throw unexpected(field.name, value);
  if (kind.kind === 'double') return number;
  if (kind.kind === 'int32' || Number.isSafeInteger(number)) return Math.trunc(number);
  if (isText && /^-?\d{1,20}$/.test(value)) return value;
  return Long.fromNumber(number, kind.kind === 'int64' && kind.unsigned).toString();
}

function base64ToPlain(field: protobuf.Field, text: string): Buffer {
  const bad = /[^A-Za-z0-9+/=\s]/.exec(text);
  if (bad !== null) {
    const what = `Failed to base64 decode bytes field '${field.name}'`;
    throw refuse(
      `Failed to convert JSON into Call protobuf: ${what}: Invalid character '${bad[0]}'`,
    );
  }
  return Buffer.from(text, 'base64');
}

function unexpected(field: string, value: unknown): StorageError {
  const found = Array.isArray(value) ? 'array' : typeof value;
  const text = `Not expecting a JSON ${found} for field '${field}'`;
  return refuse(`Failed to convert JSON into Call protobuf: ${text}`);
}

function refuse(message: string): StorageError {
  return new StorageError('protocol', message);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The message as Mesos writes it. Unknown fields of other versions cannot be written as JSON. */
export function encodeJson(type: protobuf.Type, message: object): Buffer {
  return Buffer.from(objectText(type, message, type.name));
}

function objectText(type: protobuf.Type, message: object, path: string): string {
  const parts: string[] = [];
  for (const [name, value] of Object.entries(message)) {
    if (value === undefined || value === null) continue;
    const field = findField(type, name);
    if (field === undefined) {
      throw new StorageError(
        'invalid-argument',
        `Failed to encode field "${path}.${name}": expected no such field`,
      );
    }
    parts.push(`${JSON.stringify(name)}:${fieldText(field, value, `${path}.${name}`)}`);
  }
  return `{${parts.join(',')}}`;
}

function fieldText(field: protobuf.Field, value: unknown, path: string): string {
  const kind = valueKind(field);
  if (field instanceof protobuf.MapField) {
    const entries = Object.entries(value as Record<string, unknown>);
    return `{${entries.map(([k, v]) => `${JSON.stringify(k)}:${valueText(kind, v, path)}`).join(',')}}`;
  }
  if (!field.repeated) return valueText(kind, value, path);
  return `[${(value as readonly unknown[]).map((item) => valueText(kind, item, path)).join(',')}]`;
}

function valueText(kind: ValueKind, value: unknown, path: string): string {
  switch (kind.kind) {
    case 'message':
      return objectText(kind.type, value as object, path);
    case 'bytes':
      return JSON.stringify(Buffer.from(value as Uint8Array).toString('base64'));
    case 'int64':
      return String(value);
    default:
      return JSON.stringify(value);
  }
}
