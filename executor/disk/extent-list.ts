/** Pages of a PG's extents, in order of their addresses. */

import type { ExtentCatalog } from './extent-catalog.ts';
import { ROW } from './extent-catalog.ts';
import type { ExtentAddress, ExtentEntry, ExtentPage } from './store-types.ts';

function compare(a: ExtentAddress, b: ExtentAddress): number {
  return a.volume - b.volume || a.layer - b.layer || a.extent - b.extent;
}

/** A PG has some thousand extents on a disk: sorting them per page costs about a millisecond. */
export function listExtents(
  catalog: ExtentCatalog,
  pg: number,
  after: ExtentAddress | null,
  limit: number,
): ExtentPage {
  const entries: ExtentEntry[] = [];
  for (const row of catalog.rowsOfPg(pg)) {
    const address = catalog.addressOf(row);
    if (after !== null && compare(address, after) <= 0) continue;
    entries.push({
      ...address,
      pg,
      epoch: catalog.epoch[row] ?? 0,
      dirty: catalog.hasFlag(row, ROW.dirty),
      incomplete: catalog.hasFlag(row, ROW.incomplete),
    });
  }
  entries.sort(compare);
  const page = entries.slice(0, limit);
  const last = page[page.length - 1];
  if (last === undefined || page.length === entries.length) return { entries: page, next: null };
  return { entries: page, next: { volume: last.volume, layer: last.layer, extent: last.extent } };
}
