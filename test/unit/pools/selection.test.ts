import { expect } from 'chai';
import type { PassKind } from '../../../scheduler/core/pools/pass-reason.ts';
import {
  boundReached,
  type DiskSite,
  type FreeDisk,
  fitOf,
  inPriority,
} from '../../../scheduler/core/pools/selection.ts';
import type { PoolRecord } from '../../../scheduler/core/records.ts';
import { GiB, MiB } from '../../../shared/base/units.ts';
import { ANY_DISK, type PoolSelector } from '../../../shared/model/pool-selector.ts';

const POOL: PoolRecord = {
  name: 'p',
  tier: null,
  attributes: {},
  defaultReplicas: 2,
  failureDomain: 'node',
  pgCount: 16,
  claimPerNode: null,
  claimNodes: null,
  expandAtRatio: 0.8,
  fullAtRatio: 0.95,
  diskCountMax: null,
  expandCooldownMs: 0,
  isAutoExpand: true,
  lastExpandAtMs: 0,
  isFull: false,
};
const SITE: DiskSite = {
  hostname: 'host-1',
  zone: 'z1',
  region: null,
  attributes: { rack: 'r1', gen: '7' },
};
const DISK: FreeDisk = {
  kind: 'mount',
  root: '/mnt/fast-1',
  freeBytes: 10 * GiB,
  oursBytes: 0,
  tier: 'nvme',
};

const select = (changes: Partial<PoolSelector>): PoolSelector => ({ ...ANY_DISK, ...changes });

function judge(
  changes: Partial<PoolSelector>,
  disk: Partial<FreeDisk> = {},
  site: Partial<DiskSite> = {},
): PassKind | number {
  const fit = fitOf(POOL, select(changes), { ...DISK, ...disk }, { ...SITE, ...site });
  return fit.kind === 'fits' ? fit.sizeBytes : fit.reason.kind;
}

describe('pools: selection', () => {
  it('any disk: taken whole, but no root disk', () => {
    expect(judge({})).to.equal(10 * GiB);
    expect(judge({}, { kind: 'root', root: null })).to.equal('root-without-consent');
  });

  it('a root disk: only with consent, also when its kind is named, whatever the paths are', () => {
    const root = { kind: 'root', root: null } as const;
    expect(judge({ kinds: ['root'] }, root)).to.equal('root-without-consent');
    expect(judge({ isRootAllowed: true, paths: ['/mnt/*'] }, root)).to.equal(10 * GiB);
  });

  it('kinds, paths, tiers: those named and no others', () => {
    expect(judge({ kinds: ['path'] })).to.equal('kind');
    expect(judge({ paths: ['/data/*', '/mnt/slow-*'] })).to.equal('path');
    expect(judge({ paths: ['/data/*', '/mnt/fast-*'] })).to.equal(10 * GiB);
    expect(judge({ tiers: ['ssd', 'hdd'] })).to.equal('tier');
    expect(judge({ tiers: ['nvme'] })).to.equal(10 * GiB);
    expect(judge({ tiers: ['ssd'] }, { tier: null }), 'not known yet').to.equal(10 * GiB);
  });

  it('attributes: all must match; patterns; what Mesos says besides', () => {
    expect(judge({ attributes: { rack: 'r1', gen: '8' } })).to.equal('attribute');
    expect(judge({ attributes: { rack: 'r*', gen: '?' } })).to.equal(10 * GiB);
    expect(judge({ attributes: { none: '*' } })).to.equal('attribute');
    expect(judge({ attributes: { '@zone': 'z1', '@hostname': 'host-*' } })).to.equal(10 * GiB);
    expect(judge({ attributes: { '@region': '*' } }), 'no region').to.equal('attribute');
    expect(judge({ attributes: { toString: '*' } }), 'no own property').to.equal('attribute');
  });

  it('sizes: of a whole MOUNT disk; a PATH disk is carved down to the maximum', () => {
    expect(judge({ sizeMinBytes: 11 * GiB })).to.equal('size');
    expect(judge({ sizeMaxBytes: 9 * GiB })).to.equal('size');
    expect(judge({ sizeMaxBytes: 9 * GiB }, { kind: 'path' })).to.equal(9 * GiB);
    expect(judge({}, { freeBytes: 63 * MiB }), 'too small for a store').to.equal('size');
  });

  it('a share of a PATH disk: what ours hold counts, until it is reached', () => {
    const path = { kind: 'path' } as const;
    expect(judge({ shareRatioMax: 0.5 }, path)).to.equal(5 * GiB);
    const half = { ...path, freeBytes: 6 * GiB, oursBytes: 4 * GiB };
    expect(judge({ shareRatioMax: 0.5 }, half)).to.equal(GiB);
    const all = { ...path, freeBytes: 5 * GiB, oursBytes: 5 * GiB };
    expect(judge({ shareRatioMax: 0.5 }, all)).to.equal('share-reached');
    expect(judge({ shareRatioMax: 0.5 }), 'a MOUNT disk is one piece').to.equal(10 * GiB);
  });

  it('pieces: of that size or not at all', () => {
    const path = { kind: 'path' } as const;
    expect(judge({ pieceBytes: 3 * GiB }, path)).to.equal(3 * GiB);
    expect(judge({ pieceBytes: 3 * GiB, shareRatioMax: 0.2 }, path)).to.equal('size');
    expect(judge({ pieceBytes: 3 * GiB })).to.equal(10 * GiB);
  });

  it('bounds: disks per node, nodes; a node that has one may get another', () => {
    const kind = (selector: Partial<PoolSelector>, here: number, nodes: number) =>
      boundReached(POOL, select(selector), { here, nodes })?.kind ?? null;
    expect(kind({ disksPerNodeMax: 2 }, 1, 9)).to.equal(null);
    expect(kind({ disksPerNodeMax: 2 }, 2, 9)).to.equal('disks-per-node-reached');
    expect(kind({ nodesMax: 3 }, 0, 3)).to.equal('node-count-reached');
    expect(kind({ nodesMax: 3 }, 1, 3)).to.equal(null);
  });

  it('pools are asked by priority, then by name', () => {
    const pool = (name: string, priority?: number): PoolRecord =>
      priority === undefined ? { ...POOL, name } : { ...POOL, name, priority };
    const order = inPriority([pool('b'), pool('z', 9), pool('a'), pool('y', 9)]);
    expect(order.map(({ name }) => name)).to.deep.equal(['y', 'z', 'a', 'b']);
  });
});
