/** Frames of every op, for round trips and golden vectors; the names are the vectors' file names. */
import { crc32c } from '../../../shared/base/crc32c.ts';
import { BLOCK_BYTES } from '../../../shared/base/units.ts';
import { DataFrame, FLAG, OP, STATUS } from '../../../shared/wire/data-protocol.ts';

function frameOf(fields: Partial<DataFrame>): DataFrame {
  return Object.assign(new DataFrame(), fields);
}

function blocks(count: number, seed: number): { checksums: Uint8Array; data: Uint8Array } {
  const data = Buffer.alloc(count * BLOCK_BYTES);
  for (let index = 0; index < data.length; index += 1) data[index] = (index * 7 + seed) & 0xff;
  const checksums = Buffer.alloc(count * 4);
  for (let index = 0; index < count; index += 1) {
    const block = data.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES);
    checksums.writeUInt32LE(crc32c(block), index * 4);
  }
  return { checksums, data };
}

const address = { pg: 12, epoch: 9, disk: 3, volume: 5, generation: 2, layer: 1, extent: 77 };

export const FRAME_SAMPLES: Readonly<Record<string, DataFrame>> = {
  hello: frameOf({ op: OP.hello, data: Buffer.from('{"clusterId":"c","node":1,"protocol":1}') }),
  open: frameOf({ op: OP.open, requestId: 1, disk: 3, volume: 5, generation: 2 }),
  'open-fenced': frameOf({
    op: OP.open,
    flags: FLAG.reply,
    requestId: 1,
    status: STATUS.fenced,
    disk: 3,
    volume: 5,
    aux: 4,
  }),
  write: frameOf({ op: OP.write, requestId: 2, ...address, block: 8, count: 2, ...blocks(2, 1) }),
  'write-durable': frameOf({
    op: OP.write,
    flags: FLAG.durable,
    requestId: 0xffff_fffe,
    ...address,
    block: 1023,
    count: 1,
    ...blocks(1, 2),
  }),
  'write-large': frameOf({ op: OP.write, requestId: 3, ...address, count: 17, ...blocks(17, 3) }),
  'write-reply': frameOf({ op: OP.write, flags: FLAG.reply, requestId: 2, ...address, count: 2 }),
  'stale-epoch': frameOf({
    op: OP.write,
    flags: FLAG.reply,
    requestId: 2,
    status: STATUS.staleEpoch,
    ...address,
    aux: 10,
  }),
  read: frameOf({ op: OP.read, requestId: 4, ...address, block: 0, count: 16 }),
  'read-reply': frameOf({
    op: OP.read,
    flags: FLAG.reply,
    requestId: 4,
    ...address,
    count: 16,
    ...blocks(16, 4),
  }),
  'read-zeros': frameOf({
    op: OP.read,
    flags: FLAG.reply | FLAG.zeros,
    requestId: 5,
    ...address,
    count: 3,
  }),
  zero: frameOf({ op: OP.zero, flags: FLAG.unmap, requestId: 6, ...address, count: 1024 }),
  flush: frameOf({ op: OP.flush, requestId: 7, disk: 3, volume: 5, generation: 2 }),
  presence: frameOf({ op: OP.presence, requestId: 8, ...address, block: 4, count: 5 }),
  'presence-reply': frameOf({
    op: OP.presence,
    flags: FLAG.reply,
    requestId: 8,
    ...address,
    block: 4,
    count: 5,
    data: Buffer.from([0b10_01_00_01, 0b01]),
  }),
  clean: frameOf({
    op: OP.clean,
    requestId: 9,
    disk: 3,
    volume: 5,
    generation: 2,
    data: Buffer.from([5, 0, 0, 0, 1, 0, 0, 0, 77, 0, 0, 0]),
  }),
  list: frameOf({ op: OP.list, requestId: 10, pg: 12, epoch: 9, disk: 3, aux: 1 }),
  'list-reply': frameOf({
    op: OP.list,
    flags: FLAG.reply,
    requestId: 10,
    pg: 12,
    epoch: 9,
    disk: 3,
    data: Buffer.from([5, 0, 0, 0, 1, 0, 0, 0, 77, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0]),
  }),
  meta: frameOf({ op: OP.meta, requestId: 11, ...address }),
  'meta-reply': frameOf({
    op: OP.meta,
    flags: FLAG.reply,
    requestId: 11,
    ...address,
    data: Buffer.alloc(16 + 256 + 4096, 0x5a),
  }),
  pull: frameOf({ op: OP.pull, requestId: 12, ...address, block: 64, count: 64 }),
  'pull-reply': frameOf({
    op: OP.pull,
    flags: FLAG.reply,
    requestId: 12,
    ...address,
    block: 64,
    count: 20,
    ...blocks(20, 5),
  }),
  ping: frameOf({ op: OP.ping }),
};
