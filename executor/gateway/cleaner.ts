/**
 * Tells replicas which extents are the same everywhere (`clean`, DESIGN 4.5): those that every member
 * has acked the last write of, and that nobody has written for a while. Lazy and best effort: what is
 * not said costs a comparison after a crash, nothing else.
 */
import type { DiskId } from '../../shared/base/ids.ts';
import { DataFrame, OP } from '../../shared/wire/data-protocol.ts';
import type { ReplyTarget } from '../peer/peer.ts';
import type { ExtentState, ExtentTable } from './extent-table.ts';
import type { VolumeContext } from './volume-context.ts';

/** Long enough that a busy extent is not marked dirty over and over (each time costs a sync). */
const QUIET_MS = 5_000;
const SWEEP_MS = 1_000;
/** Extents looked at per sweep: a millisecond. A million dirty ones take some minutes, in turns. */
const SWEEP_EXTENTS_MAX = 4_096;
/** What one frame's body holds (data-codec.ts). */
const ADDRESSES_MAX = 4_096;
const ADDRESS_BYTES = 12;

export class Cleaner implements ReplyTarget {
  readonly #context: VolumeContext;
  readonly #table: ExtentTable;
  #nextSweepMs = 0;
  #cursor: IterableIterator<ExtentState> | null = null;

  constructor(context: VolumeContext, table: ExtentTable) {
    this.#context = context;
    this.#table = table;
  }

  sweep(nowMs: number): void {
    if (nowMs < this.#nextSweepMs || !this.#context.mayIssue()) return;
    this.#nextSweepMs = nowMs + SWEEP_MS;
    this.#cursor ??= this.#table.extents.values();
    const quiet: ExtentState[] = [];
    for (let looked = 0; looked < SWEEP_EXTENTS_MAX; looked += 1) {
      const next = this.#cursor.next();
      if (next.done === true) {
        this.#cursor = null;
        break;
      }
      if (nowMs - next.value.lastWriteMs >= QUIET_MS) quiet.push(next.value);
    }
    this.#clean(quiet, (disk) => this.#context.linkOf(disk).usablePeer() !== null);
  }

  /** On a detach: everything that is not being written, without waiting for quiet. */
  cleanAll(): void {
    this.#clean([...this.#table.extents.values()], () => true);
  }

  onReply(): void {
    // Best effort: a refusal leaves the extent dirty there, which is always safe.
  }

  onLost(): void {
    // As above.
  }

  /** `isReady`: false of a member (one that has just joined, perhaps) puts it off, for all of them. */
  #clean(extents: readonly ExtentState[], isReady: (disk: DiskId) => boolean): void {
    const byDisk = new Map<DiskId, number[]>();
    for (const state of extents) {
      if (!state.isDirty || state.pieces.length > 0) continue;
      const view = this.#context.map.pgs.get(state.pg);
      // A joining replica lacks earlier writes: not the same everywhere yet.
      if (view === undefined || view.inSync.length !== view.members.length) continue;
      if (view.suspects.length > 0 || this.#context.isHeld(state.extent, state.pg)) continue;
      if (!view.members.every(isReady)) continue;
      for (const disk of view.members) {
        const list = byDisk.get(disk);
        if (list === undefined) byDisk.set(disk, [state.extent]);
        else list.push(state.extent);
      }
      this.#table.extents.delete(state.extent);
    }
    for (const [disk, list] of byDisk) this.#send(disk, list);
  }

  #send(disk: DiskId, extents: readonly number[]): void {
    const { volume, layer, generation } = this.#context;
    for (let from = 0; from < extents.length; from += ADDRESSES_MAX) {
      const part = extents.slice(from, from + ADDRESSES_MAX);
      const body = Buffer.alloc(part.length * ADDRESS_BYTES);
      part.forEach((extent, index) => {
        body.writeUInt32LE(volume, index * ADDRESS_BYTES);
        body.writeUInt32LE(layer, index * ADDRESS_BYTES + 4);
        body.writeUInt32LE(extent, index * ADDRESS_BYTES + 8);
      });
      const frame = new DataFrame();
      frame.op = OP.clean;
      frame.disk = disk;
      frame.volume = volume;
      frame.generation = generation;
      frame.aux = this.#context.map.disks.get(disk)?.incarnation ?? 0;
      frame.data = body;
      this.#context.linkOf(disk).usablePeer()?.send(frame, this, 0);
    }
  }
}
