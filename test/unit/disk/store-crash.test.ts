/**
 * Random work on a small store, with crashes. After every crash each block must hold what the rules
 * allow: acked writes survive the process, flushed ones power loss; never another owner's bytes;
 * never a changed block in an extent that is not marked dirty.
 */
import { expect } from 'chai';
import type { ExtentStore } from '../../../executor/disk/extent-store.ts';
import type { ExtentAddress } from '../../../executor/disk/store-types.ts';
import { present } from '../../../shared/base/assert.ts';
import type { Prng } from '../../../shared/base/prng.ts';
import { BLOCK_BYTES, KiB, MiB } from '../../../shared/base/units.ts';
import { PRESENCE, STATUS } from '../../../shared/wire/data-protocol.ts';
import type { BlockValue } from './block-model.ts';
import { ABSENT, BlockModel, expectAllowed, stamped, ZERO } from './block-model.ts';
import { checksumsOf, OK, readFrom, StoreFixture, writeOf } from './store-fixture.ts';

const SLOTS = 10;
const EXTENTS = 4;
/** Blocks that are used: two stretches, so that spans with gaps occur. */
const FIRST_BLOCKS = 40;
const LAST_BLOCKS = 8;

class CrashRun {
  readonly fixture: StoreFixture;
  readonly prng: Prng;
  readonly model = new BlockModel();
  readonly epochs = new Map<number, number>();
  readonly generations = new Map<number, number>();
  /** Values of an extent's blocks when it was last seen clean. */
  readonly cleanValues = new Map<string, Map<string, readonly BlockValue[]>>();
  /** Extents on which a pull was refused in part: only reading tells what they hold. */
  readonly uncertain = new Set<string>();
  #store: ExtentStore | null = null;
  writes = 0;
  incarnation = 0;

  constructor(seed: number) {
    this.fixture = new StoreFixture({
      seed,
      slots: SLOTS,
      tuning: {
        journalCheckpointBytes: 4 * KiB,
        journalBytesMax: 4 * MiB,
        syncWriteBytesMax: 16 * KiB,
        pinnedTablesMax: 6,
        tableCacheCount: 64,
        backgroundSyncBytes: 256 * KiB,
      },
    });
    this.prng = this.fixture.prng.fork('work');
  }

  get store(): ExtentStore {
    return present(this.#store, 'open store');
  }

  async run(steps: number): Promise<void> {
    this.#store = await this.fixture.open();
    for (let step = 0; step < steps; step += 1) {
      this.noteClean();
      const dice = this.prng.below(100);
      if (dice < 45) this.write();
      else if (dice < 57) this.zero();
      else if (dice < 64) this.read();
      else if (dice < 71) this.flush();
      else if (dice < 77) this.clean();
      else if (dice < 80) this.remove();
      else if (dice < 83) this.adopt();
      else if (dice < 87) this.pull();
      else if (dice < 89) this.stamp();
      else if (dice < 97) await this.fixture.idle(this.prng.pick([0, 0.05, 0.2, 1]));
      else await this.end();
    }
    await this.fixture.idle(1000);
    await this.checkAll(false);
  }

  address(): ExtentAddress {
    return {
      volume: 1 + this.prng.below(2),
      layer: this.prng.below(2),
      extent: this.prng.below(EXTENTS),
    };
  }

  range(): { block: number; count: number } {
    if (this.prng.chance(0.2)) {
      const block = 1024 - LAST_BLOCKS + this.prng.below(LAST_BLOCKS);
      return { block, count: this.prng.between(1, 1024 - block) };
    }
    const block = this.prng.below(FIRST_BLOCKS);
    const most = this.prng.chance(0.2) ? FIRST_BLOCKS - block : 3;
    return { block, count: Math.min(FIRST_BLOCKS - block, this.prng.between(1, most)) };
  }

  begin(address: ExtentAddress, block: number, values: readonly BlockValue[]) {
    const ends = values.map((value, index) =>
      this.model.begin(keyOf(address, block + index), value),
    );
    const { incarnation } = this;
    return (isDone: boolean): void => {
      if (incarnation === this.incarnation) for (const end of ends) end(isDone);
    };
  }

  write(): void {
    const address = this.address();
    const { block, count } = this.range();
    const blocks: Buffer[] = [];
    for (let index = 0; index < count; index += 1) {
      this.writes += 1;
      blocks.push(this.prng.chance(0.05) ? Buffer.alloc(BLOCK_BYTES) : stamped(this.writes));
    }
    const values = blocks.map((bytes) => ({ presence: PRESENCE.data, bytes }));
    const end = this.begin(address, block, values);
    const durable = this.prng.chance(0.1);
    const acked = durable ? this.model.ackedNow() : null;
    const { incarnation } = this;
    const epoch = this.prng.pick([1, 1, 1, 2, 3]);
    this.store.write(
      writeOf(address, block, Buffer.concat(blocks), { epoch, durable }),
      (status) => {
        expect([OK, STATUS.noSpace]).to.include(status);
        end(status === OK);
        if (status === OK && acked !== null && incarnation === this.incarnation)
          this.model.flushed(acked);
      },
    );
  }

  zero(): void {
    const address = this.address();
    const unmap = this.prng.chance(0.6);
    const isWhole = this.prng.chance(0.2);
    const { block, count } = isWhole ? { block: 0, count: 1024 } : this.range();
    const ends: ((isDone: boolean) => void)[] = [];
    for (let index = block; index < block + count; index += 1) {
      if (index >= FIRST_BLOCKS && index < 1024 - LAST_BLOCKS) continue;
      ends.push(this.begin(address, index, [unmap ? ABSENT : ZERO]));
    }
    const rest = { pg: 1, epoch: 1, durable: false, incomplete: false };
    this.store.zero({ ...address, ...rest, block, count, unmap }, (status) => {
      expect([OK, STATUS.noSpace]).to.include(status);
      for (const end of ends) end(status === OK);
    });
  }

  read(): void {
    const address = this.address();
    const { block, count } = this.range();
    const allowed: (readonly BlockValue[])[] = [];
    for (let index = 0; index < count; index += 1) {
      allowed.push(this.model.possible(keyOf(address, block + index)));
    }
    const { incarnation } = this;
    void readFrom(this.store, address, block, count).then((result) => {
      if (incarnation !== this.incarnation) return;
      expect(result.status).to.equal(OK);
      allowed.forEach((values, index) => {
        const bytes = result.data.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES);
        const isKnown = values.some((value) =>
          (value.bytes ?? Buffer.alloc(BLOCK_BYTES)).equals(bytes),
        );
        const where = `${keyOf(address, block + index)} of ${values.length} values`;
        expect(isKnown, `read of ${where} found ${bytes.readUInt32LE(0)}`).to.equal(true);
      });
    });
  }

  flush(): void {
    const acked = this.model.ackedNow();
    const { incarnation } = this;
    this.store.flush((status) => {
      expect(status).to.equal(OK);
      if (incarnation === this.incarnation) this.model.flushed(acked);
    });
  }

  clean(): void {
    const addresses = [this.address(), this.address(), this.address()];
    this.store.clean(addresses, () => this.noteClean());
  }

  remove(): void {
    const address = this.address();
    const ends: ((isDone: boolean) => void)[] = [];
    for (const block of usedBlocks()) ends.push(this.begin(address, block, [ABSENT]));
    this.store.deleteExtent(address, (status) => {
      expect(status).to.equal(OK);
      for (const end of ends) end(true);
    });
  }

  /** Blocks from elsewhere, onto an extent that is dirty or incomplete. */
  pull(): void {
    const address = this.address();
    const { block, count } = this.range();
    const presence = new Uint8Array(Math.ceil(count / 4));
    const values: BlockValue[] = [];
    const blocks: Buffer[] = [];
    for (let index = 0; index < count; index += 1) {
      const value = this.prng.pick([PRESENCE.data, PRESENCE.data, PRESENCE.zero, PRESENCE.absent]);
      presence[index >> 2] = (presence[index >> 2] ?? 0) | (value << ((index & 3) * 2));
      this.writes += 1;
      const bytes = value === PRESENCE.data ? stamped(this.writes) : Buffer.alloc(BLOCK_BYTES);
      blocks.push(bytes);
      values.push({ presence: value, bytes: value === PRESENCE.data ? bytes : null });
    }
    const data = Buffer.concat(blocks);
    const stamp = this.store.stampOf(address);
    if (stamp === null || !(stamp.dirty || stamp.incomplete)) return;
    const end = this.begin(address, block, values);
    const checksums = checksumsOf(data);
    this.store.applyPulled({ ...address, block, count, presence, checksums, data }, (status) => {
      // In part applied when the disk is full or the extent was deleted: it may be all or nothing per block.
      if (status === OK) end(true);
      else this.uncertain.add(nameOf(address));
    });
  }

  /** Weaker or stronger stamps, as resync sets them. */
  stamp(): void {
    const address = this.address();
    const dirty = this.prng.chance(0.3);
    const incomplete = this.prng.chance(0.3);
    const epoch = this.store.stampOf(address)?.epoch ?? 1;
    this.store.setStamp(address, 1, { epoch, dirty, incomplete }, (status) => {
      expect([OK, STATUS.noSpace]).to.include(status);
      // Before whoever waits behind it makes it dirty again.
      this.noteClean();
    });
  }

  adopt(): void {
    const pg = this.prng.below(3);
    const epoch = this.store.epochOf(pg) + this.prng.below(2);
    const volume = 1 + this.prng.below(2);
    const generation = this.store.generationOf(volume) + 1;
    this.store.adoptEpoch(pg, epoch, () =>
      this.epochs.set(pg, Math.max(epoch, this.epochs.get(pg) ?? 0)),
    );
    this.store.adoptGeneration(volume, generation, () => this.generations.set(volume, generation));
  }

  async end(): Promise<void> {
    const kind = this.prng.pick(['process', 'power', 'power', 'close'] as const);
    if (kind === 'close') {
      await this.fixture.wait(this.store.close());
      this.incarnation += 1;
    } else {
      this.incarnation += 1;
      this.fixture.disk.crash(kind, this.prng);
    }
    this.#store = await this.fixture.open();
    for (const [pg, epoch] of this.epochs) expect(this.store.epochOf(pg)).to.be.at.least(epoch);
    for (const [volume, generation] of this.generations) {
      expect(this.store.generationOf(volume)).to.be.at.least(generation);
    }
    await this.checkAll(kind === 'power');
    this.uncertain.clear();
  }

  /** Remembers what the extents hold that are clean now: power loss must not change them. */
  noteClean(): void {
    for (const address of allAddresses()) {
      const name = nameOf(address);
      const stamp = this.store.stampOf(address);
      // What it held when it was clean stays: a stamp that is dirty since may still be lost.
      if (stamp === null || stamp.dirty || stamp.incomplete) continue;
      const values = new Map<string, readonly BlockValue[]>();
      for (const block of usedBlocks()) {
        const key = keyOf(address, block);
        // In flight behind the stamp: nothing of it has landed.
        const possible = this.model.possible(key);
        values.set(key, this.uncertain.has(name) ? possible : possible.slice(0, 1));
      }
      this.cleanValues.set(name, values);
    }
  }

  async checkAll(isPowerLoss: boolean): Promise<void> {
    for (const address of allAddresses()) {
      const stamp = this.store.stampOf(address);
      const clean = this.cleanValues.get(nameOf(address));
      for (const block of usedBlocks()) {
        const key = keyOf(address, block);
        const found = await this.valueOf(address, block);
        const allowed = isPowerLoss ? this.model.afterPowerLoss(key) : this.model.possible(key);
        expectAllowed(found, allowed, key, isPowerLoss);
        if (isPowerLoss && stamp !== null && !stamp.dirty && !stamp.incomplete) {
          expect(clean, `${key}: clean without ever having been cleaned`).to.not.equal(undefined);
          const values = clean?.get(key) ?? [ABSENT];
          expectAllowed(found, values, `${key} of a clean extent`, false);
        }
        this.model.settle(key, found);
      }
    }
    await this.fixture.idle(100);
    this.checkSlots();
  }

  async valueOf(address: ExtentAddress, block: number): Promise<BlockValue> {
    const presence = await this.fixture.presence(this.store, address, block);
    const result = await this.fixture.read(this.store, address, block, 1);
    expect(result.status, keyOf(address, block)).to.equal(OK);
    if (presence === PRESENCE.data) return { presence, bytes: Buffer.from(result.data) };
    expect(result.data.equals(Buffer.alloc(BLOCK_BYTES)), 'no data reads as zeros').to.equal(true);
    return { presence, bytes: null };
  }

  checkSlots(): void {
    const usage = this.store.usage();
    expect(usage.pendingSlots, 'freed slots come back').to.equal(0);
    expect(usage.usedSlots).to.be.at.most(SLOTS);
    const sum = this.store.volumeUsage().reduce((total, entry) => total + entry.bytes, 0);
    expect(sum, 'bytes of volumes add up').to.equal(usage.usedBytes);
  }
}

function nameOf(address: ExtentAddress): string {
  return `${address.volume}/${address.layer}/${address.extent}`;
}

function keyOf(address: ExtentAddress, block: number): string {
  return `${nameOf(address)}:${block}`;
}

function* allAddresses(): Iterable<ExtentAddress> {
  for (const volume of [1, 2]) {
    for (const layer of [0, 1]) {
      for (let extent = 0; extent < EXTENTS; extent += 1) yield { volume, layer, extent };
    }
  }
}

function* usedBlocks(): Iterable<number> {
  for (let block = 0; block < FIRST_BLOCKS; block += 1) yield block;
  for (let block = 1024 - LAST_BLOCKS; block < 1024; block += 1) yield block;
}

const SEEDS = Number(process.env['CISTERN_SEEDS'] ?? 12);
const FIRST_SEED = Number(process.env['CISTERN_FIRST_SEED'] ?? 1);

describe('extent store under crashes', () => {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed += 1) {
    it(`store: random work with crashes, every block holds what it may (seed ${seed})`, async () => {
      await new CrashRun(seed).run(400);
    }).timeout(120_000);
  }
});
