/** What the executor and its data process say to each other over Node's IPC channel. */
import type { DiskId, NodeId } from '../shared/base/ids.ts';
import type { ClusterMap, ClusterMapDelta } from '../shared/model/cluster-map.ts';
import type { NodeReport } from '../shared/model/node-report.ts';
import type { ScrubOrder } from '../shared/model/scrub.ts';
import type { BackgroundLimits, DataMemory, DiskAssignment } from './data-plane.ts';

/** First message to a new data process. */
export interface DataProcessStart {
  readonly kind: 'start';
  readonly clusterId: string;
  readonly node: NodeId;
  /** Address to listen on and to name to peers. */
  readonly host: string;
  /** 0 for any; a restarted process gets the ports of the one before, so that addresses stay. */
  readonly dataPort: number;
  readonly nbdPort: number;
  /** Folder for the volumes' unix sockets; short, since a socket's path has at most 107 bytes. */
  readonly socketDirectory: string;
  /** How long I/O is held before it fails with EIO. */
  readonly holdMs: number;
}

export type ToDataProcess =
  | DataProcessStart
  | { readonly kind: 'add-disk'; readonly disk: DiskAssignment }
  | { readonly kind: 'remove-disk'; readonly id: DiskId }
  | {
      readonly kind: 'map';
      readonly map: ClusterMap | ClusterMapDelta;
      readonly self: NodeId;
    }
  | { readonly kind: 'lease'; readonly untilMs: number }
  | { readonly kind: 'limits'; readonly limits: BackgroundLimits }
  | { readonly kind: 'scrubs'; readonly orders: readonly ScrubOrder[] }
  | { readonly kind: 'keep-map'; readonly record: Uint8Array }
  | { readonly kind: 'recall'; readonly question: number }
  | { readonly kind: 'close' };

export type FromDataProcess =
  | { readonly kind: 'listening'; readonly dataPort: number; readonly nbdPort: number }
  | { readonly kind: 'report'; readonly report: NodeReport; readonly isUrgent: boolean }
  | { readonly kind: 'disk-closed'; readonly id: DiskId }
  | { readonly kind: 'memory'; readonly question: number; readonly memory: DataMemory }
  /** Nothing was opened: the process ends after this. */
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'closed' };
