/**
 * Writes one volume out as a raw image, extent by extent: for each block the best copy that can be read,
 * with a verdict (block-choice.ts). Blocks of zeros are left out of the file, which stays sparse.
 */
import { closeSync, fsyncSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { presenceAt, runEnd } from '../executor/disk/presence.ts';
import type { ExtentMeta } from '../executor/disk/store-types.ts';
import { describeError, StorageError } from '../shared/base/errors.ts';
import { type DiskId, formatDisk, formatPg, type PgId } from '../shared/base/ids.ts';
import { BLOCK_BYTES, BLOCKS_PER_EXTENT, divCeil, EXTENT_BYTES } from '../shared/base/units.ts';
import { pgOfExtent } from '../shared/model/cluster-map.ts';
import { PRESENCE, STATUS } from '../shared/wire/data-protocol.ts';
import { chooseBlock, type ExtentCopy, isPlain, rankCopies } from './block-choice.ts';
import { RangeReport } from './range-report.ts';
import type { FoundExtent, FoundVolume, RescueSet } from './rescue-set.ts';

export interface ExportOptions {
  /** Must not exist, unless `isOverwriting`. */
  readonly output: string;
  readonly isOverwriting: boolean;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

export interface ExportResult {
  readonly report: RangeReport;
  /** In-sync disks of the volume's PGs that were not given, or could not be read: nobody asked them. */
  readonly absentDisks: readonly DiskId[];
  readonly writtenBytes: number;
}

interface OpenCopy extends ExtentCopy {
  readonly found: FoundExtent;
}

/** Throws `already-exists`, `disk-failed` when the image cannot be written. */
export async function exportVolume(
  set: RescueSet,
  volume: FoundVolume,
  options: ExportOptions,
): Promise<ExportResult> {
  const image = new Image(options.output, volume.sizeBytes, options.isOverwriting);
  const report = new RangeReport();
  const absent = new Set<DiskId>();
  try {
    const extentCount = divCeil(volume.sizeBytes, EXTENT_BYTES);
    for (let extent = 0; extent < extentCount; extent += 1) {
      noteAbsent(set, volume, extent, absent);
      await exportExtent(set, volume, extent, { image, report });
      options.onProgress(Math.min((extent + 1) * EXTENT_BYTES, volume.sizeBytes), volume.sizeBytes);
    }
    image.sync();
  } finally {
    image.close();
  }
  const absentDisks = [...absent].sort((a, b) => a - b);
  return { report, absentDisks, writtenBytes: image.writtenBytes };
}

function noteAbsent(
  set: RescueSet,
  volume: FoundVolume,
  extent: number,
  absent: Set<DiskId>,
): void {
  if (volume.map === null) return;
  for (const disk of set.inSyncOf(pgOfExtent(volume.map, extent))?.disks ?? []) {
    if (!isReadable(set, disk)) absent.add(disk);
  }
}

function isReadable(set: RescueSet, disk: DiskId): boolean {
  const found = set.disks.find(({ id }) => id === disk);
  return found?.opened.store !== undefined && found.opened.store !== null;
}

interface Sink {
  readonly image: Image;
  readonly report: RangeReport;
}

async function exportExtent(
  set: RescueSet,
  volume: FoundVolume,
  extent: number,
  sink: Sink,
): Promise<void> {
  const offset = extent * EXTENT_BYTES;
  const length = Math.min(EXTENT_BYTES, volume.sizeBytes - offset);
  const copies = await openCopies(set, volume.extents.get(extent) ?? []);
  const ranked = rankCopies([...copies, ...absentCopies(set, volume, extent, copies)]);
  const [first] = ranked;
  if (first === undefined) {
    sink.report.add({ offset, length, ...judgeHole(set, volume, extent) });
    return;
  }
  const firstBytes = await readExtent(first);
  if (isPlain(ranked, firstBytes)) {
    sink.image.write(firstBytes.subarray(0, length), offset);
    sink.report.add({ offset, length, verdict: 'good', detail: formatDisk(first.disk as DiskId) });
    return;
  }
  const bytes = [firstBytes];
  for (const copy of ranked.slice(1)) bytes.push(await readExtent(copy));
  exportByBlock(ranked, bytes, { offset, length }, sink);
}

function exportByBlock(
  ranked: readonly OpenCopy[],
  bytes: readonly Uint8Array[],
  range: { readonly offset: number; readonly length: number },
  sink: Sink,
): void {
  for (let block = 0; block < BLOCKS_PER_EXTENT; block += 1) {
    const at = block * BLOCK_BYTES;
    const length = Math.min(BLOCK_BYTES, range.length - at);
    if (length <= 0) return;
    const { verdict, from } = chooseBlock(ranked, bytes, block);
    const source = bytes[from];
    if (source !== undefined) {
      sink.image.write(source.subarray(at, at + length), range.offset + at);
    }
    const disk = ranked[from]?.disk;
    const detail =
      verdict === 'lost'
        ? `no copy can be read (${ranked.map((copy) => formatDisk(copy.disk as DiskId)).join(', ')})`
        : disk === undefined
          ? 'zeros'
          : formatDisk(disk as DiskId);
    sink.report.add({ offset: range.offset + at, length, verdict, detail });
  }
}

/** No disk has the extent. It was never written when one that would have it is here. */
function judgeHole(
  set: RescueSet,
  volume: FoundVolume,
  extent: number,
): { readonly verdict: 'good' | 'older' | 'lost'; readonly detail: string } {
  if (volume.map === null) return { verdict: 'older', detail: 'not on these disks' };
  const pg = pgOfExtent(volume.map, extent);
  const inSync = set.inSyncOf(pg);
  const present = (inSync?.disks ?? []).filter((disk) => isReadable(set, disk));
  if (inSync === null || present.length === 0) {
    return { verdict: 'lost', detail: `no in-sync disk of ${formatPg(pg as PgId)} is here` };
  }
  const names = present.map(formatDisk).join(', ');
  if (inSync.isDoubtful) return { verdict: 'older', detail: `not on ${names}, who may be behind` };
  return { verdict: 'good', detail: 'never written' };
}

async function openCopies(
  set: RescueSet,
  found: readonly FoundExtent[],
): Promise<readonly OpenCopy[]> {
  const copies: OpenCopy[] = [];
  for (const extent of found) {
    const meta = await readMeta(extent);
    if (meta === null || extent.source.opened.isDamaged(extent.entry)) continue;
    const { presence, checksums } = meta;
    const { epoch } = extent.entry;
    const standing = set.standingOf(extent);
    copies.push({ found: extent, disk: extent.source.id, standing, epoch, presence, checksums });
  }
  return copies;
}

/**
 * In-sync disks that are here and do not have an extent that others have: to them all of it is zeros, and
 * they have a say. Nothing is known of a disk whose record of the extent is damaged.
 */
function absentCopies(
  set: RescueSet,
  volume: FoundVolume,
  extent: number,
  copies: readonly OpenCopy[],
): readonly OpenCopy[] {
  const [sample] = copies;
  if (volume.map === null || sample === undefined) return [];
  const inSync = set.inSyncOf(pgOfExtent(volume.map, extent));
  if (inSync === null || inSync.isDoubtful) return [];
  const holders = new Set((volume.extents.get(extent) ?? []).map(({ source }) => source.id));
  return set.disks
    .filter(({ id, opened }) => inSync.disks.includes(id) && !holders.has(id) && isWhole(opened))
    .map((source) => ({
      found: { source, entry: { ...sample.found.entry, epoch: 0 } },
      disk: source.id,
      standing: 0,
      epoch: 0,
      presence: new Uint8Array(BLOCKS_PER_EXTENT / 4),
      checksums: new Uint8Array(4 * BLOCKS_PER_EXTENT),
    }));
}

function isWhole(opened: FoundExtent['source']['opened']): boolean {
  return opened.store !== null && !opened.isOutdated && opened.problems.length === 0;
}

function readMeta({ source, entry }: FoundExtent): Promise<ExtentMeta | null> {
  return new Promise((resolve) => {
    const { store } = source.opened;
    if (store === null) resolve(null);
    else store.metaOf(entry, (status, meta) => resolve(status === STATUS.ok ? meta : null));
  });
}

/**
 * A store that fails on the way gives bytes that no checksum fits. Blocks without data are zeros, whatever
 * an unfinished write left in their place.
 */
function readExtent({ found, presence }: OpenCopy): Promise<Uint8Array> {
  const bytes = new Uint8Array(EXTENT_BYTES);
  const { store } = found.source.opened;
  return new Promise((resolve) => {
    const finish = (): void => {
      for (let block = 0; block < BLOCKS_PER_EXTENT; ) {
        const end = runEnd(presence, block, BLOCKS_PER_EXTENT);
        if (presenceAt(presence, block) !== PRESENCE.data) {
          bytes.fill(0, block * BLOCK_BYTES, end * BLOCK_BYTES);
        }
        block = end;
      }
      resolve(bytes);
    };
    if (store === null) finish();
    else store.readRaw(found.entry, 0, BLOCKS_PER_EXTENT, bytes, finish);
  });
}

const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

/** The raw image: written where there is something, as long as the volume. */
class Image {
  readonly #fd: number;
  readonly #path: string;
  writtenBytes = 0;

  constructor(path: string, sizeBytes: number, isOverwriting: boolean) {
    this.#path = path;
    try {
      this.#fd = openSync(path, isOverwriting ? 'w' : 'wx');
    } catch (error) {
      const isThere = error instanceof Error && 'code' in error && error.code === 'EEXIST';
      throw new StorageError(
        isThere ? 'already-exists' : 'disk-failed',
        isThere
          ? `"${path}" is there already; name another file, or say --force`
          : `Creating "${path}" failed: ${describeError(error)}`,
        { path },
        error,
      );
    }
    this.#try(() => ftruncateSync(this.#fd, sizeBytes));
  }

  write(bytes: Uint8Array, offset: number): void {
    for (let at = 0; at < bytes.length; ) {
      const isZero = isZeroBlock(bytes.subarray(at, at + BLOCK_BYTES));
      let end = at;
      while (end < bytes.length && isZeroBlock(bytes.subarray(end, end + BLOCK_BYTES)) === isZero) {
        end = Math.min(end + BLOCK_BYTES, bytes.length);
      }
      if (!isZero) this.#writeRun(bytes.subarray(at, end), offset + at);
      at = end;
    }
  }

  sync(): void {
    this.#try(() => fsyncSync(this.#fd));
  }

  close(): void {
    closeSync(this.#fd);
  }

  #writeRun(bytes: Uint8Array, offset: number): void {
    this.#try(() => {
      for (let at = 0; at < bytes.length; ) {
        at += writeSync(this.#fd, bytes, at, bytes.length - at, offset + at);
      }
    });
    this.writtenBytes += bytes.length;
  }

  #try(action: () => void): void {
    try {
      action();
    } catch (error) {
      const what = `Writing "${this.#path}" failed: ${describeError(error)}`;
      throw new StorageError('disk-failed', what, { path: this.#path }, error);
    }
  }
}

function isZeroBlock(block: Uint8Array): boolean {
  return ZERO_BLOCK.subarray(0, block.length).equals(block);
}
