/**
 * The brake on mass failure: when many nodes, or much of the capacity, go within a short time, the cause is
 * usually a switch, a power feed or an upgrade, and they come back together. Copying a third of the cluster
 * meanwhile would fill the rest and slow clients for nothing; so re-replication waits.
 *
 *   off ── more than a third of the nodes, or a quarter of the capacity, went within the window ──▶ engaged
 *   engaged ── so many are back (or were forgotten) that what is away is below both limits ──▶ off
 *   engaged ── an operator's release, durable ──▶ released ── as above ──▶ off
 *
 * Held back: copies to disks that had none of the data, for lost redundancy (also where writes wait for
 * it: who has the copies is expected back) or balance. Never held back:
 * leaving out lost members (I/O goes on), disks that come back and join again, and drains: those are an
 * operator's own word. One node alone never engages it, however large a part it is: losing one is what
 * replicas are for.
 */
import { formatNode, type NodeId } from '../../shared/base/ids.ts';
import { formatDuration } from '../../shared/base/units.ts';
import { recordEvent } from './events.ts';
import { isNodeMapped } from './map.ts';
import { isDiskLeaving, isDiskServing, isNodeUp } from './nodes/node-life.ts';
import type { BrakeRecord, DiskRecord, NodeRecord } from './records.ts';
import type { Now, State } from './state.ts';

/** Ten minutes: as long as a node may be away before its data is copied elsewhere. */
export const BRAKE_WINDOW_MS = 600_000;
/** Of the registered nodes; more than this. */
const NODES_RATIO = 1 / 3;
/** Of the capacity of all disks that hold or may hold data; more than this. */
const CAPACITY_RATIO = 1 / 4;
/** A single failure is no mass failure. */
const NODES_MIN = 2;

/** Whether re-replication waits now. */
export function isBraked(state: Pick<State, 'facts'>): boolean {
  const brake = state.facts.cluster.brake ?? null;
  return brake !== null && !brake.isReleased;
}

/** Every tick: engages the brake, or ends it. */
export function superviseBrake(state: State, now: Now): void {
  const windowMs = state.options.brakeWindowMs ?? BRAKE_WINDOW_MS;
  const known = state.facts.cluster.brake ?? null;
  const away = measureAway(
    state,
    known === null ? now.wallMs - windowMs : Number.NEGATIVE_INFINITY,
  );
  const isMass = windowMs > 0 && isBeyondLimits(away);
  if (known === null && isMass) engage(state, away, now);
  if (known !== null && !isMass) end(state, known, away, now);
}

/** An operator's override: copying begins although many are away. It lasts until the brake would end. */
export function releaseBrake(state: State, now: Now): boolean {
  const brake = state.facts.cluster.brake ?? null;
  if (brake === null || brake.isReleased) return false;
  state.facts.updateCluster({ brake: { ...brake, isReleased: true } });
  wakePlanners(state);
  const message = `An operator released the brake: what is away is rebuilt although much is missing at once (${brake.reason})`;
  recordEvent(
    state,
    { severity: 'warning', kind: 'brake.released', message, subject: 'cluster' },
    now,
  );
  return true;
}

export interface Away {
  /** With disks that are away; and how many of them are away as a whole. */
  readonly nodes: readonly NodeId[];
  readonly nodesGone: number;
  readonly nodesTotal: number;
  readonly bytes: number;
  readonly bytesTotal: number;
}

/** Nodes and disks that went after `sinceWallMs` and are not back; what an operator empties does not count. */
export function measureAway(state: State, sinceWallMs: number): Away {
  const nodes = new Set<NodeId>();
  let nodesGone = 0;
  let bytes = 0;
  let bytesTotal = 0;
  const registered = [...state.facts.nodes.values()].filter(isRegistered);
  for (const disk of state.facts.disks.values()) {
    const node = state.facts.nodes.find(disk.node);
    if (node === undefined || !isRegistered(node) || isDiskLeaving(state, disk)) continue;
    if (disk.phase === 'claiming' || disk.phase === 'launched') continue;
    bytesTotal += disk.sizeBytes;
    if (isDiskServing(state, disk) || !hasGone(state, node, disk)) continue;
    if (disk.phaseSinceMs < sinceWallMs) continue;
    bytes += disk.sizeBytes;
    if (!nodes.has(disk.node) && !isNodeUp(state, node)) nodesGone += 1;
    nodes.add(disk.node);
  }
  return { nodes: [...nodes], nodesGone, nodesTotal: registered.length, bytes, bytesTotal };
}

function isRegistered(node: NodeRecord): boolean {
  return node.admin !== 'gone' && isNodeMapped(node);
}

/** A disk that is being opened on a living node has not gone. */
function hasGone(state: State, node: NodeRecord, disk: DiskRecord): boolean {
  if (disk.phase === 'failed' || disk.phase === 'lost') return true;
  return node.isFenced || (disk.phase === 'down' && !isNodeUp(state, node));
}

function isBeyondLimits({ nodes, nodesGone, nodesTotal, bytes, bytesTotal }: Away): boolean {
  if (nodes.length < NODES_MIN) return false;
  return nodesGone > nodesTotal * NODES_RATIO || bytes > bytesTotal * CAPACITY_RATIO;
}

/** For people: how much of the cluster is away. */
export function describeAway({ nodes, nodesTotal, bytes, bytesTotal }: Away): string {
  const percent = bytesTotal === 0 ? 0 : Math.round((bytes / bytesTotal) * 100);
  return `${nodes.length} of ${nodesTotal} nodes lack disks, with ${percent} % of the capacity`;
}

function engage(state: State, away: Away, now: Now): void {
  const windowMs = state.options.brakeWindowMs ?? BRAKE_WINDOW_MS;
  const reason = `${describeAway(away)}, within ${formatDuration(windowMs)}`;
  const brake: BrakeRecord = { sinceMs: now.wallMs, reason, isReleased: false };
  state.facts.updateCluster({ brake });
  state.work.isMovesDirty = true;
  const names = away.nodes.map(formatNode).join(', ');
  const message = `Re-replication waits: ${reason} (${names}); I/O goes on where a replica is left, and disks that come back join again`;
  recordEvent(
    state,
    { severity: 'error', kind: 'brake.engaged', message, subject: 'cluster' },
    now,
  );
}

function end(state: State, brake: BrakeRecord, away: Away, now: Now): void {
  state.facts.updateCluster({ brake: null });
  wakePlanners(state);
  const lasted = formatDuration(now.wallMs - brake.sinceMs);
  const message = `Re-replication goes on after ${lasted}: enough came back, ${describeAway(away)}`;
  recordEvent(state, { severity: 'info', kind: 'brake.ended', message, subject: 'cluster' }, now);
}

function wakePlanners(state: State): void {
  state.work.isMovesDirty = true;
  state.work.isJobsDirty = true;
  for (const pool of state.facts.pools.values())
    state.work.replan.set(pool.name, 'the brake ended');
}
