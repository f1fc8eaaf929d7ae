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
