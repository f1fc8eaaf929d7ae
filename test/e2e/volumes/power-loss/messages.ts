/** What a test and the machines of its child process say to each other: every message has one answer. */
import type { ClusterMap } from '../../../../shared/model/cluster-map.ts';
import type { NodeReport } from '../../../../shared/model/node-report.ts';

export const CLUSTER_ID = 'power-loss';
export const MACHINES = 3;

export type ToMachines =
  | {
      readonly kind: 'start';
      /** Differs with every power loss. */
      readonly bootId: string;
      readonly seed: string;
      /** Holds `disk1`, `disk2`, … as they are now. */
      readonly disks: string;
      /** Where a power loss leaves what it makes of the disks: one outcome each, and `power-lost` when done. */
      readonly outcomes: readonly string[];
      readonly socketDirectory: string;
    }
  | { readonly kind: 'map'; readonly map: ClusterMap }
  | { readonly kind: 'report' }
  /** Power is lost just before that many things more have happened to the disks. */
  | { readonly kind: 'lose-power'; readonly afterEvents: number };

export type FromMachines =
  | { readonly kind: 'listening'; readonly addresses: readonly string[] }
  | { readonly kind: 'reports'; readonly reports: readonly NodeReport[] }
  | { readonly kind: 'done' };

/** Written into each outcome when it is complete. */
export interface PowerLost {
  /** What was about to happen on the disk in whose middle it was. */
  readonly next: string;
  /** Recorded on all disks. */
  readonly events: number;
}

export const POWER_LOST_FILE = 'power-lost';
