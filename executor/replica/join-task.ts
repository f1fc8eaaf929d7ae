/**
 * The copying of one PG onto one joining disk, from the map's first word of it until the disk is in
 * sync or no member any more. Source after source is tried; what is copied stays copied. Marks fresh
 * blocks from the moment it exists, which is before the server serves anything under that epoch.
 */

import { describeError, StorageError } from '../../shared/base/errors.ts';
import type { DiskId } from '../../shared/base/ids.ts';
import { EXTENT_BYTES } from '../../shared/base/units.ts';
import type { JoinReport } from '../../shared/model/node-report.ts';
import type { Clock, Log } from '../../shared/ports.ts';
import { OP } from '../../shared/wire/data-protocol.ts';
import { decodeList, type ListedExtent } from '../../shared/wire/resync-bodies.ts';
import type { ExtentAddress, ExtentEntry } from '../disk/store-types.ts';
import type { PgView } from '../map-index.ts';
import type { Peer } from '../peer/peer.ts';
import { callPeer } from '../peer/peer-call.ts';
import type { PeerSet } from '../peer/peer-set.ts';
import { type CopyContext, copyBlockAgain, copyExtent, ended, sourceFrame } from './extent-copy.ts';
import { FreshBlocks, isOfVolume, keyOf } from './fresh-blocks.ts';
import { ReadBack } from './read-back.ts';
import type { FreshMarks, ReplicaDisk } from './replica-disk.ts';
import type { BlockPlace } from './source-operations.ts';

export interface JoinModules {
  readonly clock: Clock;
  readonly log: Log;
  readonly peers: PeerSet;
  /** Resolves when so many bytes may be moved. */
  readonly allow: (bytes: number) => Promise<void>;
  readonly onUrgent: () => void;
  /** A block was taken over as lost: no in-sync replica has it good. */
  readonly onLost: (place: BlockPlace) => void;
}

/** Extents of one PG copied at a time: one on the wire while the other one is compared and stamped. */
const PARALLEL_EXTENTS = 2;
const RETRY_MS = 200;
const CALL_MS = 10_000;
const LOCAL_PAGE = 1_000;

export class JoinTask implements FreshMarks {
  readonly disk: ReplicaDisk;
  readonly #modules: JoinModules;
  readonly #fresh = new FreshBlocks();
  /** Extents that are the same as the source's since the join began. */
  readonly #finished = new Set<string>();
  readonly #readBack = new ReadBack();
  /** Extents still to be copied; null before the first listing. */
  #planned: Map<string, ExtentAddress> | null = null;
  #view: PgView;
  #totalBytes = 0;
  #doneBytes = 0;
  #error = '';
  #isComplete = false;
  #isCancelled = false;
  #isRunning = false;
  #triedSources = 0;
  /** A volume was taken over meanwhile: one more round. */
  #mustRepeat = false;

  constructor(disk: ReplicaDisk, view: PgView, modules: JoinModules) {
    this.disk = disk;
    this.#view = view;
    this.#modules = modules;
  }

  get epoch(): number {
    return this.#view.epoch;
  }

  get isStarted(): boolean {
    return this.#isRunning || this.#isComplete;
  }

  /** Copying and not yet done: counts against the node's limit. */
  get isBusy(): boolean {
    return this.#isRunning && !this.#isComplete;
  }

  report(): JoinReport {
    return {
      pg: this.#view.id,
      disk: this.disk.id,
      epoch: this.#view.epoch,
      totalBytes: Math.max(this.#totalBytes, this.#doneBytes),
      doneBytes: this.#doneBytes,
      isComplete: this.#isComplete,
      error: this.#error,
    };
  }

  mark(volume: number, layer: number, extent: number, block: number, count: number): void {
    this.#fresh.mark({ volume, layer, extent }, block, count);
  }

  startsIncomplete(volume: number, layer: number, extent: number): boolean {
    if (this.#isComplete) return false;
    return this.#planned === null || this.#planned.has(keyOf({ volume, layer, extent }));
  }

  /** The next epoch, in which the disk is still joining: every write since has come here too. */
  follow(view: PgView): void {
    this.#view = view;
  }

  reopen(volume: number): void {
    this.#fresh.forgetVolume(volume);
    for (const key of [...this.#finished]) if (isOfVolume(key, volume)) this.#finished.delete(key);
    this.#mustRepeat = true;
    if (!this.#isComplete) return;
    this.#isComplete = false;
    this.#isRunning = false;
    this.start();
  }

  cancel(): void {
    this.#isCancelled = true;
  }

  start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    const { clock, log, onUrgent } = this.#modules;
    while (!this.#isCancelled && !this.#isComplete) {
      const { epoch } = this.#view;
      this.#mustRepeat = false;
      try {
        const { peer, disk } = this.#chooseSource();
        await this.#joinFrom(peer, disk);
        // A newer epoch may have changed the source set; the copy is whole in any of them.
        if (this.#isCancelled) return;
        if (this.#mustRepeat) continue;
        this.#isComplete = true;
        this.#error = '';
        log('info', 'A joining replica has everything', { pg: this.#view.id, disk: this.disk.id });
        onUrgent();
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        if (this.#isCancelled) return;
        // An epoch that moved on meanwhile is no trouble, only a reason to begin again.
        if (this.#view.epoch === epoch) this.#error = describeError(error);
        this.#triedSources += 1;
        await new Promise<void>((resolve) => {
          clock.after(RETRY_MS, resolve);
        });
      }
    }
  }

  #chooseSource(): { readonly peer: Peer; readonly disk: DiskId } {
    const { inSync } = this.#view;
    for (let step = 0; step < inSync.length; step += 1) {
      const disk = inSync[(this.#triedSources + step) % inSync.length] as DiskId;
      const peer = this.#modules.peers.ofDisk(disk);
      if (peer?.isReady === true) return { peer, disk };
    }
    throw new StorageError('unavailable', `No in-sync replica of pg${this.#view.id} is reachable`);
  }

  async #joinFrom(source: Peer, sourceDisk: DiskId): Promise<void> {
    const view = this.#view;
    const { clock } = this.#modules;
    await ended((done) => this.disk.adopt(view.id, view.epoch, done));
    const context: CopyContext = {
      disk: this.disk,
      source,
      sourceDisk,
      pg: view.id,
      epoch: view.epoch,
      fresh: this.#fresh,
      clock,
      allow: async (bytes) => {
        await this.#modules.allow(bytes);
        if (this.#isCancelled) throw new StorageError('unavailable', 'The join was called off');
      },
      onCopied: (bytes) => {
        this.#doneBytes += bytes;
        this.#error = '';
      },
      onStored: (address, block) => this.#readBack.note(address, block),
      otherSources: () =>
        view.inSync
          .filter((disk) => disk !== sourceDisk)
          .map((disk) => ({ disk, peer: this.#modules.peers.ofDisk(disk) })),
      onLost: ({ volume, layer, extent }, block) => {
        this.#modules.onLost({ volume, layer, extent, block, count: 1 });
      },
    };
    const listed = await listSource(context);
    const plan = this.#plan(listed);
    this.#planned = plan.copy;
    this.#totalBytes = this.#doneBytes + plan.copy.size * EXTENT_BYTES;
    for (const address of plan.remove) {
      if (this.#fresh.hasAny(address)) continue;
      await ended((done) => this.disk.store.deleteExtent(address, done));
    }
    await this.#copyAll(context, plan.copy);
    for (const entry of this.#localEntries()) {
      // Created here by gateways before the source was listed, and not on its list: all of it is fresh.
      if (!entry.incomplete) continue;
      const whole = { epoch: entry.epoch, dirty: true, incomplete: false };
      await ended((done) => this.disk.store.setStamp(entry, view.id, whole, done));
    }
    await ended((done) => this.disk.store.flush(done));
    await this.#readBack.check(this.disk, (address, block) =>
      copyBlockAgain(context, address, block),
    );
    this.#totalBytes = this.#doneBytes;
  }

  /** What to copy and what to remove (DESIGN 4.4). */
  #plan(listed: ReadonlyMap<string, ListedExtent>): {
    readonly copy: Map<string, ExtentAddress>;
    readonly remove: readonly ExtentAddress[];
  } {
    const copy = new Map<string, ExtentAddress>();
    const remove: ExtentAddress[] = [];
    const local = new Map<string, ExtentEntry>();
    for (const entry of this.#localEntries()) {
      const key = keyOf(entry);
      local.set(key, entry);
      if (!listed.has(key)) remove.push(entry);
    }
    for (const [key, theirs] of listed) {
      if (this.#finished.has(key)) continue;
      const ours = local.get(key);
      const isSame =
        ours !== undefined &&
        !ours.incomplete &&
        !ours.dirty &&
        !theirs.dirty &&
        theirs.epoch <= ours.epoch;
      if (!isSame) copy.set(key, theirs);
    }
    return { copy, remove };
  }

  #localEntries(): readonly ExtentEntry[] {
    const entries: ExtentEntry[] = [];
    let after: ExtentAddress | null = null;
    for (;;) {
      const page = this.disk.store.listExtents(this.#view.id, after, LOCAL_PAGE);
      entries.push(...page.entries);
      if (page.next === null) return entries;
      after = page.next;
    }
  }

  async #copyAll(context: CopyContext, copy: Map<string, ExtentAddress>): Promise<void> {
    const queue = [...copy];
    const worker = async (): Promise<void> => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        if (this.#isCancelled) throw new StorageError('unavailable', 'The join was called off');
        const [key, address] = next;
        await copyExtent(context, address);
        this.#finished.add(key);
        copy.delete(key);
        this.#totalBytes = this.#doneBytes + copy.size * EXTENT_BYTES;
      }
    };
    const outcomes = await Promise.allSettled(
      Array.from({ length: PARALLEL_EXTENTS }, () => worker()),
    );
    // All workers have come to rest before anything is tried again.
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  }
}

/** Everything the source holds of the PG. It adopts the epoch before it answers (DESIGN 4.2). */
async function listSource(context: CopyContext): Promise<Map<string, ListedExtent>> {
  const listed = new Map<string, ListedExtent>();
  let after: ExtentAddress = { volume: 0, layer: 0, extent: 0 };
  for (let isFirst = true; ; isFirst = false) {
    const frame = sourceFrame(context, OP.list, after);
    frame.aux = isFirst ? 1 : 0;
    const answer = await callPeer(context.source, frame, context.clock, CALL_MS);
    const entries = decodeList(answer.data);
    if (entries === null) throw new StorageError('protocol', 'The source sent a malformed list');
    for (const entry of entries) listed.set(keyOf(entry), entry);
    const last = entries.at(-1);
    if (answer.aux === 0 || last === undefined) return listed;
    after = { volume: last.volume, layer: last.layer, extent: last.extent };
  }
}
