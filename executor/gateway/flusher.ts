/**
 * Flush: every write that was acked before it was asked for must be power-safe on every member that
 * the map names now. One pass runs at a time; requests that come meanwhile share the next one. A disk
 * is asked once per pass, however many PGs it holds.
 *
 * A member that joined after the last write of its PG is not asked: a join syncs all that it copied before
 * it is complete. So a disk that comes and goes cannot hold up a flush for ever.
 */
import type { DiskId, PgId } from '../../shared/base/ids.ts';
import { DataFrame, OP, STATUS, type Status } from '../../shared/wire/data-protocol.ts';
import type { PgView } from '../map-index.ts';
import type { ReplyTarget } from '../peer/peer.ts';
import type { BlockError } from './block-device.ts';
import type { ClientOperation } from './piece.ts';
import type { VolumeContext } from './volume-context.ts';

type DiskState = 'unsent' | 'sent' | 'done';

/** Numbers of requests begin again after so many: a small integer, and never two at a time. */
const REQUESTS_MAX = 2 ** 30;

/** Acked writes of one PG: the epoch of the last one, and the members that had it and have not left since. */
interface Touched {
  readonly epoch: number;
  readonly members: readonly DiskId[];
}

export interface FlushWait {
  readonly pg: PgId;
  readonly disk: DiskId;
  readonly sinceMs: number;
}

export class Flusher implements ReplyTarget {
  readonly #context: VolumeContext;
  readonly #finish: (operation: ClientOperation, error: BlockError | null) => void;
  /** PGs with acked writes that no pass has taken on yet. */
  #touched = new Map<PgId, Touched>();
  #passPgs: Map<PgId, Touched> | null = null;
  #passOperations: ClientOperation[] = [];
  #waiting: ClientOperation[] = [];
  readonly #disks = new Map<DiskId, DiskState>();
  /** Requests whose answers count, by their tokens. */
  readonly #requests = new Map<number, DiskId>();
  #nextRequest = 1;
  #unfinished = 0;
  #startedMs = 0;
  /** PGs that lost acked writes which no flush had covered; the next flush says so, once. */
  readonly #lost = new Set<PgId>();

  constructor(
    context: VolumeContext,
    finish: (operation: ClientOperation, error: BlockError | null) => void,
  ) {
    this.#context = context;
    this.#finish = finish;
  }

  get isBusy(): boolean {
    return this.#passPgs !== null;
  }

  noteWritten(pg: PgId, epoch: number, members: readonly DiskId[]): void {
    if (this.#touched.get(pg)?.epoch === epoch) return;
    this.#touched.set(pg, { epoch, members });
  }

  /**
   * A former gateway of this volume acked writes there that nobody has flushed: the client's next flush
   * means them too. Called before anything is served, so a pass that waits for that takes it on.
   */
  noteLeft(pg: PgId): void {
    const { epoch = 0, members = [] } = this.#context.map.pgs.get(pg) ?? {};
    this.#touched.set(pg, { epoch, members });
    this.#passPgs?.set(pg, { epoch, members });
  }

  onMap(changed: readonly PgView[]): void {
    for (const view of changed) {
      for (const pgs of [this.#touched, this.#passPgs]) {
        const touched = pgs?.get(view.id);
        if (touched !== undefined) pgs?.set(view.id, this.#follow(touched, view));
      }
    }
  }

  add(operation: ClientOperation): void {
    this.#waiting.push(operation);
    if (this.#passPgs === null) this.#start();
  }

  /** After anything changed: a map, a peer, the lease, or time. */
  pump(): void {
    const pgs = this.#passPgs;
    if (pgs === null || !this.#context.mayIssue()) return;
    let isPossible = true;
    for (const [pg, touched] of pgs) {
      const view = this.#context.map.pgs.get(pg);
      const mustWait = view === undefined || view.inSync.length < view.minInSync;
      if (mustWait || view.suspects.length > 0) {
        isPossible = false;
        continue;
      }
      for (const disk of view.members) if (touched.members.includes(disk)) this.#need(disk);
    }
    this.#send();
    if (isPossible && this.#unfinished === 0) this.#end();
  }

  /** Members that the running pass waits for. */
  waits(): readonly FlushWait[] {
    const waits: FlushWait[] = [];
    for (const pg of this.#passPgs?.keys() ?? []) {
      for (const disk of this.#context.map.pgs.get(pg)?.members ?? []) {
        const state = this.#disks.get(disk);
        if (state !== undefined && state !== 'done') {
          waits.push({ pg, disk, sinceMs: this.#startedMs });
        }
      }
    }
    return waits;
  }

  onReply(frame: DataFrame, token: number): void {
    const disk = this.#takeRequest(token);
    if (disk === null) return;
    if (frame.status !== STATUS.ok) {
      // Tried again with the next pump: the map may no longer name this member by then.
      this.#context.linkOf(disk).noteRefusal(frame.status as Status);
      this.#disks.set(disk, 'unsent');
      return;
    }
    this.#disks.set(disk, 'done');
    this.#unfinished -= 1;
    if (this.#unfinished === 0) this.pump();
  }

  onLost(token: number): void {
    const disk = this.#takeRequest(token);
    if (disk !== null) this.#disks.set(disk, 'unsent');
  }

  /** Null: nobody waits for that answer any more. */
  #takeRequest(token: number): DiskId | null {
    const disk = this.#requests.get(token) ?? null;
    this.#requests.delete(token);
    return disk;
  }

  #start(): void {
    this.#passOperations = this.#waiting;
    this.#waiting = [];
    this.#passPgs = this.#touched;
    this.#touched = new Map();
    this.#disks.clear();
    this.#requests.clear();
    this.#unfinished = 0;
    this.#startedMs = this.#context.clock.now();
    this.pump();
  }

  #end(): void {
    const operations = this.#passOperations;
    this.#passPgs = null;
    this.#passOperations = [];
    const error = this.#lost.size > 0 && operations.length > 0 ? 'io' : null;
    if (error !== null) this.#lost.clear();
    for (const operation of operations) this.#finish(operation, error);
    if (this.#waiting.length > 0 && this.#passPgs === null) this.#start();
  }

  #noteLost(pg: PgId): void {
    if (this.#lost.has(pg)) return;
    this.#lost.add(pg);
    const { log, notify, volume } = this.#context;
    log('error', 'Acked writes that were not flushed may be lost', { volume, pg });
    const text = `Acked writes of v${volume} in pg${pg} that were not flushed may be lost: all replicas lost power; the next flush fails`;
    notify({ severity: 'error', kind: 'write.lost', volume, pg, text });
  }

  #follow(touched: Touched, view: PgView): Touched {
    const members = touched.members.filter((disk) => view.members.includes(disk));
    if (touched.epoch >= view.compareEpoch) return { ...touched, members };
    // Members that forgot were trusted again: what was acked there and not flushed may be gone.
    this.#noteLost(view.id);
    return { epoch: view.epoch, members: view.members };
  }

  #need(disk: DiskId): void {
    if (this.#disks.has(disk)) return;
    this.#disks.set(disk, 'unsent');
    this.#unfinished += 1;
  }

  #send(): void {
    const pgs = this.#passPgs;
    if (pgs === null) return;
    for (const [disk, state] of this.#disks) {
      if (state === 'done') continue;
      if (!this.#isNamed(disk, pgs)) {
        this.#forget(disk);
        continue;
      }
      if (state === 'sent') continue;
      const peer = this.#context.linkOf(disk).usablePeer();
      if (peer === null) continue;
      const frame = new DataFrame();
      frame.op = OP.flush;
      frame.disk = disk;
      frame.volume = this.#context.volume;
      frame.generation = this.#context.generation;
      // What was acked lies in that memory; another one has nothing of it to flush.
      frame.aux = this.#context.map.disks.get(disk)?.incarnation ?? 0;
      const token = this.#nextRequest;
      if (!peer.send(frame, this, token)) continue;
      this.#nextRequest = (token + 1) % REQUESTS_MAX;
      this.#requests.set(token, disk);
      this.#disks.set(disk, 'sent');
    }
  }

  /** It is no member any more. Its answer, should it still come, is not waited for: a hung disk never answers. */
  #forget(disk: DiskId): void {
    for (const [token, asked] of this.#requests) {
      if (asked === disk) this.#requests.delete(token);
    }
    this.#disks.delete(disk);
    this.#unfinished -= 1;
  }

  #isNamed(disk: DiskId, pgs: ReadonlyMap<PgId, Touched>): boolean {
    for (const [pg, { members }] of pgs) {
      if (!members.includes(disk)) continue;
      if (this.#context.map.pgs.get(pg)?.members.includes(disk) === true) return true;
    }
    return false;
  }
}
