/** Maps in one order, so that they can be compared whole. */
import type { ClusterMap } from '../../../shared/model/cluster-map.ts';

export function sortMap(map: ClusterMap): ClusterMap {
  const byId = (a: { readonly id: number }, b: { readonly id: number }): number => a.id - b.id;
  return {
    ...map,
    nodes: map.nodes.toSorted(byId),
    disks: map.disks.toSorted(byId),
    pgs: map.pgs.toSorted(byId),
    volumes: map.volumes.toSorted(byId),
  };
}
