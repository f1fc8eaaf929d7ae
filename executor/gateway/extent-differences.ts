/** What is not the same in the copies of one extent, block by block, from their stamps. No I/O here. */
import { BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';
import { PRESENCE } from '../../shared/wire/data-protocol.ts';
import type { ReplicaMeta } from '../../shared/wire/resync-bodies.ts';
import { PIECE_BLOCKS_MAX } from './piece.ts';

/** A run of blocks of one kind; `presence` as the first copy has them. */
export interface Difference {
  readonly block: number;
  readonly count: number;
  readonly presence: number;
}

/** Blocks that are not the same in all copies, as the first one has them, in runs of one kind. */
export function differencesOf(metas: readonly (ReplicaMeta | null)[]): readonly Difference[] {
  const [source = null, ...others] = metas;
  const runs: Difference[] = [];
  for (let block = 0; block < BLOCKS_PER_EXTENT; block += 1) {
    const wanted = stateOf(source, block);
    if (others.every((other) => isSame(source, other, block, wanted))) continue;
    const last = runs.at(-1);
    const isNext = last !== undefined && last.block + last.count === block;
    if (isNext && last.presence === wanted && last.count < PIECE_BLOCKS_MAX) {
      runs[runs.length - 1] = { ...last, count: last.count + 1 };
    } else runs.push({ block, count: 1, presence: wanted });
  }
  return runs;
}

function isSame(
  source: ReplicaMeta | null,
  other: ReplicaMeta | null,
  block: number,
  wanted: number,
): boolean {
  if (stateOf(other, block) !== wanted) return false;
  if (wanted !== PRESENCE.data || source === null || other === null) return true;
  for (let at = block * 4; at < block * 4 + 4; at += 1) {
    if (source.checksums[at] !== other.checksums[at]) return false;
  }
  return true;
}

function stateOf(meta: ReplicaMeta | null, block: number): number {
  if (meta === null) return PRESENCE.absent;
  return ((meta.presence[block >> 2] as number) >> ((block & 3) * 2)) & 3;
}
