/** The session as a machine: any split of its input, hostile input, limits, and its ends. */
import { expect } from 'chai';
import fc from 'fast-check';
import {
  NBD_BYTES_IN_FLIGHT_MAX,
  NBD_REQUESTS_IN_FLIGHT_MAX,
} from '../../../executor/gateway/nbd/nbd-session.ts';
import { MiB } from '../../../shared/base/units.ts';
import { MemoryDevice } from '../../e2e/nbd/memory-device.ts';
import {
  CMD,
  contextData,
  exportOf,
  exportsOf,
  infoData,
  openingBytes,
  openSession,
  option,
  readReplies,
  request,
  SessionDriver,
  u32,
} from './session-driver.ts';

const ESHUTDOWN = 108;

function freshDriver(): SessionDriver {
  return new SessionDriver(exportsOf(exportOf(new MemoryDevice({ sizeBytes: MiB }))));
}

/** A whole conversation: every option kind, every command, refusals, the end. */
function conversation(): Buffer {
  return Buffer.concat([
    u32(3),
    option(99, Buffer.from('what')),
    option(8),
    option(3),
    option(10, contextData('v1', ['base:allocation'])),
    option(6, infoData('v1', [1, 3])),
    option(7, infoData('v1')),
    request(CMD.write, { cookie: 1, offset: 4000, payload: Buffer.from('hello, block device') }),
    request(CMD.read, { cookie: 2, offset: 3990, length: 50 }),
    request(CMD.write, { cookie: 3, offset: MiB - 1, payload: Buffer.from('too far') }),
    request(CMD.write, { cookie: 4, flags: 1, payload: Buffer.alloc(300, 9) }),
    request(CMD.status, { cookie: 5, length: 20_000 }),
    request(CMD.zero, { cookie: 6, offset: 100, length: 100 }),
    request(CMD.trim, { cookie: 7, offset: 4096, length: 4096 }),
    request(CMD.cache, { cookie: 8, length: 4096 }),
    request(CMD.flush, { cookie: 9 }),
    request(200, { cookie: 10 }),
    request(CMD.read, { cookie: 11, length: 400 }),
    request(CMD.disc),
  ]);
}

function outcomeOf(pieces: readonly Buffer[]): { output: string; ended: string | null } {
  const driver = freshDriver();
  for (const piece of pieces) driver.feed(piece);
  return { output: driver.takeOutput().toString('hex'), ended: driver.ended };
}

describe('nbd session', function () {
  // Thousands of sessions: generous, for slow machines.
  this.timeout(120_000);

  describe('splits', () => {
    const bytes = conversation();
    const whole = outcomeOf([bytes]);

    it('the conversation is understood at all', () => {
      expect(whole.ended).to.equal('Client disconnected');
      expect(whole.output).to.include(Buffer.from('hello, block device').toString('hex'));
    });

    it('every split into two: same replies', () => {
      for (let at = 1; at < bytes.length; at += 1) {
        const outcome = outcomeOf([bytes.subarray(0, at), bytes.subarray(at)]);
        expect(outcome, `split at ${at}`).to.deep.equal(whole);
      }
    });

    it('byte by byte: same replies', () => {
      const pieces = Array.from(bytes, (_, at) => bytes.subarray(at, at + 1));
      expect(outcomeOf(pieces)).to.deep.equal(whole);
    });

    it('large payloads, any pieces: what was written is read (random)', () => {
      const sizes = fc.array(fc.integer({ min: 1, max: 400_000 }), { minLength: 1, maxLength: 4 });
      const steps = fc.array(fc.integer({ min: 1, max: 300_000 }), { minLength: 1, maxLength: 12 });
      fc.assert(
        fc.property(sizes, steps, (lengths, pieceLengths) => {
          const memory = new MemoryDevice({ sizeBytes: 2 * MiB });
          const driver = openSession(memory);
          const payloads = lengths.map((length, index) => Buffer.alloc(length, index + 1));
          const stream = Buffer.concat(
            payloads.map((payload, index) =>
              request(CMD.write, { cookie: index, offset: index * 400_000, payload }),
            ),
          );
          let at = 0;
          for (let turn = 0; at < stream.length; turn += 1) {
            const length = pieceLengths[turn % pieceLengths.length] ?? 1;
            driver.feed(stream.subarray(at, at + length));
            at += length;
          }
          expect(driver.takeReplies().map((reply) => reply.error)).to.deep.equal(
            lengths.map(() => 0),
          );
          for (const [index, payload] of payloads.entries()) {
            expect(memory.peek(index * 400_000, payload.length).equals(payload)).to.equal(true);
          }
          expect(driver.session.bytesInFlight).to.equal(0);
        }),
        { numRuns: 40 },
      );
    });
  });

  describe('hostile input', () => {
    const bytes = conversation();

    it('every truncation: no crash, and the loss of the connection is taken', () => {
      for (let length = 0; length < bytes.length; length += 1) {
        const driver = freshDriver();
        driver.feed(bytes.subarray(0, length));
        driver.session.closed();
        driver.settle();
      }
    });

    it('every corruption of a single byte: no crash, nothing outside the device', () => {
      for (let at = 0; at < bytes.length; at += 1) {
        for (const mask of [0x01, 0x10, 0x80, 0xff]) {
          const damaged = Buffer.from(bytes);
          damaged[at] = (damaged[at] ?? 0) ^ mask;
          const driver = freshDriver();
          driver.feed(damaged);
          driver.session.closed();
          driver.settle();
        }
      }
    });

    it('random bytes, before and after the handshake: no crash (random)', () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (noise, isOpen) => {
          const driver = freshDriver();
          if (isOpen) driver.feed(openingBytes('v1', true));
          driver.feed(Buffer.from(noise));
          driver.session.closed();
          driver.settle();
        }),
        { numRuns: 300 },
      );
    });

    it('random requests with a right magic: each is answered once or ends the connection (random)', () => {
      const fields = fc.record({
        type: fc.integer({ min: 0, max: 9 }),
        flags: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 31 })),
        offset: fc.oneof(
          fc.bigInt({ min: 0n, max: BigInt(2 * MiB) }),
          fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        ),
        length: fc.integer({ min: 0, max: 100_000 }),
      });
      fc.assert(
        fc.property(fc.array(fields, { maxLength: 30 }), (all) => {
          const driver = openSession(new MemoryDevice({ sizeBytes: MiB }));
          const answered: bigint[] = [];
          const expected: bigint[] = [];
          for (const [index, { type, flags, offset, length }] of all.entries()) {
            if (type === CMD.disc) continue;
            const isWrite = type === CMD.write;
            const payload = isWrite ? Buffer.alloc(length) : Buffer.alloc(0);
            driver.feed(request(type, { cookie: index, flags, offset, length, payload }));
            expected.push(BigInt(index));
          }
          for (const reply of driver.takeReplies()) answered.push(reply.cookie);
          expect(answered).to.deep.equal(expected);
        }),
        { numRuns: 200 },
      );
    });
  });

  describe('limits', () => {
    it('requests: not more than the limit reach the device; the rest wait unread', () => {
      const memory = new MemoryDevice({ sizeBytes: MiB, answers: 'manual' });
      const driver = openSession(memory);
      const all = Array.from({ length: 1000 }, (_, cookie) =>
        request(CMD.read, { cookie, length: 8 }),
      );
      driver.feed(Buffer.concat(all));
      expect(memory.waitingCount).to.equal(NBD_REQUESTS_IN_FLIGHT_MAX);
      expect(driver.isPaused).to.equal(true);
      const cookies: bigint[] = [];
      while (memory.waitingCount > 0) {
        memory.release(100);
        driver.settle();
        expect(memory.waitingCount).to.be.at.most(NBD_REQUESTS_IN_FLIGHT_MAX);
        cookies.push(...driver.takeReplies().map((reply) => reply.cookie));
      }
      expect(cookies).to.deep.equal(all.map((_, cookie) => BigInt(cookie)));
      expect(driver.isPaused).to.equal(false);
    });

    it('bytes: large reads wait for those in flight', () => {
      const memory = new MemoryDevice({ sizeBytes: 64 * MiB, answers: 'manual' });
      const driver = openSession(memory);
      for (let cookie = 0; cookie < 6; cookie += 1) {
        driver.feed(request(CMD.read, { cookie, length: 32 * MiB }));
      }
      expect(memory.waitingCount).to.equal(2);
      expect(driver.session.bytesInFlight).to.equal(NBD_BYTES_IN_FLIGHT_MAX);
      let answered = 0;
      while (memory.waitingCount > 0) {
        memory.release(1);
        driver.settle();
        answered += driver.takeReplies().length;
        expect(driver.session.bytesInFlight).to.be.at.most(NBD_BYTES_IN_FLIGHT_MAX + 100);
      }
      expect(answered).to.equal(6);
    });

    it('slow reader: parsing stops while replies are not taken, and goes on when they are', () => {
      const driver = openSession(new MemoryDevice({ sizeBytes: 64 * MiB }));
      driver.confirmsAtOnce = false;
      const all = Array.from({ length: 200 }, (_, cookie) =>
        request(CMD.read, { cookie, length: MiB }),
      );
      driver.feed(Buffer.concat(all));
      expect(driver.isPaused).to.equal(true);
      expect(driver.session.bytesInFlight).to.be.at.most(NBD_BYTES_IN_FLIGHT_MAX + 2 * MiB);
      let answered = 0;
      for (let round = 0; round < 10 && answered < 200; round += 1) {
        answered += driver.takeReplies().length;
        driver.confirm();
      }
      expect(answered).to.equal(200);
      expect(driver.isPaused).to.equal(false);
    });

    it('writes: a payload that arrives while too much is in flight is not lost', () => {
      const memory = new MemoryDevice({ sizeBytes: 128 * MiB, answers: 'manual' });
      const driver = openSession(memory);
      const writes = [1, 2, 3, 4].map((value) =>
        request(CMD.write, {
          cookie: value,
          offset: (value - 1) * 30 * MiB,
          payload: Buffer.alloc(30 * MiB, value),
        }),
      );
      driver.feed(Buffer.concat(writes));
      let answered = 0;
      while (memory.waitingCount > 0) {
        memory.release(1);
        driver.settle();
        answered += driver.takeReplies().length;
      }
      expect(answered).to.equal(4);
      for (const value of [1, 2, 3, 4]) {
        const middle = memory.peek((value - 1) * 30 * MiB + 15 * MiB, 1000);
        expect(middle.equals(Buffer.alloc(1000, value)), `write ${value}`).to.equal(true);
      }
    });
  });

  describe('order', () => {
    it('replies leave in the order in which the device answers, one batch per turn', () => {
      const memory = new MemoryDevice({ sizeBytes: MiB, answers: 'manual' });
      const driver = openSession(memory);
      const waiting: Parameters<MemoryDevice['submit']>[0][] = [];
      memory.submit = (asked) => waiting.push(asked);
      driver.confirmsAtOnce = false;
      for (let cookie = 0; cookie < 4; cookie += 1)
        driver.feed(request(CMD.trim, { cookie, length: 1 }));
      for (const index of [2, 0, 3, 1]) waiting[index]?.onDone(waiting[index]);
      expect(driver.takeOutput().length, 'nothing before the turn').to.equal(0);
      driver.settle();
      const cookies = driver.takeReplies().map((reply) => reply.cookie);
      expect(cookies).to.deep.equal([2n, 0n, 3n, 1n]);
    });

    it('a slow request does not hold up a fast one', () => {
      const memory = new MemoryDevice({ sizeBytes: MiB, answers: 'manual' });
      const driver = openSession(memory);
      const submit = memory.submit.bind(memory);
      memory.submit = (asked) => (asked.op === 'read' ? submit(asked) : asked.onDone(asked));
      driver.feed(request(CMD.read, { cookie: 1, length: 10 }));
      driver.feed(request(CMD.flush, { cookie: 2 }));
      expect(driver.takeReplies().map((reply) => reply.cookie)).to.deep.equal([2n]);
      memory.release();
      driver.settle();
      expect(driver.takeReplies().map((reply) => reply.cookie)).to.deep.equal([1n]);
    });
  });

  describe('ends', () => {
    it('shutdown: requests in flight get ESHUTDOWN at once, what the device says later is dropped', () => {
      const memory = new MemoryDevice({ sizeBytes: MiB, answers: 'manual' });
      const driver = openSession(memory);
      driver.feed(request(CMD.read, { cookie: 1, length: 5000 }));
      driver.feed(request(CMD.write, { cookie: 2, payload: Buffer.alloc(5000, 1) }));
      driver.feed(request(CMD.status, { cookie: 3, length: 5000 }));
      // And half a write, which is no request yet.
      driver.feed(
        request(CMD.write, { cookie: 4, length: 100_000, payload: Buffer.alloc(50_000) }),
      );
      driver.session.shutdown('Volume is detached');
      driver.settle();
      const replies = driver.takeReplies();
      expect(replies.map((reply) => [reply.cookie, reply.error])).to.deep.equal([
        [1n, ESHUTDOWN],
        [2n, ESHUTDOWN],
        [3n, ESHUTDOWN],
      ]);
      expect(driver.ended).to.equal('Volume is detached');
      memory.release();
      driver.feed(request(CMD.flush));
      driver.session.shutdown('Again');
      expect(driver.takeOutput().length).to.equal(0);
      expect(memory.waitingCount).to.equal(0);
    });

    it('shutdown: while paused, reading goes on so that the end of the client is seen', () => {
      const memory = new MemoryDevice({ sizeBytes: MiB, answers: 'manual' });
      const driver = openSession(memory);
      const all = Array.from({ length: 400 }, () => request(CMD.trim, { length: 1 }));
      driver.feed(Buffer.concat(all));
      expect(driver.isPaused).to.equal(true);
      driver.session.shutdown('Volume is detached');
      driver.settle();
      expect(driver.isPaused).to.equal(false);
      expect(readReplies(driver.takeOutput()).length).to.equal(NBD_REQUESTS_IN_FLIGHT_MAX);
    });

    it('shutdown: during the handshake, connection ends without a word', () => {
      const driver = freshDriver();
      driver.takeOutput();
      driver.feed(u32(3));
      driver.session.shutdown('Server is closing');
      expect(driver.ended).to.equal('Server is closing');
      expect(driver.takeOutput().length).to.equal(0);
    });

    it('connection lost with requests in flight: the device finishes them, their memory is used again', () => {
      const memory = new MemoryDevice({ sizeBytes: MiB, answers: 'manual' });
      const driver = openSession(memory);
      driver.feed(request(CMD.write, { payload: Buffer.alloc(100_000, 5) }));
      driver.session.closed();
      const idleBefore = driver.pool.idleBytes;
      memory.release();
      driver.settle();
      expect(driver.pool.idleBytes).to.equal(idleBefore + 131_072);
      expect(memory.peek(0, 10)).to.deep.equal(Buffer.alloc(10, 5));
    });

    it('device that answers twice: a mistake that does not go unnoticed', () => {
      const memory = new MemoryDevice({ sizeBytes: MiB });
      const driver = openSession(memory);
      memory.submit = (asked) => {
        asked.onDone(asked);
        asked.onDone(asked);
      };
      expect(() => driver.feed(request(CMD.flush))).to.throw(/a request completes once/);
    });
  });
});
