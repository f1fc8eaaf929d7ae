/** The messages of the control link as values (proto/cistern/control.proto gives their bytes). */
import type { NodeId } from '../base/ids.ts';
import type { ClusterMap, ClusterMapDelta } from './cluster-map.ts';
import type { NodeHello, NodeReport } from './node-report.ts';

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
  | { readonly kind: 'map'; readonly map: ClusterMap }
  | { readonly kind: 'delta'; readonly delta: ClusterMapDelta };

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
