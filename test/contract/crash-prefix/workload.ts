/**
 * Random work on one store: everything its callers may ask of it, drawn from a seed. Each request and each
 * answer leaves a mark in the record, between the store's own events.
 */
import { expect } from 'chai';
import type { ExtentStore } from '../../../executor/disk/extent-store.ts';
import type { ExtentAddress } from '../../../executor/disk/store-types.ts';
import type { Prng } from '../../../shared/base/prng.ts';
import { BLOCK_BYTES, BLOCKS_PER_EXTENT } from '../../../shared/base/units.ts';
import { PRESENCE, STATUS } from '../../../shared/wire/data-protocol.ts';
import type { BlockValue } from '../../unit/disk/block-model.ts';
import { ABSENT, stamped, ZERO } from '../../unit/disk/block-model.ts';
import { checksumsOf, OK, writeOf } from '../../unit/disk/store-fixture.ts';
import type { Mark } from './disk-events.ts';
import { allAddresses, EXTENTS, keyOf, nameOf, STRETCHES, usedBlocks } from './judge.ts';

export interface WorkloadOptions {
  readonly prng: Prng;
  readonly mark: (mark: Mark) => void;
  /** Grows: PG epoch of each write by the number in its blocks. */
  readonly writeEpochs: Map<number, number>;
}

export class Workload {
  readonly #prng: Prng;
  readonly #mark: (mark: Mark) => void;
  readonly #writeEpochs: Map<number, number>;
  #nextId = 1;

  constructor(options: WorkloadOptions) {
    this.#prng = options.prng;
    this.#mark = options.mark;
    this.#writeEpochs = options.writeEpochs;
  }

  /** One request of any kind; its answer comes when the disk's do. */
  step(store: ExtentStore): void {
    const dice = this.#prng.below(100);
    if (dice < 48) this.#write(store);
    else if (dice < 62) this.#zero(store);
    else if (dice < 71) this.flush(store);
    else if (dice < 80) this.#clean(store);
    else if (dice < 85) this.#remove(store);
    else if (dice < 88) this.#adopt(store);
    else if (dice < 96) this.#pull(store);
    else this.#stamp(store);
  }

  /** Which extents are clean at this moment. */
  noteClean(store: ExtentStore): void {
    const extents: string[] = [];
    for (const address of allAddresses()) {
      const stamp = store.stampOf(address);
      if (stamp !== null && !stamp.dirty && !stamp.incomplete) extents.push(nameOf(address));
    }
    if (extents.length > 0) this.#mark({ kind: 'clean', extents });
  }

  flush(store: ExtentStore): void {
    const id = this.#take();
    this.#mark({ kind: 'flush-begin', id });
    store.flush((status) => {
      expect(status, 'flush').to.equal(OK);
      this.#mark({ kind: 'flush-end', id });
    });
  }

  /** A clean end makes everything durable that was answered before. */
  async close(store: ExtentStore, wait: (promise: Promise<void>) => Promise<void>): Promise<void> {
    const id = this.#take();
    this.#mark({ kind: 'flush-begin', id });
    this.#mark({ kind: 'open', incarnation: null });
    await wait(store.close());
    this.#mark({ kind: 'flush-end', id });
  }

  #write(store: ExtentStore): void {
    const address = this.#address();
    const { block, count } = this.#range();
    const epoch = this.#prng.pick([1, 1, 1, 2, 3]);
    const blocks: Buffer[] = [];
    for (let index = 0; index < count; index += 1) {
      blocks.push(this.#prng.chance(0.05) ? Buffer.alloc(BLOCK_BYTES) : this.#stampedBlock(epoch));
    }
    const end = this.#begin(
      address,
      block,
      blocks.map((bytes) => ({ presence: PRESENCE.data, bytes })),
    );
    const durable = this.#prng.chance(0.1);
    const flushId = this.#take();
    if (durable) this.#mark({ kind: 'flush-begin', id: flushId });
    store.write(writeOf(address, block, Buffer.concat(blocks), { epoch, durable }), (status) => {
      expect([OK, STATUS.noSpace], 'write').to.include(status);
      end(status === OK);
      if (durable && status === OK) this.#mark({ kind: 'flush-end', id: flushId });
    });
  }

  #zero(store: ExtentStore): void {
    const address = this.#address();
    const unmap = this.#prng.chance(0.6);
    const isWhole = this.#prng.chance(0.2);
    const { block, count } = isWhole ? { block: 0, count: BLOCKS_PER_EXTENT } : this.#range();
    const ends: ((isDone: boolean) => void)[] = [];
    for (const used of usedBlocks()) {
      if (used < block || used >= block + count) continue;
      ends.push(this.#begin(address, used, [unmap ? ABSENT : ZERO]));
    }
    const rest = { pg: 1, epoch: 1, durable: false, incomplete: false };
    store.zero({ ...address, ...rest, block, count, unmap }, (status) => {
      expect([OK, STATUS.noSpace], 'zero').to.include(status);
      for (const end of ends) end(status === OK);
    });
  }

  #clean(store: ExtentStore): void {
    const addresses = [this.#address(), this.#address(), this.#address()];
    store.clean(addresses, () => this.noteClean(store));
  }

  #remove(store: ExtentStore): void {
    const address = this.#address();
    const ends = [...usedBlocks()].map((block) => this.#begin(address, block, [ABSENT]));
    store.deleteExtent(address, (status) => {
      expect(status, 'delete').to.equal(OK);
      for (const end of ends) end(true);
    });
  }

  /** Blocks from elsewhere, onto an extent that is dirty or incomplete. */
  #pull(store: ExtentStore): void {
    const address = this.#address();
    const stamp = store.stampOf(address);
    if (stamp === null || !(stamp.dirty || stamp.incomplete)) return;
    const { block, count } = this.#range();
    const presence = new Uint8Array(Math.ceil(count / 4));
    const values: BlockValue[] = [];
    const blocks: Buffer[] = [];
    for (let index = 0; index < count; index += 1) {
      const value = this.#prng.pick([PRESENCE.data, PRESENCE.data, PRESENCE.zero, PRESENCE.absent]);
      presence[index >> 2] = (presence[index >> 2] ?? 0) | (value << ((index & 3) * 2));
      const bytes = value === PRESENCE.data ? this.#stampedBlock(0) : Buffer.alloc(BLOCK_BYTES);
      blocks.push(bytes);
      values.push({ presence: value, bytes: value === PRESENCE.data ? bytes : null });
    }
    const data = Buffer.concat(blocks);
    const end = this.#begin(address, block, values);
    const checksums = checksumsOf(data);
    store.applyPulled({ ...address, block, count, presence, checksums, data }, (status) => {
      // In part applied when the disk is full or the extent was deleted: it may be all or nothing per block.
      if (status === OK) end(true);
      else this.#mark({ kind: 'uncertain', extent: nameOf(address) });
    });
  }

  /** Weaker or stronger stamps, as resync sets them. */
  #stamp(store: ExtentStore): void {
    const address = this.#address();
    const dirty = this.#prng.chance(0.3);
    const incomplete = this.#prng.chance(0.3);
    const epoch = store.stampOf(address)?.epoch ?? 1;
    store.setStamp(address, 1, { epoch, dirty, incomplete }, (status) => {
      expect([OK, STATUS.noSpace], 'stamp').to.include(status);
      // Before whoever waits behind it makes it dirty again.
      this.noteClean(store);
    });
  }

  #adopt(store: ExtentStore): void {
    const pg = this.#prng.below(3);
    const epoch = store.epochOf(pg) + this.#prng.below(2);
    const volume = 1 + this.#prng.below(2);
    const generation = store.generationOf(volume) + 1;
    store.adoptEpoch(pg, epoch, (status) => {
      if (status === OK) this.#mark({ kind: 'epoch', pg, epoch });
    });
    store.adoptGeneration(volume, generation, (status) => {
      if (status === OK) this.#mark({ kind: 'generation', volume, generation });
    });
  }

  #begin(
    address: ExtentAddress,
    block: number,
    values: readonly BlockValue[],
  ): (isDone: boolean) => void {
    const ids = values.map((value, index) => {
      const id = this.#take();
      this.#mark({ kind: 'begin', id, key: keyOf(address, block + index), value });
      return id;
    });
    return (isDone) => {
      for (const id of ids) this.#mark({ kind: 'end', id, isDone });
    };
  }

  #stampedBlock(epoch: number): Buffer {
    const number = this.#writeEpochs.size + 1;
    this.#writeEpochs.set(number, epoch);
    return stamped(number);
  }

  #address(): ExtentAddress {
    return {
      volume: 1 + this.#prng.below(2),
      layer: this.#prng.below(2),
      extent: this.#prng.below(EXTENTS),
    };
  }

  #range(): { block: number; count: number } {
    const [first, last] = STRETCHES;
    const stretch = this.#prng.chance(0.2) ? last : first;
    const from = this.#prng.below(stretch.count);
    const most = this.#prng.chance(0.2) ? stretch.count - from : 3;
    const count = Math.min(stretch.count - from, this.#prng.between(1, most));
    return { block: stretch.block + from, count };
  }

  #take(): number {
    this.#nextId += 1;
    return this.#nextId;
  }
}
