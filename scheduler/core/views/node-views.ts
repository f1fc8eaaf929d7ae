/** What the operator API says of nodes and disks. */
import {
  type DiskId,
  formatDisk,
  formatNode,
  formatVolume,
  type NodeId,
} from '../../../shared/base/ids.ts';
import type { DiskView, NodeView } from '../../../shared/model/api-views.ts';
import type { DiskReport } from '../../../shared/model/node-report.ts';
import { capacityOf } from '../capacity/capacity.ts';
import { describeForeign } from '../disks/foreign-data.ts';
import { nodeState } from '../explain/node-state.ts';
import { memberCount } from '../members/members.ts';
import type { DiskRecord, NodeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { addCapacity } from './views.ts';

export function nodeViews(state: State, now: Now): NodeView[] {
  const context = gather(state);
  return [...state.facts.nodes.values()].map((node) => view(state, node, context, now));
}

/** null: there is no such node. */
export function nodeView(state: State, id: NodeId, now: Now): NodeView | null {
  const node = state.facts.nodes.find(id);
  return node === undefined ? null : view(state, node, gather(state), now);
}

export function diskViews(state: State): DiskView[] {
  const reports = new Map<DiskId, DiskReport>();
  for (const observed of state.nodes.values()) {
    for (const report of observed.report?.disks ?? []) reports.set(report.id, report);
  }
  return [...state.facts.disks.values()].map((disk) => diskView(state, disk, reports.get(disk.id)));
}

/** What belongs to each node, collected once for all of them. */
interface Context {
  readonly disks: ReadonlyMap<NodeId, readonly DiskRecord[]>;
  readonly volumes: ReadonlyMap<NodeId, readonly string[]>;
}

function gather(state: State): Context {
  const disks = new Map<NodeId, DiskRecord[]>();
  for (const disk of state.facts.disks.values()) {
    const known = disks.get(disk.node);
    if (known === undefined) disks.set(disk.node, [disk]);
    else known.push(disk);
  }
  const volumes = new Map<NodeId, string[]>();
  for (const volume of state.facts.volumes.values()) {
    if (volume.attachedTo === null) continue;
    const known = volumes.get(volume.attachedTo);
    if (known === undefined) volumes.set(volume.attachedTo, [formatVolume(volume.id)]);
    else known.push(formatVolume(volume.id));
  }
  return { disks, volumes };
}

function view(state: State, node: NodeRecord, context: Context, now: Now): NodeView {
  const observed = state.nodes.get(node.id);
  const disks = context.disks.get(node.id) ?? [];
  const { word, reason } = nodeState(state, node, now);
  const capacities = [...state.facts.pools.values()].map((pool) =>
    capacityOf(
      state,
      pool,
      disks.filter((disk) => disk.pool === pool.name && hasRoom(disk)),
      0,
    ),
  );
  const lastReportAtMs = observed?.lastReportAtMs ?? Number.NEGATIVE_INFINITY;
  return {
    id: formatNode(node.id),
    hostname: node.hostname,
    agentId: node.agentId,
    zone: node.zone,
    region: node.region,
    attributes: node.attributes,
    state: word,
    stateReason: reason,
    dataAddress: node.dataAddress,
    diskIds: disks.map((disk) => formatDisk(disk.id)),
    attachedVolumes: context.volumes.get(node.id) ?? [],
    capacity: addCapacity(capacities),
    lastSeenAt:
      lastReportAtMs === Number.NEGATIVE_INFINITY
        ? null
        : new Date(now.wallMs - (now.ms - lastReportAtMs)).toISOString(),
    executorId: node.executorId,
    cpuSeconds: observed?.report?.cpuSeconds ?? null,
    memoryBytes: observed?.report?.memoryBytes ?? null,
    backgroundBytes: Object.fromEntries(
      (observed?.report?.background ?? []).map(({ kind, bytes }) => [kind, bytes]),
    ),
  };
}

function hasRoom(disk: DiskRecord): boolean {
  return disk.phase === 'serving' || disk.phase === 'down';
}

function diskView(state: State, disk: DiskRecord, report: DiskReport | undefined): DiskView {
  const observed = state.disks.get(disk.id);
  const sizeBytes = observed?.capacityBytes ?? disk.sizeBytes;
  const usedBytes = observed?.usedBytes ?? 0;
  return {
    id: formatDisk(disk.id),
    uuid: disk.uuid,
    node: formatNode(disk.node),
    hostname: state.facts.nodes.find(disk.node)?.hostname ?? '',
    pool: disk.pool,
    kind: disk.kind,
    tier: disk.tier,
    sourceRoot: disk.sourceRoot,
    path: report?.path ?? null,
    state: disk.phase,
    error: disk.error,
    isDraining: disk.isDraining,
    outReason: disk.out?.reason ?? '',
    leavingReason: disk.unselected?.reason ?? '',
    foreign: describeForeign(state, disk),
    sizeBytes,
    usedBytes,
    usedRatio: sizeBytes === 0 ? 0 : usedBytes / sizeBytes,
    pgCount: memberCount(state, disk.id),
    checksumErrorCount: report?.checksumErrorCount ?? 0,
    taskId: disk.taskId,
  };
}
