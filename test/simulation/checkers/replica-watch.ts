/**
 * Looks at every request that reaches a replica server and at every answer that leaves it, and holds
 * them against what is durable and who has a lease. Knows the data protocol and nothing of the code
 * behind it. Invariants I2 to I5 of docs/invariants.md.
 *
 * An answer is judged by what was known when its request *arrived*: one that was under way when an epoch
 * or generation changed may still be answered.
 */
import { BLOCKS_PER_EXTENT } from '../../../shared/base/units.ts';
import { LOCAL_PREFIX } from '../../../shared/node/local-network.ts';
import type { Clock } from '../../../shared/ports.ts';
import { type DataFrame, FLAG, nameOf, OP, STATUS } from '../../../shared/wire/data-protocol.ts';
import { decodeAddresses } from '../../../shared/wire/resync-bodies.ts';
import type { BudgetWatch } from './budget-watch.ts';
import type { DurableFacts } from './durable-facts.ts';
import type { LeaseBook } from './lease-book.ts';
import type { ServerObserver } from './observed-ports.ts';

export interface ReplicaWatchModules {
  readonly clock: Clock;
  readonly facts: DurableFacts;
  readonly leases: LeaseBook;
  readonly pulls: BudgetWatch;
  readonly onViolation: (what: string) => void;
}

/** What was known when a request arrived. */
interface Arrival {
  readonly op: number;
  readonly disk: number;
  readonly atMs: number;
  readonly tick: number;
  readonly isDurable: boolean;
  /** Newest epoch that the disk had answered under; generation that it had accepted. */
  readonly epoch: number;
  readonly generation: number;
}

/** An acked write that its disk had not been asked to make durable. */
interface Unsynced {
  readonly volume: number;
  readonly disk: number;
  readonly pg: number;
  readonly extent: number;
  readonly block: number;
  readonly count: number;
  readonly epoch: number;
  readonly tick: number;
}

/** A client's flush, and what it has to make durable. */
export interface FlushMark {
  readonly volume: number;
  readonly unsynced: readonly Unsynced[];
}

const CLIENT_OPS: ReadonlySet<number> = new Set([OP.read, OP.presence, OP.write, OP.zero]);
const WRITE_OPS: ReadonlySet<number> = new Set([OP.write, OP.zero]);
const PG_OPS: ReadonlySet<number> = new Set([...CLIENT_OPS, OP.list, OP.meta, OP.pull]);

export class ReplicaWatch {
  readonly #modules: ReplicaWatchModules;
  /** By `disk/pg` and `disk/volume`. */
  readonly #epochs = new Map<string, number>();
  readonly #generations = new Map<string, number>();
  readonly #serving = new Set<string>();
  /** Per connection, with the host of its server. */
  readonly #open = new Map<Map<number, Arrival>, string>();
  /** By `disk/volume/extent`: when its gateway last said that it is the same everywhere. */
  readonly #cleaned = new Map<string, number>();
  /** By disk: a flush that arrived at this tick was acked. */
  readonly #flushed = new Map<number, number>();
  /** By `volume/extent`: what disks have acked and not synced since; and what clients know of. */
  readonly #written = new Map<string, Unsynced[]>();
  readonly #acked = new Set<Unsynced>();
  #tick = 0;

  constructor(modules: ReplicaWatchModules) {
    this.#modules = modules;
  }

  observe(host: string, peer: string): ServerObserver {
    const arrivals = new Map<number, Arrival>();
    this.#open.set(arrivals, host);
    // Inside one host the peer has no name of its own.
    const asker = peer.includes(':') && !peer.startsWith(LOCAL_PREFIX) ? peer.split(':')[0] : host;
    return {
      onRequest: (frame) => this.#onRequest(arrivals, frame),
      onReply: (frame) => {
        this.#onReply(host, arrivals, frame);
        if (frame.op === OP.pull)
          this.#modules.pulls.onPulled(asker ?? host, frame.data?.length ?? 0);
      },
      onClose: () => this.#open.delete(arrivals),
    };
  }

  /** The data process of the host is gone, and with it what it had not answered. */
  onCrash(host: string): void {
    for (const [arrivals, server] of [...this.#open]) {
      if (server === host) this.#open.delete(arrivals);
    }
  }

  /**
   * A request without an answer for so long, on a connection that stands (I12); empty when there is none.
   * `ableSinceMs`: since when the host can answer for the disk, after a stop; Infinity while it cannot.
   */
  findStuck(ageMs: number, ableSinceMs: (host: string, disk: number) => number): string {
    const nowMs = this.#modules.clock.now();
    for (const [arrivals, host] of this.#open) {
      for (const { op, disk, atMs } of arrivals.values()) {
        const sinceMs = ableSinceMs(host, disk);
        const waitedMs = Math.round(nowMs - Math.max(atMs, sinceMs));
        if (waitedMs > ageMs)
          return `I12: a ${nameOf(OP, op)} for d${disk} at ${host} waits for ${waitedMs} ms`;
      }
    }
    return '';
  }

  // ── What clients hear (I2) ───────────────────────────────────────────────────────────────────

  /** `first` and `end`: blocks of the volume that it changed; none when a trim only touched some. */
  onWriteAcked(volume: number, first: number, end: number): void {
    if (first >= end) return;
    for (let extent = Math.floor(first / BLOCKS_PER_EXTENT); ; extent += 1) {
      const base = extent * BLOCKS_PER_EXTENT;
      if (base >= end) return;
      for (const write of this.#written.get(`${volume}/${extent}`) ?? []) {
        const isInside = base + write.block < end && base + write.block + write.count > first;
        if (isInside) this.#acked.add(write);
      }
    }
  }

  /** Power is lost everywhere: what a disk still has then is on it, and the rest is nobody's to sync. */
  onBlackout(): void {
    this.#written.clear();
    this.#acked.clear();
  }

  beginFlush(volume: number): FlushMark {
    const unsynced: Unsynced[] = [];
    for (const write of this.#acked) {
      if (this.#isFlushed(write)) this.#acked.delete(write);
      else if (write.volume === volume && this.#isInSync(write)) unsynced.push(write);
    }
    for (const [extent, writes] of this.#written) {
      const left = writes.filter((write) => !this.#isFlushed(write));
      if (left.length === 0) this.#written.delete(extent);
      else this.#written.set(extent, left);
    }
    return { volume, unsynced };
  }

  endFlush({ volume, unsynced }: FlushMark): void {
    for (const write of unsynced) {
      if (this.#isFlushed(write) || !this.#isInSync(write)) continue;
      const { disk, pg } = write;
      this.#violation('I2', `a flush of v${volume} was acked, but d${disk} has not synced pg${pg}`);
    }
  }

  /** Or cleaned: its disk syncs an extent before it forgets that it is dirty, and later gateways rely on that. */
  #isFlushed({ disk, volume, extent, tick }: Unsynced): boolean {
    if ((this.#flushed.get(disk) ?? 0) >= tick) return true;
    return (this.#cleaned.get(`${disk}/${volume}/${extent}`) ?? 0) >= tick;
  }

  /** Since before the write: who has joined again has copied it, and synced what it copied. */
  #isInSync({ disk, pg, epoch }: Unsynced): boolean {
    const { facts } = this.#modules;
    const inSync: readonly number[] = facts.pgs.get(pg)?.inSync ?? [];
    return inSync.includes(disk) && epoch >= facts.memberSince(disk, pg);
  }

  // ── Frames ───────────────────────────────────────────────────────────────────────────────────

  #onRequest(arrivals: Map<number, Arrival>, frame: DataFrame): void {
    if (frame.op === OP.hello || frame.op === OP.ping) return;
    this.#tick += 1;
    if (frame.op === OP.clean) {
      for (const { volume, extent } of decodeAddresses(frame.data) ?? []) {
        this.#cleaned.set(`${frame.disk}/${volume}/${extent}`, this.#tick);
      }
    }
    arrivals.set(frame.requestId, {
      op: frame.op,
      disk: frame.disk,
      atMs: this.#modules.clock.now(),
      tick: this.#tick,
      isDurable: (frame.flags & FLAG.durable) !== 0,
      epoch: this.#epochs.get(`${frame.disk}/${frame.pg}`) ?? 0,
      generation: this.#generations.get(`${frame.disk}/${frame.volume}`) ?? 0,
    });
  }

  #onReply(host: string, arrivals: Map<number, Arrival>, frame: DataFrame): void {
    const arrival = arrivals.get(frame.requestId);
    if (arrival === undefined) return;
    arrivals.delete(frame.requestId);
    if (frame.status !== STATUS.ok) return;
    const { leases } = this.#modules;
    if (!leases.isHeld(host, arrival.atMs)) {
      const lateMs = Math.round(arrival.atMs - leases.endOf(host));
      this.#violation('I4', `${describe(frame)} on ${host}, whose lease ended ${lateMs} ms before`);
    }
    if (frame.op === OP.flush || arrival.isDurable) {
      this.#flushed.set(frame.disk, Math.max(arrival.tick, this.#flushed.get(frame.disk) ?? 0));
    } else if (WRITE_OPS.has(frame.op)) {
      this.#noteWritten(arrival, frame);
    }
    if (frame.op === OP.open) this.#accept(frame);
    if (PG_OPS.has(frame.op)) this.#checkEpoch(arrival, frame);
    if (CLIENT_OPS.has(frame.op)) this.#checkGeneration(arrival, frame);
  }

  #noteWritten({ tick }: Arrival, frame: DataFrame): void {
    const { volume, extent, disk, pg, block, count, epoch } = frame;
    const key = `${volume}/${extent}`;
    const writes = this.#written.get(key) ?? [];
    this.#written.set(key, writes);
    writes.push({ volume, disk, pg, extent, block, count, epoch, tick });
  }

  #accept(frame: DataFrame): void {
    const key = `${frame.disk}/${frame.volume}`;
    const before = this.#generations.get(key) ?? 0;
    this.#generations.set(key, Math.max(before, frame.generation));
  }

  #checkEpoch(arrival: Arrival, frame: DataFrame): void {
    const { facts } = this.#modules;
    const { disk, pg, epoch, op } = frame;
    const key = `${disk}/${pg}`;
    if (epoch < arrival.epoch) {
      this.#violation('I5', `${describe(frame)}, after it had answered under ${arrival.epoch}`);
    }
    this.#epochs.set(key, Math.max(epoch, this.#epochs.get(key) ?? 0));
    const record = facts.find(pg, epoch);
    if (record === undefined) {
      this.#violation('I5', `${describe(frame)}, an epoch that is not durable`);
      return;
    }
    const allowed: readonly number[] = WRITE_OPS.has(op)
      ? [...record.inSync, ...record.joining]
      : record.inSync;
    if (!allowed.includes(disk)) {
      this.#violation('I4', `${describe(frame)}, in which it is not in sync`);
    }
    const shutOut = facts.findShutOut(disk, pg);
    if (shutOut !== undefined && epoch < shutOut.epoch && arrival.atMs > shutOut.atMs) {
      this.#violation('I4', `${describe(frame)}, after it was shut out in e${shutOut.epoch}`);
    }
  }

  #checkGeneration(arrival: Arrival, frame: DataFrame): void {
    const { volume, generation } = frame;
    if (generation < arrival.generation) {
      this.#violation('I3', `${describe(frame)}, after it had accepted ${arrival.generation}`);
    }
    const key = `${volume}/${generation}`;
    if (this.#serving.has(key)) return;
    this.#serving.add(key);
    for (const disk of this.#modules.facts.holdersSince(volume, generation)) {
      if ((this.#generations.get(`${disk}/${volume}`) ?? 0) >= generation) continue;
      this.#violation('I3', `${describe(frame)} before d${disk} had accepted that generation`);
    }
  }

  #violation(invariant: string, what: string): void {
    this.#modules.onViolation(`${invariant}: ${what}`);
  }
}

function describe(frame: DataFrame): string {
  const { disk, pg, epoch, volume, generation } = frame;
  return `d${disk} answered a ${nameOf(OP, frame.op)} of v${volume} g${generation} in pg${pg} e${epoch}`;
}
