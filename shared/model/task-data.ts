/**
 * What a Mesos task tells the executor: one task is one disk. Travels as JSON in `TaskInfo.data`, where
 * anybody who may read the master's state can see it: no secrets.
 *
 * Also the hints that scheduler and executors exchange as framework messages, so that they find each
 * other again after a scheduler failover. Messages may be lost: both sides repeat them.
 */
import { StorageError } from '../base/errors.ts';
import { type DiskId, diskId, ID_MAX, type NodeId, nodeId } from '../base/ids.ts';

export interface TaskData {
  readonly format: 1;
  readonly clusterId: string;
  readonly node: NodeId;
  readonly disk: DiskId;
  readonly uuid: string;
  /** One path segment below the sandbox, where Mesos puts the persistent volume. */
  readonly containerPath: string;
  /** Size of the volume as reserved: the store uses no more. */
  readonly capacityBytes: number;
  /** `host:port` of the manager's control server at the time of the launch; a later hint replaces it. */
  readonly controlAddress: string;
  readonly term: number;
}

/** Where the manager is; a hint with a lower term than one already seen is stale. */
export interface ControlHint {
  readonly kind: 'control';
  readonly address: string;
  readonly term: number;
}

/** Executor to scheduler: where is the manager? */
export interface WhereQuestion {
  readonly kind: 'where';
}

export function encodeTaskData(data: TaskData): Uint8Array {
  return Buffer.from(JSON.stringify(data), 'utf8');
}

/** Throws `protocol` for anything that is no task data of this format. */
export function decodeTaskData(bytes: Uint8Array): TaskData {
  const value = parseObject(bytes, 'task data');
  if (value['format'] !== 1) {
    throw new StorageError('protocol', `Task data has format "${String(value['format'])}", not 1`);
  }
  return {
    format: 1,
    clusterId: text(value, 'clusterId'),
    node: nodeId(whole(value, 'node', ID_MAX)),
    disk: diskId(whole(value, 'disk', ID_MAX)),
    uuid: text(value, 'uuid'),
    containerPath: segment(value, 'containerPath'),
    capacityBytes: whole(value, 'capacityBytes', Number.MAX_SAFE_INTEGER),
    controlAddress: text(value, 'controlAddress'),
    term: whole(value, 'term', Number.MAX_SAFE_INTEGER),
  };
}

export function encodeHint(message: ControlHint | WhereQuestion): Uint8Array {
  return Buffer.from(JSON.stringify(message), 'utf8');
}

/** Returns `null` for a message of another kind: newer versions may send more. Throws `protocol`. */
export function decodeHint(bytes: Uint8Array): ControlHint | WhereQuestion | null {
  const value = parseObject(bytes, 'framework message');
  if (value['kind'] === 'where') return { kind: 'where' };
  if (value['kind'] !== 'control') return null;
  return {
    kind: 'control',
    address: text(value, 'address'),
    term: whole(value, 'term', Number.MAX_SAFE_INTEGER),
  };
}

/** Real ones are a few hundred bytes. */
const JSON_BYTES_MAX = 64 * 1024;

function parseObject(bytes: Uint8Array, what: string): Record<string, unknown> {
  if (bytes.length > JSON_BYTES_MAX) {
    throw new StorageError('protocol', `Decoding ${what}: ${bytes.length} bytes are too many`);
  }
  try {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const value: unknown = JSON.parse(buffer.toString('utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>;
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new StorageError('protocol', `Decoding ${what}: not JSON`, {}, error);
  }
  throw new StorageError('protocol', `Decoding ${what}: not a JSON object`);
}

function text(value: Readonly<Record<string, unknown>>, field: string): string {
  const given = value[field];
  if (typeof given === 'string' && given.length > 0) return given;
  throw new StorageError('protocol', `Field "${field}" is no text`, { field });
}

function segment(value: Readonly<Record<string, unknown>>, field: string): string {
  const given = text(value, field);
  // A path that leaves the sandbox, or one with a slash (Mesos ignores those silently).
  if (/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(given)) return given;
  throw new StorageError('protocol', `Field "${field}" is "${given}", not one path segment`, {
    field,
  });
}

function whole(value: Readonly<Record<string, unknown>>, field: string, max: number): number {
  const given = value[field];
  if (typeof given === 'number' && Number.isInteger(given) && given >= 0 && given <= max) {
    return given;
  }
  throw new StorageError('protocol', `Field "${field}" is no whole number up to ${max}`, { field });
}
