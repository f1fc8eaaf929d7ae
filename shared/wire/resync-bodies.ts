/** Bodies of `list` and `meta` replies and of `clean` requests (proto/data-protocol.md). */
import { BLOCKS_PER_EXTENT } from '../base/units.ts';

const ENTRY_BYTES = 20;
/** A `list` reply stays a small body. */
export const LIST_ENTRIES_MAX = 3000;
const DIRTY = 1;
const INCOMPLETE = 2;
const META_PREFIX_BYTES = 16;
const PRESENCE_BYTES = BLOCKS_PER_EXTENT / 4;
const CHECKSUM_BYTES = BLOCKS_PER_EXTENT * 4;
const ADDRESS_BYTES = 12;

/** Which extent, in every layer of every volume. */
export interface WireAddress {
  readonly volume: number;
  readonly layer: number;
  readonly extent: number;
}

/** The durable stamp of an extent (DESIGN 4.5). */
interface WireStamp {
  readonly epoch: number;
  readonly dirty: boolean;
  readonly incomplete: boolean;
}

export interface ListedExtent extends WireAddress, WireStamp {}

/** Stamp, presence (256 bytes) and checksums (4096 bytes) of one replica of an extent. */
export interface ReplicaMeta extends WireStamp {
  readonly pg: number;
  readonly presence: Uint8Array;
  readonly checksums: Uint8Array;
}

function flagsOf(stamp: WireStamp): number {
  return (stamp.dirty ? DIRTY : 0) | (stamp.incomplete ? INCOMPLETE : 0);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

export function encodeList(entries: readonly ListedExtent[]): Buffer {
  const body = Buffer.alloc(entries.length * ENTRY_BYTES);
  let at = 0;
  for (const entry of entries) {
    body.writeUInt32LE(entry.volume, at);
    body.writeUInt32LE(entry.layer, at + 4);
    body.writeUInt32LE(entry.extent, at + 8);
    body.writeUInt32LE(entry.epoch, at + 12);
    body.writeUInt32LE(flagsOf(entry), at + 16);
    at += ENTRY_BYTES;
  }
  return body;
}

/** Null when the body is not a whole number of entries. */
export function decodeList(body: Uint8Array | null): readonly ListedExtent[] | null {
  if (body === null) return [];
  if (body.length % ENTRY_BYTES !== 0) return null;
  const view = viewOf(body);
  const entries: ListedExtent[] = [];
  for (let at = 0; at < body.length; at += ENTRY_BYTES) {
    const flags = view.getUint32(at + 16, true);
    entries.push({
      volume: view.getUint32(at, true),
      layer: view.getUint32(at + 4, true),
      extent: view.getUint32(at + 8, true),
      epoch: view.getUint32(at + 12, true),
      dirty: (flags & DIRTY) !== 0,
      incomplete: (flags & INCOMPLETE) !== 0,
    });
  }
  return entries;
}

export function encodeMeta(meta: ReplicaMeta): Buffer {
  const body = Buffer.alloc(META_PREFIX_BYTES + PRESENCE_BYTES + CHECKSUM_BYTES);
  body.writeUInt32LE(meta.epoch, 0);
  body.writeUInt32LE(flagsOf(meta), 4);
  body.writeUInt32LE(meta.pg, 8);
  body.set(meta.presence, META_PREFIX_BYTES);
  body.set(meta.checksums, META_PREFIX_BYTES + PRESENCE_BYTES);
  return body;
}

/** A copy of what the body says; null when it has another length. */
export function decodeMeta(body: Uint8Array | null): ReplicaMeta | null {
  if (body === null) return null;
  if (body.length !== META_PREFIX_BYTES + PRESENCE_BYTES + CHECKSUM_BYTES) return null;
  const view = viewOf(body);
  const flags = view.getUint32(4, true);
  const checksumsAt = META_PREFIX_BYTES + PRESENCE_BYTES;
  return {
    epoch: view.getUint32(0, true),
    dirty: (flags & DIRTY) !== 0,
    incomplete: (flags & INCOMPLETE) !== 0,
    pg: view.getUint32(8, true),
    presence: body.slice(META_PREFIX_BYTES, checksumsAt),
    checksums: body.slice(checksumsAt),
  };
}

/** Null when the body is not a whole number of addresses. */
export function decodeAddresses(body: Uint8Array | null): readonly WireAddress[] | null {
  if (body === null || body.length % ADDRESS_BYTES !== 0) return null;
  const view = viewOf(body);
  const addresses: WireAddress[] = [];
  for (let at = 0; at < body.length; at += ADDRESS_BYTES) {
    addresses.push({
      volume: view.getUint32(at, true),
      layer: view.getUint32(at + 4, true),
      extent: view.getUint32(at + 8, true),
    });
  }
  return addresses;
}
