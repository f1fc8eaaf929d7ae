/** What a volume's gateway is given: its attachment, its deadline, and the parts of the node it works with. */
import type { MapVolume } from '../../shared/model/cluster-map.ts';
import type { Clock, Log } from '../../shared/ports.ts';
import type { Lease } from '../lease.ts';
import type { MapIndex } from '../map-index.ts';
import type { RaiseNotice } from '../notice-board.ts';
import type { PeerSet } from '../peer/peer-set.ts';
import type { BufferPool } from './buffer-pool.ts';

export interface VolumeDeviceOptions {
  readonly volume: MapVolume;
  /** How long a request may take, detection of failures included. */
  readonly requestDeadlineMs: number;
}

export interface VolumeDeviceModules {
  readonly clock: Clock;
  readonly log: Log;
  readonly map: MapIndex;
  readonly lease: Lease;
  readonly peers: PeerSet;
  /** Shared with the clients' server, which gives back the buffers of reads that it has answered. */
  readonly pool: BufferPool;
  readonly notify: RaiseNotice;
  /** Something for the next report that should not wait. */
  readonly onUrgent: () => void;
}

/** Detection (lease and silence, about five seconds) and thirty for the manager and the others. */
export const REQUEST_DEADLINE_MS = 35_000;
