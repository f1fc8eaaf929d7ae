/**
 * Members that lost their memory: the machine under a disk went down and came back, and what the disk had
 * acked and not flushed is gone, or in part (docs/decisions/0007).
 *
 *   in sync ──its store reports another incarnation──▶ in sync, suspect: serves nothing
 *      ▲                                                      │
 *      │       an in-sync member with its memory serves ──────┼──▶ leaves, joins anew
 *      └───────── no member with a memory is left ────────────┘    (or the wait for one is over)
 *
 * So an acked write is lost only when all in-sync members of a PG lost their memories, and a flushed one not
 * even then: all of them have it. Who is merely away may have its memory, so it is waited for, to a
 * bound. Joining members of such a PG leave at once: they may hold newer blocks than those in sync.
 *
 * The word of another member counts only from a report that came after the loss was noticed: two machines
 * may have gone down at the same moment, and one of them may only seem to be up.
 */
import { type DiskId, formatDisk, formatNode } from '../../../shared/base/ids.ts';
import { formatDuration } from '../../../shared/base/units.ts';
import type { DiskReport } from '../../../shared/model/node-report.ts';
import { recordEvent } from '../events.ts';
import {
  isDiskLost,
  isDiskRemovable,
  isDiskServingById,
  observedNode,
} from '../nodes/node-life.ts';
import type { DiskRecord, PgRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { nextMapVersion } from './fencing.ts';
import { changeMembers } from './members.ts';

/** How long a member that may still have its memory is waited for: a reboot and a half. */
export const SUSPECT_WAIT_MS = 300_000;
/** Each power loss adds one; an incarnation that is further off is another store's (store-life.ts). */
const LOSSES_MAX = 65_536;

export type MemoryVerdict = 'kept' | 'lost' | 'foreign';

/**
 * What the incarnation in a report of an open store means. `foreign`: it is not the store that held
 * the disk's replicas; nothing was changed, the disk must not be used.
 */
export function takeIncarnation(
  state: State,
  disk: DiskRecord,
  report: DiskReport,
  now: Now,
): MemoryVerdict {
  const reported = report.incarnation ?? 0;
  if (report.status !== 'serving' || reported === 0) return 'kept';
  const known = disk.incarnation ?? 0;
  if (known === reported) return 'kept';
  const pgs = [...(state.work.pgsOfDisk.get(disk.id) ?? [])].map((id) => state.facts.pgs.get(id));
  const held = pgs.filter((pg) => pg.inSync.includes(disk.id));
  const distance = (reported - known) >>> 0;
  if (known !== 0 && distance > LOSSES_MAX && held.length > 0) return 'foreign';
  state.facts.disks.update(disk.id, { incarnation: reported });
  if (known === 0) return 'kept';
  for (const pg of pgs) suspect(state, pg, disk.id, now);
  const { node } = disk;
  const message = `${formatDisk(disk.id)} on ${formatNode(node)} is back after a power loss: what it acked and did not flush may be gone; in ${held.length} PGs it serves nothing until others have been asked`;
  const subject = formatDisk(disk.id);
  recordEvent(state, { severity: 'warning', kind: 'disk.forgot', message, subject }, now);
  return 'lost';
}

function suspect(state: State, pg: PgRecord, disk: DiskId, now: Now): void {
  if (!pg.inSync.includes(disk)) {
    // What it copied may be incomplete again: it begins anew in a later epoch.
    const joining = pg.joining.filter((other) => other !== disk);
    changeMembers(state, pg.id, { inSync: pg.inSync, joining });
    return;
  }
  const suspects = [...(pg.suspects ?? []).filter((other) => other !== disk), disk];
  changeMembers(state, pg.id, { inSync: pg.inSync, joining: [], suspects });
  const sinceMs = pg.suspects === undefined ? now.ms : state.work.suspectPgs.get(pg.id)?.sinceMs;
  state.work.suspectPgs.set(pg.id, { sinceMs: sinceMs ?? now.ms, latestMs: now.ms });
}

/** Settles what can be settled; after reports and every tick. */
export function settleSuspects(state: State, now: Now): void {
  if (state.work.suspectPgs.size === 0) return;
  const counts = { trusted: 0, givenUp: 0 };
  let example = '';
  for (const [id, wait] of [...state.work.suspectPgs]) {
    const pg = state.facts.pgs.get(id);
    const suspects = pg.suspects ?? [];
    const others = pg.inSync.filter((disk) => !suspects.includes(disk));
    if (others.some((disk) => hasSpokenSince(state, disk, wait.latestMs))) {
      leave(state, pg, others, suspects);
      continue;
    }
    const awaited = others.filter((disk) => isAwaited(state, disk));
    if (awaited.length === 0) {
      trust(state, pg, suspects, others);
      counts.trusted += 1;
    } else if (isOver(state, suspects, awaited, wait.sinceMs, now)) {
      trust(state, pg, suspects, others);
      counts.givenUp += 1;
      example = awaited.map(formatDisk).join(', ');
    }
  }
  report(state, counts, example, now);
}

/** What a PG with suspects waits for; null when it has none. For explanations. */
export function suspectWait(
  state: State,
  pg: PgRecord,
): { readonly awaited: readonly DiskId[]; readonly untilMs: number } | null {
  const wait = state.work.suspectPgs.get(pg.id);
  if (wait === undefined) return null;
  const suspects = pg.suspects ?? [];
  const awaited = pg.inSync.filter((disk) => !suspects.includes(disk) && isAwaited(state, disk));
  return { awaited, untilMs: wait.sinceMs + waitMs(state) };
}

function waitMs(state: State): number {
  return state.options.suspectWaitMs ?? SUSPECT_WAIT_MS;
}

function hasSpokenSince(state: State, disk: DiskId, ms: number): boolean {
  if (!isDiskServingById(state, disk)) return false;
  return observedNode(state, state.facts.disks.get(disk).node).lastReportAtMs > ms;
}

/** It may come back with its memory. */
function isAwaited(state: State, id: DiskId): boolean {
  const disk = state.facts.disks.find(id);
  return disk !== undefined && !isDiskLost(disk);
}

/** The bound has passed, somebody is there to go on, and those who are left out certainly know. */
function isOver(
  state: State,
  suspects: readonly DiskId[],
  awaited: readonly DiskId[],
  sinceMs: number,
  now: Now,
): boolean {
  if (now.ms - sinceMs < waitMs(state)) return false;
  if (!suspects.some((disk) => isDiskServingById(state, disk))) return false;
  return awaited.every((disk) => isDiskRemovable(state, disk, now.ms));
}

/** Others have everything: who forgot comes back as joining and is copied what it lacks. */
function leave(
  state: State,
  pg: PgRecord,
  others: readonly DiskId[],
  suspects: readonly DiskId[],
): void {
  changeMembers(state, pg.id, { inSync: others, joining: pg.joining, suspects: [] });
  for (const disk of suspects) requireMap(state, disk);
}

/** Nobody remembers more than they do. Gateways compare them before they serve. */
function trust(
  state: State,
  pg: PgRecord,
  suspects: readonly DiskId[],
  others: readonly DiskId[],
): void {
  const inSync = pg.inSync.filter((disk) => suspects.includes(disk));
  changeMembers(state, pg.id, {
    inSync,
    joining: [],
    suspects: [],
    compareEpoch: pg.epoch + 1,
  });
  for (const disk of others) requireMap(state, disk);
}

/** Who was left out while its node is shut out gets no lease before it knows. */
function requireMap(state: State, id: DiskId): void {
  const disk = state.facts.disks.find(id);
  const node = disk === undefined ? undefined : state.facts.nodes.find(disk.node);
  if (node?.isFenced !== true) return;
  observedNode(state, node.id).requiredVersion = nextMapVersion(state);
}

function report(
  state: State,
  counts: { readonly trusted: number; readonly givenUp: number },
  awaited: string,
  now: Now,
): void {
  if (counts.trusted > 0) {
    const message = `${counts.trusted} PGs go on with members that lost their memory, because no other is left: flushed writes are all there, acked ones that were not flushed may be gone`;
    recordEvent(
      state,
      { severity: 'warning', kind: 'pg.trusted', message, subject: 'placement groups' },
      now,
    );
  }
  if (counts.givenUp === 0) return;
  const message = `${counts.givenUp} PGs go on without ${awaited}, waited for during ${formatDuration(waitMs(state))}: acked writes that were not flushed may be lost`;
  recordEvent(
    state,
    { severity: 'error', kind: 'pg.given-up', message, subject: 'placement groups' },
    now,
  );
}
