/**
 * What a replica does for others that copy from it (`list`, `meta`, `pull`), and the gateways' word
 * that extents are the same everywhere (`clean`). Background work: plain closures are fine here.
 */
import type { PgId, VolumeId } from '../../shared/base/ids.ts';
import { BLOCK_BYTES } from '../../shared/base/units.ts';
import { pgOfExtent } from '../../shared/model/cluster-map.ts';
import { type DataFrame, FLAG, replyTo, STATUS } from '../../shared/wire/data-protocol.ts';
import {
  decodeAddresses,
  encodeList,
  encodeMeta,
  LIST_ENTRIES_MAX,
} from '../../shared/wire/resync-bodies.ts';
import type { ExtentAddress } from '../disk/store-types.ts';
import type { MapIndex } from '../map-index.ts';
import { isOfThisMemory } from './membership.ts';
import type { ReplicaDisk } from './replica-disk.ts';
import type { Session } from './session.ts';

export interface BlockPlace extends ExtentAddress {
  readonly block: number;
  readonly count: number;
}

const FROM_START = 1;
const DIRTY_ONLY = 2;

/**
 * Bits of the request's `aux`: 1 from the start (otherwise after the address given), 2 dirty extents
 * only. Reply `aux` 1: there is more after the last entry.
 */
export function answerList(session: Session, frame: DataFrame, disk: ReplicaDisk): void {
  const { volume, layer, extent } = frame;
  let after: ExtentAddress | null =
    (frame.aux & FROM_START) !== 0 ? null : { volume, layer, extent };
  const isDirtyOnly = (frame.aux & DIRTY_ONLY) !== 0;
  const reply = replyTo(frame, STATUS.ok);
  for (;;) {
    const page = disk.store.listExtents(frame.pg, after, LIST_ENTRIES_MAX);
    const entries = isDirtyOnly ? page.entries.filter((entry) => entry.dirty) : page.entries;
    after = page.next;
    // A page without any dirty one has no last entry to go on from: look at the next page.
    if (entries.length === 0 && after !== null) continue;
    if (entries.length > 0) reply.data = encodeList(entries);
    reply.aux = after === null ? 0 : 1;
    break;
  }
  session.answer(reply);
}

/** `FLAG.zeros` and no body: the extent does not exist here. */
export function answerMeta(session: Session, frame: DataFrame, disk: ReplicaDisk): void {
  const reply = replyTo(frame, STATUS.ok);
  const { volume, layer, extent } = frame;
  disk.store.metaOf({ volume, layer, extent }, (status, meta) => {
    reply.status = status;
    if (status === STATUS.ok && meta === null) reply.flags |= FLAG.zeros;
    else if (status === STATUS.ok && meta !== null) reply.data = encodeMeta(meta);
    session.answer(reply);
  });
}

/** `onBad` is told of the range when a block of it is bad. */
export function answerPull(
  session: Session,
  frame: DataFrame,
  disk: ReplicaDisk,
  onBad: (place: BlockPlace) => void,
): void {
  const { count } = frame;
  if (count === 0) {
    session.refuse(frame, STATUS.badRequest, 0);
    return;
  }
  const reply = replyTo(frame, STATUS.ok);
  const memory = Buffer.allocUnsafeSlow(count * (4 + BLOCK_BYTES));
  const checksums = memory.subarray(0, count * 4);
  const data = memory.subarray(count * 4);
  const { volume, layer, extent, block } = frame;
  const request = { volume, layer, extent, block, count, checksums, data, verify: true };
  disk.store.read(request, (status, dataBlocks, _absent, badBlock) => {
    reply.status = status;
    if (status === STATUS.ok && dataBlocks === 0) reply.flags |= FLAG.zeros;
    else if (status === STATUS.ok) {
      reply.checksums = checksums;
      reply.data = data;
    } else if (badBlock >= 0) reply.aux = badBlock;
    session.answer(reply);
    if (status === STATUS.checksum) onBad({ volume, layer, extent, block, count });
  });
}

/** Only extents of PGs in which this disk is in sync: a joining one may lack earlier writes. */
export function takeClean(
  session: Session,
  frame: DataFrame,
  disk: ReplicaDisk,
  map: MapIndex,
): void {
  const addresses = decodeAddresses(frame.data);
  if (addresses === null) {
    session.refuse(frame, STATUS.badRequest, 0);
    return;
  }
  if (!isOfThisMemory(frame, disk)) {
    session.refuse(frame, STATUS.memoryLost, 0);
    return;
  }
  const accepted = disk.store.generationOf(frame.volume);
  if (frame.generation !== accepted) {
    session.refuse(frame, STATUS.fenced, accepted);
    return;
  }
  const mine = addresses.filter((address) => {
    const volume = map.volumes.get(address.volume as VolumeId);
    if (volume === undefined || address.volume !== frame.volume) return false;
    const view = map.pgs.get(pgOfExtent(volume, address.extent) as PgId);
    return view?.inSync.includes(disk.id) === true && !view.suspects.includes(disk.id);
  });
  disk.store.clean(mine);
  session.answer(replyTo(frame, STATUS.ok));
}
