/**
 * Which disks a pool takes, as operators say it and as the API shows it. What it means for one offered
 * disk is decided in `scheduler/core/pools/selection.ts`.
 */

import { formatBytes } from '../base/units.ts';

export const DISK_KINDS = ['mount', 'path', 'root'] as const;
export const DISK_TIERS = ['nvme', 'ssd', 'hdd'] as const;

export interface PoolSelector {
  /**
   * All must match. A value may hold `*` and `?`. `@hostname`, `@zone` and `@region` are what Mesos says of
   * the agent besides its attributes.
   */
  readonly attributes: Readonly<Record<string, string>>;
  /** null: MOUNT and PATH disks, and root disks with consent. */
  readonly kinds: readonly (typeof DISK_KINDS)[number][] | null;
  /** null: any, also one that is not known yet. */
  readonly tiers: readonly (typeof DISK_TIERS)[number][] | null;
  /** Of a whole MOUNT disk, or of the piece that would be carved from a PATH or root disk. */
  readonly sizeMinBytes: number | null;
  readonly sizeMaxBytes: number | null;
  /** Globs over the root of a MOUNT or PATH disk (`/mnt/fast-*`, `**` crosses slashes); null: any. */
  readonly paths: readonly string[] | null;
  /** Consent to take the agents' root disks, which hold their work directories. */
  readonly isRootAllowed: boolean;
  /** Largest part of a PATH or root disk that all our disks on it take together, above 0 to 1. */
  readonly shareRatioMax: number | null;
  /** What is carved from a PATH or root disk for one of ours; null: as much as the rest allows. */
  readonly pieceBytes: number | null;
  readonly disksPerNodeMax: number | null;
  readonly nodesMax: number | null;
}

/** Whatever Mesos offers, but no root disk. */
export const ANY_DISK: PoolSelector = {
  attributes: {},
  kinds: null,
  tiers: null,
  sizeMinBytes: null,
  sizeMaxBytes: null,
  paths: null,
  isRootAllowed: false,
  shareRatioMax: null,
  pieceBytes: null,
  disksPerNodeMax: null,
  nodesMax: null,
};

/** A selector in one line: `tier nvme, /mnt/fast-*, rack=r1`. */
export function describeSelector(selector: PoolSelector): string {
  const { attributes, kinds, tiers, paths, sizeMinBytes, sizeMaxBytes } = selector;
  const parts = [
    kinds === null ? '' : `${kinds.join(' or ')} disks`,
    tiers === null ? '' : `tier ${tiers.join(' or ')}`,
    paths === null ? '' : describePaths(paths),
    ...Object.entries(attributes).map(([name, value]) => `${name}=${value}`),
    sizeMinBytes === null ? '' : `from ${formatBytes(sizeMinBytes)}`,
    sizeMaxBytes === null ? '' : `up to ${formatBytes(sizeMaxBytes)}`,
    selector.pieceBytes === null ? '' : `pieces of ${formatBytes(selector.pieceBytes)}`,
    selector.shareRatioMax === null
      ? ''
      : `${Math.round(selector.shareRatioMax * 100)} % of a disk`,
    selector.disksPerNodeMax === null ? '' : `${selector.disksPerNodeMax} per node`,
    selector.nodesMax === null ? '' : `on ${selector.nodesMax} nodes`,
    selector.isRootAllowed ? 'root disks too' : '',
  ].filter((part) => part !== '');
  return parts.length === 0 ? 'any disk but root disks' : parts.join(', ');
}

/** A long list would hide the rest. */
function describePaths(paths: readonly string[]): string {
  if (paths.length <= PATHS_SHOWN_MAX) return paths.join(' or ');
  return `${paths.slice(0, PATHS_SHOWN_MAX).join(' or ')} or ${paths.length - PATHS_SHOWN_MAX} more`;
}

const PATHS_SHOWN_MAX = 2;
