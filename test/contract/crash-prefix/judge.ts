/**
 * What a store had promised up to some point of a record, told by marks, and whether a store that was opened
 * again keeps it: every block holds what it may, stamps are honest, epochs and generations did not fall,
 * usage adds up. It knows nothing of files.
 */
import { expect } from 'chai';
import type { ExtentStore } from '../../../executor/disk/extent-store.ts';
import type { ExtentAddress } from '../../../executor/disk/store-types.ts';
import { BLOCK_BYTES, EXTENT_BYTES } from '../../../shared/base/units.ts';
import { PRESENCE } from '../../../shared/wire/data-protocol.ts';
import type { BlockValue } from '../../unit/disk/block-model.ts';
import { ABSENT, BlockModel, expectAllowed } from '../../unit/disk/block-model.ts';
import { OK, readFrom } from '../../unit/disk/store-fixture.ts';
import type { CrashKind, Mark } from './disk-events.ts';

/** Blocks that are used: two stretches, so that spans with gaps occur. */
export const STRETCHES = [
  { block: 0, count: 24 },
  { block: 1018, count: 6 },
] as const;
/** Per layer: few, because judging one reads all of its 4 MiB. */
export const EXTENTS = 2;

export class Judge {
  #model = new BlockModel();
  readonly #open = new Map<number, (isDone: boolean) => void>();
  readonly #flushes = new Map<number, ReadonlySet<unknown>>();
  readonly #cleanValues = new Map<string, ReadonlyMap<string, readonly BlockValue[]>>();
  readonly #uncertain = new Set<string>();
  readonly #epochs = new Map<number, number>();
  readonly #generations = new Map<number, number>();
  #incarnation: number | null = null;
  /** PG epoch of each write, by the number that its blocks are stamped with. */
  readonly #writeEpochs: ReadonlyMap<number, number>;

  constructor(writeEpochs: ReadonlyMap<number, number>) {
    this.#writeEpochs = writeEpochs;
  }

  apply(mark: Mark): void {
    switch (mark.kind) {
      case 'begin':
        this.#open.set(mark.id, this.#model.begin(mark.key, mark.value));
        break;
      case 'end':
        this.#open.get(mark.id)?.(mark.isDone);
        this.#open.delete(mark.id);
        break;
      case 'flush-begin':
        this.#flushes.set(mark.id, this.#model.ackedNow());
        break;
      case 'flush-end':
        this.#model.flushed(this.#flushes.get(mark.id) ?? new Set());
        break;
      case 'clean':
        for (const name of mark.extents) this.#noteClean(name);
        break;
      case 'uncertain':
        this.#uncertain.add(mark.extent);
        break;
      case 'open':
        this.#incarnation = mark.incarnation;
        break;
      case 'epoch':
        this.#epochs.set(mark.pg, Math.max(mark.epoch, this.#epochs.get(mark.pg) ?? 0));
        break;
      case 'generation':
        this.#generations.set(mark.volume, mark.generation);
        break;
      case 'settled':
        this.#model = new BlockModel();
        for (const [key, value] of mark.found) this.#model.settle(key, value);
        this.#open.clear();
        this.#flushes.clear();
        this.#uncertain.clear();
        break;
    }
  }

  /** Throws unless the store, opened after that crash, keeps every promise; returns what it holds. */
  async check(store: ExtentStore, kind: CrashKind): Promise<ReadonlyMap<string, BlockValue>> {
    if (this.#incarnation !== null) {
      const [before, now] = [this.#incarnation, store.incarnation];
      if (kind === 'power') expect(now, 'lost memory shows').to.be.above(before);
      else expect(now, 'memory that was kept').to.equal(before);
    }
    for (const [pg, epoch] of this.#epochs) {
      expect(store.epochOf(pg), `epoch of PG ${pg}`).to.be.at.least(epoch);
    }
    for (const [volume, generation] of this.#generations) {
      expect(store.generationOf(volume), `generation of volume ${volume}`).to.be.at.least(
        generation,
      );
    }
    const found = await valuesOf(store);
    for (const address of allAddresses()) this.#checkExtent(store, address, found, kind);
    checkUsage(store);
    return found;
  }

  #checkExtent(
    store: ExtentStore,
    address: ExtentAddress,
    found: ReadonlyMap<string, BlockValue>,
    kind: CrashKind,
  ): void {
    const stamp = store.stampOf(address);
    const isClean = stamp !== null && !stamp.dirty && !stamp.incomplete;
    const clean = this.#cleanValues.get(nameOf(address));
    for (const block of usedBlocks()) {
      const key = keyOf(address, block);
      const value = found.get(key) ?? ABSENT;
      const isPower = kind === 'power';
      const allowed = isPower ? this.#model.afterPowerLoss(key) : this.#model.possible(key);
      expectAllowed(value, allowed, key, isPower);
      if (isClean && isPower) {
        expect(clean, `${key}: clean without ever having been cleaned`).to.not.equal(undefined);
        expectAllowed(value, clean?.get(key) ?? [ABSENT], `${key} of a clean extent`, false);
      }
      this.#checkEpoch(key, value, stamp?.epoch ?? 0);
    }
  }

  /** A stamp never names an earlier epoch than the writes whose blocks are there. */
  #checkEpoch(key: string, value: BlockValue, epoch: number): void {
    for (const at of [0, BLOCK_BYTES - 4]) {
      const written = this.#writeEpochs.get(value.bytes?.readUInt32LE(at) ?? 0) ?? 0;
      expect(epoch, `${key}: epoch of the stamp`).to.be.at.least(written);
    }
  }

  /** Power loss must not change a clean extent: what it holds now stays, until it is dirty durably. */
  #noteClean(name: string): void {
    const values = new Map<string, readonly BlockValue[]>();
    for (const block of usedBlocks()) {
      const key = `${name}:${block}`;
      // In flight behind the stamp: nothing of it has landed.
      const possible = this.#model.possible(key);
      values.set(key, this.#uncertain.has(name) ? possible : possible.slice(0, 1));
    }
    this.#cleanValues.set(name, values);
  }
}

async function valuesOf(store: ExtentStore): Promise<ReadonlyMap<string, BlockValue>> {
  const found = new Map<string, BlockValue>();
  for (const address of allAddresses()) {
    if (store.stampOf(address) === null) continue;
    for (const { block, count } of STRETCHES) {
      const presence = new Uint8Array(Math.ceil(count / 4));
      await new Promise((resolve) => store.presenceOf(address, block, count, presence, resolve));
      const result = await readFrom(store, address, block, count);
      expect(
        result.status,
        `reading ${keyOf(address, block)}: bad block ${result.badBlock}`,
      ).to.equal(OK);
      for (let index = 0; index < count; index += 1) {
        const value = ((presence[index >> 2] ?? 0) >> ((index & 3) * 2)) & 3;
        const bytes = result.data.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES);
        const isData = value === PRESENCE.data;
        if (!isData) {
          expect(bytes.equals(ZEROS), `${keyOf(address, block + index)} reads as zeros`).to.equal(
            true,
          );
        }
        found.set(keyOf(address, block + index), {
          presence: value,
          bytes: isData ? Buffer.from(bytes) : null,
        });
      }
    }
  }
  return found;
}

function checkUsage(store: ExtentStore): void {
  const usage = store.usage();
  expect(usage.usedSlots, 'slots in use').to.be.at.most(usage.slotCount);
  expect(usage.usedBytes, 'bytes in use').to.equal(usage.usedSlots * EXTENT_BYTES);
  const sum = (entries: readonly { readonly bytes: number }[]): number =>
    entries.reduce((total, entry) => total + entry.bytes, 0);
  expect(sum(store.volumeUsage()), 'bytes of volumes add up').to.equal(usage.usedBytes);
  expect(sum(store.pgUsage()), 'bytes of PGs add up').to.equal(usage.usedBytes);
}

const ZEROS = Buffer.alloc(BLOCK_BYTES);

export function nameOf(address: ExtentAddress): string {
  return `${address.volume}/${address.layer}/${address.extent}`;
}

export function keyOf(address: ExtentAddress, block: number): string {
  return `${nameOf(address)}:${block}`;
}

export function* allAddresses(): Iterable<ExtentAddress> {
  for (const volume of [1, 2]) {
    for (const layer of [0, 1]) {
      for (let extent = 0; extent < EXTENTS; extent += 1) yield { volume, layer, extent };
    }
  }
}

export function* usedBlocks(): Iterable<number> {
  for (const { block, count } of STRETCHES) {
    for (let index = 0; index < count; index += 1) yield block + index;
  }
}
