/**
 * Which copy of an extent is right, block by block, when all of them are quiet and still differ. Pure.
 *
 * The rule: what most copies say. Where no state has more than half of them, the copy with the newest
 * stamp; with equal stamps one that holds data before one that says there is nothing; and at last the
 * one that comes first among the in-sync members, which is also the one that a gateway would compare
 * with. A copy that is marked incomplete has no voice. Every use of the rule makes an event.
 */
import { BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';
import { PRESENCE } from '../../shared/wire/data-protocol.ts';

/** Of one replica; null: the extent does not exist there, which says the same as all absent. */
export interface CopyMeta {
  readonly epoch: number;
  readonly incomplete: boolean;
  readonly presence: Uint8Array;
  readonly checksums: Uint8Array;
}

/** Blocks that `self` must take over from the copy `source` (an index); `presence` is what they become. */
export interface HealRun {
  readonly block: number;
  readonly count: number;
  readonly source: number;
  readonly presence: number;
}

/** One pull: 256 KiB. */
const RUN_BLOCKS_MAX = 64;
const ABSENT = 'absent';

/** What has to change in `copies[self]`; empty when it is right everywhere. In order of blocks. */
export function planHealing(copies: readonly (CopyMeta | null)[], self: number): HealRun[] {
  const runs: HealRun[] = [];
  for (let block = 0; block < BLOCKS_PER_EXTENT; block += 1) {
    const source = rightCopy(copies, block);
    if (source < 0 || isSameBlock(copies[source] ?? null, copies[self] ?? null, block)) continue;
    const presence = presenceOf(copies[source] ?? null, block);
    const last = runs.at(-1);
    const isNext =
      last !== undefined &&
      last.block + last.count === block &&
      last.source === source &&
      last.presence === presence &&
      last.count < RUN_BLOCKS_MAX;
    if (isNext) runs[runs.length - 1] = { ...last, count: last.count + 1 };
    else runs.push({ block, count: 1, source, presence });
  }
  return runs;
}

/** Whether all copies say the same of every block. */
export function areSame(copies: readonly (CopyMeta | null)[]): boolean {
  const [first = null, ...others] = copies;
  for (let block = 0; block < BLOCKS_PER_EXTENT; block += 1) {
    for (const other of others) if (!isSameBlock(first, other, block)) return false;
  }
  return true;
}

/** Index of a copy that is right about the block; -1 when none has a voice. */
function rightCopy(copies: readonly (CopyMeta | null)[], block: number): number {
  const voices = [...copies.keys()].filter((index) => copies[index]?.incomplete !== true);
  const counts = new Map<string, number>();
  for (const index of voices) {
    const state = stateOf(copies[index] ?? null, block);
    counts.set(state, (counts.get(state) ?? 0) + 1);
  }
  if (counts.size <= 1) return voices[0] ?? -1;
  const isMajority = (index: number): boolean =>
    (counts.get(stateOf(copies[index] ?? null, block)) ?? 0) * 2 > voices.length;
  const major = voices.find(isMajority);
  if (major !== undefined) return major;
  const ranked = voices.toSorted((a, b) => {
    const epochs = epochOf(copies[b] ?? null) - epochOf(copies[a] ?? null);
    if (epochs !== 0) return epochs;
    const substance = weightOf(copies[b] ?? null, block) - weightOf(copies[a] ?? null, block);
    return substance === 0 ? a - b : substance;
  });
  return ranked[0] ?? -1;
}

function epochOf(copy: CopyMeta | null): number {
  return copy === null ? 0 : copy.epoch;
}

function weightOf(copy: CopyMeta | null, block: number): number {
  return presenceOf(copy, block) === PRESENCE.data ? 1 : 0;
}

export function presenceOf(copy: CopyMeta | null, block: number): number {
  if (copy === null) return PRESENCE.absent;
  return ((copy.presence[block >> 2] ?? 0) >> ((block & 3) * 2)) & 3;
}

function stateOf(copy: CopyMeta | null, block: number): string {
  const presence = presenceOf(copy, block);
  if (copy === null || presence === PRESENCE.absent) return ABSENT;
  if (presence !== PRESENCE.data) return 'zero';
  return copy.checksums.subarray(block * 4, block * 4 + 4).join();
}

function isSameBlock(one: CopyMeta | null, other: CopyMeta | null, block: number): boolean {
  const presence = presenceOf(one, block);
  if (presence !== presenceOf(other, block)) return false;
  if (presence !== PRESENCE.data || one === null || other === null) return true;
  for (let at = block * 4; at < block * 4 + 4; at += 1) {
    if (one.checksums[at] !== other.checksums[at]) return false;
  }
  return true;
}
