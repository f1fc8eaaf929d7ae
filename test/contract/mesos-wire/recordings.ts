/**
 * Finds the recorded traffic of a real Mesos, which is kept beside the project (too large and too
 * foreign for the tree). Tests that need it skip, with this sentence, where it does not exist.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const RECORDINGS = join(process.cwd(), '..', 'shared', 'mesos-wire');

export const WHY_SKIPPED = `the recordings of a real Mesos are not at ${RECORDINGS}`;

export function hasRecordings(): boolean {
  return existsSync(RECORDINGS);
}

export type Exchange = {
  /** Such as `s2-launch-protobuf/02-accept-reserve-create-launch`. */
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly requestBody: Buffer;
  /** Undefined: the connection was closed before any answer. */
  readonly status: number | undefined;
  readonly responseHeaders: readonly (readonly [string, string])[];
  readonly responseBody: Buffer;
  /** Events of a stream, in the JSON spelling of Mesos. */
  readonly events: readonly Readonly<Record<string, unknown>>[] | undefined;
};

/** Every recorded HTTP exchange, in order; `scenario` narrows to one folder. */
export function recordedExchanges(scenario?: string, root = RECORDINGS): Exchange[] {
  const found: Exchange[] = [];
  collect(scenario === undefined ? root : join(root, scenario), scenario ?? '', found);
  return found;
}

function collect(directory: string, name: string, found: Exchange[]): void {
  const entries = readdirSync(directory, { withFileTypes: true });
  if (entries.some((entry) => entry.name === 'request.json')) {
    found.push(readExchange(directory, name));
    return;
  }
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const child = name === '' ? entry.name : `${name}/${entry.name}`;
    if (entry.isDirectory()) collect(join(directory, entry.name), child, found);
  }
}

type RequestRecord = { method: string; path: string; headers: [string, string][] };
type MetaRecord = { status: number | null; headers?: [string, string][] };

function readExchange(directory: string, name: string): Exchange {
  const request = JSON.parse(
    readFileSync(join(directory, 'request.json'), 'utf8'),
  ) as RequestRecord;
  const metaPath = join(directory, 'response.meta.json');
  const meta = (
    existsSync(metaPath) ? JSON.parse(readFileSync(metaPath, 'utf8')) : { status: null }
  ) as MetaRecord;
  const eventsPath = join(directory, 'response.decoded.jsonl');
  const lines = existsSync(eventsPath) ? readFileSync(eventsPath, 'utf8').trim().split('\n') : [];
  return {
    name,
    method: request.method,
    path: request.path,
    headers: request.headers,
    requestBody: readOptional(join(directory, 'request.body')),
    status: meta.status ?? undefined,
    responseHeaders: meta.headers ?? [],
    responseBody: readOptional(join(directory, 'response.body')),
    events: existsSync(eventsPath)
      ? lines.filter((line) => line !== '').map((line) => JSON.parse(line))
      : undefined,
  };
}

function readOptional(path: string): Buffer {
  return existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
}

export function headerOf(
  headers: readonly (readonly [string, string])[],
  name: string,
): string | undefined {
  return headers.find(([key]) => key.toLowerCase() === name.toLowerCase())?.[1];
}
