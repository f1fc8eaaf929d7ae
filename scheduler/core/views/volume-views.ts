/** What the operator API says of volumes; attachments are in attachment-views.ts. */
import { formatVolume } from '../../../shared/base/ids.ts';
import type { VolumeView } from '../../../shared/model/api-views.ts';
import { explainPgGroups } from '../explain/explain-pg.ts';
import { explainAttachment, familiesOfVolume } from '../explain/explain-volume.ts';
import { createScene, type Explanation } from '../explain/explanation.ts';
import { healthOf } from '../explain/health.ts';
import type { Now, State } from '../state.ts';
import { storedBytes } from '../volumes.ts';
import { attachmentView, volumeState } from './attachment-views.ts';

export function volumeViews(state: State, now: Now): VolumeView[] {
  const scene = createScene(state, now);
  // Volumes of one family share its PGs, and what is wrong with them.
  const groupsByBase = new Map<number, readonly Explanation[]>();
  const stored = storedBytes(state, null);
  return [...state.facts.volumes.values()].map((volume) => {
    const attachment = attachmentView(state, volume, now);
    const groups =
      groupsByBase.get(volume.pgBase) ??
      explainPgGroups(scene, familiesOfVolume(state, volume), {
        kind: 'pool',
        subject: volume.pool,
        name: volume.pool,
      });
    groupsByBase.set(volume.pgBase, groups);
    const own = explainAttachment(scene, volume, attachment);
    return {
      id: formatVolume(volume.id),
      name: volume.name,
      pool: volume.pool,
      sizeBytes: volume.sizeBytes,
      replicas: volume.replicas,
      durability: volume.durability,
      usedBytes: Math.round((stored.get(volume.id) ?? 0) / volume.replicas),
      state: volumeState(volume, attachment),
      ...healthOf([...(own === null ? [] : [own]), ...groups]),
      attachment,
      createdAt: new Date(volume.createdAtMs).toISOString(),
    };
  });
}
