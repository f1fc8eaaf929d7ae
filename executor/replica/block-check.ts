/** Looks at stored blocks: bytes from the device against the checksums in the books. Decides nothing. */
import { crc32c } from '../../shared/base/crc32c.ts';
import { StorageError } from '../../shared/base/errors.ts';
import { BLOCK_BYTES } from '../../shared/base/units.ts';
import { nameOf, STATUS } from '../../shared/wire/data-protocol.ts';
import type { ExtentStore } from '../disk/extent-store.ts';
import type { ExtentAddress, ExtentMeta } from '../disk/store-types.ts';

/** Blocks per read: 256 KiB. */
export const CHECK_BLOCKS_MAX = 64;

/** Whether one block is what its checksum says. Rejects with `disk-failed`. */
export async function checkBlock(
  store: ExtentStore,
  address: ExtentAddress,
  block: number,
): Promise<'good' | 'bad'> {
  const found = await findBad(store, address, block, 1);
  return found.length === 0 ? 'good' : 'bad';
}

/** The bad blocks of a range of at most `CHECK_BLOCKS_MAX`. Rejects with `disk-failed`. */
export async function findBad(
  store: ExtentStore,
  address: ExtentAddress,
  block: number,
  count: number,
): Promise<readonly number[]> {
  const first = await readRange(store, address, block, count);
  if (first === 'good') return [];
  if (count === 1) return [block];
  const bad: number[] = [];
  for (let at = block; at < block + count; at += 1) {
    if ((await readRange(store, address, at, 1)) === 'bad') bad.push(at);
  }
  return bad;
}

function readRange(
  store: ExtentStore,
  { volume, layer, extent }: ExtentAddress,
  block: number,
  count: number,
): Promise<'good' | 'bad'> {
  const request = {
    volume,
    layer,
    extent,
    block,
    count,
    data: new Uint8Array(count * BLOCK_BYTES),
    checksums: new Uint8Array(count * 4),
    verify: true,
    isFromDevice: true,
  };
  return new Promise((resolve, reject) => {
    store.read(request, (status) => {
      if (status === STATUS.ok) resolve('good');
      else if (status === STATUS.checksum) resolve('bad');
      else reject(failed('Checked blocks', status));
    });
  });
}

/** Null when the extent does not exist. Rejects with `disk-failed`. */
export function localMeta(store: ExtentStore, address: ExtentAddress): Promise<ExtentMeta | null> {
  return new Promise((resolve, reject) => {
    store.metaOf(address, (status, meta) => {
      if (status === STATUS.ok) resolve(meta);
      else reject(failed('Looked at a stamp', status));
    });
  });
}

function failed(what: string, status: number): StorageError {
  const text = `${what} on the local disk, which answered "${nameOf(STATUS, status)}"`;
  return new StorageError('disk-failed', text);
}

/** Whether whole blocks fit a table of little-endian checksums. */
export function fitsChecksums(data: Uint8Array, checksums: Uint8Array): boolean {
  for (let index = 0; index * 4 < checksums.length; index += 1) {
    const crc = crc32c(data.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES));
    for (let byte = 0; byte < 4; byte += 1) {
      if (checksums[index * 4 + byte] !== ((crc >>> (8 * byte)) & 0xff)) return false;
    }
  }
  return data.length === (checksums.length / 4) * BLOCK_BYTES;
}
