/**
 * The fewest moves with which PGs can come to given counts per disk: a minimum-cost flow, exact and
 * slow. The yardstick for the plans, made on other principles than they are.
 *
 *   source → PG (R) → PG in zone (zoneCap) → PG on node (1) → disk (0 if held, else 1) → sink (count)
 */
import type { PlacementDisk, PlacementPg } from '../../../scheduler/core/placement/placement.ts';

interface Edge {
  readonly to: number;
  readonly cost: number;
  capacity: number;
}

class Network {
  readonly edges: Edge[] = [];
  readonly out: number[][] = [];
  readonly #ids = new Map<string, number>();

  vertex(name: string): number {
    const known = this.#ids.get(name);
    if (known !== undefined) return known;
    this.#ids.set(name, this.out.length);
    this.out.push([]);
    return this.out.length - 1;
  }

  /** The reverse of edge `e` is edge `e ^ 1`. */
  connect(from: string, to: string, capacity: number, cost = 0): void {
    const [a, b] = [this.vertex(from), this.vertex(to)];
    this.out[a]?.push(this.edges.length);
    this.edges.push({ to: b, capacity, cost });
    this.out[b]?.push(this.edges.length);
    this.edges.push({ to: a, capacity: 0, cost: -cost });
  }

  /** Cheapest path by repeated relaxation; returns the edges from sink to source, or null. */
  findPath(source: number, sink: number): number[] | null {
    const distance = new Map<number, number>([[source, 0]]);
    const via = new Map<number, number>();
    const queue = [source];
    for (const vertex of queue) {
      for (const index of this.out[vertex] ?? []) {
        const edge = this.edges[index];
        if (edge === undefined || edge.capacity === 0) continue;
        const next = (distance.get(vertex) ?? 0) + edge.cost;
        if (next >= (distance.get(edge.to) ?? Number.POSITIVE_INFINITY)) continue;
        distance.set(edge.to, next);
        via.set(edge.to, index);
        queue.push(edge.to);
      }
    }
    const path: number[] = [];
    for (let vertex = sink; vertex !== source; ) {
      const index = via.get(vertex);
      if (index === undefined) return null;
      path.push(index);
      vertex = this.edges[index ^ 1]?.to ?? source;
    }
    return path;
  }

  /** Pushes one unit; returns its cost. */
  push(path: readonly number[]): number {
    let cost = 0;
    for (const index of path) {
      const [edge, reverse] = [this.edges[index], this.edges[index ^ 1]];
      if (edge === undefined || reverse === undefined) throw new Error('edges come in pairs');
      edge.capacity -= 1;
      reverse.capacity += 1;
      cost += edge.cost;
    }
    return cost;
  }
}

/** Returns the number of replicas that must move, and how many get a place at all. */
export function exactMoves(
  disks: readonly PlacementDisk[],
  pgs: readonly PlacementPg[],
  rule: {
    readonly replicas: number;
    readonly zoneCap: number;
    readonly countOf: (disk: PlacementDisk) => number;
  },
): { readonly moves: number; readonly placed: number } {
  const network = new Network();
  const members = disks.filter((disk) => !disk.isLeaving);
  const zoneOfNode = new Map(members.map((disk) => [disk.node, disk.zone]));
  for (const { id, current } of pgs) {
    network.connect('source', `pg${id}`, rule.replicas);
    for (const zone of new Set(members.map((disk) => disk.zone))) {
      network.connect(`pg${id}`, `pg${id}/${zone}`, rule.zoneCap);
    }
    for (const [node, zone] of zoneOfNode)
      network.connect(`pg${id}/${zone}`, `pg${id}/n${node}`, 1);
    for (const disk of members) {
      const cost = current.includes(disk.id) ? 0 : 1;
      network.connect(`pg${id}/n${disk.node}`, `d${disk.id}`, 1, cost);
    }
  }
  for (const disk of members) network.connect(`d${disk.id}`, 'sink', rule.countOf(disk));
  const [source, sink] = [network.vertex('source'), network.vertex('sink')];
  let moves = 0;
  let placed = 0;
  for (;;) {
    const path = network.findPath(source, sink);
    if (path === null) return { moves, placed };
    moves += network.push(path);
    placed += 1;
  }
}
