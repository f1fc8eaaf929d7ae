/**
 * Whether a store still has its memory. What was acked and not flushed lies in the system's page cache:
 * it survives the end of the process, and is gone when the machine goes down. So the index says on which
 * boot of the machine the store is open, and counts an incarnation up when it finds itself on another
 * one without having been closed. The record is durable before the store serves:
 *
 *     open on boot A ── process dies ──▶ open on boot A: same incarnation
 *     open on boot A ── closed ──▶ open on boot B: same incarnation, everything had been synced
 *     open on boot A ── power lost ──▶ open on boot B: incarnation + 1
 *
 * A crash before the new record is durable leaves the old one, which leads to the same answer again.
 * The first incarnation of a store is no small number but one of its own: whoever expects another
 * store (its directory was emptied) sees that from it.
 */
import { crc32c } from '../../shared/base/crc32c.ts';
import { StorageError } from '../../shared/base/errors.ts';
import type { DiskIndex, IndexChange } from '../../shared/ports.ts';
import { LIFE_KEY } from './index-records.ts';

export interface StoreLife {
  /** 1 to 2^32 - 1. */
  readonly incarnation: number;
  readonly bootId: string;
  readonly isOpen: boolean;
}

/** A boot id is a UUID; nothing that we write is longer. */
const BOOT_ID_BYTES_MAX = 128;
const HEADER_BYTES = 8;
const CHECKSUM_BYTES = 4;

/** What this opening makes of the record; null: nothing changes. Throws `corrupt`. */
export function nextLife(
  index: DiskIndex,
  own: { readonly bootId: string; readonly uuid: string; readonly wallMs: number },
): {
  readonly life: StoreLife;
  readonly change: IndexChange | null;
  readonly isMemoryLost: boolean;
} {
  const value = index.get(LIFE_KEY);
  const { bootId } = own;
  if (value === null) {
    const life = { incarnation: firstIncarnation(own.uuid, own.wallMs), bootId, isOpen: true };
    return { life, change: lifeChange(life), isMemoryLost: false };
  }
  const known = decodeLife(value);
  if (known === null) throw new StorageError('corrupt', 'Index entry of the boot is damaged');
  // Who cannot name his boot cannot tell that it is the same one.
  const isSameBoot = known.bootId === bootId && bootId !== '';
  const isMemoryLost = known.isOpen && !isSameBoot;
  const incarnation = isMemoryLost ? following(known.incarnation) : known.incarnation;
  const life = { incarnation, bootId, isOpen: true };
  const isNew = isMemoryLost || !known.isOpen || known.bootId !== bootId;
  return { life, change: isNew ? lifeChange(life) : null, isMemoryLost };
}

export function lifeChange(life: StoreLife): IndexChange {
  return { key: LIFE_KEY, value: encodeLife(life) };
}

/** u32 incarnation, u32 open, the boot's id as text, CRC32C of all of it. */
export function encodeLife(life: StoreLife): Buffer {
  const text = Buffer.from(life.bootId, 'utf8').subarray(0, BOOT_ID_BYTES_MAX);
  const bytes = Buffer.alloc(HEADER_BYTES + text.length + CHECKSUM_BYTES);
  bytes.writeUInt32LE(life.incarnation, 0);
  bytes.writeUInt32LE(life.isOpen ? 1 : 0, 4);
  bytes.set(text, HEADER_BYTES);
  const end = HEADER_BYTES + text.length;
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, end)), end);
  return bytes;
}

/** Null when the value is damaged. */
export function decodeLife(value: Uint8Array): StoreLife | null {
  const end = value.length - CHECKSUM_BYTES;
  if (end < HEADER_BYTES || end > HEADER_BYTES + BOOT_ID_BYTES_MAX) return null;
  const bytes = Buffer.from(value);
  if (bytes.readUInt32LE(end) !== crc32c(bytes.subarray(0, end))) return null;
  const incarnation = bytes.readUInt32LE(0);
  const open = bytes.readUInt32LE(4);
  if (incarnation === 0 || open > 1) return null;
  return { incarnation, isOpen: open === 1, bootId: bytes.toString('utf8', HEADER_BYTES, end) };
}

function firstIncarnation(uuid: string, wallMs: number): number {
  return crc32c(new TextEncoder().encode(`${uuid} ${wallMs}`)) || 1;
}

/** 0 means "not known" wherever incarnations are compared. */
function following(incarnation: number): number {
  return incarnation === 0xffff_ffff ? 1 : incarnation + 1;
}
