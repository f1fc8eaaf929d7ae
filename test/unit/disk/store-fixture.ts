/** A store on a simulated disk with virtual time, and its callbacks as promises. */

import type { ExtentStore } from '../../../executor/disk/extent-store.ts';
import { openExtentStore } from '../../../executor/disk/extent-store-open.ts';
import type {
  Done,
  ExtentAddress,
  StoreOptions,
  StoreTuning,
} from '../../../executor/disk/store-types.ts';
import { crc32c } from '../../../shared/base/crc32c.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { BLOCK_BYTES, MiB } from '../../../shared/base/units.ts';
import type { LogFields } from '../../../shared/ports.ts';
import type { Status } from '../../../shared/wire/data-protocol.ts';
import { STATUS } from '../../../shared/wire/data-protocol.ts';
import { SimulatedDisk } from '../../simulation/ports/simulated-disk.ts';
import { VirtualClock } from '../../simulation/ports/virtual-clock.ts';

export interface FixtureOptions {
  readonly seed?: number | string;
  readonly slots?: number;
  readonly totalBytes?: number;
  readonly latencyMs?: number;
  readonly tuning?: Partial<StoreTuning>;
}

export interface ReadResult {
  readonly status: Status;
  readonly data: Buffer;
  readonly checksums: Buffer;
  readonly dataBlocks: number;
  readonly absentBlocks: number;
  readonly badBlock: number;
}

export class StoreFixture {
  readonly clock = new VirtualClock();
  readonly disk: SimulatedDisk;
  readonly prng: Prng;
  readonly logged: { readonly message: string; readonly fields: LogFields | undefined }[] = [];
  options: StoreOptions;

  constructor(options: FixtureOptions = {}) {
    this.prng = new Prng(options.seed ?? 1);
    this.disk = new SimulatedDisk(
      {
        path: '/disk',
        totalBytes: options.totalBytes ?? Number.MAX_SAFE_INTEGER,
        latencyMs: options.latencyMs ?? 0.1,
      },
      this.clock,
      this.prng.fork('disk'),
    );
    this.options = {
      clusterId: 'cluster-a',
      diskId: 7,
      uuid: '8c2c7a0e-53a3-4a5f-9be1-000000000007',
      capacityBytes: (options.slots ?? 16) * 4 * MiB,
      create: true,
      ...(options.tuning === undefined ? {} : { tuning: options.tuning }),
    };
  }

  open(options: Partial<StoreOptions> = {}): Promise<ExtentStore> {
    const opening = openExtentStore(
      { ...this.options, ...options },
      {
        disk: this.disk,
        clock: this.clock,
        log: (_level, message, fields) => this.logged.push({ message, fields }),
      },
    );
    return this.wait(opening);
  }

  /** Lets virtual time pass until the promise is settled. */
  async wait<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const mark = (): void => {
      isSettled = true;
    };
    promise.then(mark, mark);
    for (let step = 0; step < 100_000 && !isSettled; step += 1) {
      await this.clock.runUntil(this.clock.now() + 1);
    }
    if (!isSettled) throw new Error('Waited 100 s of virtual time for nothing');
    return promise;
  }

  ask(start: (done: Done) => void): Promise<Status> {
    return this.wait(new Promise<Status>((resolve) => start(resolve)));
  }

  write(
    store: ExtentStore,
    address: ExtentAddress,
    block: number,
    data: Buffer,
    more: { readonly epoch?: number; readonly durable?: boolean; readonly pg?: number } = {},
  ): Promise<Status> {
    return this.ask((done) => store.write(writeOf(address, block, data, more), done));
  }

  zero(
    store: ExtentStore,
    address: ExtentAddress,
    block: number,
    count: number,
    unmap: boolean,
  ): Promise<Status> {
    const rest = { pg: 1, epoch: 1, durable: false, incomplete: false };
    return this.ask((done) => store.zero({ ...address, ...rest, block, count, unmap }, done));
  }

  read(
    store: ExtentStore,
    address: ExtentAddress,
    block: number,
    count: number,
  ): Promise<ReadResult> {
    return this.wait(readFrom(store, address, block, count));
  }

  async presence(store: ExtentStore, address: ExtentAddress, block: number): Promise<number> {
    const target = new Uint8Array(1);
    await this.ask((done) => store.presenceOf(address, block, 1, target, done));
    return (target[0] ?? 0) & 3;
  }

  flush(store: ExtentStore): Promise<Status> {
    return this.ask((done) => store.flush(done));
  }

  clean(store: ExtentStore, addresses: readonly ExtentAddress[]): Promise<void> {
    return this.wait(new Promise<void>((resolve) => store.clean(addresses, resolve)));
  }

  /** Lets everything that runs in the background come to an end. */
  idle(ms = 100): Promise<void> {
    return this.clock.runUntil(this.clock.now() + ms);
  }
}

export function checksumsOf(data: Buffer): Buffer {
  const checksums = Buffer.alloc((data.length / BLOCK_BYTES) * 4);
  for (let at = 0; at < data.length; at += BLOCK_BYTES) {
    checksums.writeUInt32LE(crc32c(data.subarray(at, at + BLOCK_BYTES)), (at / BLOCK_BYTES) * 4);
  }
  return checksums;
}

export function writeOf(
  address: ExtentAddress,
  block: number,
  data: Buffer,
  more: { readonly epoch?: number; readonly durable?: boolean; readonly pg?: number } = {},
) {
  return {
    ...address,
    pg: more.pg ?? 1,
    block,
    count: data.length / BLOCK_BYTES,
    epoch: more.epoch ?? 1,
    checksums: checksumsOf(data),
    data,
    durable: more.durable ?? false,
    incomplete: false,
  };
}

export function readFrom(
  store: ExtentStore,
  address: ExtentAddress,
  block: number,
  count: number,
): Promise<ReadResult> {
  const data = Buffer.alloc(count * BLOCK_BYTES, 0xee);
  const checksums = Buffer.alloc(count * 4, 0xee);
  return new Promise((resolve) => {
    store.read(
      { ...address, block, count, data, checksums, verify: true },
      (status, dataBlocks, absentBlocks, badBlock) =>
        resolve({ status, data, checksums, dataBlocks, absentBlocks, badBlock }),
    );
  });
}

export function blocksOf(count: number, fill: number): Buffer {
  return Buffer.alloc(count * BLOCK_BYTES, fill);
}

export function at(extent: number, volume = 1, layer = 0): ExtentAddress {
  return { volume, layer, extent };
}

export const OK = STATUS.ok;
