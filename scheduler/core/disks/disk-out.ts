/**
 * Disks that make errors again and again are taken out before they fail for good: what they hold moves to
 * other disks first, read from them as long as they can be read (as in a drain); then they stay empty, and
 * visible with the reason, until an operator (`cistern disk readmit`) or the policy brings them back.
 *
 *   serving ── too many checksum errors, or too often of no use to gateways ──▶ out (serves what it has)
 *   out ── readmit, or after the policy's time ──▶ serving
 *
 * A disk whose I/O fails outright is not drained: it is `failed` at once (sessions.ts). Nothing is taken out
 * by itself where its data could go nowhere, or when many disks of the pool are out already: then the cause
 * is not the disk.
 */
import { type DiskId, formatDisk, formatNode, type NodeId } from '../../../shared/base/ids.ts';
import { formatDuration } from '../../../shared/base/units.ts';
import type { DiskReport, NodeReport } from '../../../shared/model/node-report.ts';
import { recordEvent } from '../events.ts';
import { endJob, findRunningJob, startJob } from '../jobs/jobs.ts';
import { isDiskLeaving, isDiskServing } from '../nodes/node-life.ts';
import { followDrain, heldBy } from '../nodes/nodes.ts';
import type { DiskRecord } from '../records.ts';
import type { Now, State } from '../state.ts';

/** Checksum errors within the window; some are what read repair and scrub are for. */
const ERRORS_MAX = 100;
const ERRORS_WINDOW_MS = 3_600_000;
/** Failures in a row towards gateways (trust.ts): some minutes of trouble on a node that lives. */
const FAILURES_MAX = 7;
/** Of a pool's disks; one disk may always be out. */
const OUT_RATIO_MAX = 0.1;

/** What a node's report says of the errors of its disks. */
export function takeDiskErrors(state: State, node: NodeId, report: NodeReport, now: Now): void {
  for (const one of report.disks) {
    const disk = state.facts.disks.find(one.id);
    if (disk === undefined || disk.node !== node || one.status !== 'serving') continue;
    if (disk.uuid === one.uuid) takeErrors(state, disk, one, now);
  }
}

/** Counts only ever grow, until the process begins anew. */
function takeErrors(state: State, disk: DiskRecord, report: DiskReport, now: Now): void {
  const { diskErrors } = state.work;
  const known = diskErrors.get(disk.id);
  const count = report.checksumErrorCount;
  if (known === undefined) {
    diskErrors.set(disk.id, { count, level: 0, atMs: now.ms });
    return;
  }
  const fresh = count < known.count ? count : count - known.count;
  if (fresh === 0) return;
  // A bucket that leaks: so many errors in a window fill it, however they are spread.
  const leaked = ((now.ms - known.atMs) / ERRORS_WINDOW_MS) * ERRORS_MAX;
  const level = Math.max(0, known.level - leaked) + fresh;
  diskErrors.set(disk.id, { count, level, atMs: now.ms });
  if (level < ERRORS_MAX) return;
  const window = formatDuration(ERRORS_WINDOW_MS);
  takeOut(state, disk, `${Math.round(level)} checksum errors within ${window}`, now);
}

/** A gateway could not use it again; `failures` as counted by trust.ts. */
export function takeFailures(state: State, id: DiskId, failures: number, now: Now): void {
  if (failures < FAILURES_MAX) return;
  const disk = state.facts.disks.get(id);
  takeOut(state, disk, `gateways could not use it ${failures} times lately`, now);
}

/** Every tick: what is out is emptied, and comes back when the policy says so. */
export function superviseDisksOut(state: State, now: Now): void {
  const afterMs = state.options.diskReadmitAfterMs ?? null;
  for (const disk of state.facts.disks.values()) {
    const out = disk.out ?? null;
    if (out === null || disk.phase === 'lost' || disk.phase === 'releasing') continue;
    if (afterMs !== null && now.wallMs >= out.sinceMs + afterMs) {
      readmit(state, disk, `the policy brings it back after ${formatDuration(afterMs)}`, now);
    } else if (!disk.isDraining) {
      followDrain(state, formatDisk(disk.id), [disk], now);
    }
  }
}

/** Ends the time out, if it is: counters begin anew. */
export function readmit(state: State, disk: DiskRecord, why: string, now: Now): void {
  const subject = formatDisk(disk.id);
  state.work.diskErrors.delete(disk.id);
  state.work.distrust.delete(disk.id);
  if ((disk.out ?? null) === null) return;
  state.facts.disks.update(disk.id, { out: null });
  const job = findRunningJob(state, 'drain', subject);
  if (job !== null && !disk.isDraining) endJob(state, job, { phase: 'cancelled' }, now);
  const message = `${subject} on ${formatNode(disk.node)} may hold data again: ${why}`;
  recordEvent(state, { severity: 'info', kind: 'disk.readmitted', message, subject }, now);
}

function takeOut(state: State, disk: DiskRecord, reason: string, now: Now): void {
  if ((disk.out ?? null) !== null || isDiskLeaving(state, disk)) return;
  const subject = formatDisk(disk.id);
  const name = `${subject} on ${formatNode(disk.node)}`;
  const refusal = whyNotOut(state, disk);
  if (refusal !== null) {
    const message = `${name} should be taken out (${reason}), but ${refusal}`;
    recordEvent(state, { severity: 'error', kind: 'disk.not-out', message, subject }, now);
    return;
  }
  state.facts.disks.update(disk.id, { out: { sinceMs: now.wallMs, reason } });
  const held = heldBy(state, [disk]);
  startJob(
    state,
    { kind: 'drain', subject, reason: `${name} was taken out: ${reason}`, ...held },
    now,
  );
  const message = `${name} is taken out: ${reason}; its ${held.movesTotal} replicas move to other disks first, then it stays empty until it is readmitted`;
  recordEvent(state, { severity: 'error', kind: 'disk.out', message, subject }, now);
}

function whyNotOut(state: State, disk: DiskRecord): string | null {
  const domains = new Set<string>();
  let total = 0;
  let out = 0;
  const isByZone = state.facts.pools.find(disk.pool)?.failureDomain === 'zone';
  for (const other of state.facts.disks.values()) {
    if (other.pool !== disk.pool || other.phase === 'lost') continue;
    total += 1;
    if ((other.out ?? null) !== null || other.phase === 'failed') out += 1;
    if (other.id === disk.id || !isDiskServing(state, other) || isDiskLeaving(state, other))
      continue;
    const zone = state.facts.nodes.find(other.node)?.zone ?? null;
    domains.add(isByZone && zone !== null ? zone : formatNode(other.node));
  }
  const families = [...state.facts.families.values()].filter((one) => one.pool === disk.pool);
  const replicas = Math.max(1, ...families.map((family) => family.replicas));
  if (domains.size < replicas) {
    return `the other disks are in ${domains.size} failure domains and ${replicas} are needed: its data could go nowhere`;
  }
  if (out + 1 > Math.max(1, total * OUT_RATIO_MAX)) {
    return `${out} of ${total} disks of pool "${disk.pool}" are out already: look for a common cause`;
  }
  return null;
}
