import { expect } from 'chai';
import { StorageError } from '../../../shared/base/errors.ts';
import { encodeRecord, RecordDecoder } from '../../../shared/mesos/recordio.ts';

const PAYLOADS = ['{"type":"HEARTBEAT"}', 'line\nfeed\n', 'ü→😀', '7\n', 'x'];
const STREAM = Buffer.concat(PAYLOADS.map((text) => encodeRecord(Buffer.from(text))));

function decodeChunks(chunks: readonly Buffer[]): string[] {
  const decoder = new RecordDecoder();
  return chunks.flatMap((chunk) => decoder.push(chunk)).map((record) => record.toString('utf8'));
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return error instanceof StorageError ? error.code : String(error);
  }
  return 'no error';
}

describe('recordio', () => {
  it('a stream cut in two at every position, all records', () => {
    for (let cut = 0; cut <= STREAM.length; cut++) {
      const records = decodeChunks([STREAM.subarray(0, cut), STREAM.subarray(cut)]);
      expect(records, `cut at ${cut}`).to.deep.equal(PAYLOADS);
    }
  });

  it('chunks of every size, all records', () => {
    for (let size = 1; size <= STREAM.length; size++) {
      const chunks: Buffer[] = [];
      for (let at = 0; at < STREAM.length; at += size) chunks.push(STREAM.subarray(at, at + size));
      expect(decodeChunks(chunks), `chunks of ${size}`).to.deep.equal(PAYLOADS);
    }
  });

  it('a truncated stream, only whole records and not at a boundary', () => {
    const boundaries = new Set<number>([0]);
    let end = 0;
    for (const text of PAYLOADS) {
      end += encodeRecord(Buffer.from(text)).length;
      boundaries.add(end);
    }
    for (let length = 0; length < STREAM.length; length++) {
      const decoder = new RecordDecoder();
      const records = decoder.push(STREAM.subarray(0, length)).map(String);
      expect(records, `${length} bytes`).to.deep.equal(PAYLOADS.slice(0, records.length));
      expect(decoder.atBoundary, `${length} bytes`).to.equal(boundaries.has(length));
    }
  });

  it('a record of no bytes, an empty record', () => {
    expect(decodeChunks([Buffer.from('0\n1\na0\n')])).to.deep.equal(['', 'a', '']);
  });

  it('a length that is no number, refused, also from then on', () => {
    for (const bad of ['x', '-1\n', ' 5\nhello', '5 \nhello', '\n', '0x5\n', '1.5\n', '+3\nabc']) {
      const decoder = new RecordDecoder();
      expect(
        codeOf(() => decoder.push(Buffer.from(bad))),
        JSON.stringify(bad),
      ).to.equal('protocol');
      expect(
        codeOf(() => decoder.push(Buffer.from('1\na'))),
        bad,
      ).to.equal('protocol');
    }
  });

  it('a length above the limit, refused before any payload is kept', () => {
    expect(codeOf(() => new RecordDecoder().push(Buffer.from('67108865\n')))).to.equal('protocol');
    expect(codeOf(() => new RecordDecoder().push(Buffer.from('999999999')))).to.equal('protocol');
    expect(codeOf(() => new RecordDecoder(10).push(Buffer.from('11\n')))).to.equal('protocol');
    expect(new RecordDecoder().push(Buffer.from('67108864\n'))).to.deep.equal([]);
  });
});
