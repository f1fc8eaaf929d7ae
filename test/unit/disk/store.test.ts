/** Behaviour of one store on a simulated disk, without the randomness of store-crash.test.ts. */
import { expect } from 'chai';
import { decodeRecord, type JournalRecord } from '../../../executor/disk/journal-records.ts';
import { slotOffset } from '../../../executor/disk/slab-files.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import { BLOCK_BYTES, KiB, MiB } from '../../../shared/base/units.ts';
import { PRESENCE, STATUS } from '../../../shared/wire/data-protocol.ts';
import { at, blocksOf, checksumsOf, OK, readFrom, StoreFixture, writeOf } from './store-fixture.ts';

async function rejection(promise: Promise<unknown>): Promise<StorageError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof StorageError) return error;
    throw error;
  }
  throw new Error('Expected a rejection');
}

/** Of the first journal file, in order, with their places in it. */
function recordsOf(
  fixture: StoreFixture,
): { readonly at: number; readonly record: JournalRecord }[] {
  const bytes = Buffer.from(fixture.disk.bytesOf('journal/000001.log'));
  const records: { at: number; record: JournalRecord }[] = [];
  for (let at = 0; ; ) {
    const found = decodeRecord(bytes, at);
    if (found === null) return records;
    records.push({ at, record: found.record });
    at += found.length;
  }
}

describe('extent store: blocks', () => {
  it('store: nothing written, reads zeros and says absent', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    const result = await fixture.read(store, at(0), 5, 3);
    expect(result).to.include({ status: OK, dataBlocks: 0, absentBlocks: 3 });
    expect(result.data.equals(blocksOf(3, 0))).to.equal(true);
    expect(result.checksums.equals(checksumsOf(blocksOf(3, 0)))).to.equal(true);
  });

  it('store: write and read back, with checksums and zeros around', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    const data = Buffer.concat([blocksOf(1, 1), blocksOf(1, 2)]);
    expect(await fixture.write(store, at(3), 10, data)).to.equal(OK);
    const result = await fixture.read(store, at(3), 9, 4);
    const expected = Buffer.concat([blocksOf(1, 0), data, blocksOf(1, 0)]);
    expect(result).to.include({ status: OK, dataBlocks: 2, absentBlocks: 2 });
    expect(result.data.equals(expected)).to.equal(true);
    expect(result.checksums.equals(checksumsOf(expected))).to.equal(true);
  });

  it('store: a long write (4 MiB), read back whole', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    const data = Buffer.from(fixture.prng.bytes(4 * MiB));
    expect(await fixture.write(store, at(0), 0, data)).to.equal(OK);
    const result = await fixture.read(store, at(0), 0, 1024);
    expect(result.data.equals(data)).to.equal(true);
    expect(result.dataBlocks).to.equal(1024);
  });

  it('store: overlapping writes in flight, the last call wins', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    const long = blocksOf(64, 1);
    const first = fixture.write(store, at(0), 0, long);
    const second = fixture.write(store, at(0), 10, blocksOf(1, 2));
    expect(await Promise.all([first, second])).to.deep.equal([OK, OK]);
    const result = await fixture.read(store, at(0), 9, 3);
    expect([result.data[0], result.data[BLOCK_BYTES], result.data[2 * BLOCK_BYTES]]).to.deep.equal([
      1, 2, 1,
    ]);
  });

  it('store: zero and trim, presence tells them apart and both read as zeros', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    await fixture.write(store, at(0), 0, blocksOf(40, 7));
    expect(await fixture.zero(store, at(0), 1, 20, false)).to.equal(OK);
    expect(await fixture.zero(store, at(0), 25, 2, true)).to.equal(OK);
    expect(await fixture.presence(store, at(0), 0)).to.equal(PRESENCE.data);
    expect(await fixture.presence(store, at(0), 1)).to.equal(PRESENCE.zero);
    expect(await fixture.presence(store, at(0), 25)).to.equal(PRESENCE.absent);
    const result = await fixture.read(store, at(0), 0, 40);
    expect(result).to.include({ status: OK, dataBlocks: 18, absentBlocks: 2 });
    expect(
      result.data.subarray(BLOCK_BYTES, 21 * BLOCK_BYTES).every((byte) => byte === 0),
    ).to.equal(true);
  });

  it('store: trimmed as a whole, gives its slot back and goes away when cleaned', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    await fixture.write(store, at(0), 0, blocksOf(40, 7));
    await fixture.zero(store, at(0), 0, 1024, true);
    await fixture.idle();
    expect(store.usage()).to.include({ usedSlots: 0, pendingSlots: 0, extentCount: 1 });
    await fixture.clean(store, [at(0)]);
    expect(store.usage().extentCount).to.equal(0);
  });

  it('store: bit rot, is reported and never returned as good', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    await fixture.write(store, at(0), 0, blocksOf(3, 7));
    fixture.disk.flipBit('slabs/0000.slab', slotOffset(0) + BLOCK_BYTES + 100, 3);
    const result = await fixture.read(store, at(0), 0, 3);
    expect(result).to.include({ status: STATUS.checksum, badBlock: 1 });
    expect(store.usage().checksumErrorCount).to.equal(1);
  });
});

describe('extent store: slots', () => {
  it('store: a slot used again, shows nothing of its old owner', async () => {
    const fixture = new StoreFixture({ slots: 1 });
    const store = await fixture.open();
    await fixture.write(store, at(0), 0, blocksOf(1024, 0xaa));
    expect(await fixture.ask((done) => store.deleteExtent(at(0), done))).to.equal(OK);
    expect(await fixture.write(store, at(1), 5, blocksOf(1, 1))).to.equal(OK);
    const raw = Buffer.alloc(4 * MiB);
    expect(await fixture.ask((done) => store.readRaw(at(1), 0, 1024, raw, done))).to.equal(OK);
    const foreign = raw.indexOf(0xaa);
    expect(foreign).to.equal(-1);
  });

  it('store: no slot left, refuses the write that needs one and serves all others', async () => {
    const fixture = new StoreFixture({ slots: 2 });
    const store = await fixture.open();
    await fixture.write(store, at(0), 0, blocksOf(1, 1));
    await fixture.write(store, at(1), 0, blocksOf(1, 2));
    expect(await fixture.write(store, at(2), 0, blocksOf(1, 3))).to.equal(STATUS.noSpace);
    expect(store.stampOf(at(2))).to.equal(null);
    expect(await fixture.write(store, at(1), 9, blocksOf(1, 4))).to.equal(OK);
    expect(store.usage()).to.include({ usedSlots: 2, extentCount: 2 });
  });

  it('store: deleting a volume, frees its slots and leaves the others', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    for (let extent = 0; extent < 4; extent += 1) {
      await fixture.write(store, at(extent, 1), 0, blocksOf(1, 1));
      await fixture.write(store, at(extent, 2, extent), 0, blocksOf(1, 2));
    }
    await fixture.ask((done) => store.adoptGeneration(2, 9, done));
    expect(await fixture.ask((done) => store.deleteVolume(2, done))).to.equal(OK);
    await fixture.idle();
    expect(store.volumeUsage()).to.deep.equal([{ volume: 1, bytes: 16 * MiB }]);
    expect(store.usage()).to.include({ usedSlots: 4, pendingSlots: 0, extentCount: 4 });
    expect(store.generationOf(2)).to.equal(0);
  });

  it('store: extents of a PG, listed in pages and forgotten', async () => {
    const fixture = new StoreFixture({ slots: 32 });
    const store = await fixture.open();
    for (let extent = 0; extent < 10; extent += 1) {
      await fixture.write(store, at(9 - extent), 0, blocksOf(1, 1), { pg: extent % 2 });
    }
    const first = store.listExtents(1, null, 3);
    expect(first.entries.map((entry) => entry.extent)).to.deep.equal([0, 2, 4]);
    const second = store.listExtents(1, first.next, 3);
    expect(second.entries.map((entry) => entry.extent)).to.deep.equal([6, 8]);
    expect(second.next).to.equal(null);
    expect(await fixture.ask((done) => store.forgetPg(1, done))).to.equal(OK);
    expect(store.listExtents(1, null, 3).entries).to.deep.equal([]);
    expect(store.pgUsage()).to.deep.equal([{ pg: 0, bytes: 20 * MiB }]);
  });
});

describe('extent store: stamps', () => {
  it('store: first write of a quiet extent, journal synced before a byte lands in the slab', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    await fixture.write(store, at(0), 0, blocksOf(1, 1));
    await fixture.clean(store, [at(0)]);
    expect(store.stampOf(at(0))).to.deep.equal({ epoch: 1, dirty: false, incomplete: false });
    fixture.disk.stall();
    let status: number | null = null;
    store.write(writeOf(at(0), 0, blocksOf(1, 2)), (result) => {
      status = result;
    });
    await fixture.idle();
    expect(status, 'waits while the journal cannot be synced').to.equal(null);
    expect(fixture.disk.bytesOf('slabs/0000.slab')[0]).to.equal(1);
    fixture.disk.resume();
    await fixture.idle();
    expect(status).to.equal(OK);
    expect(fixture.disk.bytesOf('slabs/0000.slab')[0]).to.equal(2);
    expect(store.stampOf(at(0))?.dirty).to.equal(true);
  });

  it('store: a write in between, the extent stays dirty', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    await fixture.write(store, at(0), 0, blocksOf(1, 1));
    const cleaning = fixture.clean(store, [at(0)]);
    store.write(writeOf(at(0), 1, blocksOf(1, 2)), () => undefined);
    await cleaning;
    expect(store.stampOf(at(0))?.dirty).to.equal(true);
  });

  it('store: a newer epoch, moves the stamp; an older one does not move it back', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    await fixture.write(store, at(0), 0, blocksOf(1, 1), { epoch: 5 });
    await fixture.write(store, at(0), 0, blocksOf(1, 1), { epoch: 3 });
    expect(store.stampOf(at(0))?.epoch).to.equal(5);
    await fixture.write(store, at(0), 0, blocksOf(1, 1), { epoch: 6 });
    fixture.disk.crash('power');
    const again = await fixture.open();
    expect(again.stampOf(at(0))?.epoch).to.equal(6);
  });

  it('store: pulled blocks, change exactly these blocks and never create an extent', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    const data = Buffer.concat([blocksOf(1, 8), blocksOf(1, 0), blocksOf(1, 0), blocksOf(1, 9)]);
    const pulled = {
      ...at(0),
      block: 4,
      count: 4,
      presence: Uint8Array.of(PRESENCE.data | (PRESENCE.zero << 2) | (PRESENCE.data << 6)),
      checksums: checksumsOf(data),
      data,
    };
    expect(await fixture.ask((done) => store.applyPulled(pulled, done))).to.equal(
      STATUS.badRequest,
    );
    const stamp = { epoch: 3, dirty: false, incomplete: true };
    expect(await fixture.ask((done) => store.setStamp(at(0), 1, stamp, done))).to.equal(OK);
    await fixture.write(store, at(0), 3, blocksOf(4, 5), { epoch: 3 });
    expect(await fixture.ask((done) => store.applyPulled(pulled, done))).to.equal(OK);
    const result = await fixture.read(store, at(0), 3, 5);
    expect([0, 1, 2, 3, 4].map((index) => result.data[index * BLOCK_BYTES])).to.deep.equal([
      5, 8, 0, 0, 9,
    ]);
    expect(await fixture.presence(store, at(0), 5)).to.equal(PRESENCE.zero);
    expect(await fixture.presence(store, at(0), 6)).to.equal(PRESENCE.absent);
    const complete = { epoch: 3, dirty: false, incomplete: false };
    expect(await fixture.ask((done) => store.setStamp(at(0), 1, complete, done))).to.equal(OK);
    fixture.disk.crash('power');
    const again = await fixture.open();
    expect(again.stampOf(at(0))).to.deep.equal(complete);
    const after = await fixture.read(again, at(0), 3, 5);
    expect(after.status).to.equal(OK);
    expect(after.data.equals(result.data), 'what was complete survives power loss').to.equal(true);
  });

  it('store: pulled blocks of several runs, a write called later wins everywhere', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    const open = { epoch: 1, dirty: false, incomplete: true };
    await fixture.ask((done) => store.setStamp(at(0), 1, open, done));
    const presence = new Uint8Array(32);
    // Data and zeros in turn, each run long enough for the thread pool.
    for (let byte = 0; byte < 32; byte += 1) presence[byte] = byte % 16 < 8 ? 0x55 : 0xaa;
    const data = blocksOf(128, 9);
    const pulled = { ...at(0), block: 0, count: 128, presence, checksums: checksumsOf(data), data };
    const pulling = fixture.ask((done) => store.applyPulled(pulled, done));
    const writing = fixture.write(store, at(0), 20, blocksOf(100, 4));
    expect(await Promise.all([pulling, writing])).to.deep.equal([OK, OK]);
    const result = await fixture.read(store, at(0), 0, 128);
    expect(result.status).to.equal(OK);
    const fills = [0, 19, 20, 70, 119, 120].map((index) => result.data[index * BLOCK_BYTES]);
    expect(fills).to.deep.equal([9, 9, 4, 4, 4, 0]);
  });

  it('store: meta data of an extent, as stored', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    const data = blocksOf(2, 3);
    await fixture.write(store, at(0), 7, data, { pg: 12, epoch: 4 });
    const meta = await fixture.wait(
      new Promise<unknown>((resolve) => store.metaOf(at(0), (_status, found) => resolve(found))),
    );
    expect(meta).to.deep.include({ pg: 12, epoch: 4, dirty: true, incomplete: false });
    const { checksums } = meta as { checksums: Uint8Array };
    expect(Buffer.from(checksums.subarray(28, 36)).equals(checksumsOf(data))).to.equal(true);
  });
});

describe('extent store: opening', () => {
  it('store: closed and opened, nothing is stale and everything is there', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    await fixture.write(store, at(0), 0, blocksOf(1, 1));
    await fixture.zero(store, at(1), 3, 2, false);
    await fixture.ask((done) => store.adoptEpoch(4, 17, done));
    await fixture.ask((done) => store.adoptGeneration(1, 5, done));
    await fixture.wait(store.close());
    expect(fixture.disk.list().filter((name) => name.startsWith('journal/'))).to.deep.equal([]);
    expect(await fixture.write(store, at(0), 0, blocksOf(1, 1)), 'after close').to.equal(
      STATUS.diskFailed,
    );
    const again = await fixture.open();
    expect(fixture.logged.map((line) => line.message)).to.deep.equal([]);
    expect((await fixture.read(again, at(0), 0, 1)).data.equals(blocksOf(1, 1))).to.equal(true);
    expect(await fixture.presence(again, at(1), 4)).to.equal(PRESENCE.zero);
    expect([again.epochOf(4), again.generationOf(1)]).to.deep.equal([17, 5]);
  });

  it('store: foreign files, another disk, another cluster: refused, and nothing is touched', async () => {
    const fixture = new StoreFixture();
    fixture.disk.writeFile('precious.txt', Buffer.from('keep'));
    expect((await rejection(fixture.open())).code).to.equal('foreign-data');
    expect(fixture.disk.list()).to.deep.equal(['precious.txt']);
    fixture.disk.remove('precious.txt');
    fixture.disk.writeFile('lost+found/x', Buffer.from('from fsck'));
    await fixture.wait((await fixture.open()).close());
    for (const other of [{ clusterId: 'cluster-b' }, { diskId: 8 }, { uuid: 'another' }]) {
      const before = fixture.disk.list();
      expect((await rejection(fixture.open(other))).code).to.equal('foreign-data');
      expect(fixture.disk.list()).to.deep.equal(before);
    }
  });

  it('store: nothing there and not to be made, not found', async () => {
    const fixture = new StoreFixture();
    expect((await rejection(fixture.open({ create: false }))).code).to.equal('not-found');
    expect(fixture.disk.list()).to.deep.equal([]);
  });

  it('store: damaged superblock, refused as corrupt', async () => {
    const fixture = new StoreFixture();
    await fixture.wait((await fixture.open()).close());
    fixture.disk.flipBit('superblock.json', 60, 2);
    expect((await rejection(fixture.open())).code).to.equal('corrupt');
  });

  it('store: files of absurd length, refused without being read', async () => {
    for (const name of ['superblock.json', 'journal/000001.log']) {
      const fixture = new StoreFixture();
      await fixture.open();
      fixture.disk.crash('process');
      const file = fixture.disk.open(name, { create: false });
      const readsBefore = fixture.disk.counts.read;
      file.truncate(1024 ** 4);
      const error = await rejection(fixture.open());
      expect(error.code, name).to.equal('corrupt');
      expect(error.message).to.contain('1099511627776 bytes');
      const small = name === 'superblock.json' ? 0 : 1;
      expect(fixture.disk.counts.read - readsBefore, name).to.equal(small);
    }
  });

  it('store: the newest journal rots before its end, refused where it had been synced', async () => {
    for (const type of ['extent', 'presence', 'file'] as const) {
      const fixture = new StoreFixture();
      const store = await fixture.open();
      await fixture.write(store, at(0), 0, blocksOf(1, 1));
      expect(await fixture.flush(store)).to.equal(STATUS.ok);
      fixture.disk.crash('process');
      const damaged = recordsOf(fixture).find(({ record }) => record.type === type);
      fixture.disk.flipBit('journal/000001.log', (damaged?.at ?? 0) + 20, 1);
      const error = await rejection(fixture.open());
      expect(error.code, type).to.equal('corrupt');
      expect(error.message).to.match(
        /breaks off at byte \d+, \d records before what was power-safe/,
      );
    }
  });

  it('store: torn tail of the journal, opens with what was before it', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    await fixture.write(store, at(0), 0, blocksOf(1, 1));
    await fixture.write(store, at(0), 1, blocksOf(1, 2));
    fixture.disk.crash('process');
    const last = recordsOf(fixture).findLast(({ record }) => record.type === 'presence');
    fixture.disk.flipBit('journal/000001.log', (last?.at ?? 0) + 20, 1);
    const again = await fixture.open();
    expect(await fixture.presence(again, at(0), 0)).to.equal(PRESENCE.data);
    expect(await fixture.presence(again, at(0), 1)).to.equal(PRESENCE.absent);
    expect((await fixture.read(again, at(0), 0, 2)).status).to.equal(OK);
  });
});

describe('extent store: disk errors', () => {
  it('store: EIO where the journal writes ahead, the disk fails instead of being full', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    fixture.disk.inject({ op: 'write', code: 'EIO', name: 'journal/' });
    const status = await fixture.ask((done) => store.adoptGeneration(1, 2, done));
    expect(status).to.equal(STATUS.diskFailed);
    expect(store.failure).to.match(/EIO/);
  });

  it('store: a device that does not answer, fails after a while and not before', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    fixture.disk.stall();
    await fixture.idle(25_000);
    fixture.disk.resume();
    await fixture.idle(60_000);
    expect(store.failure).to.equal(null);
    fixture.disk.hang();
    await fixture.idle(60_000);
    expect(store.failure).to.match(/has not answered a write for 40000 ms/);
  });

  it('store: a device that does not answer, cannot be opened', async () => {
    const fixture = new StoreFixture();
    await fixture.open();
    fixture.disk.crash('process');
    fixture.disk.hang();
    const message = await fixture.open().catch((error: Error) => error.message);
    expect(message).to.match(/Opening the store .* failed: .* has not answered/);
  });

  it('store: EIO in the slab, fails with a reason, and every later call with it', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    await fixture.write(store, at(0), 0, blocksOf(1, 1));
    const reasons: string[] = [];
    store.onFailure((reason) => reasons.push(reason));
    fixture.disk.inject({ op: 'write', code: 'EIO', name: 'slabs/' });
    expect(await fixture.write(store, at(0), 0, blocksOf(1, 2))).to.equal(STATUS.diskFailed);
    fixture.disk.heal();
    expect(store.failure).to.match(/EIO/);
    expect(reasons).to.deep.equal([store.failure]);
    expect(await fixture.flush(store)).to.equal(STATUS.diskFailed);
    expect((await fixture.read(store, at(0), 0, 1)).status).to.equal(STATUS.diskFailed);
    await fixture.wait(store.close());
  });

  for (const name of ['slabs/', 'journal/']) {
    it(`store: failing sync of ${name}, a flush never says ok again`, async () => {
      const fixture = new StoreFixture();
      const store = await fixture.open();
      await fixture.write(store, at(0), 0, blocksOf(1, 1));
      fixture.disk.inject({ op: 'sync', code: 'EIO', name, times: 1 });
      expect(await fixture.flush(store)).to.equal(STATUS.diskFailed);
      expect(await fixture.flush(store)).to.equal(STATUS.diskFailed);
    });
  }

  it('store: full file system, refuses what allocates, serves the rest, recovers with space', async () => {
    const fixture = new StoreFixture({ totalBytes: 3 * MiB, slots: 8 });
    const store = await fixture.open();
    expect(await fixture.write(store, at(0), 0, blocksOf(16, 1))).to.equal(OK);
    let refused = 0;
    for (let block = 16; block < 1024; block += 16) {
      const status = await fixture.write(store, at(0), block, blocksOf(16, 2));
      expect([OK, STATUS.noSpace]).to.include(status);
      if (status === STATUS.noSpace) {
        refused += 1;
        expect(await fixture.presence(store, at(0), block)).to.equal(PRESENCE.absent);
      }
    }
    expect(refused).to.be.greaterThan(0);
    expect(store.failure).to.equal(null);
    expect(await fixture.write(store, at(0), 3, blocksOf(1, 9)), 'overwrite').to.equal(OK);
    expect((await fixture.read(store, at(0), 0, 1024)).status).to.equal(OK);
    expect(await fixture.zero(store, at(0), 16, 512, true)).to.equal(OK);
    expect(await fixture.write(store, at(0), 1000, blocksOf(16, 3)), 'after a trim').to.equal(OK);
    expect((await fixture.read(store, at(0), 0, 1024)).status).to.equal(OK);
  });

  it('store: full journal, refuses as a whole and goes on serving', async () => {
    const fixture = new StoreFixture({ tuning: { journalBytesMax: 5 * KiB } });
    const store = await fixture.open();
    let refused = 0;
    for (let block = 0; block < 100; block += 2) {
      const status = await fixture.write(store, at(0), block, blocksOf(1, 1));
      if (status === STATUS.noSpace) refused += 1;
    }
    expect(refused).to.be.greaterThan(0);
    expect(await fixture.write(store, at(0), 0, blocksOf(1, 2)), 'overwrite').to.equal(OK);
    expect((await fixture.read(store, at(0), 0, 100)).status).to.equal(OK);
    expect(store.failure).to.equal(null);
  });

  it('store: stalled disk, reads of cached blocks go on and writes come through later', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    await fixture.write(store, at(0), 0, blocksOf(1, 1));
    fixture.disk.stall();
    const flushed = fixture.flush(store);
    const read = readFrom(store, at(5), 0, 1);
    expect((await read).status).to.equal(OK);
    fixture.disk.resume();
    expect(await flushed).to.equal(OK);
  });
});
