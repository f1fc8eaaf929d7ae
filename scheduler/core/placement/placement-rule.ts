/**
 * What the failure domain policy comes to on the disks there are: how many replicas of a PG one zone
 * may hold, and how many replicas a PG can have at all. A node holds at most one in any case.
 */
import { exactShares } from './placement-shares.ts';
import type { Topology } from './placement-topology.ts';

export interface DomainRule {
  /** Replicas of one PG that one zone may hold; a node holds at most one in any case. */
  readonly zoneCap: number;
  /** Why it is not as the policy asks; null when it is. */
  readonly explanation: string | null;
}

/**
 * One replica per zone when there are zones enough. With fewer zones the node is the domain; replicas
 * then spread over the zones as far as that makes no disk fuller.
 */
export function domainRule(
  topology: Topology,
  policy: {
    readonly pgCount: number;
    readonly replicas: number;
    readonly domain: 'node' | 'zone';
  },
): DomainRule {
  const { pgCount, replicas, domain } = policy;
  if (domain === 'node') return { zoneCap: replicas, explanation: null };
  if (topology.zoneCount >= replicas) return { zoneCap: 1, explanation: null };
  const explanation =
    `Asked for ${replicas} replicas in different zones, but only ${topology.zoneCount} zones have ` +
    'disks: replicas go to different nodes instead';
  if (topology.zoneCount === 0) return { zoneCap: replicas, explanation };

  const spread = Math.ceil(replicas / topology.zoneCount);
  const caps = Float64Array.from(topology.isUsable, (isUsable, disk) =>
    isUsable === 1 ? pgCount : (topology.named[disk] ?? 0),
  );
  const possible = replicasPossible(topology, { replicas, zoneCap: replicas });
  const shares = exactShares(topology, caps, { pgCount, replicas: possible, zoneCap: replicas });
  const zoneSums = new Float64Array(topology.zoneCount);
  shares.forEach((share, disk) => {
    const zone = topology.zoneOf[disk] ?? 0;
    zoneSums[zone] = (zoneSums[zone] ?? 0) + share;
  });
  const isFree = zoneSums.every((sum) => sum <= spread * pgCount);
  return { zoneCap: isFree ? spread : replicas, explanation };
}

/** The most replicas that any PG can have here. */
export function replicasPossible(
  topology: Topology,
  policy: { readonly replicas: number; readonly zoneCap: number },
): number {
  let sum = 0;
  for (let zone = 0; zone < topology.zoneCount; zone += 1) {
    const nodes = (topology.zoneStart[zone + 1] ?? 0) - (topology.zoneStart[zone] ?? 0);
    sum += Math.min(policy.zoneCap, nodes);
  }
  return Math.min(policy.replicas, sum);
}
