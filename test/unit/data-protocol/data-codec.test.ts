import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { Prng } from '../../../shared/base/prng.ts';
import { encodeFrame, encodeHeader, FrameDecoder } from '../../../shared/wire/data-codec.ts';
import { DATA_HEADER_BYTES, DataFrame, FLAG, OP } from '../../../shared/wire/data-protocol.ts';
import { headerChecksum } from '../../../shared/wire/header-checksum.ts';
import { FRAME_SAMPLES } from './frame-samples.ts';

/** Feeds `bytes` cut at `cuts`; returns the frames and the refusal, if any. */
function decode(
  bytes: Uint8Array,
  cuts: readonly number[] = [],
): { frames: DataFrame[]; refusal: string | null } {
  const frames: DataFrame[] = [];
  const decoder = new FrameDecoder((frame) => {
    const kept = Object.assign(new DataFrame(), frame);
    kept.takeBody();
    frames.push(kept);
  });
  let from = 0;
  for (const cut of [...cuts, bytes.length]) {
    while (from < cut) {
      const target = decoder.target();
      const count = Math.min(target.length, cut - from);
      target.set(bytes.subarray(from, from + count));
      from += count;
      const refusal = decoder.received(count);
      if (refusal !== null) return { frames, refusal };
    }
  }
  return { frames, refusal: null };
}

function fieldsOf(frame: DataFrame): Record<string, unknown> {
  const { checksums, data, isBodyTransient: _, ...fields } = frame;
  return {
    ...fields,
    checksums: checksums === null ? null : Buffer.from(checksums).toString('hex'),
    data: data === null ? null : Buffer.from(data).toString('hex'),
  };
}

/** Writes a field of the header and makes its checksum right again. */
function forged(name: string, change: (view: DataView) => void): Uint8Array {
  const bytes = Uint8Array.from(encodeFrame(FRAME_SAMPLES[name] as DataFrame));
  const view = new DataView(bytes.buffer);
  change(view);
  view.setUint32(60, headerChecksum(view, 0, 60), true);
  return bytes;
}

describe('data codec', () => {
  it('round trip: every op in both directions comes back as it went', () => {
    for (const [name, frame] of Object.entries(FRAME_SAMPLES)) {
      const { frames, refusal } = decode(encodeFrame(frame));
      expect(refusal, name).to.equal(null);
      expect(frames, name).to.have.length(1);
      expect(fieldsOf(frames[0] as DataFrame), name).to.deep.equal(fieldsOf(frame));
    }
  });

  it('golden vectors: the bytes are those of the committed files', () => {
    for (const [name, frame] of Object.entries(FRAME_SAMPLES)) {
      const path = `test/vectors/data-protocol/${name}.bin`;
      const golden = readFileSync(path);
      expect(encodeFrame(frame).equals(golden), path).to.equal(true);
    }
  });

  it('splits: two frames cut anywhere, the same frames', () => {
    for (const name of ['hello', 'write-durable', 'read', 'meta-reply']) {
      const first = encodeFrame(FRAME_SAMPLES[name] as DataFrame);
      const second = encodeFrame(FRAME_SAMPLES['presence-reply'] as DataFrame);
      const bytes = Buffer.concat([first, second]);
      for (let cut = 1; cut < bytes.length; cut += cut < 200 ? 1 : 97) {
        const { frames, refusal } = decode(bytes, [cut]);
        expect(refusal, `${name} cut at ${cut}`).to.equal(null);
        expect(frames.length, `${name} cut at ${cut}`).to.equal(2);
        expect(frames[1]?.op).to.equal(OP.presence);
      }
    }
  });

  it('splits: a long stream in random portions, every frame in order', () => {
    const random = new Prng('stream');
    const names = Object.keys(FRAME_SAMPLES);
    const sent = Array.from({ length: 300 }, () => random.pick(names));
    const bytes = Buffer.concat(sent.map((name) => encodeFrame(FRAME_SAMPLES[name] as DataFrame)));
    const cuts: number[] = [];
    for (let at = 0; at < bytes.length; at += 1 + random.below(100_000)) cuts.push(at);
    const { frames, refusal } = decode(bytes, cuts);
    expect(refusal).to.equal(null);
    expect(frames.map((frame) => fieldsOf(frame))).to.deep.equal(
      sent.map((name) => fieldsOf(FRAME_SAMPLES[name] as DataFrame)),
    );
  });

  it('truncation: a frame without its last byte, nothing is handed out', () => {
    for (const [name, frame] of Object.entries(FRAME_SAMPLES)) {
      const bytes = encodeFrame(frame);
      const { frames, refusal } = decode(bytes.subarray(0, bytes.length - 1));
      expect(refusal, name).to.equal(null);
      expect(frames, name).to.have.length(0);
    }
  });

  it('corruption: any single byte of header, table or small body, refused', () => {
    for (const name of ['hello', 'read', 'meta-reply', 'list-reply', 'write-reply']) {
      const bytes = encodeFrame(FRAME_SAMPLES[name] as DataFrame);
      for (let at = 0; at < bytes.length; at += 1) {
        const wrong = Uint8Array.from(bytes);
        wrong[at] = (wrong[at] as number) ^ 0x10;
        const { frames, refusal } = decode(wrong);
        expect(refusal, `${name} byte ${at}`).to.be.a('string');
        expect(frames, `${name} byte ${at}`).to.have.length(0);
      }
    }
    const write = encodeFrame(FRAME_SAMPLES['write'] as DataFrame);
    for (let at = 0; at < DATA_HEADER_BYTES + 8; at += 1) {
      const wrong = Uint8Array.from(write);
      wrong[at] = (wrong[at] as number) ^ 0x01;
      expect(decode(wrong).refusal, `write byte ${at}`).to.be.a('string');
    }
  });

  it('hostile headers: right checksum, wrong content, refused before the body', () => {
    const cases: readonly (readonly [string, string, (view: DataView) => void])[] = [
      ['magic', 'read', (view) => view.setUint32(0, 0x31534944, true)],
      ['version', 'read', (view) => view.setUint8(4, 2)],
      ['op 0', 'read', (view) => view.setUint8(5, 0)],
      ['op 13', 'read', (view) => view.setUint8(5, 13)],
      ['unknown flag', 'read', (view) => view.setUint16(6, 16, true)],
      ['reserved', 'read', (view) => view.setUint16(14, 1, true)],
      ['status in a request', 'read', (view) => view.setUint16(12, 1, true)],
      ['unknown status', 'write-reply', (view) => view.setUint16(12, 99, true)],
      ['block 1024', 'read', (view) => view.setUint16(44, 1024, true)],
      ['range beyond the extent', 'zero', (view) => view.setUint16(44, 1, true)],
      ['body of a read', 'read', (view) => view.setUint32(48, 4100, true)],
      ['body of 4 GiB', 'write', (view) => view.setUint32(48, 0xffff_ffff, true)],
      ['body not of the count', 'write', (view) => view.setUint32(48, 4100, true)],
      ['write without blocks', 'write', (view) => view.setUint32(48, 0, true)],
      ['checksum of nothing', 'read', (view) => view.setUint32(52, 1, true)],
      ['refusal with a body', 'read-reply', (view) => view.setUint16(12, 1, true)],
      ['hello too long', 'hello', (view) => view.setUint32(48, 4097, true)],
    ];
    for (const [what, name, change] of cases) {
      const { frames, refusal } = decode(forged(name, change).subarray(0, DATA_HEADER_BYTES));
      expect(refusal, what).to.be.a('string');
      expect(frames, what).to.have.length(0);
    }
  });

  it('random bytes: refused, never a crash', () => {
    const random = new Prng('noise');
    for (let round = 0; round < 500; round += 1) {
      const { frames } = decode(random.bytes(64 + random.below(2000)));
      expect(frames).to.have.length(0);
    }
  });

  it('bodies: small ones are transient views, large ones stay', () => {
    const seen: boolean[] = [];
    const bytes = Buffer.concat([
      encodeFrame(FRAME_SAMPLES['write'] as DataFrame),
      encodeFrame(FRAME_SAMPLES['write-large'] as DataFrame),
    ]);
    const decoder = new FrameDecoder((frame) => seen.push(frame.isBodyTransient));
    for (let from = 0; from < bytes.length; ) {
      const target = decoder.target();
      const count = Math.min(target.length, bytes.length - from);
      target.set(bytes.subarray(from, from + count));
      expect(decoder.received(count)).to.equal(null);
      from += count;
    }
    expect(seen).to.deep.equal([true, false]);
  });

  it('stop: a handler that closes gets no further frame', () => {
    const ping = encodeFrame(FRAME_SAMPLES['ping'] as DataFrame);
    let count = 0;
    const decoder: FrameDecoder = new FrameDecoder(() => {
      count += 1;
      decoder.stop();
    });
    decoder.target().set(Buffer.concat([ping, ping]));
    expect(decoder.received(ping.length * 2)).to.equal(null);
    expect(count).to.equal(1);
  });

  it('encoder: a body that nobody may send, assertion', () => {
    const frame = Object.assign(new DataFrame(), { op: OP.hello, flags: FLAG.reply });
    frame.data = new Uint8Array(5 * 1024 * 1024);
    const view = new DataView(new ArrayBuffer(DATA_HEADER_BYTES));
    expect(() => encodeHeader(frame, view, 0)).to.throw('body fits');
  });
});
