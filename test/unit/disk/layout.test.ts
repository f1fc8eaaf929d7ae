/** The formats on disk: round trips, golden bytes, truncations, corruption. */
import { expect } from 'chai';
import {
  decodeEntry,
  decodeEntryKey,
  decodeNumber,
  decodeTable,
  encodeEntry,
  encodeNumber,
  encodeTable,
  entryKey,
  TABLE_BYTES,
} from '../../../executor/disk/index-records.ts';
import type { JournalRecord } from '../../../executor/disk/journal-records.ts';
import {
  decodeRecord,
  encodeRecord,
  RECORD_BYTES_MAX,
} from '../../../executor/disk/journal-records.ts';
import {
  copyPresence,
  countPresence,
  isAllData,
  PRESENCE_BYTES,
  presenceAt,
  runEnd,
  setPresence,
} from '../../../executor/disk/presence.ts';
import { decodeSuperblock, encodeSuperblock } from '../../../executor/disk/superblock.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { PRESENCE } from '../../../shared/wire/data-protocol.ts';

const ADDRESS = { volume: 0xffff_ffff, layer: 3, extent: 77 };

const RECORDS: readonly JournalRecord[] = [
  { type: 'file', diskId: 7, uuidChecksum: 0xdeadbeef, number: 12 },
  { type: 'extent', flags: 5, ...ADDRESS, pg: 9, slot: 0xffff_ffff, epoch: 4 },
  { type: 'presence', flags: 1, ...ADDRESS, block: 1000, count: 24, presence: 1, prior: 2 },
  { type: 'removal', ...ADDRESS },
  { type: 'epoch', pg: 1, epoch: 0xffff_fffe },
  { type: 'generation', volume: 3, generation: 0 },
  { type: 'settled', through: 2 ** 40 + 5 },
  { type: 'end' },
  { type: 'synced', through: 2 ** 33 },
];

const GOLDEN_ENTRY = '05000000ff0300000900000007000000e8031800341012a4';
const GOLDEN_SUPERBLOCK = `{
  "magic": "cistern-disk",
  "format": 1,
  "clusterId": "c-1",
  "diskId": 7,
  "uuid": "u-1",
  "capacityBytes": 1073741824,
  "crc32c": "3dc608c6"
}
`;

const GOLDEN = [
  'ca5c1d8c2400010001000000000000004349534a0100000007000000efbeadde0c000000',
  'ecd397c5280002050200000000000000ffffffff030000004d00000009000000ffffffff04000000',
  '67ce1536240003010300000000000000ffffffff030000004d000000e803180001000200',
  '5ece7e7f1c0004000400000000000000ffffffff030000004d000000',
  'd1b5195c18000500050000000000000001000000feffffff',
  '9137ffa61800060006000000000000000300000000000000',
  '19d2be4d1800070007000000000000000500000000010000',
  '9a82a836100008000800000000000000',
  'cf6f92c91800090009000000000000000000000002000000',
];

function encoded(record: JournalRecord, sequence = 2 ** 33 + 1): Buffer {
  const bytes = Buffer.alloc(RECORD_BYTES_MAX);
  return bytes.subarray(0, encodeRecord(record, sequence, bytes, 0));
}

describe('layout: journal records', () => {
  for (const record of RECORDS) {
    it(`journal record: ${record.type}, comes back as it was`, () => {
      const bytes = encoded(record);
      expect(decodeRecord(bytes, 0)).to.deep.equal({
        record,
        sequence: 2 ** 33 + 1,
        length: bytes.length,
      });
    });

    it(`journal record: ${record.type}, every truncation and every changed byte is refused`, () => {
      const bytes = encoded(record);
      for (let length = 0; length < bytes.length; length += 1) {
        expect(decodeRecord(bytes.subarray(0, length), 0), `length ${length}`).to.equal(null);
      }
      for (let index = 0; index < bytes.length; index += 1) {
        for (const change of [0x01, 0x80, 0xff]) {
          const damaged = Buffer.from(bytes);
          damaged[index] = (damaged[index] ?? 0) ^ change;
          expect(decodeRecord(damaged, 0), `byte ${index}`).to.equal(null);
        }
      }
    });
  }

  it('journal record: golden bytes of all types, as written by format version 1', () => {
    const bytes = RECORDS.map((record, index) => encoded(record, index + 1).toString('hex'));
    expect(bytes).to.deep.equal(GOLDEN);
  });

  it('journal record: zeros and noise, no record', () => {
    expect(decodeRecord(Buffer.alloc(64), 0)).to.equal(null);
    const prng = new Prng(5);
    for (let round = 0; round < 200; round += 1) {
      expect(decodeRecord(Buffer.from(prng.bytes(64)), 0)).to.equal(null);
    }
  });
});

describe('layout: index records', () => {
  it('index entry: round trip, truncation, every changed byte refused', () => {
    const entry = { pg: 5, slot: 1023, epoch: 9, flags: 7, dataBlocks: 1000, zeroBlocks: 24 };
    const bytes = encodeEntry(entry);
    expect(bytes.toString('hex')).to.equal(GOLDEN_ENTRY);
    expect(decodeEntry(bytes)).to.deep.equal(entry);
    for (let length = 0; length < bytes.length; length += 1) {
      expect(decodeEntry(bytes.subarray(0, length)), `length ${length}`).to.equal(null);
    }
    for (let index = 0; index < bytes.length; index += 1) {
      const damaged = Buffer.from(bytes);
      damaged[index] = (damaged[index] ?? 0) ^ 0x10;
      expect(decodeEntry(damaged), `byte ${index}`).to.equal(null);
    }
  });

  it('index key: sorts by volume, layer, extent, and comes back', () => {
    const low = entryKey({ volume: 1, layer: 255, extent: 0xffff_ffff });
    const high = entryKey({ volume: 256, layer: 0, extent: 0 });
    expect(Buffer.compare(low, high)).to.equal(-1);
    expect(decodeEntryKey(entryKey(ADDRESS))).to.deep.equal(ADDRESS);
    expect(decodeEntryKey(low.subarray(1))).to.equal(null);
  });

  it('index table: round trip, every changed byte refused', () => {
    const table = new Prng(3).bytes(TABLE_BYTES);
    const bytes = encodeTable(table);
    const target = new Uint8Array(TABLE_BYTES);
    expect(decodeTable(bytes, target)).to.equal(true);
    expect(Buffer.compare(target, table)).to.equal(0);
    for (let index = 0; index < bytes.length; index += 1) {
      bytes[index] = (bytes[index] ?? 0) ^ 1;
      expect(decodeTable(bytes, target), `byte ${index}`).to.equal(false);
      bytes[index] = (bytes[index] ?? 0) ^ 1;
    }
    expect(decodeTable(bytes.subarray(1), target)).to.equal(false);
  });

  it('index number: round trip, damage refused', () => {
    const bytes = encodeNumber(0xffff_fff0);
    expect(decodeNumber(bytes)).to.equal(0xffff_fff0);
    bytes[1] = 0;
    expect(decodeNumber(bytes)).to.equal(null);
    expect(decodeNumber(bytes.subarray(0, 4))).to.equal(null);
  });
});

describe('layout: superblock', () => {
  const superblock = { clusterId: 'c-1', diskId: 7, uuid: 'u-1', capacityBytes: 1 << 30 };

  it('superblock: round trip and golden text', () => {
    const bytes = encodeSuperblock(superblock);
    expect(decodeSuperblock(bytes)).to.deep.equal(superblock);
    expect(new TextDecoder().decode(bytes)).to.equal(GOLDEN_SUPERBLOCK);
  });

  it('superblock: every truncation and every changed byte, refused', () => {
    const bytes = encodeSuperblock(superblock);
    for (let length = 0; length < bytes.length; length += 1) {
      expect(() => decodeSuperblock(bytes.subarray(0, length)), `length ${length}`).to.throw(
        StorageError,
      );
    }
    for (let index = 0; index < bytes.length; index += 1) {
      for (const change of [0x01, 0x20, 0x80]) {
        const damaged = Uint8Array.from(bytes);
        damaged[index] = (damaged[index] ?? 0) ^ change;
        expect(() => decodeSuperblock(damaged), `byte ${index}`).to.throw(StorageError);
      }
    }
  });
});

describe('layout: presence', () => {
  it('presence: random changes, agrees with a plain array', () => {
    const prng = new Prng(11);
    const map = new Uint8Array(PRESENCE_BYTES);
    const plain = new Array<number>(1024).fill(0);
    for (let round = 0; round < 500; round += 1) {
      const block = prng.below(1024);
      const count = prng.between(1, 1024 - block);
      const value = prng.below(3);
      setPresence(map, block, count, value);
      plain.fill(value, block, block + count);
      const from = prng.below(1024);
      const length = prng.between(1, 1024 - from);
      const part = plain.slice(from, from + length);
      expect(presenceAt(map, from)).to.equal(plain[from]);
      expect(isAllData(map, from, length)).to.equal(part.every((one) => one === PRESENCE.data));
      expect(countPresence(map, from, length, 2)).to.equal(part.filter((one) => one === 2).length);
      const change = part.findIndex((one) => one !== part[0]);
      expect(runEnd(map, from, from + length)).to.equal(change < 0 ? from + length : from + change);
      const copy = new Uint8Array(PRESENCE_BYTES).fill(0xff);
      copyPresence(map, from, length, copy);
      for (let index = 0; index < length; index += 1) {
        expect(presenceAt(copy, index), `block ${index}`).to.equal(part[index]);
      }
    }
  });
});
