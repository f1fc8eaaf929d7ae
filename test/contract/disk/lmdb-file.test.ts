// A damaged LMDB file: refused with an error before the library maps it and takes the process down.
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openEmbeddedStore } from '../../../scheduler/metadata/embedded.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import { LinuxIndex } from '../../../shared/node/linux-index.ts';
import { findLmdbDamage } from '../../../shared/node/lmdb-file.ts';
import { DiskError } from '../../../shared/ports.ts';

const PAGE_BYTES = 4096;

describe('LMDB file: damaged', () => {
  let root: string;
  let good: string;

  before(async () => {
    root = mkdtempSync(join(tmpdir(), 'cistern-lmdb-'));
    good = join(root, 'good');
    const index = new LinuxIndex(good);
    for (let round = 0; round < 20; round += 1) {
      const key = Buffer.from(`key${round}`);
      await new Promise((done) => index.commit([{ key, value: Buffer.alloc(1000) }], done));
    }
    await index.close();
  });

  after(() => rmSync(root, { recursive: true, force: true }));

  let copies = 0;
  function spoiled(spoil: (path: string) => void): string {
    const folder = join(root, `copy${copies++}`);
    mkdirSync(folder);
    copyFileSync(join(good, 'data.mdb'), join(folder, 'data.mdb'));
    spoil(join(folder, 'data.mdb'));
    return folder;
  }

  function withByte(at: number): (path: string) => void {
    return (path) => {
      const bytes = readFileSync(path);
      bytes[at] = (bytes[at] ?? 0) ^ 0xff;
      writeFileSync(path, bytes);
    };
  }

  it('an intact, an empty and a missing file: nothing to say', () => {
    expect(findLmdbDamage(good)).to.equal(null);
    expect(findLmdbDamage(join(root, 'none'))).to.equal(null);
    expect(findLmdbDamage(spoiled((path) => truncateSync(path, 0)))).to.equal(null);
  });

  for (const [what, spoil, message] of [
    [
      'garbage',
      (path: string) => writeFileSync(path, Buffer.alloc(65_536, 0xa5)),
      /does not begin/,
    ],
    ['zeros', (path: string) => writeFileSync(path, Buffer.alloc(65_536)), /does not begin/],
    ['a few bytes', (path: string) => truncateSync(path, 100), /does not begin/],
    ['one page', (path: string) => truncateSync(path, PAGE_BYTES), /second page/],
    ['no data', (path: string) => truncateSync(path, 2 * PAGE_BYTES), /was cut short/],
    ['another version', withByte(28), /does not begin/],
    ['a damaged second magic', withByte(PAGE_BYTES + 24), /second page/],
  ] as const) {
    it(`${what}: refused by the index and by the metadata store`, () => {
      const folder = spoiled(spoil);
      expect(findLmdbDamage(folder)).to.match(message);
      expect(() => new LinuxIndex(folder))
        .to.throw(DiskError, message)
        .with.property('code', 'EUCLEAN');
      expect(() => openEmbeddedStore(folder))
        .to.throw(StorageError, message)
        .with.property('code', 'corrupt');
    });
  }
});
