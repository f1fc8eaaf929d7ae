/**
 * Where copies lie when the cluster is whole: invariant I6 of docs/invariants.md. Two copies of a PG on one
 * machine are wrong wherever there are machines enough. Read from the durable rows alone.
 */
import type { DurableFacts } from './durable-facts.ts';

/** One sentence for each PG whose targets or members share a failure domain without need. */
export function findCrowded(facts: DurableFacts): string[] {
  const nodes = new Set<number>();
  for (const disk of facts.disks.values()) {
    const isLeaving = disk.isDraining || (disk.out ?? null) !== null || disk.phase !== 'serving';
    if (!isLeaving && facts.nodes.get(disk.node)?.admin === 'active') nodes.add(disk.node);
  }
  const crowded: string[] = [];
  for (const pg of facts.pgs.values()) {
    for (const [what, disks] of [
      ['targets', pg.target],
      ['members', pg.inSync],
    ] as const) {
      const homes = disks.map((disk) => facts.disks.get(disk)?.node ?? -1);
      if (new Set(homes).size === homes.length || nodes.size < homes.length) continue;
      const where = disks.map((disk, index) => `d${disk} on n${homes[index]}`).join(', ');
      crowded.push(`I6: ${what} of pg${pg.id} share a node: ${where}; ${nodes.size} nodes serve`);
    }
  }
  return crowded;
}
