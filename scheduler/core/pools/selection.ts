/**
 * Whether a pool takes a disk: its selector against what is known of the disk and its agent, and its bounds
 * against what it has. Pure: the claims ask it for what is offered (`mesos/offer-claims.ts`), the plan for what
 * might be (`pool-plan.ts`), the apply job for disks that a pool has (`pool-apply.ts`).
 */
import { formatBytes, MiB } from '../../../shared/base/units.ts';
import { ANY_DISK, type PoolSelector } from '../../../shared/model/pool-selector.ts';
import type { ManagerOptions } from '../contract.ts';
import type { DiskKind, DiskRecord, DiskTier, NodeRecord, PoolRecord } from '../records.ts';
import { matchesPath, matchesWord } from './glob.ts';
import type { PassKind, PassReason } from './pass-reason.ts';

/** Below this a store has no room for its index and a few extents. */
export const DISK_BYTES_MIN = 64 * MiB;

/** The agent, as far as selectors look at it. */
export interface DiskSite {
  readonly hostname: string;
  readonly zone: string | null;
  readonly region: string | null;
  readonly attributes: Readonly<Record<string, string>>;
}

/** A free disk, or the free part of a shared one. */
export interface FreeDisk {
  readonly kind: DiskKind;
  readonly root: string | null;
  readonly freeBytes: number;
  /** What our disks hold of the same PATH or root disk already. */
  readonly oursBytes: number;
  /** null: nobody has found out yet. */
  readonly tier: DiskTier | null;
}

/** What a pool has: disks on the node in question, and nodes with any. */
export interface PoolHas {
  readonly here: number;
  readonly nodes: number;
}

export type Fit =
  | { readonly kind: 'fits'; readonly sizeBytes: number }
  | { readonly kind: 'passed'; readonly reason: PassReason };

/** The selector in force: a pool without one takes what its tier, attributes and the options say. */
export function selectorOf(
  pool: PoolRecord,
  options: Pick<ManagerOptions, 'isRootDiskAllowed' | 'carveBytes'>,
): PoolSelector {
  if (pool.selector !== undefined) return pool.selector;
  return {
    ...ANY_DISK,
    attributes: pool.attributes,
    tiers: pool.tier === null ? null : [pool.tier],
    isRootAllowed: options.isRootDiskAllowed === true,
    pieceBytes: options.carveBytes ?? null,
  };
}

/** Highest priority first, then by name: the order in which pools are asked whether they want a disk. */
export function inPriority(pools: Iterable<PoolRecord>): PoolRecord[] {
  return [...pools].sort(
    (a, b) => (b.priority ?? 0) - (a.priority ?? 0) || (a.name < b.name ? -1 : 1),
  );
}

/** Tier by the agent's attribute `tier`, which overrides what executors find; else by what they found. */
export function tierOf(
  attributes: Readonly<Record<string, string>>,
  found: DiskTier | undefined,
): DiskTier | null {
  const tier = attributes['tier'];
  if (tier === 'nvme' || tier === 'ssd' || tier === 'hdd') return tier;
  return found ?? null;
}

/** Whether the pool takes the disk as it is; bounds of the pool are not looked at. */
export function fitOf(
  pool: PoolRecord,
  selector: PoolSelector,
  disk: FreeDisk,
  site: DiskSite,
): Fit {
  const refusal =
    judgeKind(pool, selector, disk.kind) ??
    judgeAttributes(pool, selector, site) ??
    judgePath(pool, selector, disk) ??
    judgeTier(pool, selector, disk.tier);
  if (refusal !== null) return passed(refusal);
  return sizeFor(pool, selector, disk);
}

/** Why the pool would not take a disk of its own any more; null: it would. */
export function misfitOf(
  pool: PoolRecord,
  selector: PoolSelector,
  disk: DiskRecord,
  node: NodeRecord,
): PassReason | null {
  if (pool.isLeaving === true) {
    return reasonOf('nothing-wanted', pool, `pool "${pool.name}" is being deleted`);
  }
  return (
    judgeKind(pool, selector, disk.kind) ??
    judgeAttributes(pool, selector, node) ??
    judgePath(pool, selector, { kind: disk.kind, root: disk.sourceRoot }) ??
    judgeTier(pool, selector, disk.tier) ??
    // A piece of a shared disk has the size that we gave it.
    (disk.kind === 'mount' ? judgeSize(pool, selector, disk.sizeBytes) : null)
  );
}

/** Whether one more disk on the node would be more than the pool may have; null: it would not. */
export function boundReached(
  pool: PoolRecord,
  { disksPerNodeMax, nodesMax }: PoolSelector,
  { here, nodes }: PoolHas,
): PassReason | null {
  if (disksPerNodeMax !== null && here >= disksPerNodeMax) {
    const text = `pool "${pool.name}" has ${here} disks there and may have ${disksPerNodeMax} on a node`;
    return reasonOf('disks-per-node-reached', pool, text);
  }
  if (here === 0 && nodesMax !== null && nodes >= nodesMax) {
    const text = `pool "${pool.name}" has disks on ${nodes} nodes and may have them on ${nodesMax}`;
    return reasonOf('node-count-reached', pool, text);
  }
  return null;
}

export function reasonOf(kind: PassKind, pool: PoolRecord | null, message: string): PassReason {
  return { kind, pool: pool?.name ?? null, message };
}

function passed(reason: PassReason): Fit {
  return { kind: 'passed', reason };
}

function judgeKind(pool: PoolRecord, selector: PoolSelector, kind: DiskKind): PassReason | null {
  if (kind === 'root' && !selector.isRootAllowed) {
    const text = `it is the agent's root disk, and pool "${pool.name}" has no consent to use root disks`;
    return reasonOf('root-without-consent', pool, text);
  }
  if (selector.kinds === null || selector.kinds.includes(kind)) return null;
  const text = `it is a ${kind} disk, pool "${pool.name}" takes ${selector.kinds.join(' and ')} disks`;
  return reasonOf('kind', pool, text);
}

function judgeAttributes(
  pool: PoolRecord,
  selector: PoolSelector,
  site: DiskSite,
): PassReason | null {
  for (const [name, wanted] of Object.entries(selector.attributes)) {
    const value = attributeOf(site, name);
    if (value !== null && matchesWord(wanted, value)) continue;
    const has = value === null ? 'the agent has none' : `the agent's is "${value}"`;
    const text = `pool "${pool.name}" wants attribute "${name}" to be "${wanted}", ${has}`;
    return reasonOf('attribute', pool, text);
  }
  return null;
}

function attributeOf(site: DiskSite, name: string): string | null {
  if (name === '@hostname') return site.hostname;
  if (name === '@zone') return site.zone;
  if (name === '@region') return site.region;
  return Object.hasOwn(site.attributes, name) ? (site.attributes[name] ?? null) : null;
}

function judgePath(
  pool: PoolRecord,
  { paths }: PoolSelector,
  disk: Pick<FreeDisk, 'kind' | 'root'>,
): PassReason | null {
  // A root disk has no path of its own; whoever consents to root disks means those.
  if (paths === null || disk.kind === 'root') return null;
  const root = disk.root ?? '';
  if (paths.some((pattern) => matchesPath(pattern, root))) return null;
  const text = `its path "${root}" matches none of those of pool "${pool.name}" (${paths.join(', ')})`;
  return reasonOf('path', pool, text);
}

/** A tier that nobody knows yet may be the right one: the executor finds out, and it is given back when not. */
function judgeTier(
  pool: PoolRecord,
  { tiers }: PoolSelector,
  tier: DiskTier | null,
): PassReason | null {
  if (tiers === null || tier === null || tiers.includes(tier)) return null;
  const text = `its tier is ${tier}, pool "${pool.name}" takes ${tiers.join(' and ')}`;
  return reasonOf('tier', pool, text);
}

function judgeSize(
  pool: PoolRecord,
  { sizeMinBytes, sizeMaxBytes }: PoolSelector,
  bytes: number,
): PassReason | null {
  const low = Math.max(DISK_BYTES_MIN, sizeMinBytes ?? 0);
  if (bytes < low) {
    const text = `its size would be ${formatBytes(bytes)}, pool "${pool.name}" takes at least ${formatBytes(low)}`;
    return reasonOf('size', pool, text);
  }
  if (sizeMaxBytes !== null && bytes > sizeMaxBytes) {
    const text = `its size is ${formatBytes(bytes)}, pool "${pool.name}" takes at most ${formatBytes(sizeMaxBytes)}`;
    return reasonOf('size', pool, text);
  }
  return null;
}

/** The size with which the disk would be claimed. */
function sizeFor(pool: PoolRecord, selector: PoolSelector, disk: FreeDisk): Fit {
  if (disk.kind === 'mount') {
    const refusal = judgeSize(pool, selector, disk.freeBytes);
    return refusal === null ? { kind: 'fits', sizeBytes: disk.freeBytes } : passed(refusal);
  }
  const { pieceBytes, sizeMaxBytes, shareRatioMax } = selector;
  let bytes = disk.freeBytes;
  if (shareRatioMax !== null) {
    const whole = disk.freeBytes + disk.oursBytes;
    const left = whole * shareRatioMax - disk.oursBytes;
    if (left < DISK_BYTES_MIN) {
      const text = `pool "${pool.name}" may take ${percent(shareRatioMax)} of it, and ours hold ${formatBytes(disk.oursBytes)} of ${formatBytes(whole)}`;
      return passed(reasonOf('share-reached', pool, text));
    }
    bytes = Math.min(bytes, left);
  }
  if (sizeMaxBytes !== null) bytes = Math.min(bytes, sizeMaxBytes);
  if (pieceBytes !== null) {
    if (pieceBytes > bytes) {
      const text = `pieces for pool "${pool.name}" are ${formatBytes(pieceBytes)}, and ${formatBytes(bytes)} of it can be had`;
      return passed(reasonOf('size', pool, text));
    }
    bytes = pieceBytes;
  }
  // Mesos counts disks in MiB.
  const whole = Math.floor(bytes / MiB) * MiB;
  const refusal = judgeSize(pool, selector, whole);
  return refusal === null ? { kind: 'fits', sizeBytes: whole } : passed(refusal);
}

function percent(ratio: number): string {
  return `${Math.round(ratio * 1000) / 10} %`;
}
