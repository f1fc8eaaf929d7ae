/** What every implementation of the Disk port must do. */
import { expect } from 'chai';
import { MiB } from '../../../shared/base/units.ts';
import type { Disk, DiskFailure, DiskIndex } from '../../../shared/ports.ts';
import { DiskError } from '../../../shared/ports.ts';

export interface DiskUnderTest {
  readonly disk: Disk;
  /** A second opening of the same directory, as after a restart. */
  reopen(): Disk;
  /** Lets asynchronous operations happen until the promise is settled. */
  wait<T>(promise: Promise<T>): Promise<T>;
  dispose(): void;
}

type Start = (done: (failure: DiskFailure | null) => void) => void;

function outcome(start: Start): Promise<DiskFailure | null> {
  return new Promise((resolve) => start(resolve));
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof DiskError) return error.code;
    throw error;
  }
  return 'none';
}

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

export function describeDisk(name: string, make: () => DiskUnderTest): void {
  describe(`disk contract: ${name}`, () => {
    let subject: DiskUnderTest;

    beforeEach(() => {
      subject = make();
    });

    afterEach(() => subject.dispose());

    const ask = (start: Start): Promise<DiskFailure | null> => subject.wait(outcome(start));

    it('disk file: written synchronously, read both ways, zeros behind the end', async () => {
      const file = subject.disk.open('slabs/0001.slab', { create: true });
      expect(file.size()).to.equal(0);
      file.writeSync(bytes(1, 2, 3), 5000);
      expect(file.size()).to.equal(5003);
      const target = new Uint8Array(8).fill(9);
      file.readSync(target, 4998);
      expect([...target]).to.deep.equal([0, 0, 1, 2, 3, 0, 0, 0]);
      target.fill(9);
      expect(await ask((done) => file.read(target, 4998, done))).to.equal(null);
      expect([...target]).to.deep.equal([0, 0, 1, 2, 3, 0, 0, 0]);
      file.close();
    });

    it('disk file: written asynchronously (1 MiB), read back', async () => {
      const file = subject.disk.open('a', { create: true });
      const source = new Uint8Array(MiB).map((_, index) => (index * 31) & 0xff);
      expect(await ask((done) => file.write(source, 12345, done))).to.equal(null);
      const target = new Uint8Array(MiB);
      expect(await ask((done) => file.read(target, 12345, done))).to.equal(null);
      expect(Buffer.compare(source, target)).to.equal(0);
      expect(file.size()).to.equal(12345 + MiB);
      file.close();
    });

    it('disk file: read without waiting, the right bytes or the word to wait', () => {
      const file = subject.disk.open('a', { create: true });
      file.writeSync(bytes(1, 2, 3), 4094);
      for (let round = 0; round < 20; round += 1) {
        const target = new Uint8Array(6).fill(9);
        if (file.readCached(target, 4093)) expect([...target]).to.deep.equal([0, 1, 2, 3, 0, 0]);
      }
      file.close();
    });

    it('disk file: punched, reads as zeros there and only there', async () => {
      const file = subject.disk.open('a', { create: true });
      file.writeSync(new Uint8Array(65536).fill(7), 0);
      expect(await ask((done) => file.punch(4096, 8192, done))).to.equal(null);
      const target = new Uint8Array(65536);
      file.readSync(target, 0);
      expect([target[4095], target[4096], target[12287], target[12288]]).to.deep.equal([
        7, 0, 0, 7,
      ]);
      expect(file.size()).to.equal(65536);
      file.close();
    });

    it('disk file: truncated, what was cut off reads as zeros when it grows again', () => {
      const file = subject.disk.open('a', { create: true });
      file.writeSync(bytes(1, 2, 3, 4), 0);
      file.truncate(2);
      expect(file.size()).to.equal(2);
      file.writeSync(bytes(5), 4);
      const target = new Uint8Array(5);
      file.readSync(target, 0);
      expect([...target]).to.deep.equal([1, 2, 0, 0, 5]);
      file.close();
    });

    it('disk file: synced, and there after a restart', async () => {
      const file = subject.disk.open('journal/000001.log', { create: true });
      file.writeSync(bytes(1, 2, 3), 0);
      expect(await ask((done) => file.sync(done))).to.equal(null);
      file.close();
      const again = subject.reopen().open('journal/000001.log', { create: false });
      expect(again.size()).to.equal(3);
      again.close();
    });

    it('disk: a file that is not there, ENOENT unless it is to be made', () => {
      expect(codeOf(() => subject.disk.open('a', { create: false }))).to.equal('ENOENT');
      expect(codeOf(() => subject.disk.readFile('a'))).to.equal('ENOENT');
      expect(subject.disk.exists('a')).to.equal(false);
      subject.disk.open('a', { create: true }).close();
      expect(subject.disk.exists('a')).to.equal(true);
    });

    it('disk: names are listed with their folder, and go when removed', () => {
      expect(subject.disk.list()).to.deep.equal([]);
      subject.disk.open('slabs/0001.slab', { create: true }).close();
      subject.disk.open('slabs/0000.slab', { create: true }).close();
      subject.disk.writeFile('superblock.json', bytes(1));
      expect(subject.disk.list()).to.deep.equal([
        'slabs/0000.slab',
        'slabs/0001.slab',
        'superblock.json',
      ]);
      subject.disk.remove('slabs/0001.slab');
      subject.disk.remove('slabs/0001.slab');
      expect(subject.disk.list()).to.deep.equal(['slabs/0000.slab', 'superblock.json']);
    });

    it('disk: a small file is replaced as a whole', () => {
      subject.disk.writeFile('superblock.json', bytes(1, 2, 3));
      subject.disk.writeFile('superblock.json', bytes(4));
      expect([...subject.reopen().readFile('superblock.json')]).to.deep.equal([4]);
      expect(subject.disk.list()).to.deep.equal(['superblock.json']);
    });

    it('disk: space, more in all than free', () => {
      const space = subject.disk.space();
      expect(space.totalBytes).to.be.at.least(space.freeBytes);
      expect(space.freeBytes).to.be.greaterThan(0);
    });

    describe('index', () => {
      let index: DiskIndex;

      beforeEach(() => {
        index = subject.disk.openIndex('index');
      });

      afterEach(() => subject.wait(index.close()));

      it('disk index: a commit, all of it is there afterwards, in key order', async () => {
        const changes = [3, 1, 255, 2].map((letter) => ({
          key: bytes(101, letter, 0),
          value: bytes(letter),
        }));
        expect(await ask((done) => index.commit(changes, done))).to.equal(null);
        expect([...(index.get(bytes(101, 3, 0)) ?? [])]).to.deep.equal([3]);
        const found = [...index.range(bytes(101, 1, 0), bytes(101, 255, 0))];
        expect(found.map((entry) => entry.key[1])).to.deep.equal([1, 2, 3]);
        expect(found.map((entry) => [...entry.value])).to.deep.equal([[1], [2], [3]]);
        expect([...index.range(bytes(101), bytes(102))].length).to.equal(4);
      });

      it('disk index: deletes and overwrites, also of what is not there', async () => {
        await ask((done) => index.commit([{ key: bytes(1), value: bytes(1) }], done));
        const changes = [
          { key: bytes(1), value: bytes(2, 2) },
          { key: bytes(9), value: null },
        ];
        expect(await ask((done) => index.commit(changes, done))).to.equal(null);
        expect([...(index.get(bytes(1)) ?? [])]).to.deep.equal([2, 2]);
        await ask((done) => index.commit([{ key: bytes(1), value: null }], done));
        expect(index.get(bytes(1))).to.equal(null);
      });

      it('disk index: large values, intact after a restart', async () => {
        const value = new Uint8Array(4356).map((_, at) => at & 0xff);
        await ask((done) => index.commit([{ key: bytes(7), value }], done));
        await subject.wait(index.close());
        index = subject.reopen().openIndex('index');
        expect(Buffer.compare(index.get(bytes(7)) ?? bytes(), value)).to.equal(0);
      });
    });
  });
}
