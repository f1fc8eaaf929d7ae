/**
 * Volumes: created thin, deleted at once for their users while their space comes back behind them.
 * Attachments are in attachments.ts.
 */
import { invalidField, StorageError } from '../../shared/base/errors.ts';
import { formatNode, formatVolume, type VolumeId, volumeId } from '../../shared/base/ids.ts';
import {
  BLOCK_BYTES,
  formatBytes,
  isAligned,
  REPLICAS_MAX,
  VOLUME_BYTES_MAX,
  VOLUME_BYTES_MIN,
} from '../../shared/base/units.ts';
import { DURABILITIES } from '../../shared/model/cluster-map.ts';
import { DEFAULT_POOL } from './bootstrap.ts';
import { capacityOf, countedDisks } from './capacity/capacity.ts';
import type { Command, CommandResult } from './contract.ts';
import { recordEvent } from './events.ts';
import { endJob, findRunningJob, startJob } from './jobs/jobs.ts';
import { nextMapVersion } from './members/fencing.ts';
import { isNodeUp } from './nodes/node-life.ts';
import { domainCount, ensureFamily } from './placement/families.ts';
import type { PgFamilyRecord, PoolRecord, VolumeRecord } from './records.ts';
import type { Now, State } from './state.ts';

type Create = Extract<Command, { kind: 'create-volume' }>;
type Update = Extract<Command, { kind: 'update-volume' }>;
type Delete = Extract<Command, { kind: 'delete-volume' }>;

const NAME_PATTERN = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const NAME_RULE = '1 to 63 of a-z 0-9 . _ -, beginning with a letter or digit';
/** The map of a cluster must fit into one message to every executor. */
const VOLUMES_MAX = 100_000;

export function createVolume(state: State, command: Create, now: Now): CommandResult {
  const checked = checkCreate(state, command);
  if (checked instanceof StorageError) return { kind: 'failed', error: checked };
  const { pool, replicas } = checked;
  const family = ensureFamily(state, pool, replicas);
  if (family instanceof StorageError) return { kind: 'failed', error: family };
  const id = volumeId(state.facts.allocate('nextVolume'));
  const record: VolumeRecord = {
    id,
    name: command.name,
    pool: pool.name,
    sizeBytes: command.sizeBytes,
    replicas,
    pgBase: family.pgBase,
    pgCount: family.pgCount,
    ...striping(id, family),
    layer: 0,
    generation: 0,
    attachedTo: null,
    isDetaching: false,
    phase: 'ready',
    durability: command.durability ?? 'flush',
    createdAtMs: now.wallMs,
  };
  state.facts.volumes.put(record);
  const message = `Volume "${record.name}" (${formatVolume(id)}) was created: ${formatBytes(record.sizeBytes)}, ${replicas} replicas in pool "${pool.name}"`;
  const subject = formatVolume(id);
  recordEvent(state, { severity: 'info', kind: 'volume.created', message, subject }, now);
  return { kind: 'done', id };
}

/** Settings that change while the volume is in use; its gateway follows with the next map. */
export function updateVolume(state: State, command: Update, now: Now): CommandResult {
  const volume = findVolume(state, command.volume);
  if (volume instanceof StorageError) return { kind: 'failed', error: volume };
  const error = checkDurability(command.changes.durability);
  if (error !== null) return { kind: 'failed', error };
  state.facts.volumes.update(volume.id, command.changes);
  const changes = Object.entries(command.changes).map(([name, value]) => `${name} is ${value} now`);
  const message = `Settings of volume "${volume.name}" were changed by an operator: ${changes.join(', ')}`;
  const subject = formatVolume(volume.id);
  recordEvent(state, { severity: 'info', kind: 'volume.changed', message, subject }, now);
  return { kind: 'done', id: volume.id };
}

export function deleteVolume(state: State, command: Delete, now: Now): CommandResult {
  const volume = findVolume(state, command.volume);
  if (volume instanceof StorageError) return { kind: 'failed', error: volume };
  if (volume.attachedTo !== null && !command.isForced) {
    const node = formatNode(volume.attachedTo);
    const error = new StorageError(
      'conflict',
      `Cannot delete volume "${volume.name}": it is attached to ${node}; detach it first`,
      { volume: formatVolume(volume.id), node },
    );
    return { kind: 'failed', error };
  }
  state.facts.volumes.update(volume.id, {
    phase: 'deleting',
    attachedTo: null,
    isDetaching: false,
  });
  state.work.detaching.delete(volume.id);
  state.work.ioSamples.delete(volume.id);
  const totalBytes = storedBytes(state, new Set([volume.id])).get(volume.id) ?? 0;
  const job = startJob(
    state,
    {
      kind: 'delete',
      subject: formatVolume(volume.id),
      reason: `volume "${volume.name}" was deleted: its space comes back`,
      totalBytes,
      figures: { mapVersion: nextMapVersion(state) },
    },
    now,
  );
  const message = `Volume "${volume.name}" was deleted; ${formatBytes(totalBytes)} come back`;
  const subject = formatVolume(volume.id);
  recordEvent(state, { severity: 'info', kind: 'volume.deleted', message, subject }, now);
  return { kind: 'done', id: job.id };
}

/** Once a second: deleted volumes whose space is back everywhere it can be asked for are forgotten. */
export function followDeletions(state: State, now: Now): void {
  const deleting = [...state.facts.volumes.values()].filter((v) => v.phase === 'deleting');
  if (deleting.length === 0) return;
  const left = storedBytes(state, new Set(deleting.map((volume) => volume.id)));
  for (const volume of deleting) {
    const job = findRunningJob(state, 'delete', formatVolume(volume.id));
    const leftBytes = left.get(volume.id) ?? 0;
    const isKnown = isMapKnown(state, job?.figures['mapVersion'] ?? 0);
    if (leftBytes === 0 && isKnown) {
      state.facts.volumes.delete(volume.id);
      state.usage.forgetVolume(volume.id);
      if (job !== null) {
        const done = state.facts.jobs.update(job.id, { doneBytes: job.totalBytes });
        endJob(state, done, { phase: 'done' }, now);
      }
    } else if (job !== null) {
      const doneBytes = Math.max(job.doneBytes, job.totalBytes - leftBytes);
      if (doneBytes !== job.doneBytes) state.facts.jobs.update(job.id, { doneBytes });
    }
  }
}

/** The volume as long as it is there for users; `not-found` otherwise. */
export function findVolume(state: State, id: VolumeId): VolumeRecord | StorageError {
  const volume = state.facts.volumes.find(id);
  if (volume !== undefined && volume.phase === 'ready') return volume;
  return new StorageError('not-found', `There is no volume ${formatVolume(id)}`, {
    volume: formatVolume(id),
  });
}

/** Bytes of volumes on all disks together, as last reported. */
export function storedBytes(
  state: State,
  volumes: ReadonlySet<VolumeId> | null,
): ReadonlyMap<VolumeId, number> {
  return state.usage.sum(volumes, (id) => state.facts.nodes.find(id)?.admin !== 'gone');
}

/** All nodes that are up have applied the map; those that are away drop the extents when they return. */
function isMapKnown(state: State, version: number): boolean {
  for (const node of state.facts.nodes.values()) {
    if (!isNodeUp(state, node)) continue;
    if ((state.nodes.get(node.id)?.mapVersion ?? 0) < version) return false;
    // It may have extents that it has not told of yet.
    if (!state.usage.isComplete(node.id)) return false;
  }
  return true;
}

interface Checked {
  readonly pool: PoolRecord;
  readonly replicas: number;
}

function checkCreate(state: State, command: Create): Checked | StorageError {
  const { name, sizeBytes } = command;
  if (typeof name !== 'string' || !NAME_PATTERN.test(name)) {
    return invalidField('name', name, NAME_RULE);
  }
  const isSizeValid =
    Number.isSafeInteger(sizeBytes) &&
    sizeBytes >= VOLUME_BYTES_MIN &&
    sizeBytes <= VOLUME_BYTES_MAX &&
    isAligned(sizeBytes, BLOCK_BYTES);
  if (!isSizeValid) {
    const rule = `a multiple of 4096 from ${VOLUME_BYTES_MIN} to ${VOLUME_BYTES_MAX}`;
    return invalidField('sizeBytes', sizeBytes, rule);
  }
  const durabilityError = checkDurability(command.durability);
  if (durabilityError !== null) return durabilityError;
  const poolName = command.pool ?? DEFAULT_POOL;
  const pool = state.facts.pools.find(poolName);
  if (pool === undefined) {
    const names = [...state.facts.pools.values()].map((each) => `"${each.name}"`).join(', ');
    return invalidField('pool', poolName, `one of ${names}`);
  }
  const replicas = command.replicas ?? pool.defaultReplicas;
  if (!Number.isInteger(replicas) || replicas < 1 || replicas > REPLICAS_MAX) {
    return invalidField('replicas', replicas, `1 to ${REPLICAS_MAX}`);
  }
  for (const volume of state.facts.volumes.values()) {
    if (volume.phase !== 'ready' || volume.name !== name) continue;
    const id = formatVolume(volume.id);
    return new StorageError('already-exists', `Volume "${name}" exists already: ${id}`, {
      name,
      volume: id,
    });
  }
  return checkRoom(state, { pool, replicas }, sizeBytes) ?? { pool, replicas };
}

function checkDurability(durability: unknown): StorageError | null {
  if (durability === undefined || durability === null) return null;
  if (DURABILITIES.some((allowed) => allowed === durability)) return null;
  return invalidField('durability', durability, DURABILITIES.join(' or '));
}

function checkRoom(state: State, checked: Checked, sizeBytes: number): StorageError | null {
  const { pool, replicas } = checked;
  if (state.facts.volumes.size >= VOLUMES_MAX) {
    const text = `Cannot create another volume: the cluster has its limit of ${VOLUMES_MAX}`;
    return new StorageError('no-space', text, { volumesMax: VOLUMES_MAX });
  }
  const domains = domainCount(state, pool);
  if (domains < replicas) {
    return new StorageError(
      'unavailable',
      `Cannot place ${replicas} replicas in pool "${pool.name}": ${domains} ${pool.failureDomain}s have a serving disk, ${replicas} are needed`,
      { field: 'replicas', given: replicas, allowed: `1 to ${domains}`, pool: pool.name },
    );
  }
  let promised = sizeBytes * replicas;
  for (const volume of state.facts.volumes.values()) {
    if (volume.pool !== pool.name || volume.phase !== 'ready') continue;
    promised += volume.sizeBytes * volume.replicas;
  }
  const { rawBytes } = capacityOf(state, pool, countedDisks(state, pool.name), 0);
  const limit = rawBytes * state.options.overcommitRatio;
  if (promised <= limit) return null;
  return new StorageError(
    'no-space',
    `Volume of ${formatBytes(sizeBytes)} with ${replicas} replicas would promise ${formatBytes(promised)} of pool "${pool.name}", allowed are ${formatBytes(limit)} (${state.options.overcommitRatio} times its ${formatBytes(rawBytes)})`,
    { pool: pool.name, promisedBytes: promised, allowedBytes: limit },
  );
}

/** Where a volume's extents begin in its family and how far apart they are: different for each volume. */
function striping(
  id: VolumeId,
  family: PgFamilyRecord,
): { readonly pgOffset: number; readonly pgStride: number } {
  const { pgCount } = family;
  // Multiplicative hashing: the high bits of id times an odd constant near 2^32 / golden ratio.
  const offset = scale(Math.imul(id, 0x9e37_79b1), pgCount);
  const stride = scale(Math.imul(id ^ 0x5bd1_e995, 0x85eb_ca6b), pgCount);
  return { pgOffset: offset, pgStride: stride | 1 };
}

function scale(hash: number, limit: number): number {
  return Math.floor(((hash >>> 0) / 2 ** 32) * limit);
}
