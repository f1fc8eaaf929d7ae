/** Clusters for the placement tests: disks in rows, families, and the next family after a plan. */

import type {
  PlacementDisk,
  PlacementFamily,
  PlacementInput,
  PlacementPlan,
} from '../../../scheduler/core/placement/placement.ts';
import type { DiskId } from '../../../shared/base/ids.ts';
import { diskId, nodeId, pgId } from '../../../shared/base/ids.ts';

/** `nodes` nodes from number `first` on with `perNode` equal disks; ids are `node · 10 + index`. */
export function makeDisks(options: {
  readonly nodes: number;
  readonly perNode?: number;
  readonly first?: number;
  readonly zones?: number;
  readonly weight?: number;
}): PlacementDisk[] {
  const { nodes, perNode = 1, first = 0, zones = 0, weight = 1e12 } = options;
  const disks: PlacementDisk[] = [];
  for (let node = first; node < first + nodes; node += 1) {
    for (let index = 0; index < perNode; index += 1) {
      disks.push({
        id: diskId(node * 10 + index),
        node: nodeId(node),
        zone: zones === 0 ? null : `z${node % zones}`,
        weight,
        isUsable: true,
        isLeaving: false,
      });
    }
  }
  return disks;
}

export function makeFamily(options: {
  readonly pgs: number;
  readonly replicas: number;
  readonly failureDomain?: 'node' | 'zone';
  readonly firstPg?: number;
  readonly after?: PlacementPlan;
}): PlacementFamily {
  const { pgs, replicas, failureDomain = 'node', firstPg = 0, after } = options;
  return {
    replicas,
    failureDomain,
    pgs: Array.from({ length: pgs }, (_, index) => {
      const id = pgId(firstPg + index);
      return { id, current: after?.targets.get(id) ?? [], bytes: 1 };
    }),
  };
}

export function setNode(
  disks: readonly PlacementDisk[],
  node: number,
  state: 'in' | 'leaving' | 'away',
): PlacementDisk[] {
  return disks.map((disk) =>
    disk.node === node
      ? { ...disk, isUsable: state === 'in', isLeaving: state === 'leaving' }
      : disk,
  );
}

export function countOf(plan: PlacementPlan, id: number): number {
  return plan.disks.find((disk) => disk.id === id)?.pgCount ?? -1;
}

export function countsByNode(plan: PlacementPlan, disks: readonly PlacementDisk[]): number[] {
  const sums = new Map<number, number>();
  for (const disk of disks) {
    sums.set(disk.node, (sums.get(disk.node) ?? 0) + countOf(plan, disk.id));
  }
  return [...sums.values()];
}

/** Everything that must hold for any plan; throws with the first fact that does not. */
export function checkPlan(input: PlacementInput, plan: PlacementPlan): void {
  const disks = new Map<DiskId, PlacementDisk>(input.disks.map((disk) => [disk.id, disk]));
  for (const family of input.families) {
    for (const pg of family.pgs) {
      const target = plan.targets.get(pg.id);
      if (target === undefined) throw new Error(`pg${pg.id} has no target`);
      const nodes = new Set(target.map((id) => disks.get(id)?.node));
      if (nodes.size !== target.length) throw new Error(`pg${pg.id} is twice on a node: ${target}`);
      if (target.length > family.replicas) throw new Error(`pg${pg.id} has too many targets`);
      for (const id of target) {
        const disk = disks.get(id);
        if (disk === undefined || disk.isLeaving) throw new Error(`pg${pg.id} stays on d${id}`);
        if (!disk.isUsable && !pg.current.includes(id))
          throw new Error(`d${id} receives pg${pg.id}`);
      }
      if (target.length < family.replicas && !plan.degraded.includes(pg.id)) {
        throw new Error(`pg${pg.id} is degraded and not named`);
      }
    }
  }
  if (plan.degraded.length > 0 && plan.explanations.length === 0) {
    throw new Error('degraded PGs without an explanation');
  }
}
