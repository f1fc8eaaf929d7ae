/**
 * The gateway of one attachment: a volume's I/O as one block device. It cuts requests into pieces,
 * lets overlapping ones take their turn (extent-table.ts), and hands them to the write and read
 * paths; it follows the map, the lease and the peers, and fails what has waited too long.
 *
 * While the lease is away, a PG is below its minimum or members are being replaced, requests wait.
 * A write that the client was refused for its age still goes on here, holding its blocks, until all
 * members have it: what a client has read once must not change back (DESIGN 4.7).
 */
import type { DiskId, PgId, VolumeId } from '../../shared/base/ids.ts';
import { BLOCK_BYTES, EXTENT_BYTES } from '../../shared/base/units.ts';
import { type MapVolume, pgOfExtent } from '../../shared/model/cluster-map.ts';
import type { AttachmentStatus, MemberFailure } from '../../shared/model/node-report.ts';
import type { Clock, Log, Timer } from '../../shared/ports.ts';
import type { DataFrame } from '../../shared/wire/data-protocol.ts';
import type { Lease } from '../lease.ts';
import type { MapIndex } from '../map-index.ts';
import type { Peer, PeerListener } from '../peer/peer.ts';
import type { PeerSet } from '../peer/peer-set.ts';
import { checksumsOf } from './block-checksums.ts';
import type { BlockDevice, BlockError, BlockRequest } from './block-device.ts';
import type { BufferPool } from './buffer-pool.ts';
import { Cleaner } from './cleaner.ts';
import { ExtentTable } from './extent-table.ts';
import { collectFailures } from './failure-report.ts';
import { Flusher } from './flusher.ts';
import { type LinkOwner, MemberLink } from './member-links.ts';
import { ClientOperation, Piece, type PieceKind, type PieceOwner } from './piece.ts';
import { copyOut, fillBuffer, mergeBlocks, statusesOf, takeBuffer } from './read-delivery.ts';
import { ReadPath, type ReadResult } from './read-path.ts';
import { splitRequest } from './request-splitter.ts';
import type { VolumeContext, VolumeCounters } from './volume-context.ts';
import { WritePath } from './write-path.ts';

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
  /** Something for the next report that should not wait. */
  readonly onUrgent: () => void;
}

/** Detection (lease and silence, about five seconds) and thirty for the manager and the others. */
export const REQUEST_DEADLINE_MS = 35_000;
/** What has to wait is looked at again so often, besides at every change. */
const PUMP_MS = 20;
/** Deadlines, slow replicas, failure reports. */
const SWEEP_MS = 100;
/** Failed writes that go on by themselves may hold so much; beyond, writes fail at once. */
const ABANDONED_BYTES_MAX = 64 * 1024 * 1024;

type Phase = 'opening' | 'serving' | 'closing' | 'fenced' | 'closed';

export class VolumeDevice
  implements BlockDevice, PieceOwner, VolumeContext, PeerListener, LinkOwner
{
  readonly sizeBytes: number;
  readonly isReadOnly = false;
  readonly volume: VolumeId;
  readonly generation: number;
  readonly layer: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly map: MapIndex;
  readonly counters: VolumeCounters = {
    readOps: 0,
    writeOps: 0,
    readBytes: 0,
    writeBytes: 0,
    readMicros: 0,
    writeMicros: 0,
    checksumErrors: 0,
    repairs: 0,
  };
  readonly #placement: MapVolume;
  readonly #options: VolumeDeviceOptions;
  readonly #modules: VolumeDeviceModules;
  readonly #table = new ExtentTable();
  readonly #writes: WritePath;
  readonly #reads: ReadPath;
  readonly #flusher: Flusher;
  readonly #cleaner: Cleaner;
  readonly #links = new Map<DiskId, MemberLink>();
  readonly #operations = new Set<ClientOperation>();
  /** Pieces that hold their blocks, issued or stuck. */
  readonly #active = new Set<Piece>();
  #stuck = new Set<Piece>();
  #phase: Phase = 'opening';
  #reason = 'Waiting for the replicas to accept the generation';
  #pumpTimer: Timer | null = null;
  #sweepTimer: Timer | null = null;
  #abandonedBytes = 0;
  /** Failures at the last sweep: one more is news. */
  #failureCount = 0;
  #onServing: (() => void) | null = null;
  readonly #stopListening: () => void;
  readonly #start = (piece: Piece): void => this.#startPiece(piece);

  constructor(options: VolumeDeviceOptions, modules: VolumeDeviceModules) {
    const { volume } = options;
    this.#options = options;
    this.#modules = modules;
    this.#placement = volume;
    this.sizeBytes = volume.sizeBytes;
    this.volume = volume.id;
    this.generation = volume.generation;
    this.layer = volume.layer;
    this.clock = modules.clock;
    this.log = modules.log;
    this.map = modules.map;
    this.#writes = new WritePath(this);
    this.#reads = new ReadPath(this, (piece, result) => this.#onRead(piece, result));
    this.#flusher = new Flusher(this, (operation) => this.#finishPart(operation, null));
    this.#cleaner = new Cleaner(this, this.#table);
    this.#stopListening = modules.peers.listen(this);
    this.#open();
    this.#armSweep();
  }

  get status(): AttachmentStatus {
    if (this.#phase === 'opening') return 'opening';
    if (this.#phase === 'closing' || this.#phase === 'closed') return 'closing';
    return this.mayIssue() ? 'serving' : 'paused';
  }

  get reason(): string {
    if (this.#phase === 'serving') {
      return this.mayIssue() ? '' : 'The node holds no lease';
    }
    return this.#reason;
  }

  /** Called once, when every in-sync replica has accepted the generation (maybe at once). */
  onServing(listener: () => void): void {
    if (this.#phase === 'serving') listener();
    else this.#onServing = listener;
  }

  submit(request: BlockRequest): void {
    const operation = new ClientOperation(request, this.clock.now());
    request.error = null;
    request.statuses = null;
    if (this.#phase !== 'opening' && this.#phase !== 'serving') {
      request.error = 'shutdown';
      request.onDone(request);
      return;
    }
    if (request.op === 'read') request.data = takeBuffer(this.#modules.pool, request.length);
    this.#operations.add(operation);
    if (request.op === 'flush') {
      this.#flusher.add(operation);
      if (this.#flusher.isBusy) this.#armPump();
      return;
    }
    if (request.op === 'write' && this.#abandonedBytes > ABANDONED_BYTES_MAX) {
      operation.error = 'io';
    } else splitRequest(request, (kind, at, length) => this.#addPiece(operation, kind, at, length));
    this.#finishPart(operation, null);
  }

  // ── What the parts ask (VolumeContext) ─────────────────────────────────────────────────────────

  linkOf(disk: DiskId): MemberLink {
    const known = this.#links.get(disk);
    if (known !== undefined) return known;
    const link = new MemberLink(disk, this, this.#modules.peers);
    this.#links.set(disk, link);
    link.open(this.clock.now());
    return link;
  }

  mayIssue(): boolean {
    return (
      (this.#phase === 'serving' || this.#phase === 'closing') &&
      this.#modules.lease.isHeld(this.clock.now())
    );
  }

  stick(piece: Piece): void {
    this.#stuck.add(piece);
    this.#armPump();
  }

  targetOf(piece: Piece): Buffer | null {
    const isWhole = piece.skip === 0 && piece.byteLength === piece.count * BLOCK_BYTES;
    const buffer = piece.operation.request?.data ?? null;
    if (piece.kind !== 'read' || !isWhole || buffer === null) return null;
    if (piece.byteLength === buffer.length) return buffer;
    return buffer.subarray(piece.bufferOffset, piece.bufferOffset + piece.byteLength);
  }

  retireBuffer(piece: Piece): void {
    piece.target = null;
    const request = piece.operation.request;
    if (request?.op === 'read' && request.data !== null) request.data = copyOut(request.data);
  }

  noteWritten(piece: Piece): void {
    this.#table.noteWritten(piece, piece.issuedMs);
    this.#flusher.noteWritten(piece.pg);
  }

  complete(piece: Piece, error: BlockError | null): void {
    piece.renew();
    this.#active.delete(piece);
    if (this.#stuck.size > 0) this.#stuck.delete(piece);
    const { operation } = piece;
    if (operation.request === null && piece.isExclusive) this.#abandonedBytes -= piece.byteLength;
    this.#table.release(piece, this.#start);
    if (piece.kind !== 'repair') this.#finishPart(operation, error);
  }

  fence(generation: number): void {
    if (this.#phase === 'fenced' || this.#phase === 'closed') return;
    this.#reason = `Fenced: generation ${generation} has been accepted, this one is ${this.generation}`;
    this.log('warn', 'This gateway was fenced', { volume: this.volume, generation });
    this.#stop('fenced');
    this.#modules.onUrgent();
  }

  // ── Events ─────────────────────────────────────────────────────────────────────────────────────

  onPieceReply(piece: Piece, frame: DataFrame, member: number): void {
    if (isReading(piece.kind)) this.#reads.onReply(piece, frame, member);
    else this.#writes.onReply(piece, frame, member);
  }

  onPieceLost(piece: Piece, member: number): void {
    if (isReading(piece.kind)) this.#reads.onLost(piece, member);
    else this.#writes.onLost(piece, member);
  }

  /** The map has changed: everything issued under an older epoch is issued anew. */
  onMap(): void {
    if (this.#phase === 'fenced' || this.#phase === 'closed') return;
    this.#checkOpened();
    for (const piece of [...this.#active]) {
      const view = this.map.pgs.get(piece.pg);
      if (view === undefined || view.epoch === piece.epoch || piece.kind === 'repair') continue;
      if (piece.isIssued) this.#issue(piece);
    }
    this.pump();
  }

  onPeerReady(peer: Peer): void {
    this.#openLinks(peer);
    this.pump();
  }

  /** Also what the lost server has acked is sent again, should it be a joining one that forgot it. */
  onPeerLost(peer: Peer): void {
    for (const piece of [...this.#active]) {
      if (!piece.isIssued || isReading(piece.kind) || piece.kind === 'repair') continue;
      piece.members.forEach((disk, member) => {
        if (this.linkOf(disk).peer !== peer) return;
        piece.pending |= 1 << member;
        piece.unsent |= 1 << member;
        this.stick(piece);
      });
    }
  }

  onOpened(): void {
    this.#checkOpened();
    this.pump();
  }

  onFenced(generation: number): void {
    this.fence(generation);
  }

  /** Tries everything that waits. */
  pump(): void {
    if (this.#phase === 'fenced' || this.#phase === 'closed') return;
    const now = this.clock.now();
    if (this.#phase === 'opening') {
      this.#openLinks(null);
      this.#checkOpened();
    }
    this.#flusher.pump();
    if (this.#stuck.size > 0) {
      const stuck = this.#stuck;
      this.#stuck = new Set();
      for (const piece of stuck) {
        if (!this.#active.has(piece)) continue;
        if (piece.retryMs > now) this.#stuck.add(piece);
        else this.#goOn(piece);
      }
    }
    this.#armPump();
  }

  failures(): readonly MemberFailure[] {
    return collectFailures(this, this.#active, this.#flusher.waits());
  }

  /** Refuses new requests, waits for those under way, flushes and says what is clean. */
  async close(deadlineMs: number): Promise<void> {
    if (this.#phase === 'serving') {
      this.#phase = 'closing';
      this.#reason = 'Detaching';
      await this.#drain(this.clock.now() + deadlineMs);
      if (this.mayIssue()) this.#cleaner.cleanAll();
    }
    this.#stop('closed');
  }

  // ── Pieces ─────────────────────────────────────────────────────────────────────────────────────

  #addPiece(operation: ClientOperation, kind: PieceKind, at: number, length: number): void {
    const request = operation.request;
    if (request === null) return;
    const extent = Math.floor(at / EXTENT_BYTES);
    const place = {
      pg: pgOfExtent(this.#placement, extent),
      extent,
      startByte: at - extent * EXTENT_BYTES,
    };
    const span = { bufferOffset: at - request.offset, byteLength: length };
    const piece = new Piece(this, operation, kind, place, span);
    piece.isDurable = request.isDurable;
    // Nothing below the first layer: what is absent there reads as zeros.
    piece.isUnmap = (request.op === 'trim' || request.mayUnmap) && this.layer === 0;
    operation.remaining += 1;
    this.#active.add(piece);
    if (this.#table.acquire(piece)) this.#startPiece(piece);
  }

  #startPiece(piece: Piece): void {
    const data = piece.operation.request?.data ?? null;
    if (piece.kind === 'write' && piece.data === null && data !== null) {
      const isWhole = piece.bufferOffset === 0 && piece.byteLength === data.length;
      piece.data = isWhole
        ? data
        : data.subarray(piece.bufferOffset, piece.bufferOffset + piece.byteLength);
      piece.checksums = checksumsOf(piece.data);
    }
    this.#issue(piece);
  }

  #issue(piece: Piece): void {
    if (isReading(piece.kind)) this.#reads.issue(piece);
    else this.#writes.issue(piece);
  }

  #goOn(piece: Piece): void {
    const isSending = piece.isIssued && !isReading(piece.kind);
    if (isSending && this.map.pgs.get(piece.pg)?.epoch === piece.epoch) {
      if (this.mayIssue()) this.#writes.sendUnsent(piece);
      else this.stick(piece);
    } else if (!piece.isIssued || isSending) this.#issue(piece);
  }

  #onRead(piece: Piece, result: ReadResult): void {
    const { operation } = piece;
    const request = operation.request;
    if (piece.kind === 'merge') {
      this.#goOnMerging(piece, result);
      return;
    }
    if (request === null) {
      this.complete(piece, null);
      return;
    }
    if (piece.kind === 'presence') {
      request.statuses = statusesOf(request.statuses ?? [], piece, result.data);
    } else if (request.data !== null) fillBuffer(request.data, piece, result);
    if (piece.bad.length === 0 || result.data === null || result.checksums === null) {
      this.complete(piece, null);
      return;
    }
    const { bad, badFirst, badLast } = piece;
    piece.data = copyOut(result.data.subarray(badFirst * BLOCK_BYTES, (badLast + 1) * BLOCK_BYTES));
    piece.checksums = copyOut(result.checksums.subarray(badFirst * 4, (badLast + 1) * 4));
    piece.block += badFirst;
    piece.count = badLast - badFirst + 1;
    piece.kind = 'repair';
    this.#finishPart(operation, null);
    this.#writes.issueRepair(piece, bad);
  }

  #goOnMerging(piece: Piece, result: ReadResult): void {
    const merged = mergeBlocks(piece, result, piece.operation.request);
    if (merged === null) {
      // The client gave up before anything was written.
      this.complete(piece, null);
      return;
    }
    piece.data = merged;
    piece.checksums = checksumsOf(merged);
    piece.kind = 'write';
    this.#writes.issue(piece);
  }

  /** One part of the operation is done; the last one answers the client. */
  #finishPart(operation: ClientOperation, error: BlockError | null): void {
    if (error !== null) operation.error ??= error;
    operation.remaining -= 1;
    if (operation.remaining > 0) return;
    const request = operation.request;
    if (request === null) return;
    this.#operations.delete(operation);
    operation.request = null;
    this.#count(request, operation.startedMs);
    request.error = operation.error;
    if (operation.error !== null && request.op === 'read') request.data = null;
    request.onDone(request);
  }

  #count(request: BlockRequest, startedMs: number): void {
    const { counters } = this;
    if (request.op === 'read') {
      counters.readOps += 1;
      counters.readBytes += request.length;
      counters.readMicros += (this.clock.now() - startedMs) * 1000;
    } else if (request.op === 'write') {
      counters.writeOps += 1;
      counters.writeBytes += request.length;
      counters.writeMicros += (this.clock.now() - startedMs) * 1000;
    }
  }

  // ── Opening, time, the end ─────────────────────────────────────────────────────────────────────

  #open(): void {
    for (const disk of this.#disksOf('members')) this.linkOf(disk);
    this.#checkOpened();
    this.#armPump();
  }

  #disksOf(kind: 'members' | 'inSync'): Set<DiskId> {
    const { pgBase, pgCount } = this.#placement;
    const disks = new Set<DiskId>();
    for (let pg = pgBase; pg < pgBase + pgCount; pg += 1) {
      for (const disk of this.map.pgs.get(pg as PgId)?.[kind] ?? []) disks.add(disk);
    }
    return disks;
  }

  #openLinks(peer: Peer | null): void {
    const now = this.clock.now();
    for (const link of this.#links.values()) {
      if (!link.isOpen && (peer === null || link.peer === peer)) link.open(now);
    }
  }

  #checkOpened(): void {
    if (this.#phase !== 'opening') return;
    const disks = this.#disksOf('inSync');
    for (const disk of disks) if (!this.linkOf(disk).isOpen) return;
    if (disks.size === 0) return;
    this.#phase = 'serving';
    this.log('info', 'The volume is being served', {
      volume: this.volume,
      generation: this.generation,
    });
    this.#onServing?.();
    this.#onServing = null;
    this.#modules.onUrgent();
    this.pump();
  }

  #armPump(): void {
    if (this.#pumpTimer !== null || this.#phase === 'fenced' || this.#phase === 'closed') return;
    const isWaiting = this.#stuck.size > 0 || this.#flusher.isBusy || this.#phase === 'opening';
    if (!isWaiting) return;
    this.#pumpTimer = this.clock.after(PUMP_MS, () => {
      this.#pumpTimer = null;
      this.#openLinks(null);
      this.pump();
    });
  }

  #armSweep(): void {
    this.#sweepTimer = this.clock.after(SWEEP_MS, () => {
      this.#sweep();
      if (this.#phase !== 'fenced' && this.#phase !== 'closed') this.#armSweep();
    });
  }

  #sweep(): void {
    const now = this.clock.now();
    // In the order of their start: the first young one ends the search.
    for (const operation of this.#operations) {
      if (now - operation.startedMs < this.#options.requestDeadlineMs) break;
      this.#expire(operation);
    }
    for (const piece of this.#active) {
      if (isReading(piece.kind)) this.#reads.hedge(piece, now);
    }
    const isWaiting = this.#active.size > 0 || this.#flusher.isBusy;
    const failureCount = isWaiting ? this.failures().length : 0;
    if (failureCount > this.#failureCount) this.#modules.onUrgent();
    this.#failureCount = failureCount;
    if (this.#phase === 'serving') this.#cleaner.sweep(now);
  }

  /** The client hears `io`. Writes that are out already keep their blocks until they are everywhere. */
  #expire(operation: ClientOperation): void {
    const request = operation.request;
    if (request === null) return;
    this.log('error', 'A request has waited too long and failed', {
      volume: this.volume,
      op: request.op,
      offset: request.offset,
      length: request.length,
    });
    const left = [...this.#active].filter((piece) => piece.operation === operation);
    this.#operations.delete(operation);
    operation.request = null;
    for (const piece of left) {
      const wasSent = piece.epoch !== 0 && (piece.kind === 'write' || piece.kind === 'zero');
      if (piece.isExclusive) this.#abandonedBytes += piece.byteLength;
      if (!wasSent) this.complete(piece, null);
      else if (piece.data !== null) piece.data = copyOut(piece.data);
    }
    // Somebody may still be writing into it.
    if (request.op === 'read') request.data = null;
    request.error = 'io';
    request.onDone(request);
  }

  async #drain(untilMs: number): Promise<void> {
    while (this.#operations.size > 0 && this.clock.now() < untilMs && this.#phase === 'closing') {
      await this.#pause();
    }
    if (this.#phase !== 'closing' || !this.mayIssue()) return;
    let isFlushed = false;
    const request: BlockRequest = {
      op: 'flush',
      offset: 0,
      length: 0,
      isDurable: false,
      mayUnmap: false,
      data: null,
      statuses: null,
      error: null,
      onDone: () => {
        isFlushed = true;
      },
    };
    const operation = new ClientOperation(request, this.clock.now());
    this.#operations.add(operation);
    this.#flusher.add(operation);
    this.#armPump();
    while (!isFlushed && this.clock.now() < untilMs && this.#phase === 'closing') {
      await this.#pause();
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.clock.after(PUMP_MS, resolve);
    });
  }

  #stop(phase: 'fenced' | 'closed'): void {
    if (this.#phase === 'closed') return;
    this.#phase = phase;
    this.#stopListening();
    this.#pumpTimer?.cancel();
    this.#sweepTimer?.cancel();
    for (const piece of this.#active) piece.renew();
    this.#active.clear();
    this.#stuck.clear();
    const operations = [...this.#operations];
    this.#operations.clear();
    for (const operation of operations) {
      const request = operation.request;
      operation.request = null;
      if (request === null) continue;
      if (request.op === 'read') request.data = null;
      request.error = 'shutdown';
      request.onDone(request);
    }
  }
}

function isReading(kind: PieceKind): boolean {
  return kind === 'read' || kind === 'merge' || kind === 'presence';
}
