/**
 * After a gateway that was not detached cleanly, replicas may differ where its last writes were under
 * way: acked ones are everywhere, others are here and there. Before the next gateway serves an extent
 * that any replica holds dirty, all replicas are made the same (DESIGN 5): one in-sync replica is the
 * source, blocks that differ are written to the others. Clients wait for single extents, on demand,
 * not for the whole.
 */

import { describeError, StorageError } from '../../shared/base/errors.ts';
import type { DiskId, PgId } from '../../shared/base/ids.ts';
import { BLOCK_BYTES, BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';
import { DataFrame, FLAG, OP, PRESENCE } from '../../shared/wire/data-protocol.ts';
import { decodeList, decodeMeta, type ReplicaMeta } from '../../shared/wire/resync-bodies.ts';
import type { PgView } from '../map-index.ts';
import { callPeer, type PeerAnswer } from '../peer/peer-call.ts';
import { findMismatch } from './block-checksums.ts';
import { PIECE_BLOCKS_MAX } from './piece.ts';
import type { VolumeContext } from './volume-context.ts';

export interface ReconcilerOptions {
  readonly pgBase: number;
  readonly pgCount: number;
}

/** Told what a former gateway left dirty, when the list is known, and whenever an extent may be served. */
export interface ReconcilerListener {
  /** Before `onListed`: acked writes may be there that no disk has synced. */
  onLeftDirty(pg: PgId): void;
  onListed(): void;
  onReconciled(extent: number, pg: PgId): void;
}

/** PGs listed and extents compared at a time: enough to hide the round trips, little for the disks. */
const PARALLEL_LISTS = 16;
const PARALLEL_EXTENTS = 4;
const CALL_MS = 5_000;
const RETRY_MS = 50;

interface Difference {
  readonly block: number;
  readonly count: number;
  readonly presence: number;
}

export class Reconciler {
  readonly #context: VolumeContext;
  readonly #options: ReconcilerOptions;
  readonly #listener: ReconcilerListener;
  /** Extents that must be compared before they are served, with their PG. */
  readonly #pending = new Map<number, PgId>();
  /** Asked for by clients: these first. */
  readonly #demanded = new Set<number>();
  readonly #running = new Set<number>();
  #isStopped = false;
  #differenceCount = 0;

  constructor(context: VolumeContext, options: ReconcilerOptions, listener: ReconcilerListener) {
    this.#context = context;
    this.#options = options;
    this.#listener = listener;
  }

  get pendingCount(): number {
    return this.#pending.size;
  }

  /** True: the extent may not be served yet; it is taken up next. */
  mustWait(extent: number): boolean {
    if (this.#pending.size === 0 || !this.#pending.has(extent)) return false;
    this.#demanded.add(extent);
    return true;
  }

  /** Lists dirty extents, tells the listener, and makes them the same one after the other. */
  async run(): Promise<void> {
    await this.#listAll();
    if (this.#isStopped) return;
    this.#listener.onListed();
    const { log, volume } = this.#context;
    const total = this.#pending.size;
    if (total === 0) return;
    const workers = Array.from({ length: PARALLEL_EXTENTS }, () => this.#work());
    await Promise.all(workers);
    if (this.#isStopped) return;
    const fields = { volume, extents: total, blocks: this.#differenceCount };
    log('info', 'Replicas compared after an unclean detach', fields);
  }

  stop(): void {
    this.#isStopped = true;
  }

  async #listAll(): Promise<void> {
    const { pgBase, pgCount } = this.#options;
    let next = pgBase;
    const worker = async (): Promise<void> => {
      while (next < pgBase + pgCount && !this.#isStopped) {
        const pg = next as PgId;
        next += 1;
        await this.#untilDone(() => this.#listPg(pg));
      }
    };
    await Promise.all(Array.from({ length: PARALLEL_LISTS }, () => worker()));
  }

  /** Tries again, under the newest map, until it succeeds: there is no serving without. */
  async #untilDone(attempt: () => Promise<void>): Promise<void> {
    while (!this.#isStopped) {
      try {
        await attempt();
        return;
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        this.#context.log('debug', 'Comparing replicas failed, trying again', {
          volume: this.#context.volume,
          error: describeError(error),
        });
        await new Promise<void>((resolve) => {
          this.#context.clock.after(RETRY_MS, resolve);
        });
      }
    }
  }

  async #listPg(pg: PgId): Promise<void> {
    const view = this.#viewOf(pg);
    // A single copy cannot differ from another, but it may have to be synced.
    const mustCompare = view.members.length >= 2;
    for (const disk of view.inSync) {
      let after: { volume: number; layer: number; extent: number } | null = null;
      do {
        const frame = this.#frame(OP.list, view, disk, 0, 0, 0);
        frame.aux = after === null ? 3 : 2;
        if (after !== null) {
          frame.layer = after.layer;
          frame.extent = after.extent;
        }
        frame.volume = after === null ? 0 : after.volume;
        const answer: PeerAnswer = await this.#call(disk, frame);
        const entries = decodeList(answer.data);
        if (entries === null) throw new StorageError('protocol', 'Replica sent a malformed list');
        const { volume, layer } = this.#context;
        for (const entry of entries) {
          if (entry.volume !== volume || entry.layer !== layer) continue;
          this.#listener.onLeftDirty(pg);
          if (mustCompare) this.#pending.set(entry.extent, pg);
        }
        after = answer.aux === 0 ? null : (entries.at(-1) ?? null);
      } while (after !== null);
    }
  }

  async #work(): Promise<void> {
    for (;;) {
      const next = this.#takeNext();
      if (next === null || this.#isStopped) return;
      const [extent, pg] = next;
      this.#running.add(extent);
      await this.#untilDone(() => this.#reconcile(extent, pg));
      this.#running.delete(extent);
      if (this.#isStopped) return;
      this.#pending.delete(extent);
      this.#listener.onReconciled(extent, pg);
    }
  }

  #takeNext(): readonly [number, PgId] | null {
    for (const extent of this.#demanded) {
      this.#demanded.delete(extent);
      const pg = this.#pending.get(extent);
      if (pg !== undefined && !this.#running.has(extent)) return [extent, pg];
    }
    for (const [extent, pg] of this.#pending) if (!this.#running.has(extent)) return [extent, pg];
    return null;
  }

  async #reconcile(extent: number, pg: PgId): Promise<void> {
    const view = this.#viewOf(pg);
    const metas = await Promise.all(
      view.inSync.map(async (disk) => {
        const answer = await this.#call(disk, this.#frame(OP.meta, view, disk, extent, 0, 0));
        if ((answer.flags & FLAG.zeros) !== 0) return null;
        const meta = decodeMeta(answer.data);
        if (meta === null) throw new StorageError('protocol', 'Replica sent a malformed stamp');
        return meta;
      }),
    );
    const differences = differencesOf(metas);
    const source = view.inSync[0] as DiskId;
    const others = view.members.filter((disk) => disk !== source);
    for (const difference of differences) {
      await this.#copy(view, extent, difference, source, others);
      this.#differenceCount += difference.count;
    }
  }

  /** Fresh blocks on every other member, joining ones included: they pull from whichever source. */
  async #copy(
    view: PgView,
    extent: number,
    difference: Difference,
    source: DiskId,
    others: readonly DiskId[],
  ): Promise<void> {
    const { block, count, presence } = difference;
    let good: PeerAnswer | null = null;
    if (presence === PRESENCE.data) {
      good = await this.#call(source, this.#frame(OP.read, view, source, extent, block, count));
      const { data, checksums } = good;
      if (data === null || checksums === null || data.length !== count * BLOCK_BYTES) {
        throw new StorageError('unavailable', 'The source changed while it was compared');
      }
      if (findMismatch(data, checksums, 0) >= 0) {
        throw new StorageError('corrupt', `Extent ${extent} has a bad block on its source`);
      }
    }
    await Promise.all(
      others.map((disk) => {
        const frame = this.#frame(
          good === null ? OP.zero : OP.write,
          view,
          disk,
          extent,
          block,
          count,
        );
        if (good !== null) {
          frame.checksums = good.checksums;
          frame.data = good.data;
        } else if (presence === PRESENCE.absent) frame.flags |= FLAG.unmap;
        return this.#call(disk, frame);
      }),
    );
  }

  #viewOf(pg: PgId): PgView {
    const view = this.#context.map.pgs.get(pg);
    if (view === undefined || view.inSync.length === 0) {
      throw new StorageError('unavailable', `No replica of pg${pg} is in sync`);
    }
    return view;
  }

  #frame(
    op: number,
    view: PgView,
    disk: DiskId,
    extent: number,
    block: number,
    count: number,
  ): DataFrame {
    const { volume, generation, layer } = this.#context;
    const frame = new DataFrame();
    frame.op = op;
    frame.pg = view.id;
    frame.epoch = view.epoch;
    frame.disk = disk;
    frame.volume = volume;
    frame.generation = generation;
    frame.layer = layer;
    frame.extent = extent;
    frame.block = block;
    frame.count = count;
    return frame;
  }

  async #call(disk: DiskId, frame: DataFrame): Promise<PeerAnswer> {
    const context = this.#context;
    const link = context.linkOf(disk);
    const peer = context.mayReconcile() ? link.usablePeer() : null;
    if (peer === null) throw new StorageError('unavailable', `Disk d${disk} cannot be asked now`);
    try {
      return await callPeer(peer, frame, context.clock, CALL_MS);
    } catch (error) {
      if (error instanceof StorageError && error.code === 'fenced') {
        const accepted = Number(error.details['generation']);
        if (accepted > context.generation) context.fence(accepted);
        else link.reopen();
      }
      throw error;
    }
  }
}

/** Blocks that are not the same in all copies, as the first one has them, in runs of one kind. */
export function differencesOf(metas: readonly (ReplicaMeta | null)[]): readonly Difference[] {
  const [source = null, ...others] = metas;
  const runs: Difference[] = [];
  for (let block = 0; block < BLOCKS_PER_EXTENT; block += 1) {
    const wanted = stateOf(source, block);
    if (others.every((other) => isSame(source, other, block, wanted))) continue;
    const last = runs.at(-1);
    const isNext = last !== undefined && last.block + last.count === block;
    if (isNext && last.presence === wanted && last.count < PIECE_BLOCKS_MAX) {
      runs[runs.length - 1] = { ...last, count: last.count + 1 };
    } else runs.push({ block, count: 1, presence: wanted });
  }
  return runs;
}

function isSame(
  source: ReplicaMeta | null,
  other: ReplicaMeta | null,
  block: number,
  wanted: number,
): boolean {
  if (stateOf(other, block) !== wanted) return false;
  if (wanted !== PRESENCE.data || source === null || other === null) return true;
  for (let at = block * 4; at < block * 4 + 4; at += 1) {
    if (source.checksums[at] !== other.checksums[at]) return false;
  }
  return true;
}

function stateOf(meta: ReplicaMeta | null, block: number): number {
  if (meta === null) return PRESENCE.absent;
  return ((meta.presence[block >> 2] as number) >> ((block & 3) * 2)) & 3;
}
