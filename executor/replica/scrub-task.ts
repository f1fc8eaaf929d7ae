/**
 * Scrub of one PG on one disk: extent after extent in order of their addresses, from a position that the
 * manager knows. Extents that were being written are looked at again at the end, some times; what is
 * never quiet was at least read and checked. Extents that only other replicas have are looked at, too.
 */
import { describeError, StorageError } from '../../shared/base/errors.ts';
import type { DiskId, JobId, PgId } from '../../shared/base/ids.ts';
import type { ScrubOrder, ScrubReport } from '../../shared/model/scrub.ts';
import { OP } from '../../shared/wire/data-protocol.ts';
import { decodeList } from '../../shared/wire/resync-bodies.ts';
import type { ExtentAddress } from '../disk/store-types.ts';
import type { PgView } from '../map-index.ts';
import { callPeer } from '../peer/peer-call.ts';
import { sourceFrame } from './extent-copy.ts';
import { keyOf } from './fresh-blocks.ts';
import { type ScrubContext, type ScrubOutcome, scrubExtent } from './scrub-extent.ts';

const CALL_MS = 10_000;
const LOCAL_PAGE = 1_000;
/** A replica that cannot be asked now is asked again after so long. */
const RETRY_MS = 2_000;
/** Extents being written become clean some seconds after the last write (cleaner.ts). */
const REVISIT_MS = 6_000;
/** Then it is left to the next scrub: a busy extent is written, and so read back, all the time. */
const REVISITS_MAX = 5;
/** One extent fails so often before it is left to the next scrub. */
const ATTEMPTS_MAX = 10;

export class ScrubTask {
  readonly order: ScrubOrder;
  readonly #context: ScrubContext;
  #cursor: ExtentAddress | null;
  #totalExtents = 0;
  #doneExtents = 0;
  #skippedExtents = 0;
  #error = '';
  #isDone = false;
  #isCancelled = false;

  constructor(
    order: ScrubOrder,
    context: Omit<ScrubContext, 'allow' | 'findings'>,
    allow: (bytes: number) => Promise<void>,
  ) {
    this.order = order;
    this.#cursor = order.after;
    this.#context = {
      ...context,
      findings: { checkedBytes: 0, badBlocks: 0, differingBlocks: 0, healedExtents: 0 },
      allow: async (bytes) => {
        this.#check();
        await allow(bytes);
        this.#check();
      },
    };
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  cancel(): void {
    this.#isCancelled = true;
  }

  report(): ScrubReport {
    const { findings } = this.#context;
    return {
      job: this.order.job as JobId,
      pg: this.order.pg as PgId,
      disk: this.order.disk as DiskId,
      isDone: this.#isDone,
      position: this.#cursor,
      totalExtents: this.#totalExtents,
      doneExtents: this.#doneExtents,
      skippedExtents: this.#skippedExtents,
      ...findings,
      error: this.#error,
    };
  }

  async run(): Promise<void> {
    while (!this.#isCancelled && !this.#isDone) {
      try {
        await this.#pass();
        this.#isDone = true;
        this.#error = '';
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        if (this.#isCancelled) return;
        this.#error = describeError(error);
        await this.#rest(RETRY_MS);
      }
    }
  }

  async #pass(): Promise<void> {
    const addresses = await this.#listAll();
    const { after } = this.order;
    this.#totalExtents = addresses.length;
    const left = addresses.filter(
      (address) => this.#cursor === null || compare(address, this.#cursor) > 0,
    );
    this.#doneExtents = after === null ? addresses.length - left.length : 0;
    let again: ExtentAddress[] = [];
    for (const address of left) {
      if ((await this.#attempt(address)) === 'busy') again.push(address);
      this.#cursor = address;
      this.#doneExtents += 1;
    }
    for (let round = 0; round < REVISITS_MAX && again.length > 0; round += 1) {
      await this.#rest(REVISIT_MS);
      const busy: ExtentAddress[] = [];
      for (const address of again) {
        if ((await this.#attempt(address)) === 'busy') busy.push(address);
      }
      again = busy;
    }
    this.#skippedExtents = again.length;
  }

  async #attempt(address: ExtentAddress): Promise<ScrubOutcome> {
    for (let attempt = 1; ; attempt += 1) {
      this.#check();
      try {
        return await scrubExtent(this.#context, address);
      } catch (error) {
        if (!(error instanceof StorageError) || this.#isCancelled) throw error;
        if (error.code === 'disk-failed') throw error;
        this.#error = describeError(error);
        if (attempt >= ATTEMPTS_MAX) return 'busy';
        await this.#rest(RETRY_MS);
      }
    }
  }

  /** Of all in-sync replicas, in order: an extent may be missing on any of them. */
  async #listAll(): Promise<readonly ExtentAddress[]> {
    const { disk, map, pg } = this.#context;
    const view = map.pgs.get(pg as PgId);
    const found = new Map<string, ExtentAddress>();
    const add = ({ volume, layer, extent }: ExtentAddress): void => {
      if (this.order.volume !== null && volume !== this.order.volume) return;
      const address = { volume, layer, extent };
      found.set(keyOf(address), address);
    };
    for (let after: ExtentAddress | null = null; ; ) {
      const page = disk.store.listExtents(pg, after, LOCAL_PAGE);
      for (const entry of page.entries) add(entry);
      after = page.next;
      if (after === null) break;
    }
    if (view?.inSync.includes(disk.id) === true) {
      for (const member of view.inSync) {
        if (member !== disk.id) await this.#listRemote(view, member, add);
      }
    }
    return [...found.values()].sort(compare);
  }

  async #listRemote(
    view: PgView,
    member: DiskId,
    add: (address: ExtentAddress) => void,
  ): Promise<void> {
    const { clock, peers } = this.#context;
    const peer = peers.ofDisk(member);
    if (peer === null) throw new StorageError('unavailable', `Disk d${member} cannot be asked now`);
    let after: ExtentAddress = { volume: 0, layer: 0, extent: 0 };
    for (let isFirst = true; ; isFirst = false) {
      this.#check();
      const at = { pg: view.id, epoch: view.epoch, sourceDisk: member };
      const frame = sourceFrame(at, OP.list, after);
      frame.aux = isFirst ? 1 : 0;
      const answer = await callPeer(peer, frame, clock, CALL_MS);
      const entries = decodeList(answer.data);
      if (entries === null) throw new StorageError('protocol', 'A replica sent a malformed list');
      for (const entry of entries) add(entry);
      const last = entries.at(-1);
      if (answer.aux === 0 || last === undefined) return;
      after = last;
    }
  }

  #check(): void {
    if (this.#isCancelled) throw new StorageError('unavailable', 'The scrub was called off');
  }

  #rest(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#context.clock.after(ms, resolve);
    });
  }
}

function compare(a: ExtentAddress, b: ExtentAddress): number {
  return a.volume - b.volume || a.layer - b.layer || a.extent - b.extent;
}
