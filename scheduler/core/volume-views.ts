/** What the operator API says of volumes and attachments. */
import { formatNode, formatVolume } from '../../shared/base/ids.ts';
import type { AttachmentView, PgCounts, VolumeView } from '../../shared/model/api-views.ts';
import { findAttachmentReport } from './attachments.ts';
import { volumeHealth } from './health.ts';
import { isNodeUp } from './node-life.ts';
import { countFamily, servingSet } from './pg-state.ts';
import { ioOf } from './rates.ts';
import type { VolumeRecord } from './records.ts';
import type { Now, State } from './state.ts';
import { storedBytes } from './volumes.ts';

export function volumeViews(state: State, now: Now): VolumeView[] {
  const serving = servingSet(state);
  const countsByBase = new Map<number, PgCounts>();
  for (const family of state.facts.families.values()) {
    countsByBase.set(family.pgBase, countFamily(state, family, serving));
  }
  const stored = storedBytes(state, null);
  return [...state.facts.volumes.values()].map((volume) => {
    const attachment = attachmentView(state, volume, now);
    const counts = countsByBase.get(volume.pgBase) ?? NO_PGS;
    const gateway = {
      isPaused: attachment?.state === 'paused',
      reason: attachment?.reason ?? '',
    };
    return {
      id: formatVolume(volume.id),
      name: volume.name,
      pool: volume.pool,
      sizeBytes: volume.sizeBytes,
      replicas: volume.replicas,
      durability: volume.durability,
      usedBytes: Math.round((stored.get(volume.id) ?? 0) / volume.replicas),
      state: volumeState(volume, attachment),
      ...volumeHealth(counts, gateway),
      attachment,
      createdAt: new Date(volume.createdAtMs).toISOString(),
    };
  });
}

export function attachmentViews(state: State, now: Now): AttachmentView[] {
  const views: AttachmentView[] = [];
  for (const volume of state.facts.volumes.values()) {
    const view = attachmentView(state, volume, now);
    if (view !== null) views.push(view);
  }
  return views;
}

const NO_PGS: PgCounts = { total: 0, clean: 0, degraded: 0, misplaced: 0, unavailable: 0 };

function volumeState(volume: VolumeRecord, attachment: AttachmentView | null): VolumeView['state'] {
  if (volume.phase === 'deleting') return 'deleting';
  if (attachment === null) return 'ready';
  if (volume.isDetaching) return 'detaching';
  return attachment.state === 'waiting' || attachment.state === 'opening'
    ? 'attaching'
    : 'attached';
}

/** null: the volume is not attached. */
function attachmentView(state: State, volume: VolumeRecord, now: Now): AttachmentView | null {
  if (volume.attachedTo === null) return null;
  const node = state.facts.nodes.find(volume.attachedTo);
  const isUp = node !== undefined && isNodeUp(state, node);
  const report = findAttachmentReport(state, volume);
  const base = {
    volume: formatVolume(volume.id),
    volumeName: volume.name,
    node: formatNode(volume.attachedTo),
    hostname: node?.hostname ?? '',
    generation: volume.generation,
    io: ioOf(state, volume.id, now.ms),
  };
  if (report === null || !isUp) {
    const reason = isUp
      ? `${base.node} has not opened it yet`
      : `${base.node} is out of reach; attach the volume elsewhere, or wait for the node`;
    return {
      ...base,
      state: isUp ? 'waiting' : 'paused',
      reason,
      unixUri: null,
      tcpUri: null,
      clientCount: 0,
    };
  }
  return {
    ...base,
    state: volume.isDetaching ? 'closing' : report.status,
    reason: report.reason,
    unixUri:
      report.socketPath === '' ? null : `nbd+unix:///${volume.name}?socket=${report.socketPath}`,
    tcpUri: report.tcpUri === '' ? null : report.tcpUri,
    clientCount: report.clientCount,
  };
}
