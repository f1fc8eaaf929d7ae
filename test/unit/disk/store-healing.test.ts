import { expect } from 'chai';
import type { ExtentStore } from '../../../executor/disk/extent-store.ts';
import type { ExtentAddress, ReadRequest } from '../../../executor/disk/store-types.ts';
import { BLOCK_BYTES } from '../../../shared/base/units.ts';
import { PRESENCE, STATUS, type Status } from '../../../shared/wire/data-protocol.ts';
import { blocksOf, checksumsOf, StoreFixture } from './store-fixture.ts';

const AT: ExtentAddress = { volume: 1, layer: 0, extent: 0 };
const SLAB = 'slabs/0000.slab';

/** A store with four blocks of data, clean and on the disk. */
async function filled(): Promise<{ fixture: StoreFixture; store: ExtentStore }> {
  const fixture = new StoreFixture();
  const store = await fixture.open();
  await fixture.write(store, AT, 0, blocksOf(4, 1));
  await fixture.flush(store);
  await fixture.clean(store, [AT]);
  return { fixture, store };
}

function verified(
  fixture: StoreFixture,
  store: ExtentStore,
  block: number,
  count: number,
): Promise<{ status: Status; badBlock: number }> {
  const request: ReadRequest = {
    ...AT,
    block,
    count,
    data: new Uint8Array(count * BLOCK_BYTES),
    checksums: new Uint8Array(count * 4),
    verify: true,
    isFromDevice: true,
  };
  return fixture.wait(
    new Promise((resolve) => {
      store.read(request, (status, _data, _absent, badBlock) => resolve({ status, badBlock }));
    }),
  );
}

describe('extent store: healing', () => {
  it('store: a sector that cannot be read, only its blocks are refused', async () => {
    const { fixture, store } = await filled();
    fixture.disk.defects.makeUnreadable(slabOf(store), offsetOf(store) + BLOCK_BYTES, BLOCK_BYTES);
    expect((await fixture.read(store, AT, 1, 1)).status).to.equal(STATUS.checksum);
    expect((await fixture.read(store, AT, 0, 4)).status).to.equal(STATUS.checksum);
    expect((await fixture.read(store, AT, 2, 2)).status).to.equal(STATUS.ok);
    expect(await verified(fixture, store, 1, 1)).to.deep.equal({
      status: STATUS.checksum,
      badBlock: 1,
    });
    expect(store.failure).to.equal(null);
    expect(store.usage().checksumErrorCount, 'alone, and as part of four').to.equal(2);
    await verified(fixture, store, 1, 1);
    expect(store.usage().checksumErrorCount, 'known').to.equal(2);
  });

  it('store: a full disk refuses a write, damage to other blocks is still told', async () => {
    const { fixture, store } = await filled();
    fixture.disk.flipBit(slabOf(store), offsetOf(store) + 3 * BLOCK_BYTES + 7, 1);
    for (const times of [1, 2]) {
      fixture.disk.inject({ op: 'write', code: 'ENOSPC', name: 'slabs/', times: 1 });
      const refused = await fixture.write(store, AT, 0, blocksOf(times, 9));
      expect(refused).to.equal(STATUS.noSpace);
    }
    expect(await verified(fixture, store, 0, 3), 'as before').to.deep.equal({
      status: STATUS.ok,
      badBlock: -1,
    });
    expect(await verified(fixture, store, 3, 1)).to.deep.equal({
      status: STATUS.checksum,
      badBlock: 3,
    });
    expect(await fixture.write(store, AT, 0, blocksOf(2, 9)), 'room again').to.equal(STATUS.ok);
  });

  it('store: unreadable after an unclean end, the rest gets its checksums', async () => {
    const { fixture, store } = await filled();
    await fixture.write(store, AT, 3, blocksOf(1, 6));
    const offset = offsetOf(store) + BLOCK_BYTES;
    fixture.disk.defects.makeUnreadable(slabOf(store), offset, BLOCK_BYTES);
    fixture.disk.crash('process');
    const again = await fixture.open();
    expect((await fixture.read(again, AT, 3, 1)).data.equals(blocksOf(1, 6))).to.equal(true);
    expect((await fixture.read(again, AT, 1, 1)).status).to.equal(STATUS.checksum);
    expect(again.failure).to.equal(null);
  });

  it('store: a rotten block, rewritten under its own checksum, good and still clean', async () => {
    const { fixture, store } = await filled();
    const good = blocksOf(4, 1).subarray(2 * BLOCK_BYTES, 3 * BLOCK_BYTES);
    fixture.disk.flipBit(slabOf(store), offsetOf(store) + 2 * BLOCK_BYTES + 5, 3);
    expect((await verified(fixture, store, 0, 4)).badBlock).to.equal(2);
    const version = store.versionOf(AT);
    const blocks = { ...AT, block: 2, count: 1, checksums: checksumsOf(good), data: good };
    expect(await fixture.ask((done) => store.rewrite(blocks, done))).to.equal(STATUS.ok);
    expect((await verified(fixture, store, 0, 4)).status).to.equal(STATUS.ok);
    expect(store.stampOf(AT)?.dirty).to.equal(false);
    expect(store.versionOf(AT)).to.equal(version);
    // Power-safe at `done`.
    fixture.disk.crash('power');
    const again = await fixture.open();
    expect((await verified(fixture, again, 0, 4)).status).to.equal(STATUS.ok);
  });

  it('store: a rewrite that comes too late, newer data stays', async () => {
    const { fixture, store } = await filled();
    const old = blocksOf(4, 1).subarray(0, BLOCK_BYTES);
    await fixture.write(store, AT, 0, blocksOf(1, 9));
    const blocks = { ...AT, block: 0, count: 1, checksums: checksumsOf(old), data: old };
    expect(await fixture.ask((done) => store.rewrite(blocks, done))).to.equal(STATUS.badRequest);
    expect((await fixture.read(store, AT, 0, 1)).data.equals(blocksOf(1, 9))).to.equal(true);
  });

  it('store: healing an extent that was written since it was compared, refused', async () => {
    const { fixture, store } = await filled();
    const version = store.versionOf(AT);
    await fixture.write(store, AT, 7, blocksOf(1, 3));
    await fixture.flush(store);
    await fixture.clean(store, [AT]);
    const status = await fixture.ask((done) => store.beginHeal(AT, 1, version, done));
    expect(status).to.equal(STATUS.badRequest);
    expect(store.stampOf(AT)?.incomplete).to.equal(false);
  });

  it('store: healing, blocks come before a write that waited, which keeps the extent dirty', async () => {
    const { fixture, store } = await filled();
    const version = store.versionOf(AT);
    const pulled = blocksOf(4, 5);
    const applied: Status[] = [];
    const begun = fixture.ask((done) =>
      store.beginHeal(AT, 1, version, (status) => {
        const blocks = { ...AT, block: 0, count: 4, presence: presenceOf(4) };
        const body = { checksums: checksumsOf(pulled), data: pulled };
        store.applyPulled({ ...blocks, ...body }, (result) => applied.push(result));
        done(status);
      }),
    );
    const written = fixture.write(store, AT, 1, blocksOf(1, 9));
    expect([await begun, await written]).to.deep.equal([STATUS.ok, STATUS.ok]);
    expect(applied).to.deep.equal([STATUS.ok]);
    expect(store.stampOf(AT)?.incomplete).to.equal(true);
    expect(await fixture.ask((done) => store.endHeal(AT, 4, done))).to.equal(STATUS.ok);
    expect(store.stampOf(AT)).to.deep.equal({ epoch: 4, dirty: true, incomplete: false });
    const { data } = await fixture.read(store, AT, 0, 3);
    const expected = Buffer.concat([
      pulled.subarray(0, BLOCK_BYTES),
      blocksOf(1, 9),
      pulled.subarray(2 * BLOCK_BYTES, 3 * BLOCK_BYTES),
    ]);
    expect(data.equals(expected)).to.equal(true);
  });

  it('store: healing an extent that is missing, made only if it still is', async () => {
    const fixture = new StoreFixture();
    const store = await fixture.open();
    expect(store.versionOf(AT)).to.equal(-1);
    expect(await fixture.ask((done) => store.beginHeal(AT, 3, -1, done))).to.equal(STATUS.ok);
    expect(store.stampOf(AT)).to.deep.equal({ epoch: 0, dirty: false, incomplete: true });
    const again = await fixture.ask((done) => store.beginHeal(AT, 3, -1, done));
    expect(again).to.equal(STATUS.badRequest);
  });
});

function presenceOf(count: number): Uint8Array {
  const bits = new Uint8Array(Math.ceil(count / 4));
  for (let block = 0; block < count; block += 1) {
    bits[block >> 2] = (bits[block >> 2] ?? 0) | (PRESENCE.data << ((block & 3) * 2));
  }
  return bits;
}

function slabOf(store: ExtentStore): string {
  return store.placeOf(AT)?.name ?? SLAB;
}

function offsetOf(store: ExtentStore): number {
  return store.placeOf(AT)?.offset ?? 0;
}
