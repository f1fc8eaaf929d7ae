/**
 * What a node tells the manager, once a second and at once when something urgent happened. Every
 * report is whole and idempotent: a lost one costs nothing, a repeated one changes nothing.
 */
import type { DiskId, PgId, VolumeId } from '../base/ids.ts';
import type { ScrubReport } from './scrub.ts';

/**
 * Version of the control protocol: grows when an older side could not follow. Two sides work together when
 * each speaks at least what the other still understands; a scheduler works with executors one version older.
 */
export const CONTROL_PROTOCOL = 2;
/** The oldest that this program still understands. */
export const CONTROL_PROTOCOL_OLDEST = 1;

export interface NodeHello {
  readonly clusterId: string;
  readonly agentId: string;
  readonly executorId: string;
  readonly hostname: string;
  /** Differs with every start of the executor process: a restart is told from a reconnect. */
  readonly incarnation: string;
  readonly version: string;
  readonly dataAddress: string;
  readonly grantAddress: string;
  readonly mapVersion: number;
  /** Highest term this node has accepted: a manager with a lower one is refused. */
  readonly term: number;
  /** Absent: 1, of executors that did not say it yet. */
  readonly protocol?: number;
  /** The oldest that it understands; absent: the same as `protocol`. */
  readonly oldestProtocol?: number;
}

export type DiskStatus = 'opening' | 'serving' | 'failed';

export interface DiskReport {
  readonly id: DiskId;
  readonly uuid: string;
  readonly status: DiskStatus;
  /** Why it failed; empty otherwise. */
  readonly error: string;
  /** What the store may use: the reservation's size, or the file system's when that is smaller. */
  readonly capacityBytes: number;
  /** Slots in use, times 4 MiB. */
  readonly usedBytes: number;
  readonly path: string;
  readonly extentCount: number;
  readonly dirtyExtentCount: number;
  readonly checksumErrorCount: number;
  /**
   * Grows when the store lost memory: the machine went down while acked writes were not on the disk. A
   * restart of the process alone changes nothing. Absent or 0: the store is not open.
   */
  readonly incarnation?: number;
  /** Of the device below the store, as its kernel describes it; absent: it does not say. */
  readonly tier?: 'nvme' | 'ssd' | 'hdd';
  /** The directory holds something that is not this disk's: it was left as it is. With status `failed`. */
  readonly foreign?: ForeignFinding;
}

export const FOREIGN_KINDS = [
  'other-cluster',
  'other-disk',
  'unknown-files',
  'unreadable',
  'other-version',
] as const;

/** What stands in the way of a disk of ours (executor/disk/disk-claim.ts). */
export interface ForeignFinding {
  readonly kind: (typeof FOREIGN_KINDS)[number];
  /** What was found, for people: a few file names, the id of the other cluster. */
  readonly found: string;
  /** Of `other-disk`: which disk of this cluster the store belongs to. */
  readonly disk?: number;
  readonly uuid?: string;
}

/** Longest `ForeignFinding.found`. */
export const FOREIGN_FOUND_MAX = 300;

/** Progress of one joining replica on this node. */
export interface JoinReport {
  readonly pg: PgId;
  readonly disk: DiskId;
  readonly epoch: number;
  /** Bytes that had to be copied, as far as known. */
  readonly totalBytes: number;
  readonly doneBytes: number;
  /** Everything is copied: the manager may promote. */
  readonly isComplete: boolean;
  /** Why it does not get on; empty while it does. */
  readonly error: string;
}

/** A member that a gateway on this node cannot reach or that refused a write. */
export interface MemberFailure {
  readonly pg: PgId;
  readonly epoch: number;
  readonly disk: DiskId;
  readonly reason: string;
  /** How long writes have been waiting for it. */
  readonly sinceMs: number;
}

export type AttachmentStatus = 'opening' | 'serving' | 'paused' | 'closing';

export interface AttachmentReport {
  readonly volume: VolumeId;
  readonly generation: number;
  readonly status: AttachmentStatus;
  /** Why it is not serving; empty while it is. */
  readonly reason: string;
  readonly socketPath: string;
  /** `nbd://host:port/name` */
  readonly tcpUri: string;
  readonly clientCount: number;
  /** Counters since the attachment began. */
  readonly readOps: number;
  readonly writeOps: number;
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly readMicros: number;
  readonly writeMicros: number;
}

/** Allocated bytes of a volume on one disk: the manager adds them up. */
export interface VolumeUsage {
  readonly volume: VolumeId;
  readonly disk: DiskId;
  readonly bytes: number;
}

/** Stored bytes of one PG on one disk, for balance by bytes and for estimates. */
export interface PgUsage {
  readonly pg: PgId;
  readonly disk: DiskId;
  readonly bytes: number;
}

/**
 * One finding of the data plane that shall become an event: a block repaired, a request that was held
 * too long. What lasts is a state and belongs into the other parts of the report; a notice says that
 * something happened.
 */
export interface Notice {
  /** Grows by one with every notice of one source (`NodeReport.noticeSource`), from 1. */
  readonly sequence: number;
  readonly severity: NoticeSeverity;
  /** Noun, dot, what happened: `block.repaired`, `block.lost`, `io.expired`, `extent.healed`. */
  readonly kind: string;
  readonly disk: DiskId | null;
  readonly pg: PgId | null;
  readonly volume: VolumeId | null;
  readonly extent: number | null;
  /** First block inside the extent, and how many; null and 0 when it is not about blocks. */
  readonly block: number | null;
  readonly blockCount: number;
  /** One sentence for a person that names all of the above. */
  readonly text: string;
  /** How long ago it happened. */
  readonly ageMs: number;
}

export type NoticeSeverity = 'info' | 'warning' | 'error';

/** Notices in one report, at most: those of the last seconds, even when a disk goes bad quickly. */
export const NOTICES_MAX = 64;

/** Blocks of a replica that are bad for longer than a repair takes; a range inside one extent. */
export interface BadBlocks {
  readonly disk: DiskId;
  readonly pg: PgId;
  readonly volume: VolumeId;
  readonly extent: number;
  readonly block: number;
  readonly blockCount: number;
  /** No in-sync replica has a good copy: reads of the range get EIO until it is written again. */
  readonly isLost: boolean;
}

/** Ranges in one report, at most. */
export const BAD_BLOCKS_MAX = 64;

/** Bytes that one class of background work has moved or read since the data process started. */
export interface BackgroundUsage {
  readonly kind: BackgroundClass;
  readonly bytes: number;
}

export const BACKGROUND_CLASSES = ['rebuild', 'rebalance', 'scrub', 'delete'] as const;
/** In the order of their urgency. */
export type BackgroundClass = (typeof BACKGROUND_CLASSES)[number];

/** What a node reports whose data plane says nothing (yet). */
export const EMPTY_REPORT: NodeReport = {
  mapVersion: 0,
  disks: [],
  joins: [],
  failures: [],
  attachments: [],
  volumeUsage: [],
  pgUsage: [],
  cpuSeconds: 0,
  memoryBytes: 0,
  noticeSource: '',
  notices: [],
  badBlocks: [],
  scrubs: [],
  background: [],
  grantAgeMs: 0,
};

export interface NodeReport {
  readonly mapVersion: number;
  readonly disks: readonly DiskReport[];
  readonly joins: readonly JoinReport[];
  readonly failures: readonly MemberFailure[];
  readonly attachments: readonly AttachmentReport[];
  readonly volumeUsage: readonly VolumeUsage[];
  /**
   * `volumeUsage` is about volumes with numbers from `volumeFrom` to below `volumeBelow` only: a node with many tells
   * of them in turns, the last part up to 2^32 - 1. Absent (or `volumeBelow` 0): about all.
   */
  readonly volumeFrom?: number;
  readonly volumeBelow?: number;
  readonly pgUsage: readonly PgUsage[];
  readonly cpuSeconds: number;
  readonly memoryBytes: number;
  /** Differs with every start of the data process, whose notices are counted anew; empty without one. */
  readonly noticeSource: string;
  /** The last ones, oldest first, at most `NOTICES_MAX`; each is reported many times. */
  readonly notices: readonly Notice[];
  /** While they last; at most `BAD_BLOCKS_MAX`. */
  readonly badBlocks: readonly BadBlocks[];
  /** One for each order that this node has begun, until the order is taken back. */
  readonly scrubs: readonly ScrubReport[];
  readonly background: readonly BackgroundUsage[];
  /**
   * How long ago this executor granted a peer a lease, or was started; 0 when that is not known, which
   * means: perhaps just now. The executor adds it, the data plane says 0.
   */
  readonly grantAgeMs: number;
  /** Version of the newest map that the open disks kept from an earlier run; absent: they kept none. */
  readonly keptMapVersion?: number;
}
