/**
 * What a replica does for others that copy from it (`list`, `meta`, `pull`), and the gateways' word
 * that extents are the same everywhere (`clean`). Background work: plain closures are fine here.
 */
import type { PgId, VolumeId } from '../../shared/base/ids.ts';
import { BLOCK_BYTES } from '../../shared/base/units.ts';
import { pgOfExtent } from '../../shared/model/cluster-map.ts';
import { type DataFrame, FLAG, replyTo, STATUS } from '../../shared/wire/data-protocol.ts';
import type { MapIndex } from '../map-index.ts';
import type { ReplicaDisk } from './replica-disk.ts';
import type { Session } from './replica-server.ts';
import { decodeAddresses, encodeList, encodeMeta, LIST_ENTRIES_MAX } from './resync-codec.ts';

/** Request `aux` 1: from the start, otherwise after the address given. Reply `aux` 1: there is more. */
export function answerList(session: Session, frame: DataFrame, disk: ReplicaDisk): void {
  const after =
    frame.aux === 1 ? null : { volume: frame.volume, layer: frame.layer, extent: frame.extent };
  const page = disk.store.listExtents(frame.pg, after, LIST_ENTRIES_MAX);
  const reply = replyTo(frame, STATUS.ok);
  if (page.entries.length > 0) reply.data = encodeList(page.entries);
  reply.aux = page.next === null ? 0 : 1;
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

export function answerPull(session: Session, frame: DataFrame, disk: ReplicaDisk): void {
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
  const accepted = disk.store.generationOf(frame.volume);
  if (frame.generation !== accepted) {
    session.refuse(frame, STATUS.fenced, accepted);
    return;
  }
  const mine = addresses.filter((address) => {
    const volume = map.volumes.get(address.volume as VolumeId);
    if (volume === undefined || address.volume !== frame.volume) return false;
    const view = map.pgs.get(pgOfExtent(volume, address.extent) as PgId);
    return view?.inSync.includes(disk.id) === true;
  });
  disk.store.clean(mine);
  session.answer(replyTo(frame, STATUS.ok));
}
