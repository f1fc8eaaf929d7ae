/** Faults of disks: stalls, slowness, errors, a full file system, and damage to what is stored. */
import { EXTENT_BYTES, MiB } from '../../shared/base/units.ts';
import type { CopyPlace } from './fault-atlas.ts';
import { type Fault, type FaultSite, pickNode, takeAway } from './fault-site.ts';
import type { SimulatedDisk } from './simulated-disk.ts';
import { PAGE_BYTES } from './simulated-file.ts';

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
  const disk = pickMortal(site);
  if (disk === null) return null;
  const letter = site.random.pick(['e', 't', 'p', 'g']);
  if (!disk.flipIndexBit(INDEX_NAME, letter, site.random)) return null;
  return `${disk.path} ${letter}`;
};

const INDEX_NAME = 'index';

/** A few bits of a cold extent flip. */
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

/** Some pages of a cold extent cannot be read until they are written again; a disk that meets that is out. */
export const loseSector: Fault = (site) => {
  const { random, atlas, options } = site;
  const place = pickPlace(site);
  if (place === null || !atlas.mayLoseDisk(place.device, options.replicas)) return null;
  const offset = random.pick(pagesOf(place));
  place.device.defects.makeUnreadable(place.name, offset, PAGE_BYTES);
  atlas.noteDead(place.device);
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
function pickMortal(site: FaultSite): SimulatedDisk | null {
  const { atlas, options } = site;
  const disk = pickDisk(site, [...pickNode(site).disks.values()]);
  if (!atlas.mayLoseDisk(disk, options.replicas)) return null;
  atlas.noteDead(disk);
  return disk;
}

function pickPlace({ atlas, random }: FaultSite): CopyPlace | null {
  const places = atlas
    .places(true)
    .filter((place) => atlas.mayDamage(place) && pagesOf(place).length > 0);
  return places.length === 0 ? null : random.pick(places);
}

/** Of an extent: those that hold something. */
function pagesOf({ device, name, offset }: CopyPlace): number[] {
  return device.pagesOf(name, offset, EXTENT_BYTES);
}

function describe({ disk, pg, volume, extent, offset }: CopyPlace, at: number): string {
  const block = Math.floor((at - offset) / PAGE_BYTES);
  return `d${disk} pg${pg} v${volume}/${extent} block ${block}`;
}
