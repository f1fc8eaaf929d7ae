/**
 * Reading the fields of decoded control messages: everything that comes from outside is checked here
 * (kind, range, known words) before anyone acts on it. Nothing is decided.
 */
import { StorageError } from '../base/errors.ts';
import { ID_MAX } from '../base/ids.ts';

export type Fields = Readonly<Record<string, unknown>>;

export function protocolError(what: string, allowed: unknown): StorageError {
  return new StorageError('protocol', `Control message: ${what}, allowed: ${String(allowed)}`, {
    what,
  });
}

export function text(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== 'string') throw protocolError(`field "${name}" is no text`, 'text');
  return value;
}

export function shortText(fields: Fields, name: string, lengthMax: number): string {
  const value = text(fields, name);
  if (value.length > lengthMax) {
    throw protocolError(`field "${name}" has ${value.length} characters`, lengthMax);
  }
  return value;
}

export function optionalText(fields: Fields, name: string): string | null {
  const value = fields[name];
  return typeof value === 'string' && value !== '' ? value : null;
}

export function size(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw protocolError(`field "${name}" is ${String(value)}`, '0 to 2^53 - 1');
  }
  return value;
}

export function real(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) {
    throw protocolError(`field "${name}" is ${String(value)}`, 'a number from 0');
  }
  return value;
}

export function id(fields: Fields, name: string): number {
  const value = size(fields, name);
  if (value > ID_MAX) throw protocolError(`field "${name}" is ${value}`, `0 to ${ID_MAX}`);
  return value;
}

/** Null when the field was not sent. */
export function optionalId(fields: Fields, name: string): number | null {
  return typeof fields[name] === 'number' ? id(fields, name) : null;
}

export function flag(fields: Fields, name: string): boolean {
  return fields[name] === true;
}

export function word<T extends string>(fields: Fields, name: string, words: readonly T[]): T {
  const value = fields[name];
  const found = words.find((candidate) => candidate === value);
  if (found === undefined) {
    throw protocolError(`field "${name}" is ${JSON.stringify(value)}`, words.join(', '));
  }
  return found;
}

export function each<T>(fields: Fields, name: string, read: (item: Fields) => T): readonly T[] {
  const value = fields[name];
  if (!Array.isArray(value)) throw protocolError(`field "${name}" is no list`, 'a list');
  return value.map((item) => read(item as Fields));
}

/** A list of a bounded length. */
export function atMost<T>(
  fields: Fields,
  name: string,
  countMax: number,
  read: (item: Fields) => T,
): readonly T[] {
  const value = fields[name];
  if (Array.isArray(value) && value.length > countMax) {
    throw protocolError(`field "${name}" has ${value.length} entries`, countMax);
  }
  return each(fields, name, read);
}

export function ids<T>(fields: Fields, name: string, make: (value: number) => T): readonly T[] {
  const value = fields[name];
  if (!Array.isArray(value)) throw protocolError(`field "${name}" is no list`, 'a list');
  return value.map((item) => make(id({ item }, 'item')));
}

export function part(fields: Fields, name: string): Fields | null {
  const value = fields[name];
  return typeof value === 'object' && value !== null ? (value as Fields) : null;
}
