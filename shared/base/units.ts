/**
 * Units and their arithmetic. A quantity whose name carries its unit (`sizeBytes`, `timeoutMs`) is a
 * plain number; all sizes are safe integers (2^53 bytes is 8 PiB, beyond any volume we allow).
 */
import { assert } from './assert.ts';

export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;
export const TiB = 1024 * GiB;

/** The unit of checksum, presence and copy-on-write (DESIGN 1). */
export const BLOCK_BYTES = 4 * KiB;
/** The unit of striping, allocation, resync and scrub (DESIGN 1). */
export const EXTENT_BYTES = 4 * MiB;
export const BLOCKS_PER_EXTENT = EXTENT_BYTES / BLOCK_BYTES;
assert(BLOCKS_PER_EXTENT === 1024, 'an extent has 1024 blocks: one 4 KiB page of checksums');

/** Largest volume: bounded by the 32-bit extent index on the wire, far below the safe integers. */
export const VOLUME_BYTES_MAX = 1024 * TiB;
export const VOLUME_BYTES_MIN = BLOCK_BYTES;
export const REPLICAS_MAX = 5;

export function divCeil(value: number, divisor: number): number {
  assert(divisor > 0, 'divisor is positive', { divisor });
  return Math.ceil(value / divisor);
}

export function divFloor(value: number, divisor: number): number {
  assert(divisor > 0, 'divisor is positive', { divisor });
  return Math.floor(value / divisor);
}

/** Division of multiples: throws when `value` is not one of `divisor`. */
export function divExact(value: number, divisor: number): number {
  assert(value % divisor === 0, 'value is a multiple of divisor', { value, divisor });
  return value / divisor;
}

export function isAligned(value: number, alignment: number): boolean {
  return value % alignment === 0;
}

const SUFFIXES: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  K: KiB,
  KIB: KiB,
  KB: 1000,
  M: MiB,
  MIB: MiB,
  MB: 1000 ** 2,
  G: GiB,
  GIB: GiB,
  GB: 1000 ** 3,
  T: TiB,
  TIB: TiB,
  TB: 1000 ** 4,
};

/**
 * Reads `4096`, `64M`, `1.5GiB`, `10GB` (K, M, G, T and the `…iB` forms are powers of 1024; `KB`,
 * `MB`, `GB`, `TB` powers of 1000). Returns `null` when the text is no size or not a whole number
 * of bytes.
 */
export function parseBytes(text: string): number | null {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text);
  if (match === null) return null;
  const factor = SUFFIXES[(match[2] ?? '').toUpperCase()];
  if (factor === undefined) return null;
  const bytes = Number(match[1]) * factor;
  return Number.isSafeInteger(bytes) ? bytes : null;
}

/** `1536` → `1.5 KiB`: for people, never parsed again. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || Math.abs(value) >= 100 ? 0 : 1;
  return `${value.toFixed(digits).replace(/\.0$/, '')} ${units[unit]}`;
}

/** `83000` → `1m 23s`: for people, never parsed again. */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return ms < 10_000 ? `${(ms / 1000).toFixed(1)}s` : `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m ${seconds % 60}s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours}h ${minutes % 60}m`;
  return `${Math.floor(hours / 24)}d ${hours % 24}h`;
}
