/**
 * Members and epoch of one PG, from the newest map and from what its disks have durably adopted
 * (docs/decisions/0008). A replica adopts an epoch before it answers under it, so an adopted epoch
 * above the map's means that the membership has changed since.
 */
import { type DiskId, formatDisk } from '../shared/base/ids.ts';
import type { MapPg } from '../shared/model/cluster-map.ts';

export interface PgJudgement {
  readonly pg: MapPg;
  readonly inSync: readonly DiskId[];
  readonly joining: readonly DiskId[];
  readonly epoch: number;
  /** How its members differ from the map's; empty when they do not. */
  readonly change: string;
  /** Why the members cannot be told; empty when they can. They are then the likeliest. */
  readonly doubt: string;
}

/** `adopted`: epoch by disk, of the disks that were heard. `leap` is added to the epoch. */
export function judgePg(
  pg: MapPg,
  adopted: ReadonlyMap<number, number>,
  leap: number,
): PgJudgement {
  const highest = Math.max(0, ...adopted.values());
  if (highest <= pg.epoch) {
    const { inSync, joining } = pg;
    return { pg, inSync, joining, epoch: pg.epoch + leap, change: '', doubt: '' };
  }
  const epoch = highest + leap;
  const current = pg.inSync.filter((disk) => adopted.get(disk) === highest);
  // One change was missed, and no single change makes a joining disk of one in sync.
  const isCertain = highest === pg.epoch + 1 && current.length > 0;
  const inSync = isCertain ? current : likeliest(pg, adopted);
  const kept = inSync.map(formatDisk).join(', ');
  const known = `map has epoch ${pg.epoch}, disks have adopted ${highest}`;
  return {
    pg,
    inSync,
    joining: [],
    epoch,
    change: `${known}; in sync ${kept} in epoch ${epoch}, the others join again`,
    doubt: isCertain ? '' : known,
  };
}

/** In sync in the map, with the highest epoch among those; all of them when none was heard. */
function likeliest(pg: MapPg, adopted: ReadonlyMap<number, number>): readonly DiskId[] {
  const best = Math.max(0, ...pg.inSync.map((disk) => adopted.get(disk) ?? 0));
  return pg.inSync.filter((disk) => (adopted.get(disk) ?? 0) === best);
}
