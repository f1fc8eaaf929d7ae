/**
 * Small files of state that survive the stand-in's restart: one JSON document each, replaced
 * atomically. Buffers are kept as `{"$bytes": base64}`.
 */

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

export class Checkpoint<State> {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Undefined when nothing was saved yet. */
  load(): State | undefined {
    if (!existsSync(this.#path)) return undefined;
    return JSON.parse(readFileSync(this.#path, 'utf8'), revive) as State;
  }

  save(state: State): void {
    mkdirSync(dirname(this.#path), { recursive: true });
    const temporary = `${this.#path}.new`;
    writeFileSync(temporary, JSON.stringify(state, replace));
    renameSync(temporary, this.#path);
  }
}

/** JSON.stringify has turned a Buffer into `{type: 'Buffer', data: [...]}` before it asks. */
function replace(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const { type, data } = value as { type?: unknown; data?: unknown };
  return type === 'Buffer' && Array.isArray(data)
    ? { $bytes: Buffer.from(data as number[]).toString('base64') }
    : value;
}

function revive(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const bytes = (value as { $bytes?: unknown }).$bytes;
  return typeof bytes === 'string' ? Buffer.from(bytes, 'base64') : value;
}
