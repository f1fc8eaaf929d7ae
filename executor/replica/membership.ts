/**
 * Who may do what on a replica (DESIGN 4.2, 4.6, 5): the checks that every request passes before it
 * reaches a store. Pure: facts in, verdict out.
 */
import { assert } from '../../shared/base/assert.ts';
import type { PgId, VolumeId } from '../../shared/base/ids.ts';
import { type DataFrame, STATUS, type Status } from '../../shared/wire/data-protocol.ts';
import type { MapIndex } from '../map-index.ts';
import type { ReplicaDisk } from './replica-disk.ts';

export type Role = 'in-sync' | 'joining';

export type Verdict =
  | { readonly kind: 'serve'; readonly role: Role }
  | { readonly kind: 'refuse'; readonly status: Status; readonly aux: number }
  /** The epoch must be durable first; then check again. */
  | { readonly kind: 'adopt' };

const SERVE_IN_SYNC: Verdict = { kind: 'serve', role: 'in-sync' };
const SERVE_JOINING: Verdict = { kind: 'serve', role: 'joining' };
/** What it acked may be gone: it neither serves nor is a source until the manager trusts it again. */
const SUSPECT: Verdict = { kind: 'refuse', status: STATUS.memoryLost, aux: 0 };
const ADOPT: Verdict = { kind: 'adopt' };

function refuse(status: Status, aux = 0): Verdict {
  return { kind: 'refuse', status, aux };
}

/** Epoch and membership of the PG that `frame` names. */
export function checkMembership(frame: DataFrame, disk: ReplicaDisk, map: MapIndex): Verdict {
  const view = map.pgs.get(frame.pg as PgId);
  const mapEpoch = view === undefined ? 0 : view.epoch;
  const adopted = disk.store.epochOf(frame.pg);
  const newest = Math.max(adopted, mapEpoch);
  if (frame.epoch < newest) return refuse(STATUS.staleEpoch, newest);
  if (frame.epoch > adopted || disk.isAdopting(frame.pg)) return ADOPT;
  // From here on the request's epoch is the adopted one. Who is a member of it, only the map says.
  if (view === undefined || frame.epoch > mapEpoch) return refuse(STATUS.epochAhead, mapEpoch);
  assert(frame.epoch === mapEpoch, 'the epoch is the one of the map', { epoch: frame.epoch });
  if (view.suspects.length > 0 && view.suspects.includes(disk.id)) return SUSPECT;
  if (view.inSync.includes(disk.id)) return SERVE_IN_SYNC;
  return view.members.includes(disk.id) ? SERVE_JOINING : refuse(STATUS.notMember, mapEpoch);
}

/** Null when the gateway's generation is the accepted one. A higher one must come with `open` first. */
export function checkGeneration(
  frame: DataFrame,
  disk: ReplicaDisk,
  map: MapIndex,
): { readonly status: Status; readonly aux: number } | null {
  const volume = map.volumes.get(frame.volume as VolumeId);
  if (volume === undefined) {
    if (isDeleted(frame.volume, map)) return { status: STATUS.unknownVolume, aux: 0 };
  } else if (frame.generation < volume.generation) {
    return { status: STATUS.fenced, aux: volume.generation };
  }
  const accepted = disk.store.generationOf(frame.volume);
  return frame.generation === accepted ? null : { status: STATUS.fenced, aux: accepted };
}

/**
 * Requests that carry no epoch and rest on what the store acked before: the asker must mean this memory
 * of the store. 0: his map does not say.
 */
export function isOfThisMemory(frame: DataFrame, disk: ReplicaDisk): boolean {
  return frame.aux === 0 || frame.aux === disk.store.incarnation;
}

/** Numbers are never used again: a volume below `nextVolume` that the map lacks is gone for good. */
export function isDeleted(volume: number, map: MapIndex): boolean {
  if (map.map === null) return false;
  return volume < map.map.nextVolume && !map.volumes.has(volume as VolumeId);
}
