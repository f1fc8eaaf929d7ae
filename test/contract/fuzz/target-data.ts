/** The data protocol's bytes: frames in both directions, and the bodies that resync sends. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { readHello } from '../../../executor/peer/hello.ts';
import { crc32c } from '../../../shared/base/crc32c.ts';
import type { Prng } from '../../../shared/base/prng.ts';
import { BLOCK_BYTES, BLOCKS_PER_EXTENT, MiB } from '../../../shared/base/units.ts';
import { FrameDecoder } from '../../../shared/wire/data-codec.ts';
import { DATA_BODY_BYTES_MAX, DATA_HEADER_BYTES } from '../../../shared/wire/data-protocol.ts';
import { headerChecksum } from '../../../shared/wire/header-checksum.ts';
import { decodeAddresses, decodeList, decodeMeta } from '../../../shared/wire/resync-bodies.ts';
import { PROJECT_ROOT } from '../../tidy/source-tree.ts';
import type { FuzzTarget } from './fuzz-target.ts';
import { expectReason } from './fuzz-target.ts';
import { EXTREMES } from './mutation.ts';

const VECTORS = join(PROJECT_ROOT, 'test/vectors/data-protocol');

/** Recorded frames of every op. */
export function frameVectors(): readonly Buffer[] {
  return readdirSync(VECTORS).map((name) => readFileSync(join(VECTORS, name)));
}

export function frameTarget(): FuzzTarget {
  const corpus = frameVectors();
  return {
    name: 'frame',
    corpus: [...corpus, Buffer.concat(corpus.slice(0, 6))],
    generate: (prng) => framesOf(prng, corpus),
    memoryBytesMax: DATA_BODY_BYTES_MAX + 2 * MiB,
    run: (input, prng) => {
      const refusal = decodeStream(input, prng);
      if (refusal !== null) expectReason(refusal);
    },
  };
}

/** Some frames with right header checksums and, here and there, wrong fields. */
export function framesOf(prng: Prng, corpus: readonly Buffer[]): Buffer {
  const frames: Buffer[] = [];
  for (let count = prng.between(1, 5); count > 0; count -= 1) {
    const bytes = Buffer.from(prng.pick(corpus));
    if (bytes.length < DATA_HEADER_BYTES) continue;
    for (let times = prng.below(4); times > 0; times -= 1) forgeField(bytes, prng);
    sealHeader(bytes);
    frames.push(bytes);
  }
  return Buffer.concat(frames);
}

/** Makes the header's checksum right. */
export function sealHeader(bytes: Buffer): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  view.setUint32(60, headerChecksum(view, 0, 60), true);
}

/** A hostile value in any field behind the magic, or another body with a right checksum. */
export function forgeField(bytes: Buffer, prng: Prng): void {
  if (prng.chance(0.2) && bytes.length > DATA_HEADER_BYTES) {
    const at = prng.between(DATA_HEADER_BYTES, bytes.length - 1);
    bytes[at] = prng.below(256);
    bytes.writeUInt32LE(crc32c(bytes.subarray(DATA_HEADER_BYTES)), 52);
    return;
  }
  const size = prng.pick([1, 2, 4]);
  const at = prng.between(4, 60 - size);
  const value = prng.chance(0.5) ? BigInt(prng.below(20)) : prng.pick(EXTREMES);
  bytes.writeUIntLE(Number(value & ((1n << BigInt(size * 8)) - 1n)), at, size);
}

/** Cut anywhere, and every frame that comes out keeps its own rules. */
function decodeStream(input: Uint8Array, prng: Prng): string | null {
  const decoder = new FrameDecoder((frame) => {
    const { block, count, checksums, data } = frame;
    expect(block + count, 'blocks of a frame').to.be.at.most(BLOCKS_PER_EXTENT);
    expect(data?.length ?? 0).to.be.at.most(DATA_BODY_BYTES_MAX);
    if (checksums !== null) {
      expect(checksums.length).to.equal(count * 4);
      expect(data?.length).to.equal(count * BLOCK_BYTES);
    }
    readHello(frame);
    decodeBodies(frame.data);
  });
  for (let at = 0; at < input.length; ) {
    const target = decoder.target();
    expect(target.length, 'room for the next bytes').to.be.above(0);
    const most = prng.chance(0.5) ? target.length : prng.between(1, 100);
    const count = Math.min(target.length, most, input.length - at);
    target.set(input.subarray(at, at + count));
    at += count;
    const refusal = decoder.received(count);
    if (refusal !== null) return refusal;
  }
  return null;
}

export function resyncTarget(): FuzzTarget {
  const corpus = frameVectors()
    .map((bytes) => bytes.subarray(DATA_HEADER_BYTES))
    .filter((bytes) => bytes.length > 0 && bytes.length < 5000);
  return {
    name: 'resync',
    corpus,
    memoryBytesMax: MiB,
    run: (input) => decodeBodies(input),
  };
}

function decodeBodies(body: Uint8Array | null): void {
  const list = decodeList(body);
  if (list !== null && body !== null) expect(list.length).to.equal(body.length / 20);
  const addresses = decodeAddresses(body);
  if (addresses !== null && body !== null) expect(addresses.length).to.equal(body.length / 12);
  const meta = decodeMeta(body);
  if (meta !== null) expect(meta.presence.length * 4).to.equal(BLOCKS_PER_EXTENT);
}
