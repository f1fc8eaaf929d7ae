/**
 * The operations that grow a disk's volume (growth.ts says which and when):
 *
 *   volume + free space ── RESERVE the space as the volume is, GROW_VOLUME ──▶ next offer: one larger volume
 *
 * The result of GROW_VOLUME cannot be used in the same ACCEPT, and nothing tells of a failure but an offer that
 * shows the volume as it was. So each offer is judged anew: a larger volume is the end, space that an earlier
 * attempt has reserved is used first.
 */
import { MiB } from '../../../shared/base/units.ts';
import type { Resource } from '../../../shared/mesos/messages.ts';
import { giveUpGrowth, isReadyToGrow, noteGrown } from '../capacity/growth.ts';
import type { DiskRecord, NodeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import type { OfferPlan } from './offer-plan.ts';
import {
  bytesOf,
  type Entry,
  isFree,
  isOurs,
  labelOf,
  type OfferLedger,
  ourReservation,
  placeOf,
  reserve,
  toMilli,
} from './offer-resources.ts';

/** One agent's offer, as it is answered (offer-launch.ts). */
interface GrowthSite {
  readonly node: NodeRecord;
  readonly ledger: OfferLedger;
  readonly plan: OfferPlan;
}

/** Unreserved space of the place is missing for so many offers in a row: it went to somebody else. */
const ATTEMPTS_MAX = 10;

/**
 * Looks at the volume of a disk that is to grow. grown: it has; go on with the record as it is now. growing: the
 * operations are in the plan, or something is waited for. none: nothing of it is offered, or it was given up.
 */
export function growVolume(
  state: State,
  site: GrowthSite,
  disk: DiskRecord,
  now: Now,
): 'grown' | 'growing' | 'none' {
  const volume = findVolume(site, disk);
  if (volume === null) return 'none';
  const bytes = bytesOf(volume.resource);
  if (bytes > disk.sizeBytes) {
    noteGrown(state, disk, bytes, now);
    return 'grown';
  }
  if (!isReadyToGrow(state, disk)) {
    // It ended by itself before its groups had left it: it is wanted as it was.
    giveUpGrowth(state, disk, 'its task ended before it was to be stopped', now);
    return 'none';
  }
  const attempts = (state.work.growAttempts.get(disk.id) ?? 0) + 1;
  state.work.growAttempts.set(disk.id, attempts);
  if (attempts > ATTEMPTS_MAX) {
    state.work.growAttempts.delete(disk.id);
    giveUpGrowth(state, disk, `Mesos offered its volume ${attempts} times as it was`, now);
    return 'none';
  }
  planGrowth(state, site, disk, volume);
  return 'growing';
}

function findVolume({ ledger, node }: GrowthSite, disk: DiskRecord): Entry | null {
  const isMine = isOurs(node.id, 'disk', labelOf(disk));
  for (const entry of ledger.entries) {
    if (entry.resource.name !== 'disk' || entry.milli <= 0 || !isMine(entry)) continue;
    if (entry.resource.disk?.persistence?.id === disk.persistenceId) return entry;
  }
  return null;
}

function planGrowth(state: State, site: GrowthSite, disk: DiskRecord, volume: Entry): void {
  const { ledger, node, plan } = site;
  const wanted = Math.floor((disk.growth?.addBytes ?? 0) / MiB) * 1000;
  const isSpace = (entry: Entry): boolean => {
    const place = placeOf(entry.resource);
    if (entry.resource.name !== 'disk' || place === null || entry.milli < 1000) return false;
    if (entry.resource.disk?.persistence !== undefined) return false;
    return place.kind === disk.kind && place.root === disk.sourceRoot;
  };
  const isMine = isOurs(node.id, 'disk', labelOf(disk));
  const reserved = ledger.entries.find((entry) => isSpace(entry) && isMine(entry));
  let addition: Resource;
  if (reserved !== undefined) {
    // Left over from an attempt whose second half was lost: all of it, or it would stay behind.
    addition = ledger.takeFrom(reserved, reserved.milli);
  } else {
    const free = ledger.entries.find(
      (entry) => isSpace(entry) && isFree(entry) && isSameBase(entry.resource, volume.resource),
    );
    const milli = Math.min(wanted, Math.floor((free?.milli ?? 0) / 1000) * 1000);
    // Somebody else's ACCEPT may be on its way: the next offer shows it.
    if (free === undefined || milli < toMilli(1)) return;
    addition = reserve(
      ledger.takeFrom(free, milli),
      ourReservation(state, node.id, 'disk', labelOf(disk)),
    );
    plan.reserve.push([addition]);
  }
  plan.grow.push({ volume: ledger.takeFrom(volume, volume.milli), addition });
}

/** What is below our own reservation has to be the same, or the two do not become one. */
function isSameBase(free: Resource, volume: Resource): boolean {
  const below = (volume.reservations ?? []).slice(0, -1);
  return JSON.stringify(free.reservations ?? []) === JSON.stringify(below);
}
