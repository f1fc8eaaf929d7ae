/** What the operator API says of attachments, and the state of a volume in one word. */
import { formatNode, formatVolume } from '../../../shared/base/ids.ts';
import type { AttachmentView, VolumeView } from '../../../shared/model/api-views.ts';
import { findAttachmentReport } from '../attachments.ts';
import { isNodeUp } from '../nodes/node-life.ts';
import type { VolumeRecord } from '../records.ts';
import type { Now, State } from '../state.ts';
import { ioOf } from './rates.ts';

export function attachmentViews(state: State, now: Now): AttachmentView[] {
  const views: AttachmentView[] = [];
  for (const volume of state.facts.volumes.values()) {
    const view = attachmentView(state, volume, now);
    if (view !== null) views.push(view);
  }
  return views;
}

export function volumeState(
  volume: VolumeRecord,
  attachment: AttachmentView | null,
): VolumeView['state'] {
  if (volume.phase === 'deleting') return 'deleting';
  if (attachment === null) return 'ready';
  if (volume.isDetaching) return 'detaching';
  return attachment.state === 'waiting' || attachment.state === 'opening'
    ? 'attaching'
    : 'attached';
}

/** null: the volume is not attached. */
export function attachmentView(
  state: State,
  volume: VolumeRecord,
  now: Now,
): AttachmentView | null {
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
