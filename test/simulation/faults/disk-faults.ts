/** Faults of disks: stalls, slowness, errors, a full file system, and damage to what is stored. */
import { EXTENT_BYTES, MiB } from '../../../shared/base/units.ts';
import type { SimulatedDisk } from '../ports/simulated-disk.ts';
import { PAGE_BYTES } from '../ports/simulated-file.ts';
import type { CopyPlace } from './fault-atlas.ts';
import { type Fault, type FaultSite, pickNode, pickSafe, takeAway } from './fault-site.ts';

/** A disk answers nothing for seconds. */
export const stallDisk: Fault = (site) => {
  const node = pickNode(site);
  if (!site.atlas.mayLeave([node])) return null;
  const disk = pickDisk(site, [...node.disks.values()]);
  disk.stall();
  takeAway(site, [node], site.random.between(100, 12_000), () => disk.resume());
  return disk.path;
};

export const slowDisk: Fault = (site) => {
  const node = pickNode(site);
  if (!site.atlas.mayLeave([node])) return null;
  const disk = pickDisk(site, [...node.disks.values()]);
  const slowness = site.random.between(10, 100);
  disk.defects.slowness = slowness;
  takeAway(site, [node], site.random.between(500, 20_000), () => {
    disk.defects.slowness = 1;
  });
  return `${disk.path} ${slowness} times`;
};

/** A disk fails for good, with errors. */
export const failDisk: Fault = (site) => {
  const disk = pickMortal(site);
  if (disk === null) return null;
  const op = site.random.pick(['read', 'write', 'sync', 'commit'] as const);
  // A disk that only cannot be read stays in use: the single copy of something may move to it later.
  if (op === 'read' && site.options.replicas === 1) return null;
  disk.inject({ op, code: 'EIO' });
  return `${disk.path} ${op}`;
};

/** A disk never answers again. */
export const hangDisk: Fault = (site) => {
  const disk = pickMortal(site);
  if (disk === null) return null;
  disk.hang();
  return disk.path;
};

/** The file system fills up although its capacity was promised to us; somebody makes room later. */
export const fillDisk: Fault = (site) => {
  const disk = pickMortal(site);
  if (disk === null) return null;
  const freeBytes = site.random.pick([0, PAGE_BYTES, MiB, 8 * MiB]);
  disk.fillUp(freeBytes);
  site.during(site.random.between(2_000, 40_000), () => disk.makeRoom());
  return `${disk.path} ${freeBytes} bytes left`;
};

/** An entry or a table of the index rots. LMDB checks no contents: the store has to notice. */
export const rotIndex: Fault = (site) => {
  const { random } = site;
  // What of it is in the index yet depends on the last checkpoint.
  const letters = random.shuffle(['e', 't', 'p', 'g']);
  const disk = pickMortal(site, (one) =>
    letters.some((letter) => one.flipIndexBit(INDEX_NAME, letter, random)),
  );
  return disk?.path ?? null;
};

const INDEX_NAME = 'index';

/** A few bits of an extent flip. */
export const rotBits: Fault = (site) => {
  const { random, atlas } = site;
  const place = pickPlace(site);
  if (place === null) return null;
  const offset = random.pick(pagesOf(place));
  const count = random.pick([1, 1, 3, 100]);
  for (let index = 0; index < count; index += 1) {
    place.device.flipBit(place.name, offset + random.below(PAGE_BYTES), random.below(8));
  }
  atlas.noteDamage(place, offset, PAGE_BYTES);
  return describe(place, offset);
};

/** A page of an extent cannot be read until it is written again. */
export const loseSector: Fault = (site) => {
  const { random, atlas } = site;
  const place = pickPlace(site);
  if (place === null) return null;
  const offset = random.pick(pagesOf(place));
  place.device.defects.makeUnreadable(place.name, offset, PAGE_BYTES);
  atlas.noteDamage(place, offset, PAGE_BYTES);
  return describe(place, offset);
};

/** The next write to a slab is acked and not stored. */
export const loseWrite: Fault = (site) => {
  const disk = pickDisk(site, [...pickNode(site).disks.values()]);
  armOnce(site, disk, (place, offset, length) => {
    site.atlas.noteDamage(place, offset, length);
    site.cluster.trace.add('faults', `lost-write ${describe(place, offset)}`);
    return { kind: 'lost' };
  });
  return `${disk.path} next write`;
};

/** The next write to a slab lands in another extent of the same slab. */
export const misdirectWrite: Fault = (site) => {
  const { atlas, random, cluster } = site;
  const disk = pickDisk(site, [...pickNode(site).disks.values()]);
  armOnce(site, disk, (place, offset, length) => {
    const victims = atlas
      .places(true)
      .filter((other) => other.device === disk && other.name === place.name)
      .filter((other) => other.offset !== place.offset && atlas.mayDamage(other))
      .filter((other) => pagesOf(other).length > 0);
    if (victims.length === 0) return null;
    const victim = random.pick(victims);
    const target = Math.min(random.pick(pagesOf(victim)), victim.offset + EXTENT_BYTES - length);
    atlas.noteDamage(place, offset, length);
    atlas.noteDamage(victim, target, length);
    cluster.trace.add(
      'faults',
      `misdirected-write ${describe(place, offset)} to ${describe(victim, target)}`,
    );
    return { kind: 'misdirected', offset: target };
  });
  return `${disk.path} next write`;
};

type Fate = { readonly kind: 'lost' } | { readonly kind: 'misdirected'; readonly offset: number };

/** Waits for a write of whole pages to an extent that has a good copy elsewhere. */
function armOnce(
  site: FaultSite,
  disk: SimulatedDisk,
  decide: (place: CopyPlace, offset: number, length: number) => Fate | null,
): void {
  const disarm = (): void => disk.defects.judgeWrites(null);
  disk.defects.judgeWrites((name, offset, length) => {
    const stored = { kind: 'stored' } as const;
    if (!name.startsWith('slabs/') || length % PAGE_BYTES !== 0) return stored;
    const place = site.atlas.findPlace(disk, name, offset);
    if (place === null || !site.atlas.mayDamage(place)) return stored;
    const fate = decide(place, offset, length);
    if (fate === null) return stored;
    disarm();
    return fate;
  });
  site.during(5_000, disarm);
}

function pickDisk({ random }: FaultSite, disks: readonly SimulatedDisk[]): SimulatedDisk {
  return random.pick(disks);
}

/** A disk that may die; from now on nobody counts on it. */
export function pickMortal(
  site: FaultSite,
  kill: (disk: SimulatedDisk) => boolean = () => true,
): SimulatedDisk | null {
  const { atlas, options, cluster } = site;
  const disks = cluster.nodes.flatMap((node) => [...node.disks.values()]);
  // When the pool is split (pool-planner.ts), the first disks of all nodes stay among themselves, and the second ones.
  const willSplit = Number.isFinite(options.poolsAfterMs);
  const disk = pickSafe(site, disks, (one) =>
    atlas.mayLoseDisk(
      one,
      options.replicas,
      (other) => !willSplit || lastOf(other.path) === lastOf(one.path),
    ),
  );
  if (disk === null || !kill(disk)) return null;
  atlas.noteDead(disk);
  return disk;
}

/** `0` of `/mnt/host3-0`. */
function lastOf(path: string): string {
  return path.slice(path.lastIndexOf('-') + 1);
}

/** Mostly an extent that nobody writes to at the moment: that is what rots. */
function pickPlace(site: FaultSite): CopyPlace | null {
  const { atlas, random } = site;
  const places = atlas.places(random.chance(0.7));
  return pickSafe(site, places, (place) => {
    return atlas.mayDamage(place) && pagesOf(place).length > 0;
  });
}

/** Of an extent: those that hold something. */
function pagesOf({ device, name, offset }: CopyPlace): number[] {
  return device.pagesOf(name, offset, EXTENT_BYTES);
}

function describe({ disk, pg, volume, extent, offset }: CopyPlace, at: number): string {
  const block = Math.floor((at - offset) / PAGE_BYTES);
  return `d${disk} pg${pg} v${volume}/${extent} block ${block}`;
}
