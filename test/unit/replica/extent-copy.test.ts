import { expect } from 'chai';
import { differingRuns } from '../../../executor/replica/extent-copy.ts';
import { FreshBlocks } from '../../../executor/replica/fresh-blocks.ts';
import { PRESENCE } from '../../../shared/wire/data-protocol.ts';
import {
  decodeAddresses,
  decodeList,
  decodeMeta,
  encodeList,
  encodeMeta,
  type ReplicaMeta,
} from '../../../shared/wire/resync-bodies.ts';

function meta(data: Readonly<Record<number, number>>, zeros: readonly number[] = []): ReplicaMeta {
  const presence = new Uint8Array(256);
  const checksums = Buffer.alloc(4096);
  const set = (block: number, bits: number): void => {
    presence[block >> 2] = (presence[block >> 2] as number) | (bits << ((block & 3) * 2));
  };
  for (const [block, crc] of Object.entries(data)) {
    set(Number(block), PRESENCE.data);
    checksums.writeUInt32LE(crc, Number(block) * 4);
  }
  for (const block of zeros) set(block, PRESENCE.zero);
  return { pg: 3, epoch: 5, dirty: true, incomplete: false, presence, checksums };
}

describe('extent copy', () => {
  it('nothing here yet: every block that the source holds', () => {
    expect(differingRuns(meta({ 0: 1, 1: 2, 7: 3 }, [9]), null)).to.deep.equal([
      { block: 0, count: 2, hasData: true },
      { block: 7, count: 1, hasData: true },
      { block: 9, count: 1, hasData: false },
    ]);
  });

  it('a copy here: only blocks that differ in presence or checksum', () => {
    const source = meta({ 0: 1, 1: 2, 2: 3 });
    const local = meta({ 0: 1, 1: 9, 2: 3, 4: 4 }, [5]);
    expect(differingRuns(source, local)).to.deep.equal([
      { block: 1, count: 1, hasData: true },
      { block: 4, count: 2, hasData: false },
    ]);
  });

  it('a whole extent: cut into pulls of 64 blocks', () => {
    const all = Object.fromEntries(Array.from({ length: 1024 }, (_, block) => [block, block]));
    const runs = differingRuns(meta(all), null);
    expect(runs).to.have.length(16);
    expect(runs.every((run) => run.count === 64)).to.equal(true);
  });
});

describe('fresh blocks', () => {
  it('marks: exactly the blocks written, per extent, until the volume is forgotten', () => {
    const fresh = new FreshBlocks();
    const address = { volume: 1, layer: 0, extent: 2 };
    fresh.mark(address, 31, 3);
    fresh.mark({ volume: 12, layer: 0, extent: 2 }, 0, 1024);
    const marked = Array.from({ length: 1024 }, (_, block) => block).filter((block) =>
      fresh.has(address, block),
    );
    expect(marked).to.deep.equal([31, 32, 33]);
    expect(fresh.hasAny({ volume: 1, layer: 1, extent: 2 })).to.equal(false);
    fresh.forgetVolume(1);
    expect(fresh.hasAny(address)).to.equal(false);
    expect(fresh.has({ volume: 12, layer: 0, extent: 2 }, 1023)).to.equal(true);
  });
});

describe('resync bodies', () => {
  it('round trip: entries and stamps', () => {
    const entries = [
      { volume: 1, layer: 0, extent: 7, epoch: 9, dirty: true, incomplete: false },
      { volume: 0xffff_ffff, layer: 2, extent: 8, epoch: 1, dirty: false, incomplete: true },
    ];
    expect(decodeList(encodeList(entries))).to.deep.equal(entries);
    const stamp = meta({ 5: 77 }, [6]);
    const decoded = decodeMeta(encodeMeta(stamp));
    expect({ ...decoded, presence: null, checksums: null }).to.deep.equal({
      ...stamp,
      presence: null,
      checksums: null,
    });
    expect(Buffer.compare(decoded?.presence as Uint8Array, stamp.presence)).to.equal(0);
    expect(Buffer.compare(decoded?.checksums as Uint8Array, stamp.checksums)).to.equal(0);
  });

  it('a wrong length: refused', () => {
    expect(decodeList(Buffer.alloc(21))).to.equal(null);
    expect(decodeMeta(Buffer.alloc(4367))).to.equal(null);
    expect(decodeAddresses(Buffer.alloc(13))).to.equal(null);
    expect(decodeAddresses(null)).to.equal(null);
  });
});
