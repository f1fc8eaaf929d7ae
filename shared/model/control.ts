/** The messages of the control link as values (proto/cistern/control.proto gives their bytes). */
import type { NodeId } from '../base/ids.ts';
import type { ClusterMap, ClusterMapDelta } from './cluster-map.ts';
import type { NodeHello, NodeReport } from './node-report.ts';
import type { ScrubOrder } from './scrub.ts';

export type NodeMessage =
  | { readonly kind: 'hello'; readonly hello: NodeHello }
  | { readonly kind: 'report'; readonly sequence: number; readonly report: NodeReport };

export type ManagerMessage =
  | {
      readonly kind: 'welcome';
      readonly term: number;
      readonly node: NodeId;
      readonly leaseMs: number;
      readonly resyncBytesPerSecond: number;
      readonly concurrentJoins: number;
    }
  | { readonly kind: 'refusal'; readonly term: number; readonly reason: string }
  | {
      readonly kind: 'lease';
      readonly term: number;
      readonly sequence: number;
      readonly durationMs: number;
    }
  /** Everything that the node shall scrub now, at most `SCRUB_ORDERS_MAX`; said again with every change. */
  | { readonly kind: 'scrubs'; readonly term: number; readonly orders: readonly ScrubOrder[] }
  | { readonly kind: 'map'; readonly map: ClusterMap; readonly facts?: readonly ClusterFact[] }
  | {
      readonly kind: 'delta';
      readonly delta: ClusterMapDelta;
      readonly facts?: readonly ClusterFact[];
    };

/**
 * A durable fact of the manager as its store holds it (JSON), or that it is gone (null). Executors keep
 * facts beside the map for a recovery and never look into them (docs/decisions/0008).
 */
export interface ClusterFact {
  readonly key: string;
  readonly value: string | null;
}

/** A node that cannot reach the manager asks its peers to bear with it for one more lease. */
export interface GrantRequest {
  readonly clusterId: string;
  readonly node: NodeId;
  readonly term: number;
  readonly mapVersion: number;
}

export interface GrantReply {
  readonly isGranted: boolean;
  /** Why not; empty when granted. */
  readonly reason: string;
  readonly mapVersion: number;
  readonly node: NodeId;
}

/** A map with the facts beside it, as a manager would send it. */
export function mapMessage(
  map: ClusterMap,
  facts: ReadonlyMap<string, string>,
): Extract<ManagerMessage, { kind: 'map' }> {
  return { kind: 'map', map, facts: [...facts].map(([key, value]) => ({ key, value })) };
}
