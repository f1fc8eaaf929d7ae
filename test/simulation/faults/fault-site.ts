/** What a fault gets to work with (fault-driver.ts), and what it is. */
import type { Prng } from '../../../shared/base/prng.ts';
import type { Cluster } from '../cluster.ts';
import type { SimulatedNode } from '../simulated-node.ts';
import type { SwarmOptions } from '../swarm.ts';
import type { FaultAtlas } from './fault-atlas.ts';

export interface FaultSite {
  readonly cluster: Cluster;
  readonly options: SwarmOptions;
  readonly atlas: FaultAtlas;
  /** Of this kind of fault alone. */
  readonly random: Prng;
  /** Calls `undo` after `ms`, or earlier when everything is healed. */
  during(ms: number, undo: () => void): void;
}

/** Brings about one fault; returns what it did, for the trace, or null when it is not safe now. */
export type Fault = (site: FaultSite) => string | null;

export function pickNode({ cluster, random }: FaultSite): SimulatedNode {
  return random.pick(cluster.nodes);
}

/** A random one of those that the fault may hit now; null when it may hit none. */
export function pickSafe<T>(
  { random }: FaultSite,
  victims: readonly T[],
  isSafe: (victim: T) => boolean,
): T | null {
  return random.shuffle(victims).find(isSafe) ?? null;
}

/** The nodes count as out of reach until the time is over; then `undo` ends what made them so. */
export function takeAway(
  site: FaultSite,
  nodes: readonly SimulatedNode[],
  ms: number,
  undo: () => void,
): void {
  const ends = nodes.map((node) => site.atlas.beginAway(node));
  site.during(ms, () => {
    undo();
    for (const end of ends) end();
  });
}
