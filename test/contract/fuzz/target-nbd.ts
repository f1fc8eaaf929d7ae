/** The NBD server: handshake and transmission, as bytes from a client that may be anybody. */
import { expect } from 'chai';
import {
  NBD_OPTION_BYTES_MAX,
  NBD_PAYLOAD_BYTES_MAX,
} from '../../../executor/gateway/nbd/nbd-handshake.ts';
import { NBD_BYTES_IN_FLIGHT_MAX } from '../../../executor/gateway/nbd/nbd-session.ts';
import type { Prng } from '../../../shared/base/prng.ts';
import { MiB } from '../../../shared/base/units.ts';
import { MemoryDevice } from '../../e2e/nbd/memory-device.ts';
import {
  CMD,
  contextData,
  exportOf,
  exportsOf,
  infoData,
  openingBytes,
  option,
  request,
  SessionDriver,
  u32,
} from '../../unit/nbd/session-driver.ts';
import type { FuzzTarget } from './fuzz-target.ts';
import { expectReason } from './fuzz-target.ts';
import { EXTREMES } from './mutation.ts';

const SIZE_BYTES = MiB;
const TYPES = Object.values(CMD);
/** Of lengths that a generated request announces and keeps. */
const PAYLOAD_BYTES_MAX = 20_000;

export function nbdTarget(): FuzzTarget {
  return {
    name: 'nbd',
    corpus: [
      sessionOf(true, everyRequest()),
      sessionOf(false, everyRequest()),
      Buffer.concat([u32(3), option(3), option(6, infoData('v1', [1, 2, 3])), option(2)]),
      Buffer.concat([u32(1), option(1, Buffer.from('v1')), ...everyRequest()]),
      Buffer.concat([u32(3), option(8), option(9, contextData('v1', ['base:'])), option(7)]),
    ],
    generate,
    // What one connection may hold, the buffers of its input, and one payload on its way.
    memoryBytesMax:
      NBD_BYTES_IN_FLIGHT_MAX + NBD_PAYLOAD_BYTES_MAX + NBD_OPTION_BYTES_MAX + 4 * MiB,
    run,
  };
}

function run(input: Uint8Array, prng: Prng): void {
  const device = new MemoryDevice({ sizeBytes: SIZE_BYTES, isReadOnly: prng.chance(0.1) });
  const driver = new SessionDriver(exportsOf(exportOf(device)));
  driver.confirmsAtOnce = prng.chance(0.8);
  const pieces = prng.pick([1, 3, 1000]);
  for (let at = 0; at < input.length && driver.ended === null; ) {
    const length = pieces === 1000 ? prng.between(1, 40) : Math.ceil(input.length / pieces);
    driver.feed(Buffer.from(input.subarray(at, at + length)));
    at += length;
    expect(driver.session.bytesInFlight, 'bytes in flight').to.be.at.most(
      NBD_BYTES_IN_FLIGHT_MAX + NBD_PAYLOAD_BYTES_MAX,
    );
  }
  driver.confirm();
  driver.settle();
  if (driver.ended !== null) expectReason(driver.ended);
  driver.session.closed();
}

function everyRequest(): Buffer[] {
  return [
    request(CMD.write, { offset: 4096, payload: Buffer.alloc(5000, 1) }),
    request(CMD.read, { offset: 0, length: 12_000 }),
    request(CMD.flush),
    request(CMD.trim, { offset: 8192, length: 4096 }),
    request(CMD.zero, { offset: 100, length: 9000, flags: 2 }),
    request(CMD.cache, { offset: 0, length: 4096 }),
    request(CMD.status, { offset: 0, length: SIZE_BYTES }),
    request(CMD.disc),
  ];
}

function sessionOf(isStructured: boolean, requests: readonly Buffer[]): Buffer {
  return Buffer.concat([openingBytes('v1', isStructured), ...requests]);
}

function generate(prng: Prng): Buffer {
  const parts: Buffer[] = [u32(prng.pick([0, 1, 3, 3, 3, 7]))];
  for (let count = prng.below(5); count > 0; count -= 1) parts.push(anyOption(prng));
  if (prng.chance(0.7)) {
    parts.push(option(7, infoData('v1')));
    for (let count = prng.below(30); count > 0; count -= 1) parts.push(anyRequest(prng));
  }
  return Buffer.concat(parts);
}

function anyOption(prng: Prng): Buffer {
  const names = ['v1', '', 'nobody', 'x'.repeat(4097), 'a\0b', '\ufffd'];
  const data = prng.pick([
    () => Buffer.alloc(0),
    () => infoData(prng.pick(names), [prng.below(5)]),
    () => contextData(prng.pick(names), ['base:allocation', prng.pick(names)]),
    () => contextData(prng.pick(names), new Array<string>(prng.below(100)).fill('base:')),
    () => Buffer.from(prng.bytes(prng.below(200))),
    () => Buffer.concat([u32(extreme32(prng)), Buffer.from(prng.bytes(20))]),
  ])();
  const bytes = option(prng.below(12), data);
  if (prng.chance(0.1)) bytes.writeUInt32BE(extreme32(prng), 12);
  return bytes;
}

function anyRequest(prng: Prng): Buffer {
  const type = prng.chance(0.9) ? prng.pick(TYPES) : prng.below(0x1_0000);
  const offset = prng.chance(0.7) ? prng.below(SIZE_BYTES + 5000) : prng.pick(EXTREMES);
  const flags = prng.chance(0.8) ? prng.below(32) : prng.below(0x1_0000);
  const cookie = prng.pick(EXTREMES);
  if (type !== CMD.write) {
    const length = prng.chance(0.8) ? prng.below(SIZE_BYTES) : extreme32(prng);
    return request(type, { offset, flags, cookie, length });
  }
  const payload = Buffer.alloc(prng.below(PAYLOAD_BYTES_MAX), 7);
  const length = prng.chance(0.9) ? payload.length : extreme32(prng);
  return request(type, { offset, flags, cookie, length, payload });
}

function extreme32(prng: Prng): number {
  return Number(prng.pick(EXTREMES) & 0xffff_ffffn);
}
