/**
 * Messages of any protobuf type, well formed and with hostile values: drawn from the type's own description,
 * so that new fields are covered without a word here.
 */
import protobuf from 'protobufjs/light.js';
import type { Prng } from '../../../shared/base/prng.ts';
import { EXTREMES } from './mutation.ts';

/** Messages within messages; some types hold themselves. */
const DEPTH_MAX = 6;
const TEXTS = [
  '',
  'a',
  'vol',
  'x'.repeat(3000),
  '\0',
  '\ud800',
  '../..',
  '-1',
  '1e999',
  '{}',
  '__proto__',
];

export function anyMessage(type: protobuf.Type, prng: Prng): Buffer {
  const message = anyFields(type, prng, 0);
  return Buffer.from(type.encode(type.fromObject(message)).finish());
}

/** A valid message with a few values changed: it still decodes, and still looks like one of ours. */
export function perturb(type: protobuf.Type, bytes: Uint8Array, prng: Prng): Buffer {
  const message: unknown = type.toObject(type.decode(bytes), { longs: String });
  for (let times = prng.pick([1, 1, 2, 4]); times > 0; times -= 1) {
    const places: Place[] = [];
    collectPlaces(message, places);
    if (places.length > 0) change(prng.pick(places), prng);
  }
  return Buffer.from(type.encode(type.fromObject(message as Record<string, unknown>)).finish());
}

interface Place {
  readonly holder: Record<string, unknown> | unknown[];
  readonly key: string;
}

function collectPlaces(value: unknown, places: Place[]): void {
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return;
  const holder = value as Record<string, unknown>;
  for (const key of Object.keys(holder)) {
    places.push({ holder, key });
    collectPlaces(holder[key], places);
  }
}

function change({ holder, key }: Place, prng: Prng): void {
  const value: unknown = Reflect.get(holder, key);
  if (Array.isArray(value)) {
    const other: unknown = value.length > 0 ? structuredClone(prng.pick(value)) : undefined;
    if (prng.chance(0.5) || other === undefined) value.pop();
    else value.push(other);
  } else if (typeof value === 'object') {
    if (!Array.isArray(holder)) Reflect.deleteProperty(holder, key);
  } else if (typeof value === 'boolean') {
    Reflect.set(holder, key, !value);
  } else if (typeof value === 'number') {
    Reflect.set(holder, key, prng.chance(0.6) ? prng.below(8) : 0xffff_ffff);
  } else if (typeof value === 'string' && /^\d+$/.test(value)) {
    Reflect.set(holder, key, prng.chance(0.6) ? prng.below(8) : Number.MAX_SAFE_INTEGER);
  } else if (typeof value === 'string') {
    Reflect.set(holder, key, prng.pick(TEXTS));
  }
}

function anyFields(type: protobuf.Type, prng: Prng, depth: number): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  // A message of one kind of many: one of them, most of the time.
  const isChoice = type.oneofsArray.some((oneof) => oneof.fieldsArray.length > 1);
  const chosen = isChoice && prng.chance(0.9) ? prng.pick(type.fieldsArray) : null;
  for (const field of type.fieldsArray) {
    field.resolve();
    if (chosen !== null && field !== chosen && !field.required) continue;
    if (!field.required && chosen === null && (depth >= DEPTH_MAX || prng.chance(0.3))) continue;
    fields[field.name] = anyValue(field, prng, depth);
  }
  return fields;
}

function anyValue(field: protobuf.Field, prng: Prng, depth: number): unknown {
  if (field instanceof protobuf.MapField) {
    return { [prng.pick(TEXTS)]: anySingle(field, prng, depth) };
  }
  if (!field.repeated) return anySingle(field, prng, depth);
  const count = prng.pick([0, 1, 1, 2, 5]);
  return Array.from({ length: count }, () => anySingle(field, prng, depth));
}

function anySingle(field: protobuf.Field, prng: Prng, depth: number): unknown {
  const type = field.resolvedType;
  if (type instanceof protobuf.Type) {
    return anyFields(type, prng, depth + 1);
  }
  if (type instanceof protobuf.Enum) return prng.pick(Object.values(type.values));
  switch (field.type) {
    case 'string':
      return prng.pick(TEXTS);
    case 'bytes':
      return Buffer.from(prng.bytes(prng.below(20)));
    case 'bool':
      return prng.chance(0.5);
    case 'double':
    case 'float':
      return prng.pick([0, -1, 0.5, 1e308, Number.NaN, Number.POSITIVE_INFINITY]);
    default:
      return prng.chance(0.5) ? prng.below(10) : prng.pick(EXTREMES).toString();
  }
}
