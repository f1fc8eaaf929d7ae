/**
 * Disks and nodes that come and go. Whoever fails again and again costs every writer a pause each time, so
 * the pause before it takes new replicas grows with each failure, and shrinks again after quiet time. It
 * never keeps data out of reach: in-sync members go on serving, however often their node went and came; only
 * new copies wait, so the last copy of anything is never delayed.
 *
 *   disk   a gateway could not use it though its node lives (a link that flaps): the first failure counts
 *   node   it was shut out and came back: the first return is free, since every restart is one
 *
 * Not durable: a new manager begins with trust in everybody.
 */
import { formatNode } from '../../../shared/base/ids.ts';
import { formatDuration } from '../../../shared/base/units.ts';
import { recordEvent } from '../events.ts';
import type { DiskRecord, NodeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import type { Distrust } from '../work.ts';

/** Long enough not to stall writes again at once. */
const PAUSE_MS_MIN = 5_000;
/** Longer would keep redundancy away for the sake of comfort. */
const PAUSE_MS_MAX = 180_000;
/** One failure is forgotten after so much time without another one. */
const QUIET_MS = 600_000;
/** More would only be bookkeeping: the pause is at its longest by then. */
const FAILURES_MAX = 10;

/** Another failure; `graceCount` failures have no pause yet. The pause runs from now on. */
export function addFailure(
  known: Distrust | undefined,
  graceCount: number,
  nowMs: number,
): Distrust {
  const failures = Math.min(FAILURES_MAX, failuresNow(known, nowMs) + 1);
  const level = failures - graceCount;
  const pauseMs = level <= 0 ? 0 : Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** (level - 1));
  return { failures, lastAtMs: nowMs, pauseMs, untilMs: nowMs + pauseMs };
}

/** What is left of its failures after the quiet time since. */
function failuresNow(known: Distrust | undefined, nowMs: number): number {
  if (known === undefined) return 0;
  const forgotten = Math.floor(Math.max(0, nowMs - known.untilMs) / QUIET_MS);
  return Math.max(0, known.failures - forgotten);
}

/** A node went away that had been up; its pause begins when it is back. */
export function noteNodeLoss(state: State, node: NodeRecord, now: Now): void {
  const { nodeDistrust } = state.work;
  nodeDistrust.set(node.id, addFailure(nodeDistrust.get(node.id), 1, now.ms));
}

/** The node is back: from now on its pause runs. */
export function noteNodeReturn(state: State, node: NodeRecord, now: Now): void {
  const known = state.work.nodeDistrust.get(node.id);
  if (known === undefined || known.pauseMs === 0) return;
  state.work.nodeDistrust.set(node.id, { ...known, untilMs: now.ms + known.pauseMs });
  recordEvent(
    state,
    {
      severity: 'warning',
      kind: 'node.flapping',
      message: `${formatNode(node.id)} (${node.hostname}) was lost ${known.failures} times lately: its disks serve what they have, and take new replicas again in ${formatDuration(known.pauseMs)}`,
      subject: formatNode(node.id),
    },
    now,
  );
}

/** Whether the disk may take new replicas, as far as trust goes. */
export function isTrusted(state: State, disk: DiskRecord, nowMs: number): boolean {
  const ofDisk = state.work.distrust.get(disk.id);
  if (ofDisk !== undefined && nowMs < ofDisk.untilMs) return false;
  const ofNode = state.work.nodeDistrust.get(disk.node);
  return ofNode === undefined || nowMs >= ofNode.untilMs;
}
