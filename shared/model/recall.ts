/**
 * What an executor remembers of its cluster, for a recovery of the metadata store: the newest map it
 * knows, and what the disks have durably adopted. Travels as JSON; decoding is hostile.
 */
import { StorageError } from '../base/errors.ts';
import { type DiskId, diskId, ID_MAX, type NodeId, nodeId } from '../base/ids.ts';

/** One disk's durable numbers. Pairs are `[pg, epoch]` and `[volume, generation]`. */
export interface DiskMemory {
  readonly id: DiskId;
  readonly uuid: string;
  readonly epochs: readonly (readonly [number, number])[];
  readonly generations: readonly (readonly [number, number])[];
  /** Volumes of which the disk holds extents. */
  readonly volumes: readonly number[];
}

export interface NodeMemory {
  readonly clusterId: string;
  readonly node: NodeId;
  /** A kept map (durable-map.ts) in base64; null when the node knows none. */
  readonly map: string | null;
  readonly disks: readonly DiskMemory[];
}

/** A map of 128k PGs, in base64, and the numbers of some disks. */
export const RECALL_BYTES_MAX = 64 * 1024 * 1024;

export function encodeNodeMemory(memory: NodeMemory): Buffer {
  return Buffer.from(JSON.stringify(memory), 'utf8');
}

/** Throws `protocol`. */
export function decodeNodeMemory(bytes: Uint8Array): NodeMemory {
  if (bytes.length > RECALL_BYTES_MAX) throw refused(`${bytes.length} bytes are too many`);
  let value: unknown;
  try {
    value = JSON.parse(
      Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'),
    );
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw refused('it is not JSON');
  }
  const fields = object(value, 'memory');
  const map = fields['map'];
  if (map !== null && typeof map !== 'string') throw refused('field "map" is no text');
  return {
    clusterId: text(fields, 'clusterId'),
    node: nodeId(whole(fields['node'], 'node')),
    map,
    disks: list(fields, 'disks').map(readDisk),
  };
}

function readDisk(value: unknown): DiskMemory {
  const fields = object(value, 'disk');
  return {
    id: diskId(whole(fields['id'], 'id')),
    uuid: text(fields, 'uuid'),
    epochs: list(fields, 'epochs').map(pair),
    generations: list(fields, 'generations').map(pair),
    volumes: list(fields, 'volumes').map((volume) => whole(volume, 'volumes')),
  };
}

function pair(value: unknown): readonly [number, number] {
  if (!Array.isArray(value) || value.length !== 2) throw refused('a pair is none');
  return [whole(value[0], 'pair'), whole(value[1], 'pair')];
}

function object(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw refused(`${what} is no object`);
}

function list(fields: Readonly<Record<string, unknown>>, name: string): readonly unknown[] {
  const value = fields[name];
  if (Array.isArray(value)) return value;
  throw refused(`field "${name}" is no list`);
}

function text(fields: Readonly<Record<string, unknown>>, name: string): string {
  const value = fields[name];
  if (typeof value === 'string') return value;
  throw refused(`field "${name}" is no text`);
}

function whole(value: unknown, name: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= ID_MAX) {
    return value;
  }
  throw refused(`field "${name}" is no whole number up to ${ID_MAX}`);
}

function refused(why: string): StorageError {
  return new StorageError('protocol', `Decoding the memory of a node: ${why}`);
}
