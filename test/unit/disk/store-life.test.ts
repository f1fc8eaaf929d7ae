/** The memory of a store: what counts as losing it, and that no crash in between miscounts. */
import { expect } from 'chai';
import { decodeLife, encodeLife, lifeChange } from '../../../executor/disk/store-life.ts';
import { at, blocksOf, StoreFixture } from './store-fixture.ts';

const ON_A = { bootId: 'boot-a' };
const ON_B = { bootId: 'boot-b' };

describe('store life', () => {
  it('process: another one on the same boot, the memory is kept', async () => {
    const f = new StoreFixture();
    const first = await f.open(ON_A);
    await f.write(first, at(0), 0, blocksOf(1, 7));
    f.disk.crash('process');
    const second = await f.open(ON_A);
    expect(second.incarnation).to.equal(first.incarnation);
  });

  it('power: lost while open, the memory is lost, also without any write', async () => {
    const f = new StoreFixture();
    const first = await f.open(ON_A);
    f.disk.crash('power');
    const second = await f.open(ON_B);
    expect(second.incarnation).to.equal(first.incarnation + 1);
    f.disk.crash('process');
    expect((await f.open(ON_B)).incarnation).to.equal(second.incarnation);
  });

  it('power: off after a clean end, the memory is kept', async () => {
    const f = new StoreFixture();
    const first = await f.open(ON_A);
    await f.write(first, at(0), 0, blocksOf(1, 7));
    await f.wait(first.close());
    f.disk.crash('power');
    const second = await f.open(ON_B);
    expect(second.incarnation).to.equal(first.incarnation);
    f.disk.crash('power');
    expect((await f.open({ bootId: 'boot-c' })).incarnation).to.equal(first.incarnation + 1);
  });

  it('power: lost again at any moment of opening, counted before anything is served', async () => {
    for (let steps = 0; steps < 40; steps += 1) {
      const f = new StoreFixture({ seed: steps });
      const first = await f.open(ON_A);
      await f.write(first, at(0), 0, blocksOf(1, 7));
      f.disk.crash('power');
      const opening = f.open(ON_B).catch(() => null);
      await f.clock.runUntil(f.clock.now() + steps * 0.05);
      f.disk.crash('power');
      void opening;
      const later = await f.open({ bootId: 'boot-c' });
      const lost = later.incarnation - first.incarnation;
      expect(lost, `crash after ${steps} steps`).to.be.within(1, 2);
    }
  });

  it('boot: one that cannot be named is never the same one', async () => {
    const f = new StoreFixture();
    const first = await f.open({ bootId: '' });
    f.disk.crash('process');
    expect((await f.open({ bootId: '' })).incarnation).to.equal(first.incarnation + 1);
  });

  it('new stores: two of one disk do not share their first incarnation', async () => {
    const first = await new StoreFixture().open(ON_A);
    const other = new StoreFixture();
    await other.idle(10);
    expect((await other.open(ON_A)).incarnation).not.to.equal(first.incarnation);
  });

  it('record: round trip, every truncation and every flipped bit refused', () => {
    const life = { incarnation: 5, bootId: 'c0ffee', isOpen: true };
    const value = encodeLife(life);
    expect(decodeLife(value)).to.deep.equal(life);
    expect(lifeChange(life).value).to.deep.equal(value);
    for (let length = 0; length < value.length; length += 1) {
      expect(decodeLife(value.subarray(0, length)), `${length} bytes`).to.equal(null);
    }
    for (let bit = 0; bit < value.length * 8; bit += 1) {
      const bad = Buffer.from(value);
      bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(decodeLife(bad), `bit ${bit}`).to.equal(null);
    }
  });
});
