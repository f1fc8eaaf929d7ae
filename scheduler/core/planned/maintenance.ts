/**
 * Maintenance windows that Mesos announces: a node is empty when its window opens, and back in use after it,
 * without anybody's help.
 *
 *   announced ── soon ──▶ avoided (no new claims, no new replicas) ── in time ──▶ evacuated ── over ──▶ in use
 *
 * An evacuation is a drain that the window orders: the planners move the data, redundancy is whole all the time,
 * and where there is no room the node keeps what it has. It begins as early as a forecast of its length asks for,
 * doubled; at once when that is past already. That it has begun is a fact: otherwise the forecast would shrink as the
 * data leaves, and the data would come back.
 */
import { formatNode, formatVolume, type NodeId } from '../../../shared/base/ids.ts';
import { formatDuration, MiB } from '../../../shared/base/units.ts';
import { recordEvent } from '../events.ts';
import { rateOf } from '../jobs/job-progress.ts';
import { endJob, findRunningJob, startJob } from '../jobs/jobs.ts';
import { memberCount } from '../members/members.ts';
import { describeNode, disksOf } from '../members/sessions.ts';
import { followDrain, heldBy } from '../nodes/nodes.ts';
import type { NodeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';

/** What one node gives away while clients work: half of what a hard disk reads in a row. */
const EVACUATE_BYTES_PER_SECOND = 25 * MiB;
/** Planning, joining and promoting one replica, however small it is. */
const MS_PER_REPLICA = 500;
/** A forecast is wrong by so much, now and then. */
const FORECAST_MARGIN = 2;
/** Nothing is done in less: plans, reports and inverse offers take their time. */
const LEAD_MS_MIN = 300_000;
/** New data is kept away this long before the evacuation begins: it would only be moved again. */
const AVOID_AHEAD_MS = 3_600_000;

export interface Window {
  readonly fromMs: number;
  /** null: until further notice. */
  readonly untilMs: number | null;
}

/** The window that is ahead or open; null when there is none, or it is over. */
export function findWindow(node: NodeRecord, now: Now): Window | null {
  const { unavailableFromMs: fromMs, unavailableUntilMs: untilMs } = node;
  if (fromMs === null || (untilMs !== null && untilMs <= now.wallMs)) return null;
  return { fromMs, untilMs };
}

export function isEvacuating(node: NodeRecord): boolean {
  return (node.evacuation ?? null) !== null;
}

/** Whether no placement group has a replica there. */
export function isEmpty(state: State, node: NodeRecord): boolean {
  return disksOf(state, node.id).every((disk) => memberCount(state, disk.id) === 0);
}

/** Whether nothing new shall come to the node: as of the last look. */
export function isAvoided(state: State, id: NodeId): boolean {
  return state.work.avoidedNodes.has(id);
}

/** How long emptying the node takes, as far as anyone can say now. */
export function forecastMs(state: State, node: NodeRecord): number {
  const { movesTotal, totalBytes } = heldBy(state, disksOf(state, node.id));
  const job = findRunningJob(state, 'drain', formatNode(node.id));
  const seen = job === null ? null : rateOf(state, job);
  const limit = state.options.resyncBytesPerSecond;
  const rate = seen ?? Math.max(1, Math.min(EVACUATE_BYTES_PER_SECOND, limit / 2));
  return movesTotal * MS_PER_REPLICA + (totalBytes / rate) * 1000;
}

/** When the evacuation for the window begins, in wall time. */
export function evacuateAtMs(state: State, node: NodeRecord, window: Window): number {
  return window.fromMs - Math.max(LEAD_MS_MIN, FORECAST_MARGIN * forecastMs(state, node));
}

/** Every tick: begins and ends evacuations, and says which nodes are kept free. */
export function superviseMaintenance(state: State, now: Now): void {
  const { avoidedNodes } = state.work;
  for (const node of state.facts.nodes.values()) {
    const window = node.admin === 'gone' ? null : findWindow(node, now);
    const isNear =
      window !== null && evacuateAtMs(state, node, window) - AVOID_AHEAD_MS <= now.wallMs;
    if (isNear !== avoidedNodes.has(node.id)) {
      if (isNear) avoidedNodes.add(node.id);
      else avoidedNodes.delete(node.id);
      replanNode(state, node, isNear ? 'is kept free for maintenance' : 'may take data again');
    }
    if (isEvacuating(node)) followEvacuation(state, node, window, now);
    else if (window !== null && node.admin === 'active')
      considerEvacuation(state, node, window, now);
  }
}

function replanNode(state: State, node: NodeRecord, what: string): void {
  for (const disk of disksOf(state, node.id)) {
    state.work.replan.set(disk.pool, `${formatNode(node.id)} ${what}`);
  }
}

function considerEvacuation(state: State, node: NodeRecord, window: Window, now: Now): void {
  if (now.wallMs < evacuateAtMs(state, node, window)) return;
  state.facts.nodes.update(node.id, { evacuation: { sinceMs: now.wallMs } });
  const held = heldBy(state, disksOf(state, node.id));
  const subject = formatNode(node.id);
  const opens = describeOpening(window, now);
  if (findRunningJob(state, 'drain', subject) === null) {
    const reason = `maintenance of ${describeNode(node)} ${opens}`;
    startJob(state, { kind: 'drain', subject, reason, ...held }, now);
  }
  const late = held.movesTotal > 0 && now.wallMs + forecastMs(state, node) > window.fromMs;
  const message = `${describeNode(node)} is emptied for its maintenance, which ${opens}: ${held.movesTotal} replicas move away${late ? '; they may not all be gone by then' : ''}`;
  const severity = late ? 'warning' : 'info';
  recordEvent(state, { severity, kind: 'node.evacuating', message, subject }, now);
}

export function describeOpening({ fromMs }: Window, now: Now): string {
  return fromMs <= now.wallMs ? 'has begun' : `begins in ${formatDuration(fromMs - now.wallMs)}`;
}

function followEvacuation(state: State, node: NodeRecord, window: Window | null, now: Now): void {
  const subject = formatNode(node.id);
  const job = findRunningJob(state, 'drain', subject);
  if (window === null) {
    state.facts.nodes.update(node.id, { evacuation: null });
    // A drain of the operator's own goes on.
    if (job !== null && node.admin === 'active') endJob(state, job, { phase: 'cancelled' }, now);
    if (node.admin !== 'active') return;
    const message = `Maintenance of ${describeNode(node)} is over: its disks take data again`;
    recordEvent(state, { severity: 'info', kind: 'node.maintenance-over', message, subject }, now);
    return;
  }
  if (node.admin !== 'active') return;
  const isEmpty = followDrain(state, subject, disksOf(state, node.id), now);
  if (!isEmpty || job === null) return;
  const message = `${describeNode(node)} is empty: its maintenance, which ${describeOpening(window, now)}, costs no redundancy`;
  recordEvent(state, { severity: 'info', kind: 'node.evacuated', message, subject }, now);
}

/** Why the node should not be taken down now; null when nobody would miss it. */
export function whyNotSafe(state: State, node: NodeRecord, now: Now): string | null {
  const left = disksOf(state, node.id).reduce((sum, disk) => sum + memberCount(state, disk.id), 0);
  if (left > 0) return `${left} replicas are there; ${describeWait(state, node, now)}`;
  for (const volume of state.facts.volumes.values()) {
    if (volume.attachedTo !== node.id) continue;
    return `volume "${volume.name}" (${formatVolume(volume.id)}) is attached there: detach it, or attach it elsewhere`;
  }
  return null;
}

function describeWait(state: State, node: NodeRecord, now: Now): string {
  const [obstacle] = disksOf(state, node.id).flatMap(
    (disk) => state.work.explanations.get(disk.pool) ?? [],
  );
  if (isEvacuating(node) || node.admin !== 'active') {
    if (obstacle !== undefined) return `they cannot all leave: ${obstacle}`;
    return `they move away, which takes about ${formatDuration(Math.ceil(forecastMs(state, node) / 1000) * 1000)} more`;
  }
  const window = findWindow(node, now);
  if (window === null) return 'nobody moves them';
  const waitMs = Math.max(0, evacuateAtMs(state, node, window) - now.wallMs);
  return `they are moved away in good time, from ${formatDuration(waitMs)} on`;
}
