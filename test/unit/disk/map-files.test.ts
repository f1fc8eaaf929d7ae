/** The last map on a disk: whole after every crash, damage is refused, the newest one wins. */
import { expect } from 'chai';
import { MAP_NAMES, MapFiles, readMapFiles } from '../../../executor/disk/map-files.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { decodeDurableMap, encodeDurableMap } from '../../../shared/wire/durable-map.ts';
import { SimulatedDisk } from '../../simulation/ports/simulated-disk.ts';
import { VirtualClock } from '../../simulation/ports/virtual-clock.ts';

function record(version: number, term = 3, bytes = 9_000): Buffer {
  const body = Buffer.alloc(bytes, version & 0xff);
  return encodeDurableMap({ term, version, writtenAtMs: 1_000, body });
}

class Bench {
  readonly clock = new VirtualClock();
  readonly disk: SimulatedDisk;
  files: MapFiles;

  constructor(seed: number) {
    const options = { path: '/disk', totalBytes: 1e9, latencyMs: 1 };
    this.disk = new SimulatedDisk(options, this.clock, new Prng(seed));
    this.files = new MapFiles(this.disk);
  }

  async keep(bytes: Uint8Array): Promise<void> {
    let isDone = false;
    this.files.keep(bytes, (failure) => {
      expect(failure).to.equal(null);
      isDone = true;
    });
    await this.clock.runWhile(() => !isDone, 1_000);
    expect(isDone).to.equal(true);
  }

  version(): number {
    return readMapFiles(this.disk).newest?.map.version ?? 0;
  }
}

describe('map files', () => {
  it('record: round trip; a byte changed or cut off is refused', () => {
    const bytes = record(7, 3, 200);
    expect(decodeDurableMap(bytes)).to.deep.include({ term: 3, version: 7, writtenAtMs: 1_000 });
    for (let at = 0; at < bytes.length; at += 1) {
      const copy = Buffer.from(bytes);
      copy[at] = (copy[at] ?? 0) ^ 0x10;
      expect(() => decodeDurableMap(copy), `byte ${at}`).to.throw(StorageError);
      expect(() => decodeDurableMap(bytes.subarray(0, at)), `length ${at}`).to.throw(StorageError);
    }
  });

  it('maps one after the other: the newest is found, also by those who open the disk later', async () => {
    const bench = new Bench(1);
    expect(bench.version()).to.equal(0);
    for (let version = 1; version <= 5; version += 1) {
      await bench.keep(record(version, 3, 10_000 - version * 1_000));
      expect(bench.version()).to.equal(version);
      bench.files = new MapFiles(bench.disk);
    }
  });

  it('many maps while one is written: only the last of them follows', async () => {
    const bench = new Bench(2);
    for (let version = 1; version <= 50; version += 1)
      bench.files.keep(record(version), () => undefined);
    await bench.clock.runWhile(() => !bench.files.isIdle, 1_000);
    expect(bench.version()).to.equal(50);
    expect(bench.disk.counts.sync).to.equal(2);
  });

  it('power lost at any moment: one of the last two maps is there, whole', async () => {
    for (let seed = 1; seed <= 200; seed += 1) {
      const bench = new Bench(seed);
      await bench.keep(record(1));
      await bench.keep(record(2));
      bench.files.keep(record(3), () => undefined);
      await bench.clock.runWhile(() => !bench.files.isIdle, (seed % 30) / 10);
      bench.disk.crash('power');
      expect(bench.version(), `seed ${seed}`).to.be.oneOf([2, 3]);
      bench.files = new MapFiles(bench.disk);
      await bench.keep(record(4));
      expect(bench.version(), `seed ${seed}`).to.equal(4);
    }
  });

  it('the newest is damaged: reported, the one before is used and stays until the next is whole', async () => {
    const bench = new Bench(4);
    for (const version of [1, 2, 3]) await bench.keep(record(version));
    bench.disk.flipBit(MAP_NAMES[0], 100, 3);
    const found = readMapFiles(bench.disk);
    expect(found.newest?.map.version).to.equal(2);
    expect(found.problems).to.have.length(1);
    expect(found.problems[0]).to.match(/"map-a" on "\/disk" is not used: .*checksum/);
    bench.files = new MapFiles(bench.disk);
    await bench.keep(record(4));
    expect(bench.version()).to.equal(4);
    expect(readMapFiles(bench.disk).problems).to.deep.equal([]);
  });
});
