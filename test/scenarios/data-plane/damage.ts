/** Damage to what a replica of a test cluster holds, by extent and block. */
import { BLOCK_BYTES } from '../../../shared/base/units.ts';
import type { TestCluster } from './test-cluster.ts';

export interface DamagePlace {
  readonly extent: number;
  readonly block: number;
  readonly kind?: 'rot' | 'unreadable';
}

/** Of volume 1 on the disk of the node with this index; the extent has data there. */
export function damage(cluster: TestCluster, index: number, place: DamagePlace): void {
  const { store, simulatedDisk } = cluster.node(index);
  const slot = store?.placeOf({ volume: 1, layer: 0, extent: place.extent });
  if (slot === null || slot === undefined) throw new Error(`Node ${index} holds no such extent`);
  const offset = slot.offset + place.block * BLOCK_BYTES;
  if (place.kind === 'unreadable') {
    simulatedDisk.defects.makeUnreadable(slot.name, offset, BLOCK_BYTES);
  } else simulatedDisk.flipBit(slot.name, offset + 100, 3);
}
