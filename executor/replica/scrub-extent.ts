/**
 * Scrub of one extent on one disk: every block against its checksum, then the whole against the other
 * in-sync replicas. Where this copy is the wrong one it is healed from a right one.
 *
 * Why a write under way is never taken for a difference: this copy is clean and does not change (its
 * version says so) from before the others are asked until the verdict is carried out, and each of the
 * others is clean when it answers. Clean means that every member has acked all that was written there.
 * So each write the others know had reached this copy before it was looked at, and whatever comes later
 * changes the version here, because a write goes to all members. All under one epoch of the PG: who
 * answers has seen no newer one.
 */
import { StorageError } from '../../shared/base/errors.ts';
import {
  type DiskId,
  formatDisk,
  formatPg,
  formatVolume,
  type VolumeId,
} from '../../shared/base/ids.ts';
import { BLOCK_BYTES, BLOCKS_PER_EXTENT } from '../../shared/base/units.ts';
import type { Clock } from '../../shared/ports.ts';
import { FLAG, OP, PRESENCE, STATUS, type Status } from '../../shared/wire/data-protocol.ts';
import { decodeMeta, type ReplicaMeta } from '../../shared/wire/resync-bodies.ts';
import type { ExtentAddress, ExtentMeta, PulledBlocks } from '../disk/store-types.ts';
import type { MapIndex, PgView } from '../map-index.ts';
import type { RaiseNotice } from '../notice-board.ts';
import { callPeer } from '../peer/peer-call.ts';
import type { PeerSet } from '../peer/peer-set.ts';
import { CHECK_BLOCKS_MAX, findBad, fitsChecksums } from './block-check.ts';
import { ended, sourceFrame } from './extent-copy.ts';
import { isDeleted } from './membership.ts';
import type { ReplicaDisk } from './replica-disk.ts';
import { areSame, type HealRun, planHealing, presenceOf } from './scrub-compare.ts';
import type { BlockPlace } from './source-operations.ts';

export interface ScrubContext {
  readonly disk: ReplicaDisk;
  readonly pg: number;
  readonly clock: Clock;
  readonly map: MapIndex;
  readonly peers: PeerSet;
  readonly notify: RaiseNotice;
  readonly findings: ScrubFindings;
  /** Resolves when so many bytes may be read. Rejects when the scrub was called off. */
  allow(bytes: number): Promise<void>;
  /** A bad block is healed by block-healer.ts. */
  onBad(place: BlockPlace): void;
}

/** Counted since the scrub of the PG began. */
export interface ScrubFindings {
  checkedBytes: number;
  /** Failed their checksum or could not be read. */
  badBlocks: number;
  /** Differed from the other replicas although their checksums fit. */
  differingBlocks: number;
  healedExtents: number;
}

/** `busy`: it was being written, or a replica could not be asked; to be looked at again. */
export type ScrubOutcome = 'done' | 'busy';

const CALL_MS = 5_000;
/** What the meta data of an extent costs on the wire. */
const META_BYTES = 4_400;

export async function scrubExtent(
  context: ScrubContext,
  address: ExtentAddress,
): Promise<ScrubOutcome> {
  if (isDeleted(address.volume, context.map)) return 'done';
  await checkBlocks(context, address);
  return compareExtent(context, address);
}

/** Also of extents that are being written: data and checksum belong together at every moment. */
async function checkBlocks(context: ScrubContext, address: ExtentAddress): Promise<void> {
  const { disk, findings } = context;
  for (let block = 0; block < BLOCKS_PER_EXTENT; block += CHECK_BLOCKS_MAX) {
    if (!(await hasData(disk, address, block))) continue;
    await context.allow(CHECK_BLOCKS_MAX * BLOCK_BYTES);
    const bad = await findBad(disk.store, address, block, CHECK_BLOCKS_MAX);
    findings.checkedBytes += CHECK_BLOCKS_MAX * BLOCK_BYTES;
    findings.badBlocks += bad.length;
    for (const at of bad) context.onBad({ ...address, block: at, count: 1 });
  }
}

async function hasData(disk: ReplicaDisk, address: ExtentAddress, block: number): Promise<boolean> {
  const presence = new Uint8Array(CHECK_BLOCKS_MAX / 4);
  await ended((done) => {
    disk.store.presenceOf(address, block, CHECK_BLOCKS_MAX, presence, done);
  });
  const range = { epoch: 0, incomplete: false, presence, checksums: presence };
  for (let index = 0; index < CHECK_BLOCKS_MAX; index += 1) {
    if (presenceOf(range, index) === PRESENCE.data) return true;
  }
  return false;
}

interface Local {
  readonly meta: ExtentMeta | null;
  readonly version: number;
}

async function compareExtent(context: ScrubContext, address: ExtentAddress): Promise<ScrubOutcome> {
  const { disk, map } = context;
  const view = map.pgs.get(context.pg as PgView['id']);
  if (view === undefined || !view.inSync.includes(disk.id)) return 'done';
  if (view.inSync.length < 2) return 'done';
  const local = await lookLocally(disk, address);
  if (local.meta?.dirty === true) return 'busy';
  const copies: (ReplicaMeta | ExtentMeta | null)[] = [];
  for (const member of view.inSync) {
    const meta = member === disk.id ? local.meta : await fetchMeta(context, view, member, address);
    if (meta?.dirty === true) return 'busy';
    copies.push(meta);
  }
  const isStill = (): boolean =>
    map.pgs.get(view.id) === view &&
    disk.store.versionOf(address) === local.version &&
    !isDeleted(address.volume, map);
  if (!isStill()) return 'busy';
  const isWhole = local.meta?.incomplete !== true;
  if (isWhole && areSame(copies)) return 'done';
  const runs = planHealing(copies, view.inSync.indexOf(disk.id));
  // This copy is right; the scrub of the other one finds the same and heals it.
  if (runs.length === 0 && isWhole) return 'done';
  const pulled = await pullRuns(context, view, address, { runs, copies });
  if (pulled === null || !isStill()) return 'busy';
  const epoch = Math.max(...copies.map((copy) => (copy === null ? 0 : copy.epoch)));
  if (!(await heal(disk, address, view, { version: local.version, pulled, epoch }))) return 'busy';
  tellHealed(context, view, address, { runs, wasMissing: local.meta === null });
  return 'done';
}

/** The version belongs to the meta data: nothing comes in between. */
function lookLocally(disk: ReplicaDisk, address: ExtentAddress): Promise<Local> {
  return new Promise((resolve, reject) => {
    disk.store.metaOf(address, (status, meta) => {
      if (status === STATUS.ok) resolve({ meta, version: disk.store.versionOf(address) });
      else reject(new StorageError('disk-failed', `Disk d${disk.id} failed during a scrub`));
    });
  });
}

async function fetchMeta(
  context: ScrubContext,
  view: PgView,
  member: DiskId,
  address: ExtentAddress,
): Promise<ReplicaMeta | null> {
  await context.allow(META_BYTES);
  const frame = sourceFrame(
    { pg: view.id, epoch: view.epoch, sourceDisk: member },
    OP.meta,
    address,
  );
  const answer = await callPeer(peerOf(context, member), frame, context.clock, CALL_MS);
  if ((answer.flags & FLAG.zeros) !== 0) return null;
  const meta = decodeMeta(answer.data);
  if (meta === null) throw new StorageError('protocol', 'A replica sent a malformed stamp');
  return meta;
}

function peerOf(context: ScrubContext, member: DiskId) {
  const peer = context.peers.ofDisk(member);
  if (peer === null) throw new StorageError('unavailable', `Disk d${member} cannot be asked now`);
  return peer;
}

/** Null when a source has changed since it was compared. */
async function pullRuns(
  context: ScrubContext,
  view: PgView,
  address: ExtentAddress,
  plan: {
    readonly runs: readonly HealRun[];
    readonly copies: readonly (ReplicaMeta | ExtentMeta | null)[];
  },
): Promise<readonly PulledBlocks[] | null> {
  const pulled: PulledBlocks[] = [];
  for (const run of plan.runs) {
    const { block, count } = run;
    const presence = new Uint8Array(Math.ceil(count / 4)).fill(run.presence * 0b01010101);
    let data: Uint8Array = new Uint8Array(count * BLOCK_BYTES);
    let checksums: Uint8Array = new Uint8Array(count * 4);
    if (run.presence === PRESENCE.data) {
      await context.allow(count * BLOCK_BYTES);
      const member = view.inSync[run.source] as DiskId;
      const at = { pg: view.id, epoch: view.epoch, sourceDisk: member };
      const frame = sourceFrame(at, OP.pull, address);
      frame.block = block;
      frame.count = count;
      const answer = await callPeer(peerOf(context, member), frame, context.clock, CALL_MS);
      const wanted = plan.copies[run.source]?.checksums.subarray(block * 4, (block + count) * 4);
      if (answer.data === null || wanted === undefined) return null;
      if (!fitsChecksums(answer.data, wanted)) return null;
      data = answer.data;
      checksums = wanted;
    }
    pulled.push({ ...address, block, count, presence, checksums, data });
  }
  return pulled;
}

/** False when somebody wrote to the extent first. */
async function heal(
  disk: ReplicaDisk,
  address: ExtentAddress,
  view: PgView,
  work: {
    readonly version: number;
    readonly pulled: readonly PulledBlocks[];
    readonly epoch: number;
  },
): Promise<boolean> {
  const { store } = disk;
  const applied: Promise<void>[] = [];
  const begun = await new Promise<Status>((resolve) => {
    store.beginHeal(address, view.id, work.version, (status) => {
      // Here and now: whoever waits to write comes after these.
      if (status === STATUS.ok) {
        for (const blocks of work.pulled) {
          applied.push(ended((done) => store.applyPulled(blocks, done)));
        }
      }
      resolve(status);
    });
  });
  const outcomes = await Promise.allSettled(applied);
  if (begun !== STATUS.ok) return false;
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  await ended((done) => store.endHeal(address, work.epoch, done));
  return true;
}

function tellHealed(
  context: ScrubContext,
  view: PgView,
  address: ExtentAddress,
  what: { readonly runs: readonly HealRun[]; readonly wasMissing: boolean },
): void {
  const { disk, findings, notify } = context;
  const blockCount = what.runs.reduce((sum, run) => sum + run.count, 0);
  findings.differingBlocks += blockCount;
  findings.healedExtents += 1;
  const volume = address.volume as VolumeId;
  const { extent } = address;
  const sources = [...new Set(what.runs.map((run) => view.inSync[run.source] as DiskId))];
  const from = sources.map(formatDisk).join(', ');
  const name = `Extent ${extent} of ${formatVolume(volume)} on ${formatDisk(disk.id)}`;
  const block = what.runs[0]?.block ?? null;
  const how = what.wasMissing
    ? 'was missing'
    : `differed in ${blockCount} blocks from block ${block ?? 0} on, though its checksums fit,`;
  const text = `${name} ${how} from the other replicas of ${formatPg(view.id)}; it was copied from ${from}`;
  const place = { disk: disk.id, pg: view.id, volume, extent, block, blockCount };
  notify({ ...place, severity: 'warning', kind: 'extent.healed', text });
}
