/**
 * The Mesos v1 messages as reflection types: the one place that touches the generated descriptor.
 * The two codecs walk these types; nobody else needs them.
 *
 * Only protobufjs' reflection and wire format are used, never its message classes: their prototypes
 * carry defaults, and an unset optional field would then read as set.
 */

import Long from 'long';
import protobuf from 'protobufjs/light.js';
import { AssertionError } from '../base/assert.ts';
import { MESOS_DESCRIPTOR } from './descriptor.ts';

// In a bundle protobufjs cannot find `long` by itself and would fall back to lossy numbers.
protobuf.util.Long = Long;
protobuf.configure();

const root = protobuf.Root.fromJSON(MESOS_DESCRIPTOR).resolveAll();
const types = new Map<string, protobuf.Type>();

/** The type of a message, named below `mesos.v1`, such as `scheduler.Call` or `Resource`. */
export function messageType(name: string): protobuf.Type {
  let type = types.get(name);
  if (type === undefined) {
    type = root.lookupType(`mesos.v1.${name}`);
    types.set(name, type);
  }
  return type;
}

/** What a codec has to do with one value of a field. */
export type ValueKind =
  | { readonly kind: 'message'; readonly type: protobuf.Type }
  | { readonly kind: 'enum'; readonly type: protobuf.Enum }
  | { readonly kind: 'int64'; readonly unsigned: boolean }
  | { readonly kind: 'int32' | 'double' | 'bool' | 'string' | 'bytes' };

const SCALARS: Readonly<Record<string, ValueKind>> = {
  double: { kind: 'double' },
  float: { kind: 'double' },
  int32: { kind: 'int32' },
  uint32: { kind: 'int32' },
  int64: { kind: 'int64', unsigned: false },
  uint64: { kind: 'int64', unsigned: true },
  bool: { kind: 'bool' },
  string: { kind: 'string' },
  bytes: { kind: 'bytes' },
};

const kinds = new WeakMap<protobuf.FieldBase, ValueKind>();

/** How the values of `field` look; for a map the values, for a list the items. */
export function valueKind(field: protobuf.FieldBase): ValueKind {
  let kind = kinds.get(field);
  if (kind === undefined) {
    kind = findKind(field);
    kinds.set(field, kind);
  }
  return kind;
}

function findKind(field: protobuf.FieldBase): ValueKind {
  const resolved = field.resolvedType;
  if (resolved instanceof protobuf.Type) return { kind: 'message', type: resolved };
  if (resolved instanceof protobuf.Enum) return { kind: 'enum', type: resolved };
  const scalar = SCALARS[field.type];
  if (scalar === undefined) {
    throw new AssertionError('Mesos field type is not handled', { type: field.type });
  }
  return scalar;
}

/**
 * The field of that name, or undefined. Names come from the wire: those that every object inherits
 * (`constructor`, `__proto__`) are no fields.
 */
export function findField(type: protobuf.Type, name: string): protobuf.Field | undefined {
  return Object.hasOwn(type.fields, name) ? type.fields[name] : undefined;
}

/** The number behind a name of the enum, or undefined; likewise. */
export function findEnumNumber(type: protobuf.Enum, name: string): number | undefined {
  return Object.hasOwn(type.values, name) ? type.values[name] : undefined;
}

/** A 64-bit integer as our messages hold it: a number while that is exact, else decimal digits. */
export function integerValue(value: Long | number): number | string {
  if (typeof value === 'number') return value;
  const number = value.toNumber();
  return Number.isSafeInteger(number) ? number : value.toString();
}
