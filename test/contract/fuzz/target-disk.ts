/**
 * What lies on a disk, damaged: superblock, journal, index, map file. A whole store is opened over it: that
 * either works, or is refused with a reason; and what opened can be read and closed.
 */
import { expect } from 'chai';
import type { ExtentStore } from '../../../executor/disk/extent-store.ts';
import {
  encodeEntry,
  encodeNumber,
  encodeTable,
  entryKey,
  epochKey,
  generationKey,
  JOURNAL_KEY,
  TABLE_BYTES,
  tableKey,
} from '../../../executor/disk/index-records.ts';
import { journalName } from '../../../executor/disk/journal.ts';
import type { JournalRecord } from '../../../executor/disk/journal-records.ts';
import { encodeRecord, NO_SLOT, RECORD_BYTES_MAX } from '../../../executor/disk/journal-records.ts';
import {
  decodeSuperblock,
  encodeSuperblock,
  SUPERBLOCK_NAME,
} from '../../../executor/disk/superblock.ts';
import { crc32c } from '../../../shared/base/crc32c.ts';
import { describeError, StorageError } from '../../../shared/base/errors.ts';
import type { Prng } from '../../../shared/base/prng.ts';
import { BLOCKS_PER_EXTENT, KiB, MiB } from '../../../shared/base/units.ts';
import type { IndexChange } from '../../../shared/ports.ts';
import { STATUS } from '../../../shared/wire/data-protocol.ts';
import { decodeDurableMap, encodeDurableMap } from '../../../shared/wire/durable-map.ts';
import { at, StoreFixture } from '../../unit/disk/store-fixture.ts';
import type { FuzzTarget } from './fuzz-target.ts';
import { decodeOrRefuse, expectReason } from './fuzz-target.ts';
import { EXTREMES } from './mutation.ts';

const SLOTS = 4;
/** Of a journal's file, the tables and the memory of a simulated disk. */
const STORE_MEMORY_BYTES = 48 * MiB;

export function superblockTarget(): FuzzTarget {
  return {
    name: 'superblock',
    corpus: [superblock()],
    generate: (prng) => {
      const text = Buffer.from(superblock()).toString();
      const field = prng.pick(['format', 'diskId', 'clusterId', 'uuid', 'magic', 'crc32c']);
      const value = prng.pick([...EXTREMES.map(String), 'null', '[]', '{}', '"x"', '1e999']);
      return Buffer.from(text.replace(new RegExp(`"${field}": [^,\n]*`), `"${field}": ${value}`));
    },
    memoryBytesMax: MiB,
    run: (input) => {
      decodeOrRefuse(() => decodeSuperblock(input));
    },
  };
}

export function mapFileTarget(): FuzzTarget {
  const body = Buffer.from('not looked at here: target-control.ts does');
  const bytes = encodeDurableMap({ term: 3, version: 9, writtenAtMs: 1e12, body });
  return {
    name: 'map-file',
    corpus: [bytes],
    memoryBytesMax: MiB,
    run: (input) => {
      decodeOrRefuse(() => decodeDurableMap(input));
    },
  };
}

// ── Journal ──────────────────────────────────────────────────────────────────────────────────

export function journalTarget(): FuzzTarget {
  const work: readonly JournalRecord[] = [
    { type: 'extent', flags: 5, ...at(0), pg: 1, slot: 0, epoch: 1 },
    { type: 'presence', flags: 0, ...at(0), block: 0, count: 4, presence: 1, prior: 0 },
    { type: 'extent', flags: 5, ...at(1), pg: 1, slot: 1, epoch: 2 },
    { type: 'presence', flags: 1, ...at(1), block: 1020, count: 4, presence: 2, prior: 0 },
    { type: 'settled', through: 3 },
    { type: 'synced', through: 4 },
    { type: 'epoch', pg: 1, epoch: 7 },
    { type: 'generation', volume: 1, generation: 3 },
    { type: 'removal', ...at(1) },
  ];
  return {
    name: 'journal',
    corpus: [journalOf(work), journalOf([...work, { type: 'end' }])],
    generate: (prng) => journalOf(Array.from({ length: prng.below(30) }, () => anyRecord(prng))),
    memoryBytesMax: STORE_MEMORY_BYTES,
    run: (input) =>
      openOver((fixture) => fixture.disk.writeFile(journalName(1), Uint8Array.from(input))),
  };
}

function journalOf(records: readonly JournalRecord[]): Buffer {
  const fixture = new StoreFixture();
  const uuidChecksum = crc32c(new TextEncoder().encode(fixture.options.uuid));
  const { diskId } = fixture.options;
  const all: JournalRecord[] = [{ type: 'file', diskId, uuidChecksum, number: 1 }, ...records];
  const bytes = Buffer.alloc(all.length * RECORD_BYTES_MAX + 4 * KiB);
  let end = 0;
  all.forEach((record, index) => {
    end += encodeRecord(record, 1 + index, bytes, end);
  });
  return bytes.subarray(0, end + 100);
}

/** Right checksum and sequence, any content, in an order that nobody writes. */
function anyRecord(prng: Prng): JournalRecord {
  const address = { volume: prng.below(3), layer: prng.below(2), extent: prng.below(3) };
  const number = prng.chance(0.7) ? prng.below(6) : Number(prng.pick(EXTREMES) & 0xffff_ffffn);
  const slot = prng.chance(0.2) ? NO_SLOT : number;
  const block = prng.below(BLOCKS_PER_EXTENT);
  const count = prng.between(1, BLOCKS_PER_EXTENT - block);
  const choices: readonly JournalRecord[] = [
    { type: 'extent', flags: prng.below(256), ...address, pg: number, slot, epoch: number },
    {
      type: 'presence',
      flags: prng.below(4),
      ...address,
      block,
      count,
      presence: prng.below(3),
      prior: prng.below(3),
    },
    { type: 'removal', ...address },
    { type: 'epoch', pg: number, epoch: number },
    { type: 'generation', volume: number, generation: number },
    { type: 'settled', through: number },
    { type: 'synced', through: number },
    { type: 'end' },
    { type: 'file', diskId: 7, uuidChecksum: number, number },
  ];
  return prng.pick([...choices, ...choices.slice(0, 3)]);
}

// ── Index ────────────────────────────────────────────────────────────────────────────────────

/** Entries as: length of the key, key, length of the value (two bytes), value. */
export function indexTarget(): FuzzTarget {
  const table = new Uint8Array(TABLE_BYTES);
  const entry = { pg: 1, slot: 0, epoch: 1, flags: 1, dataBlocks: 0, zeroBlocks: 0 };
  const entries: readonly IndexChange[] = [
    { key: entryKey(at(0)), value: encodeEntry(entry) },
    { key: tableKey(at(0)), value: encodeTable(table) },
    { key: entryKey(at(1)), value: encodeEntry({ ...entry, slot: 1, flags: 0 }) },
    { key: epochKey(1), value: encodeNumber(7) },
    { key: generationKey(1), value: encodeNumber(3) },
    { key: JOURNAL_KEY, value: encodeNumber(1) },
  ];
  return {
    name: 'index',
    corpus: [pack(entries), ...entries.map((one) => pack([one]))],
    generate: (prng) => pack(Array.from({ length: prng.between(1, 8) }, () => anyEntry(prng))),
    memoryBytesMax: STORE_MEMORY_BYTES,
    run: (input) =>
      openOver((fixture) => {
        const index = fixture.disk.openIndex('index');
        return fixture.wait(
          new Promise<void>((resolve) => index.commit(unpack(input), () => resolve())),
        );
      }),
  };
}

function pack(entries: readonly IndexChange[]): Buffer {
  const parts: Buffer[] = [];
  for (const { key, value } of entries) {
    const head = Buffer.alloc(3);
    head[0] = key.length;
    head.writeUInt16LE(value?.length ?? 0, 1);
    parts.push(head.subarray(0, 1), Buffer.from(key), head.subarray(1), Buffer.from(value ?? []));
  }
  return Buffer.concat(parts);
}

function unpack(input: Uint8Array): readonly IndexChange[] {
  const bytes = Buffer.from(input);
  const entries: IndexChange[] = [];
  for (let position = 0; position < bytes.length; ) {
    const keyEnd = position + 1 + (bytes[position] ?? 0);
    if (keyEnd + 2 > bytes.length) break;
    const end = Math.min(bytes.length, keyEnd + 2 + bytes.readUInt16LE(keyEnd));
    entries.push({
      key: bytes.subarray(position + 1, keyEnd),
      value: bytes.subarray(keyEnd + 2, end),
    });
    position = end;
  }
  return entries.filter(({ key }) => key.length > 0);
}

/** Intact by its checksum, with any content. */
function anyEntry(prng: Prng): IndexChange {
  const number = prng.chance(0.7) ? prng.below(6) : Number(prng.pick(EXTREMES) & 0xffff_ffffn);
  const address = at(prng.below(3));
  const dataBlocks = prng.below(BLOCKS_PER_EXTENT + 1);
  const entry = {
    pg: number,
    slot: prng.chance(0.5) ? prng.below(SLOTS) : number,
    epoch: number,
    flags: prng.below(9),
    dataBlocks,
    zeroBlocks: prng.below(BLOCKS_PER_EXTENT - dataBlocks + 1),
  };
  return prng.pick([
    { key: entryKey(address), value: encodeEntry(entry) },
    { key: entryKey(address), value: encodeEntry(entry) },
    { key: tableKey(address), value: encodeTable(prng.bytes(TABLE_BYTES)) },
    { key: epochKey(number), value: encodeNumber(number) },
    { key: generationKey(number), value: encodeNumber(number) },
    { key: JOURNAL_KEY, value: encodeNumber(number) },
  ]);
}

// ── A store over it ──────────────────────────────────────────────────────────────────────────

async function openOver(damage: (fixture: StoreFixture) => void | Promise<void>): Promise<void> {
  const fixture = new StoreFixture({ slots: SLOTS });
  fixture.disk.writeFile(SUPERBLOCK_NAME, superblock());
  await damage(fixture);
  let store: ExtentStore;
  try {
    store = await fixture.open();
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    expectReason(describeError(error));
    return;
  }
  for (const { pg } of store.pgUsage()) {
    for (const entry of store.listExtents(pg, null, 100).entries) {
      const { status } = await fixture.read(store, entry, 0, 8);
      expect([STATUS.ok, STATUS.checksum, STATUS.diskFailed], 'a read').to.include(status);
    }
  }
  if (store.failure !== null) expectReason(store.failure);
  await fixture.wait(store.close());
}

function superblock(): Uint8Array {
  return encodeSuperblock(new StoreFixture({ slots: SLOTS }).options);
}
