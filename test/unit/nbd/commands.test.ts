/** Every command of the second phase: what reaches the device and what the client gets to hear. */
import { expect } from 'chai';
import type { BlockError } from '../../../executor/gateway/block-device.ts';
import { MiB } from '../../../shared/base/units.ts';
import { MemoryDevice } from '../../e2e/nbd/memory-device.ts';
import { CMD, openSession, readReplies, request, u32, u64 } from './session-driver.ts';

const SIZE = 64 * MiB;
const EPERM = 1;
const EIO = 5;
const EINVAL = 22;
const ENOSPC = 28;
const ESHUTDOWN = 108;
const FLAG = { fua: 1, noHole: 2, df: 4, reqOne: 8, fastZero: 16 };

function pattern(length: number, seed = 7): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index += 1)
    bytes[index] = (index * seed + (index >> 9)) & 0xff;
  return bytes;
}

function device(options: { isReadOnly?: boolean; sizeBytes?: number } = {}): MemoryDevice {
  return new MemoryDevice({ sizeBytes: SIZE, ...options });
}

describe('nbd commands', function () {
  // Some move the largest payloads: generous, for slow machines.
  this.timeout(60_000);

  it('golden: a simple write reply and a structured read reply, byte by byte', () => {
    const driver = openSession(device());
    driver.feed(
      request(CMD.write, { cookie: 0x0102030405060708n, offset: 5, payload: Buffer.from('abc') }),
    );
    expect(driver.takeOutput().toString('hex')).to.equal(
      '67446698' + '00000000' + '0102030405060708',
    );
    driver.feed(request(CMD.read, { cookie: 0xfffefdfcfbfaf9f8n, offset: 4, length: 5 }));
    expect(driver.takeOutput().toString('hex')).to.equal(
      '668e33ef' +
        '0001' +
        '0001' +
        'fffefdfcfbfaf9f8' +
        '0000000d' +
        '0000000000000004' +
        '0061626300',
    );
  });

  it('golden: a structured error, a simple error, a block status', () => {
    const driver = openSession(device());
    driver.feed(request(CMD.read, { cookie: 9, offset: SIZE, length: 1 }));
    expect(driver.takeOutput().toString('hex')).to.equal(
      '668e33ef' + '0001' + '8001' + '0000000000000009' + '00000006' + '00000016' + '0000',
    );
    driver.feed(request(CMD.trim, { cookie: 9, offset: SIZE, length: 1 }));
    expect(driver.takeOutput().toString('hex')).to.equal(
      '67446698' + '00000016' + '0000000000000009',
    );
    driver.feed(request(CMD.status, { cookie: 9, length: 4096 }));
    expect(driver.takeOutput().toString('hex')).to.equal(
      '668e33ef' +
        '0001' +
        '0005' +
        '0000000000000009' +
        '0000000c' +
        '00000001' +
        '00001000' +
        '00000003',
    );
  });

  for (const isStructured of [true, false]) {
    for (const length of [1, 511, 4096, 65_536, 65_537, 1_000_001, 32 * MiB]) {
      it(`READ and WRITE: ${length} bytes at an odd offset (structured=${isStructured})`, () => {
        const driver = openSession(device(), isStructured);
        const payload = pattern(length);
        driver.feed(request(CMD.write, { cookie: 1, offset: 12_345, payload }));
        expect(driver.takeReplies().map((reply) => reply.error)).to.deep.equal([0]);
        driver.feed(request(CMD.read, { cookie: 2, offset: 12_345, length }));
        const [reply] = readReplies(driver.takeOutput(), new Map([[2n, length]]));
        expect(reply?.chunk === null).to.equal(!isStructured);
        expect(reply?.data.equals(payload)).to.equal(true);
        expect(driver.session.bytesInFlight, 'nothing is held').to.equal(0);
      });
    }
  }

  it('flags reach the device: FUA, and NO_HOLE the other way round', () => {
    const memory = device();
    const driver = openSession(memory);
    driver.feed(request(CMD.write, { flags: FLAG.fua, payload: Buffer.from('x') }));
    driver.feed(request(CMD.zero, { offset: 4096, length: 8192 }));
    driver.feed(request(CMD.zero, { flags: FLAG.fua | FLAG.noHole, offset: 1, length: 2 }));
    driver.feed(request(CMD.trim, { flags: FLAG.fua, length: 4096 }));
    driver.feed(request(CMD.flush));
    driver.feed(request(CMD.read, { flags: FLAG.df, length: 1 }));
    expect(memory.seen).to.deep.equal([
      { op: 'write', offset: 0, length: 1, isDurable: true, mayUnmap: false },
      { op: 'zero', offset: 4096, length: 8192, isDurable: false, mayUnmap: true },
      { op: 'zero', offset: 1, length: 2, isDurable: true, mayUnmap: false },
      { op: 'trim', offset: 0, length: 4096, isDurable: true, mayUnmap: false },
      { op: 'flush', offset: 0, length: 0, isDurable: false, mayUnmap: false },
      { op: 'read', offset: 0, length: 1, isDurable: false, mayUnmap: false },
    ]);
    expect(driver.takeReplies().map((reply) => reply.error)).to.deep.equal([0, 0, 0, 0, 0, 0]);
  });

  it('TRIM and WRITE_ZEROES: longer than any payload may be', () => {
    const memory = device({ sizeBytes: 8192 * MiB });
    const driver = openSession(memory);
    driver.feed(request(CMD.trim, { length: 0xffff_ffff }));
    driver.feed(request(CMD.zero, { offset: 4096 * MiB, length: 0xffff_f000 }));
    expect(driver.takeReplies().map((reply) => reply.error)).to.deep.equal([0, 0]);
  });

  it('CACHE: accepted within the device, without effect', () => {
    const memory = device();
    const driver = openSession(memory);
    driver.feed(request(CMD.cache, { length: SIZE }));
    driver.feed(request(CMD.cache, { offset: 1, length: SIZE }));
    expect(driver.takeReplies().map((reply) => reply.error)).to.deep.equal([0, EINVAL]);
    expect(memory.seen).to.deep.equal([]);
  });

  it('DISC: what was asked before is answered, then the connection ends', () => {
    const memory = new MemoryDevice({ sizeBytes: SIZE, answers: 'manual' });
    const driver = openSession(memory);
    driver.feed(Buffer.concat([request(CMD.read, { length: 5 }), request(CMD.disc)]));
    expect(driver.ended).to.equal(null);
    memory.release();
    driver.settle();
    expect(driver.takeReplies()[0]?.data).to.deep.equal(Buffer.alloc(5));
    expect(driver.ended).to.equal('Client disconnected');
    driver.feed(request(CMD.write, { payload: Buffer.alloc(10) }));
    expect(memory.seen.length, 'nothing after DISC').to.equal(1);
  });

  describe('block status', () => {
    const entries = (data: Buffer | undefined): [number, number][] => {
      const found: [number, number][] = [];
      for (let at = 4; data !== undefined && at < data.length; at += 8) {
        found.push([data.readUInt32BE(at), data.readUInt32BE(at + 4)]);
      }
      return found;
    };

    it('runs of data, zeros and holes, cut to the range', () => {
      const driver = openSession(device());
      driver.feed(request(CMD.write, { offset: 8192, payload: pattern(4096) }));
      driver.feed(request(CMD.zero, { flags: FLAG.noHole, offset: 12_288, length: 4096 }));
      driver.takeOutput();
      driver.feed(request(CMD.status, { offset: 100, length: 20_000 }));
      const [reply] = driver.takeReplies();
      expect(reply?.chunk?.data.readUInt32BE(0)).to.equal(1);
      expect(entries(reply?.chunk?.data)).to.deep.equal([
        [8092, 3],
        [4096, 0],
        [4096, 2],
        [3716, 3],
      ]);
    });

    it('REQ_ONE: a single run, joined over equal neighbours', () => {
      const driver = openSession(device());
      driver.feed(request(CMD.write, { offset: 8192, payload: pattern(4096) }));
      driver.takeOutput();
      driver.feed(request(CMD.status, { flags: FLAG.reqOne, length: 20_000 }));
      expect(entries(driver.takeReplies()[0]?.chunk?.data)).to.deep.equal([[8192, 3]]);
    });

    it('a fragmented range: so many runs as fit, and the client asks again', () => {
      const driver = openSession(device());
      for (let page = 0; page < 10_000; page += 2) {
        driver.feed(request(CMD.write, { offset: page * 4096, payload: Buffer.from('x') }));
      }
      driver.takeOutput();
      driver.feed(request(CMD.status, { length: 10_000 * 4096 }));
      const found = entries(driver.takeReplies()[0]?.chunk?.data);
      expect(found.length).to.equal(4096);
      expect(found[0]).to.deep.equal([4096, 0]);
      expect(found[4095]).to.deep.equal([4096, 3]);
    });

    it('a huge range: looked at in parts', () => {
      const memory = device({ sizeBytes: 4096 * MiB });
      const driver = openSession(memory);
      driver.feed(request(CMD.status, { length: 0xffff_ffff }));
      expect(memory.seen[0]?.length).to.equal(256 * MiB);
      expect(entries(driver.takeReplies()[0]?.chunk?.data)).to.deep.equal([[256 * MiB, 3]]);
    });

    it('a device that reports more than was asked, in equal neighbours: joined and cut', () => {
      const memory = device();
      memory.submit = (asked) => {
        const data = { isHole: false, isZero: false };
        const hole = { isHole: true, isZero: true };
        asked.statuses = [
          { length: 1000, ...data },
          { length: 0, ...hole },
          { length: 1000, ...data },
          { length: 5000, ...hole },
          { length: 5000, ...hole },
        ];
        asked.onDone(asked);
      };
      const driver = openSession(memory);
      driver.feed(request(CMD.status, { length: 9000 }));
      expect(entries(driver.takeReplies()[0]?.chunk?.data)).to.deep.equal([
        [2000, 0],
        [7000, 3],
      ]);
    });

    it('a device that reports nothing: the client gets an I/O error, not the last answer', () => {
      const memory = device();
      const driver = openSession(memory);
      driver.feed(request(CMD.status, { length: 4096 }));
      memory.submit = (asked) => asked.onDone(asked);
      driver.feed(request(CMD.status, { length: 4096 }));
      expect(driver.takeReplies().map((reply) => reply.error)).to.deep.equal([0, EIO]);
      driver.feed(request(CMD.read, { length: 4096 }));
      expect(driver.takeReplies().map((reply) => reply.error)).to.deep.equal([EIO]);
    });

    it('not negotiated: refused', () => {
      const driver = openSession(device(), false);
      driver.feed(request(CMD.status, { length: 4096 }));
      expect(driver.takeReplies()[0]?.error).to.equal(EINVAL);
    });
  });

  describe('refusals', () => {
    const beyond: [string, number, number | bigint, number, number][] = [
      ['READ', CMD.read, SIZE - 1, 2, EINVAL],
      ['READ', CMD.read, 2n ** 63n, 1, EINVAL],
      ['READ', CMD.read, 2n ** 64n - 1n, 1, EINVAL],
      ['READ', CMD.read, 0, 32 * MiB + 1, EINVAL],
      ['READ', CMD.read, 0, 0, EINVAL],
      ['TRIM', CMD.trim, SIZE, 1, EINVAL],
      ['TRIM', CMD.trim, 0, 0, EINVAL],
      ['WRITE_ZEROES', CMD.zero, 1, SIZE, ENOSPC],
      ['WRITE_ZEROES', CMD.zero, 2n ** 64n - 1n, 1, ENOSPC],
      ['BLOCK_STATUS', CMD.status, 1, SIZE, EINVAL],
      ['BLOCK_STATUS', CMD.status, 0, 0, EINVAL],
      ['FLUSH', CMD.flush, 4096, 0, EINVAL],
      ['FLUSH', CMD.flush, 0, 4096, EINVAL],
    ];
    for (const [name, type, offset, length, error] of beyond) {
      it(`${name}: offset ${offset}, length ${length}, error ${error}`, () => {
        const memory = device();
        const driver = openSession(memory);
        driver.feed(request(type, { cookie: 77, offset, length }));
        const replies = driver.takeReplies();
        expect(replies.map((reply) => [reply.cookie, reply.error])).to.deep.equal([[77n, error]]);
        expect(memory.seen).to.deep.equal([]);
      });
    }

    it('WRITE: a refused payload is skipped and the next request understood', () => {
      const memory = device();
      const driver = openSession(memory);
      driver.feed(request(CMD.write, { cookie: 1, offset: SIZE - 5, payload: pattern(6) }));
      driver.feed(request(CMD.write, { cookie: 2, flags: FLAG.df, payload: pattern(300_000) }));
      driver.feed(request(CMD.write, { cookie: 3, payload: Buffer.alloc(32 * MiB + 1) }));
      driver.feed(request(CMD.write, { cookie: 4, length: 0 }));
      driver.feed(request(CMD.write, { cookie: 5, payload: pattern(6) }));
      expect(driver.takeReplies().map((reply) => [reply.cookie, reply.error])).to.deep.equal([
        [1n, ENOSPC],
        [2n, EINVAL],
        [3n, EINVAL],
        [4n, EINVAL],
        [5n, 0],
      ]);
      expect(memory.seen.length).to.equal(1);
    });

    it('WRITE: absurdly long, connection ends', () => {
      const driver = openSession(device());
      driver.feed(request(CMD.write, { length: 64 * MiB + 1 }));
      expect(driver.ended).to.match(/write of 67108865 bytes/);
    });

    it('read-only: WRITE, WRITE_ZEROES and TRIM are not permitted, the rest works', () => {
      const driver = openSession(device({ isReadOnly: true }));
      driver.feed(request(CMD.write, { cookie: 1, payload: pattern(10) }));
      driver.feed(request(CMD.zero, { cookie: 2, length: 10 }));
      driver.feed(request(CMD.trim, { cookie: 3, length: 10 }));
      driver.feed(request(CMD.flush, { cookie: 4 }));
      driver.feed(request(CMD.read, { cookie: 5, length: 10 }));
      expect(driver.takeReplies().map((reply) => reply.error)).to.deep.equal([
        EPERM,
        EPERM,
        EPERM,
        0,
        0,
      ]);
    });

    it('flags: those that do not belong to the command, and unknown ones', () => {
      const driver = openSession(device());
      const wrong: [number, number[]][] = [
        [CMD.read, [FLAG.noHole, FLAG.reqOne, FLAG.fastZero, 0x8000]],
        [CMD.trim, [FLAG.noHole, FLAG.df, FLAG.reqOne, FLAG.fastZero]],
        [CMD.zero, [FLAG.df, FLAG.reqOne, FLAG.fastZero, 0x4000]],
        [CMD.flush, [FLAG.noHole, FLAG.df]],
        [CMD.status, [FLAG.noHole, FLAG.df, FLAG.fastZero]],
        [CMD.cache, [FLAG.df, 32]],
      ];
      for (const [type, flags] of wrong) {
        for (const flag of flags) {
          driver.feed(request(type, { flags: flag, length: type === CMD.flush ? 0 : 4096 }));
          expect(driver.takeReplies()[0]?.error, `command ${type} flag ${flag}`).to.equal(EINVAL);
        }
      }
      const simple = openSession(device(), false);
      simple.feed(request(CMD.read, { flags: FLAG.df, length: 1 }));
      expect(simple.takeReplies()[0]?.error, 'DF without structured replies').to.equal(EINVAL);
    });

    it('unknown commands: refused, connection goes on', () => {
      const driver = openSession(device());
      for (const type of [8, 9, 255, 0xffff]) {
        driver.feed(request(type, { cookie: type, length: 4096 }));
        const [reply] = driver.takeReplies();
        expect([reply?.cookie, reply?.error]).to.deep.equal([BigInt(type), EINVAL]);
      }
      driver.feed(request(CMD.flush));
      expect(driver.takeReplies()[0]?.error).to.equal(0);
    });

    it('wrong magic: connection ends, nothing is answered', () => {
      const driver = openSession(device());
      driver.feed(Buffer.concat([u32(0x25609514), Buffer.alloc(24)]));
      expect(driver.ended).to.match(/no request/);
      expect(driver.takeOutput().length).to.equal(0);
    });

    const failures: [BlockError, number][] = [
      ['io', EIO],
      ['no-space', ENOSPC],
      ['invalid', EINVAL],
      ['read-only', EPERM],
      ['shutdown', ESHUTDOWN],
    ];
    for (const [failure, error] of failures) {
      it(`device fails with "${failure}": every command says ${error}`, () => {
        const memory = device();
        const driver = openSession(memory);
        memory.failWith = failure;
        driver.feed(request(CMD.read, { length: 70_000 }));
        driver.feed(request(CMD.write, { payload: pattern(70_000) }));
        driver.feed(request(CMD.zero, { length: 1 }));
        driver.feed(request(CMD.trim, { length: 1 }));
        driver.feed(request(CMD.flush));
        driver.feed(request(CMD.status, { length: 1 }));
        const replies = driver.takeReplies();
        expect(replies.map((reply) => reply.error)).to.deep.equal(Array(6).fill(error));
        const structured = replies.map((reply) => reply.chunk !== null);
        expect(structured).to.deep.equal([true, false, false, false, false, true]);
        expect(driver.session.bytesInFlight).to.equal(0);
      });
    }

    it('a device that returns the wrong amount of data: the client gets an I/O error, no bytes', () => {
      const memory = device();
      const submit = memory.submit.bind(memory);
      memory.submit = (asked) => {
        if (asked.op !== 'read') return submit(asked);
        asked.data = Buffer.alloc(asked.length - 1);
        asked.onDone(asked);
      };
      const driver = openSession(memory);
      driver.feed(request(CMD.read, { length: 100 }));
      expect(driver.takeReplies()[0]?.error).to.equal(EIO);
    });
  });

  it('cookies: come back as they are, all 64 bits', () => {
    const driver = openSession(device());
    for (const cookie of [0n, 1n, 2n ** 63n, 2n ** 64n - 1n, 0x0123456789abcdefn]) {
      driver.feed(request(CMD.flush, { cookie }));
      driver.feed(request(CMD.read, { cookie, length: 1 }));
      expect(driver.takeOutput().includes(u64(cookie))).to.equal(true);
    }
  });
});
