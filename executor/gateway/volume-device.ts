/**
 * The gateway of one attachment: a volume's I/O as one block device. It cuts requests into pieces,
 * lets overlapping ones take their turn (extent-table.ts), and hands them to the write and read
 * paths; it follows the map, the lease and the peers, and fails what has waited too long.
 *
 * While the lease is away, a PG is below its minimum or members are being replaced, requests wait.
 * A write that the client was refused for its age still goes on here, holding its blocks, until all
 * members have it: what a client has read once must not change back (DESIGN 4.7).
 */
import { type DiskId, formatDisk, type PgId, type VolumeId } from '../../shared/base/ids.ts';
import { EXTENT_BYTES } from '../../shared/base/units.ts';
import { type MapVolume, pgOfExtent } from '../../shared/model/cluster-map.ts';
import type { AttachmentStatus, MemberFailure } from '../../shared/model/node-report.ts';
import type { Clock, Log, Timer } from '../../shared/ports.ts';
import type { DataFrame } from '../../shared/wire/data-protocol.ts';
import type { MapIndex } from '../map-index.ts';
import type { Peer, PeerListener } from '../peer/peer.ts';
import { AllocationGate } from './allocation-gate.ts';
import { checksumsOf } from './block-checksums.ts';
import type { BlockDevice, BlockError, BlockRequest } from './block-device.ts';
import { Cleaner } from './cleaner.ts';
import { ClientOperations } from './client-operations.ts';
import { flushRequest, waitUntil } from './drain.ts';
import { ExtentTable } from './extent-table.ts';
import { collectFailures } from './failure-report.ts';
import { Flusher } from './flusher.ts';
import { LinkTable } from './link-table.ts';
import type { LinkOwner, MemberLink } from './member-links.ts';
import { type ClientOperation, Piece, type PieceKind, type PieceOwner } from './piece.ts';
import {
  fillBuffer,
  mergeBlocks,
  type ReadResult,
  statusesOf,
  takeBuffer,
} from './read-delivery.ts';
import { ReadPath } from './read-path.ts';
import { Reconciler, type ReconcilerListener } from './reconciler.ts';
import { RequestExpiry } from './request-expiry.ts';
import { splitRequest } from './request-splitter.ts';
import { newCounters, type VolumeContext } from './volume-context.ts';
import type { VolumeDeviceModules, VolumeDeviceOptions } from './volume-options.ts';
import { WritePath } from './write-path.ts';

/** What has to wait is looked at again so often, besides at every change. */
const PUMP_MS = 20;
/** Deadlines, slow replicas, failure reports. */
const SWEEP_MS = 100;

type Phase = 'opening' | 'comparing' | 'serving' | 'closing' | 'fenced' | 'closed';

export class VolumeDevice
  implements BlockDevice, PieceOwner, VolumeContext, PeerListener, LinkOwner, ReconcilerListener
{
  readonly isReadOnly = false;
  readonly volume: VolumeId;
  readonly generation: number;
  readonly layer: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly notify: VolumeContext['notify'];
  readonly map: MapIndex;
  readonly counters = newCounters();
  readonly #placement: MapVolume;
  readonly #options: VolumeDeviceOptions;
  readonly #modules: VolumeDeviceModules;
  readonly #table = new ExtentTable();
  readonly #writes: WritePath;
  readonly #reads: ReadPath;
  readonly #flusher: Flusher;
  readonly #cleaner: Cleaner;
  readonly #reconciler: Reconciler;
  readonly #gate = new AllocationGate(this);
  readonly #links: LinkTable;
  readonly #operations: ClientOperations;
  readonly #expiry: RequestExpiry;
  /** Pieces that hold their blocks, issued or stuck. */
  readonly #active = new Set<Piece>();
  #stuck = new Set<Piece>();
  #phase: Phase = 'opening';
  #reason = 'Waiting for the replicas to accept the generation';
  #pumpTimer: Timer | null = null;
  #sweepTimer: Timer | null = null;
  /** Failures at the last sweep: one more is news. */
  #failureCount = 0;
  #onServing: (() => void) | null = null;
  readonly #stopListening: () => void;
  /** Until the first flush nothing says that the client flushes: then every write is durable at once. */
  #hasFlushed = false;
  #isWriteThrough = true;
  readonly #start = (piece: Piece): void => this.#startPiece(piece);

  constructor(options: VolumeDeviceOptions, modules: VolumeDeviceModules) {
    const { volume } = options;
    this.#options = options;
    this.#modules = modules;
    this.#placement = volume;
    this.volume = volume.id;
    this.generation = volume.generation;
    this.layer = volume.layer;
    this.clock = modules.clock;
    this.log = modules.log;
    this.notify = modules.notify;
    this.map = modules.map;
    this.#operations = new ClientOperations(modules.clock, this.counters);
    this.#expiry = new RequestExpiry(this, this.#operations, this.#active);
    this.#links = new LinkTable(volume, modules.map, modules.peers, this);
    this.#writes = new WritePath(this);
    this.#reads = new ReadPath(this, (piece, result) => this.#onRead(piece, result));
    this.#flusher = new Flusher(this, (operation, error) =>
      this.#operations.finishPart(operation, error),
    );
    this.#cleaner = new Cleaner(this, this.#table);
    this.#reconciler = new Reconciler(this, volume, this);
    this.#stopListening = modules.peers.listen(this);
    this.#open();
    this.#armSweep();
  }

  /** The map's newest word: volumes grow while they are attached. */
  get sizeBytes(): number {
    return this.#record.sizeBytes;
  }

  get status(): AttachmentStatus {
    if (this.#isOpening) return 'opening';
    if (this.#phase === 'closing' || this.#phase === 'closed') return 'closing';
    return this.mayIssue() ? 'serving' : 'paused';
  }

  get #record(): MapVolume {
    return this.map.volumes.get(this.volume) ?? this.#placement;
  }

  get #isOpening(): boolean {
    return this.#phase === 'opening' || this.#phase === 'comparing';
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
    request.error = null;
    request.statuses = null;
    if (!this.#isOpening && this.#phase !== 'serving') {
      request.error = 'shutdown';
      request.onDone(request);
      return;
    }
    if (request.op === 'read') request.data = takeBuffer(this.#modules.pool, request.length);
    const operation = this.#operations.begin(request);
    if (request.op === 'flush') {
      this.#hasFlushed = true;
      this.#followDurability();
      this.#flusher.add(operation);
      if (this.#flusher.isBusy) this.#armPump();
      return;
    }
    if (request.op === 'write' && this.#expiry.isOverloaded) operation.error = 'io';
    else splitRequest(request, (kind, at, length) => this.#addPiece(operation, kind, at, length));
    this.#operations.finishPart(operation, null);
  }

  linkOf(disk: DiskId): MemberLink {
    return this.#links.find(disk) ?? this.#links.get(disk, this.clock.now());
  }

  mayIssue(): boolean {
    return (
      (this.#phase === 'serving' || this.#phase === 'closing') &&
      this.#modules.lease.isHeld(this.clock.now())
    );
  }

  mayReconcile(): boolean {
    return this.mayIssue() || (this.#isOpening && this.#modules.lease.isHeld(this.clock.now()));
  }

  stick(piece: Piece): void {
    this.#stuck.add(piece);
    this.#armPump();
  }

  noteWritten(piece: Piece): void {
    this.#table.noteWritten(piece, piece.issuedMs);
    // A durable write is on all disks already.
    if (!piece.isDurable) this.#flusher.noteWritten(piece.pg, piece.epoch, piece.members);
  }

  isHeld(extent: number, pg: PgId): boolean {
    return this.#reconciler.isHeld(extent, pg);
  }

  isActive(piece: Piece): boolean {
    return this.#active.has(piece);
  }

  complete(piece: Piece, error: BlockError | null): void {
    piece.renew();
    this.#active.delete(piece);
    if (this.#stuck.size > 0) this.#stuck.delete(piece);
    const { operation } = piece;
    this.#expiry.release(piece);
    this.#table.release(piece, this.#start);
    this.#operations.finishPart(operation, error);
  }

  fence(generation: number): void {
    if (this.#phase === 'fenced' || this.#phase === 'closed') return;
    this.#reason = `Fenced: generation ${generation} has been accepted, this one is ${this.generation}`;
    this.log('warn', 'This gateway was fenced', { volume: this.volume, generation });
    this.#stop('fenced');
    this.#modules.onUrgent();
  }

  onPieceReply(piece: Piece, frame: DataFrame, member: number): void {
    if (piece.isReading) this.#reads.onReply(piece, frame, member);
    else this.#writes.onReply(piece, frame, member);
  }

  onPieceLost(piece: Piece, member: number): void {
    if (piece.isReading) this.#reads.onLost(piece, member);
    else this.#writes.onLost(piece, member);
  }

  /** The map has changed: everything issued under an older epoch is issued anew. */
  onMap(): void {
    if (this.#phase === 'fenced' || this.#phase === 'closed') return;
    this.#reconciler.onMap(this.map.changedPgs);
    this.#flusher.onMap(this.map.changedPgs);
    this.#checkOpened();
    this.#followDurability();
    for (const piece of [...this.#active]) {
      const view = this.map.pgs.get(piece.pg);
      if (view === undefined || view.epoch === piece.epoch) continue;
      if (piece.isIssued) this.#issue(piece);
    }
    this.pump();
  }

  onPeerReady(peer: Peer): void {
    this.#links.openRest(peer, this.clock.now());
    this.pump();
  }

  /** Also what the lost server has acked is sent again, should it be a joining one that forgot it. */
  onPeerLost(peer: Peer): void {
    for (const piece of [...this.#active]) {
      if (!piece.isIssued || piece.isReading) continue;
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
    if (this.#isOpening) {
      this.#links.openRest(null, this.clock.now());
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

  #followDurability(): void {
    this.#isWriteThrough = !this.#hasFlushed || this.#record.durability === 'writethrough';
  }

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
    piece.isDurable = request.isDurable || this.#isWriteThrough;
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
    if (this.#reconciler.mustWait(piece.extent, piece.pg)) {
      // Answers under an older epoch come too late: those who gave them may have forgotten since.
      piece.withdraw();
      this.stick(piece);
    } else if (this.#gate.mustWait(piece)) return;
    else if (piece.isReading) this.#reads.issue(piece);
    else this.#writes.issue(piece);
  }

  #goOn(piece: Piece): void {
    const isSending = piece.isIssued && !piece.isReading;
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
    this.complete(piece, null);
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

  onLeftDirty(pg: PgId): void {
    this.#flusher.noteLeft(pg);
  }

  onReconciled(extent: number, pg: PgId): void {
    this.#table.noteDirty(extent, pg, this.clock.now());
    this.#flusher.noteLeft(pg);
    this.pump();
  }

  #open(): void {
    this.#links.openMembers(this.clock.now());
    this.#checkOpened();
    this.#armPump();
  }

  #checkOpened(): void {
    if (this.#phase !== 'opening') return;
    if (!this.#links.isOpen(this.clock.now())) return;
    this.#phase = 'comparing';
    this.#reason = 'Looking for extents that a former gateway left dirty';
    void this.#reconciler.run();
  }

  /** Serving begins; extents that must be compared first are held back one by one. */
  onListed(): void {
    if (this.#phase !== 'comparing') {
      this.pump();
      return;
    }
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
    const isWaiting = this.#stuck.size > 0 || this.#flusher.isBusy || this.#isOpening;
    if (!isWaiting) return;
    this.#pumpTimer = this.clock.after(PUMP_MS, () => {
      this.#pumpTimer = null;
      this.#links.openRest(null, this.clock.now());
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
    this.#expiry.sweep(this.#options.requestDeadlineMs, () => this.#whatIsMissing());
    for (const piece of this.#active) {
      if (piece.isReading) this.#reads.hedge(piece, now);
    }
    const isWaiting = this.#active.size > 0 || this.#flusher.isBusy;
    const failureCount = isWaiting ? this.failures().length : 0;
    if (failureCount > this.#failureCount) this.#modules.onUrgent();
    this.#failureCount = failureCount;
    if (this.#phase === 'serving') this.#cleaner.sweep(now);
  }

  #whatIsMissing(): string {
    const [failure] = this.failures();
    return failure === undefined ? this.reason : `${formatDisk(failure.disk)}: ${failure.reason}`;
  }

  async #drain(untilMs: number): Promise<void> {
    const isOver = (): boolean => this.clock.now() >= untilMs || this.#phase !== 'closing';
    await waitUntil(this.clock, () => this.#operations.count === 0 || isOver());
    if (isOver() || !this.mayIssue()) return;
    let isFlushed = false;
    const request = flushRequest(() => {
      isFlushed = true;
    });
    this.#flusher.add(this.#operations.begin(request));
    this.#armPump();
    await waitUntil(this.clock, () => isFlushed || isOver());
  }

  #stop(phase: 'fenced' | 'closed'): void {
    if (this.#phase === 'closed') return;
    this.#phase = phase;
    this.#reconciler.stop();
    this.#stopListening();
    this.#pumpTimer?.cancel();
    this.#sweepTimer?.cancel();
    for (const piece of this.#active) piece.renew();
    this.#active.clear();
    this.#stuck.clear();
    this.#operations.failAll('shutdown');
  }
}
