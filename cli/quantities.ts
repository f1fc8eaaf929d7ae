/** Reads what people type: sizes, ratios, durations, counts with `none`. Refusals name the option. */
import { invalidField } from '../shared/base/errors.ts';
import { parseBytes } from '../shared/base/units.ts';

export function readSize(option: string, given: string): number {
  const bytes = parseBytes(given);
  if (bytes === null || bytes <= 0) {
    throw invalidField(option, given, 'a size like 512M, 10G or 1.5TiB');
  }
  return bytes;
}

/** `0.8` or `80%`. */
export function readRatio(option: string, given: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*(%?)\s*$/.exec(given);
  const ratio = match === null ? Number.NaN : Number(match[1]) / (match[2] === '%' ? 100 : 1);
  if (ratio > 0 && ratio <= 1) return ratio;
  throw invalidField(option, given, 'a part like 80% or 0.8');
}

const DURATION_FACTORS: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, h: 3600 };

/** `90`, `90s`, `5m`, `1h` in seconds. */
export function readSeconds(option: string, given: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*$/.exec(given);
  const factor = DURATION_FACTORS[match?.[2] ?? '?'];
  if (match === null || factor === undefined) {
    throw invalidField(option, given, 'a duration like 90s, 5m or 1h');
  }
  return Number(match[1]) * factor;
}

/** A whole number from `minimum` on. */
export function readCount(option: string, given: string, minimum: number): number {
  const value = /^\d{1,9}$/.test(given.trim()) ? Number(given) : Number.NaN;
  if (value >= minimum) return value;
  throw invalidField(option, given, `a whole number, at least ${minimum}`);
}

/** A count, or `none` for no bound. */
export function readBound(option: string, given: string): number | null {
  if (given === 'none') return null;
  const value = /^\d{1,9}$/.test(given.trim()) ? Number(given) : Number.NaN;
  if (value >= 1) return value;
  throw invalidField(option, given, 'a whole number, at least 1, or "none"');
}
