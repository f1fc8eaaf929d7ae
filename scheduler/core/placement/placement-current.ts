/**
 * Which disks count as the place of a PG when a new plan is made, most wanted first: the list that
 * `planPlacement` takes as `current`. It decides between a copy that is under way and an old member
 * that has come back with its data.
 */
import type { DiskId } from '../../../shared/base/ids.ts';

/** A copy that is further than this is finished rather than dropped: less is left than was done. */
export const JOIN_WORTH_FINISHING_RATIO = 0.5;

export interface PgHolders {
  readonly replicas: number;
  readonly inSync: readonly DiskId[];
  readonly target: readonly DiskId[];
  /** How much of the PG a joining disk has, 0 to 1; a disk that is not named has nothing. */
  readonly joinRatios: ReadonlyMap<DiskId, number>;
  /** Former members that are back, with data that a resync would bring up to date. */
  readonly returning: readonly DiskId[];
}

/**
 * Order: members that the last plan wants; when redundancy is lost, joins that are worth finishing,
 * then returning members; then the rest of the last plan; then members on their way out.
 */
export function currentHolders(pg: PgHolders): DiskId[] {
  const { inSync, target } = pg;
  const isLost = inSync.length < pg.replicas;
  const isWorthFinishing = (disk: DiskId): boolean =>
    (pg.joinRatios.get(disk) ?? 0) >= JOIN_WORTH_FINISHING_RATIO;
  const ordered = [
    ...target.filter((disk) => inSync.includes(disk)),
    ...target.filter(isWorthFinishing),
    ...(isLost ? pg.returning : []),
    ...target,
    ...inSync,
  ];
  return [...new Set(ordered)];
}
