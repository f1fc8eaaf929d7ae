/**
 * Background work of one node: how much of each kind each disk may do. Classes in the order of their
 * urgency: `rebuild` (lost redundancy), `rebalance`, `scrub`, `delete`. Each has a share of what the disk may
 * spend on all of them; while a more urgent one is at work on the disk, the others keep a tenth of
 * theirs, so that nothing stands still. Load of clients pushes all of them back, down to a floor.
 */
import type { DiskId } from '../../shared/base/ids.ts';
import {
  BACKGROUND_CLASSES,
  type BackgroundClass,
  type BackgroundUsage,
} from '../../shared/model/node-report.ts';
import type { Clock } from '../../shared/ports.ts';
import { TokenBucket } from './token-bucket.ts';

export interface BackgroundModules {
  readonly clock: Clock;
  /** Requests of gateways that this node's replicas have served so far. */
  requests(): number;
  /** Of the gateways on this node, so far: finished requests of clients, and what they took. */
  latency(): Latency;
}

export interface Latency {
  readonly operations: number;
  readonly micros: number;
}

/** Parts of the disk's limit. Together more than one: they are rarely all at work. */
const SHARES: Readonly<Record<BackgroundClass, number>> = {
  rebuild: 1,
  rebalance: 1,
  scrub: 0.25,
  delete: 0.25,
};
/** Of its share, for a class that gives way to a more urgent one. */
const YIELDED_RATIO = 0.1;
/** A class that asked for something this recently is at work. */
const ACTIVE_MS = 1_000;
/** How often shares are looked at again. */
const ADJUST_MS = 200;
/** Clients are being held up: a request takes this long on average. A healthy disk takes a tenth of it. */
const SLOW_MS = 20;
/** However busy the clients are, so much of the limit stays: a rebuild must come to an end. */
const PRESSURE_MIN = 0.1;
/** Each look halves the rate while clients are slow, and gives back a fifth while they are not. */
const BACK_OFF = 0.5;
const RECOVER = 1.2;
/** While clients are being served, each piece of work makes room for them first. */
const YIELD_MS = 2;

/** 32 MiB of payload a second, or more: see DELETE_RATIO in resync.ts. */
const DELETE_BYTES_MIN = 512 * 1024;

interface Lane {
  readonly bucket: TokenBucket;
  lastAskedMs: number;
  bytes: number;
}

export class Background {
  readonly #modules: BackgroundModules;
  readonly #lanes = new Map<DiskId, Readonly<Record<BackgroundClass, Lane>>>();
  #bytesPerSecond: number;
  #pressure = 1;
  #seen: Latency = { operations: 0, micros: 0 };
  #requestsSeen = 0;
  #adjustedMs = Number.NEGATIVE_INFINITY;

  constructor(modules: BackgroundModules, bytesPerSecond: number) {
    this.#modules = modules;
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Of each disk, for all classes; 0 stops all of them. */
  setLimit(bytesPerSecond: number): void {
    this.#bytesPerSecond = bytesPerSecond;
    this.#adjust(true);
  }

  /** 1 while clients are not held up, down to `PRESSURE_MIN`. */
  get pressure(): number {
    return this.#pressure;
  }

  async allow(disk: DiskId, kind: BackgroundClass, bytes: number): Promise<void> {
    const { clock } = this.#modules;
    const lane = this.#lanesOf(disk)[kind];
    lane.lastAskedMs = clock.now();
    lane.bytes += bytes;
    this.#adjust(false);
    const requests = this.#modules.requests();
    if (requests !== this.#requestsSeen) {
      this.#requestsSeen = requests;
      await new Promise<void>((resolve) => {
        clock.after(YIELD_MS, resolve);
      });
    }
    await new Promise<void>((resolve) => {
      lane.bucket.take(bytes, () => {
        lane.lastAskedMs = clock.now();
        resolve();
      });
    });
  }

  /** Bytes per class since the start, of all disks together. */
  usage(): readonly BackgroundUsage[] {
    return BACKGROUND_CLASSES.map((kind) => {
      let bytes = 0;
      for (const lanes of this.#lanes.values()) bytes += lanes[kind].bytes;
      return { kind, bytes };
    });
  }

  #lanesOf(disk: DiskId): Readonly<Record<BackgroundClass, Lane>> {
    const known = this.#lanes.get(disk);
    if (known !== undefined) return known;
    const lane = (kind: BackgroundClass): Lane => ({
      bucket: new TokenBucket(
        this.#modules.clock,
        Math.max(this.#bytesPerSecond * SHARES[kind], floorOf(kind)),
      ),
      lastAskedMs: Number.NEGATIVE_INFINITY,
      bytes: 0,
    });
    const lanes = {
      rebuild: lane('rebuild'),
      rebalance: lane('rebalance'),
      scrub: lane('scrub'),
      delete: lane('delete'),
    };
    this.#lanes.set(disk, lanes);
    return lanes;
  }

  #adjust(isForced: boolean): void {
    const nowMs = this.#modules.clock.now();
    if (!isForced && nowMs - this.#adjustedMs < ADJUST_MS) return;
    this.#adjustedMs = nowMs;
    this.#measure();
    for (const lanes of this.#lanes.values()) this.#adjustDisk(lanes, nowMs);
  }

  #measure(): void {
    const now = this.#modules.latency();
    const operations = now.operations - this.#seen.operations;
    const micros = now.micros - this.#seen.micros;
    this.#seen = now;
    const isSlow = operations > 0 && micros / operations > SLOW_MS * 1000;
    const next = this.#pressure * (isSlow ? BACK_OFF : RECOVER);
    this.#pressure = Math.min(1, Math.max(PRESSURE_MIN, next));
  }

  #adjustDisk(lanes: Readonly<Record<BackgroundClass, Lane>>, nowMs: number): void {
    let isTaken = false;
    for (const kind of BACKGROUND_CLASSES) {
      const lane = lanes[kind];
      const ratio = SHARES[kind] * this.#pressure * (isTaken ? YIELDED_RATIO : 1);
      lane.bucket.setLimit(Math.max(this.#bytesPerSecond * ratio, floorOf(kind)));
      if (lane.bucket.waitingCount > 0 || nowMs - lane.lastAskedMs < ACTIVE_MS) isTaken = true;
    }
  }
}

/** Whoever stops all copying wants no space to be kept that nobody uses. */
function floorOf(kind: BackgroundClass): number {
  return kind === 'delete' ? DELETE_BYTES_MIN : 0;
}
