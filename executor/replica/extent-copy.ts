/**
 * Copies one extent from an in-sync source onto a joining disk (DESIGN 4.4): compares presence and
 * checksums first and pulls only blocks that differ. A crash at any point leaves the extent marked
 * incomplete or dirty, so that the next join looks at it again.
 *
 * Blocks that the source cannot read are asked of the other in-sync members. One that is bad on all of them is
 * taken over as lost: reads of it fail here as they do there. Otherwise one bad sector would keep a PG from
 * ever getting its redundancy back.
 */
import { crc32c } from '../../shared/base/crc32c.ts';
import { StorageError } from '../../shared/base/errors.ts';
import { BLOCK_BYTES, BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';
import type { Clock } from '../../shared/ports.ts';
import {
  DataFrame,
  FLAG,
  nameOf,
  OP,
  PRESENCE,
  STATUS,
  type Status,
} from '../../shared/wire/data-protocol.ts';
import { decodeMeta } from '../../shared/wire/resync-bodies.ts';
import type { ExtentAddress, ExtentMeta } from '../disk/store-types.ts';
import type { Peer } from '../peer/peer.ts';
import { callPeer, type PeerAnswer } from '../peer/peer-call.ts';
import type { FreshBlocks } from './fresh-blocks.ts';
import type { ReplicaDisk } from './replica-disk.ts';

export interface CopyContext {
  readonly disk: ReplicaDisk;
  readonly source: Peer;
  readonly sourceDisk: number;
  readonly pg: number;
  readonly epoch: number;
  readonly fresh: FreshBlocks;
  readonly clock: Clock;
  /** Resolves when so many bytes may be moved. Rejects when the join was called off. */
  allow(bytes: number): Promise<void>;
  onCopied(bytes: number): void;
  /** The in-sync members besides the source, as of `epoch`; null for one that cannot be asked now. */
  otherSources(): readonly OtherSource[];
  /** A block with data was stored here. */
  onStored(address: ExtentAddress, block: number): void;
  /** No in-sync member has the block, and so it is lost here too. */
  onLost(address: ExtentAddress, block: number): void;
}

export interface OtherSource {
  readonly disk: number;
  readonly peer: Peer | null;
}

/** One pull: 256 KiB keeps the pipe full without holding up the source's disk for long. */
const RUN_BLOCKS_MAX = 64;
/** A source that does not answer within this time is changed for another. */
const CALL_MS = 10_000;

interface Run {
  readonly block: number;
  readonly count: number;
  /** Data must come from the source; otherwise the blocks are absent or zero there. */
  readonly hasData: boolean;
}

export async function copyExtent(context: CopyContext, address: ExtentAddress): Promise<void> {
  const { disk, fresh, pg } = context;
  const meta = await fetchMeta(context, address);
  if (meta === null) {
    // Deleted there meanwhile; what gateways wrote here since the join began is no leftover.
    if (!fresh.hasAny(address)) await ended((done) => disk.store.deleteExtent(address, done));
    return;
  }
  const runs = differingRuns(meta, await localMeta(disk, address));
  const stamp = disk.store.stampOf(address);
  // Durable before the first block changes: a crash in between must not look like a whole copy.
  if (stamp === null || (runs.length > 0 && !stamp.dirty && !stamp.incomplete)) {
    const epoch = stamp === null ? 0 : stamp.epoch;
    const open = { epoch, dirty: false, incomplete: true };
    await ended((done) => disk.store.setStamp(address, pg, open, done));
  }
  for (const run of runs) await copyRun(context, address, meta, run);
  const now = disk.store.stampOf(address);
  const final = {
    epoch: Math.max(meta.epoch, now === null ? 0 : now.epoch),
    dirty: meta.dirty || fresh.hasAny(address),
    incomplete: false,
  };
  await ended((done) => disk.store.setStamp(address, pg, final, done));
}

/** One block once more, whatever is here; power-safe at the end. `lost`: by now nobody has it. */
export async function copyBlockAgain(
  context: CopyContext,
  address: ExtentAddress,
  block: number,
): Promise<'stored' | 'lost'> {
  const meta = await fetchMeta(context, address);
  if (meta === null) return 'stored';
  let outcome: 'stored' | 'lost' = 'stored';
  const onLost: CopyContext['onLost'] = (...place) => {
    outcome = 'lost';
    context.onLost(...place);
  };
  const hasData = presenceAt(meta.presence, block) === PRESENCE.data;
  await copyRun({ ...context, onLost }, address, meta, { block, count: 1, hasData });
  await ended((done) => context.disk.store.flush(done));
  return outcome;
}

/** A call of the store as a promise; every status but ok rejects. */
export function ended(call: (done: (status: Status) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    call((status) => {
      if (status === STATUS.ok) resolve();
      else reject(storeRefusal(status));
    });
  });
}

function storeRefusal(status: Status): StorageError {
  const text = `Copied onto the local disk, which answered "${nameOf(STATUS, status)}"`;
  if (status === STATUS.noSpace) return new StorageError('no-space', text);
  return new StorageError('disk-failed', text);
}

function localMeta(disk: ReplicaDisk, address: ExtentAddress): Promise<ExtentMeta | null> {
  return new Promise((resolve, reject) => {
    disk.store.metaOf(address, (status, meta) => {
      if (status === STATUS.ok) resolve(meta);
      else reject(storeRefusal(status));
    });
  });
}

/** A request about `address` in the epoch of the join. */
export function sourceFrame(
  context: Pick<CopyContext, 'pg' | 'epoch' | 'sourceDisk'>,
  op: number,
  address: ExtentAddress,
): DataFrame {
  const frame = new DataFrame();
  frame.op = op;
  frame.pg = context.pg;
  frame.epoch = context.epoch;
  frame.disk = context.sourceDisk;
  frame.volume = address.volume;
  frame.layer = address.layer;
  frame.extent = address.extent;
  return frame;
}

async function fetchMeta(context: CopyContext, address: ExtentAddress): Promise<ExtentMeta | null> {
  const frame = sourceFrame(context, OP.meta, address);
  const answer = await callPeer(context.source, frame, context.clock, CALL_MS);
  if ((answer.flags & FLAG.zeros) !== 0) return null;
  const meta = decodeMeta(answer.data);
  if (meta === null) throw new StorageError('protocol', 'The source sent a malformed stamp');
  return meta;
}

function presenceAt(presence: Uint8Array, block: number): number {
  return ((presence[block >> 2] as number) >> ((block & 3) * 2)) & 3;
}

function crcAt(checksums: Uint8Array, block: number): number {
  const at = block * 4;
  return (
    ((checksums[at] as number) |
      ((checksums[at + 1] as number) << 8) |
      ((checksums[at + 2] as number) << 16) |
      ((checksums[at + 3] as number) << 24)) >>>
    0
  );
}

/** Blocks that are not the same on both sides, joined into runs of one kind. */
export function differingRuns(source: ExtentMeta, local: ExtentMeta | null): readonly Run[] {
  const runs: Run[] = [];
  let start = -1;
  let startHasData = false;
  const end = (block: number): void => {
    if (start >= 0) runs.push({ block: start, count: block - start, hasData: startHasData });
    start = -1;
  };
  for (let block = 0; block < BLOCKS_PER_EXTENT; block += 1) {
    const wanted = presenceAt(source.presence, block);
    const hasData = wanted === PRESENCE.data;
    const held = local === null ? PRESENCE.absent : presenceAt(local.presence, block);
    const isSameData =
      !hasData ||
      (local !== null && crcAt(source.checksums, block) === crcAt(local.checksums, block));
    if (wanted === held && isSameData) {
      end(block);
      continue;
    }
    if (start >= 0 && (hasData !== startHasData || block - start >= RUN_BLOCKS_MAX)) end(block);
    if (start < 0) {
      start = block;
      startHasData = hasData;
    }
  }
  end(BLOCKS_PER_EXTENT);
  return runs;
}

async function copyRun(
  context: CopyContext,
  address: ExtentAddress,
  meta: ExtentMeta,
  run: Run,
): Promise<void> {
  if (!run.hasData) {
    await apply(context, address, meta, run, null);
    return;
  }
  await context.allow(run.count * BLOCK_BYTES);
  const source = { disk: context.sourceDisk, peer: context.source };
  const answer = await pull(context, source, address, run);
  if (answer === null) await copyBlockByBlock(context, address, meta, run);
  else {
    await apply(context, address, meta, run, answer);
    context.onStored(address, run.block);
  }
  context.onCopied(run.count * BLOCK_BYTES);
}

/** Null when the member has the blocks and at least one of them is bad. */
async function pull(
  context: CopyContext,
  { disk, peer }: OtherSource,
  address: ExtentAddress,
  run: Run,
): Promise<PeerAnswer | null> {
  if (peer === null) throw new StorageError('unavailable', `Disk d${disk} cannot be asked now`);
  const frame = sourceFrame({ ...context, sourceDisk: disk }, OP.pull, address);
  frame.block = run.block;
  frame.count = run.count;
  try {
    const answer = await callPeer(peer, frame, context.clock, CALL_MS);
    verify(answer, run);
    return answer;
  } catch (error) {
    if (error instanceof StorageError && error.code === 'corrupt') return null;
    throw error;
  }
}

/** Each block from whoever has it. All are asked under one epoch: nobody who may have it is left out. */
async function copyBlockByBlock(
  context: CopyContext,
  address: ExtentAddress,
  meta: ExtentMeta,
  run: Run,
): Promise<void> {
  const sources = [{ disk: context.sourceDisk, peer: context.source }, ...context.otherSources()];
  for (let block = run.block; block < run.block + run.count; block += 1) {
    const single = { block, count: 1, hasData: true };
    let answer: PeerAnswer | null = null;
    for (const source of sources) {
      if (context.fresh.has(address, block)) break;
      answer = await pull(context, source, address, single);
      if (answer !== null) break;
    }
    if (answer !== null) await apply(context, address, meta, single, answer);
    else if (!context.fresh.has(address, block)) await applyLost(context, address, meta, block);
  }
}

/** Under the checksum that the source has for it: a good copy that turns up later can be told by it. */
async function applyLost(
  context: CopyContext,
  address: ExtentAddress,
  meta: ExtentMeta,
  block: number,
): Promise<void> {
  const checksum = meta.checksums.slice(block * 4, block * 4 + 4);
  await ended((done) => context.disk.store.applyLost(address, block, checksum, done));
  context.onLost(address, block);
}

/** Bit rot must not spread: what arrives is compared here as well. */
function verify(answer: PeerAnswer, run: Run): void {
  const { data, checksums } = answer;
  if (data === null || checksums === null) return;
  for (let index = 0; index < run.count; index += 1) {
    const block = data.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES);
    if (crc32c(block) === crcAt(checksums, index)) continue;
    throw new StorageError('corrupt', `Block ${run.block + index} arrived with a wrong checksum`);
  }
}

/** Everything of the run except blocks that became fresh meanwhile, as sub-runs. */
async function apply(
  context: CopyContext,
  address: ExtentAddress,
  meta: ExtentMeta,
  run: Run,
  answer: PeerAnswer | null,
): Promise<void> {
  const calls: Promise<void>[] = [];
  let at = run.block;
  const end = run.block + run.count;
  // One synchronous pass: between the look at the marks and the call of the store nothing can come in.
  while (at < end) {
    if (context.fresh.has(address, at)) {
      at += 1;
      continue;
    }
    let stop = at + 1;
    while (stop < end && !context.fresh.has(address, stop)) stop += 1;
    calls.push(applyPart(context, address, meta, { block: at, count: stop - at }, run, answer));
    at = stop;
  }
  await Promise.all(calls);
}

function applyPart(
  context: CopyContext,
  address: ExtentAddress,
  meta: ExtentMeta,
  part: { readonly block: number; readonly count: number },
  run: Run,
  answer: PeerAnswer | null,
): Promise<void> {
  const { block, count } = part;
  const presence = new Uint8Array(Math.ceil(count / 4));
  // The source had data by `meta`; zeros without a body mean that it was trimmed since.
  const isGone = run.hasData && (answer === null || answer.data === null);
  for (let index = 0; index < count; index += 1) {
    const bits = isGone ? PRESENCE.zero : presenceAt(meta.presence, block + index);
    const byte = index >> 2;
    presence[byte] = (presence[byte] as number) | (bits << ((index & 3) * 2));
  }
  const skip = block - run.block;
  const data = answer?.data?.subarray(skip * BLOCK_BYTES, (skip + count) * BLOCK_BYTES);
  const checksums = answer?.checksums?.subarray(skip * 4, (skip + count) * 4);
  const blocks = {
    volume: address.volume,
    layer: address.layer,
    extent: address.extent,
    block,
    count,
    presence,
    checksums: checksums ?? new Uint8Array(count * 4),
    data: data ?? new Uint8Array(count * BLOCK_BYTES),
  };
  return ended((done) => context.disk.store.applyPulled(blocks, done));
}
