/**
 * Scrub, between manager and nodes: what a node is asked to scrub, whole and said again with every change,
 * and how far it is. The manager keeps the position, so that whoever starts anew goes on there.
 */
import type { DiskId, JobId, PgId, VolumeId } from '../base/ids.ts';

/** Scrub goes through the extents of a PG in the order of these. */
export interface ScrubPosition {
  readonly volume: number;
  readonly layer: number;
  readonly extent: number;
}

export interface ScrubOrder {
  readonly job: JobId;
  readonly pg: PgId;
  readonly disk: DiskId;
  /** Only this volume's extents; null for all. */
  readonly volume: VolumeId | null;
  /** The last extent that is done already; null: from the start. */
  readonly after: ScrubPosition | null;
}

/** Of one PG on one disk, until the order is taken back. Counters are since this node began with it. */
export interface ScrubReport {
  readonly job: JobId;
  readonly pg: PgId;
  readonly disk: DiskId;
  readonly isDone: boolean;
  readonly position: ScrubPosition | null;
  readonly totalExtents: number;
  readonly doneExtents: number;
  /** Were being written whenever they were looked at: read and checked, not compared. */
  readonly skippedExtents: number;
  readonly checkedBytes: number;
  /** Failed their checksum or could not be read. */
  readonly badBlocks: number;
  /** Differed from the other replicas although their checksums fit. */
  readonly differingBlocks: number;
  readonly healedExtents: number;
  /** Why it does not get on; empty while it does. */
  readonly error: string;
}

/** Orders of one node at a time, at most: one per disk, on the largest machines. */
export const SCRUB_ORDERS_MAX = 256;

/** What a scrub looks at: all that is named; everything when nothing is. */
export interface ScrubScope {
  readonly pool: string | null;
  readonly volume: VolumeId | null;
  readonly disk: DiskId | null;
}
