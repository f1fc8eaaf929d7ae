/**
 * What kind of device a directory lies on, as the kernel describes it: the block device below its file system, and
 * whether that turns. null wherever the kernel has no such word for it (tmpfs, overlay, network file systems,
 * volumes over several devices of different kinds).
 */
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

export type DeviceTier = 'nvme' | 'ssd' | 'hdd';

/** Devices on devices: crypt on LVM on RAID on a partition is four. */
const DEPTH_MAX = 8;

/** `sysfs` is another directory in tests. Never throws. */
export function deviceTier(path: string, sysfs = '/sys'): DeviceTier | null {
  try {
    const { dev } = statSync(path);
    return tierOfDevice(dev, sysfs);
  } catch {
    // Not there, or the kernel does not say: nobody is worse off than without asking.
    return null;
  }
}

/** By the number of the device, as `stat` gives it. */
export function tierOfDevice(dev: number, sysfs: string): DeviceTier | null {
  const link = join(sysfs, 'dev', 'block', `${major(dev)}:${minor(dev)}`);
  return existsSync(link) ? tierOf(realpathSync(link), DEPTH_MAX) : null;
}

function tierOf(folder: string, depth: number): DeviceTier | null {
  if (depth === 0) return null;
  // A partition has no queue of its own; its disk is the folder above.
  if (existsSync(join(folder, 'partition'))) return tierOf(dirname(folder), depth - 1);
  const below = join(folder, 'slaves');
  const parts = existsSync(below) ? readdirSync(below) : [];
  if (parts.length > 0) {
    const tiers = parts.map((part) => tierOf(realpathSync(join(below, part)), depth - 1));
    const [first = null] = tiers;
    return tiers.every((tier) => tier === first) ? first : null;
  }
  if (basename(folder).startsWith('nvme')) return 'nvme';
  const rotational = join(folder, 'queue', 'rotational');
  if (!existsSync(rotational)) return null;
  return readFileSync(rotational, 'utf8').trim() === '1' ? 'hdd' : 'ssd';
}

/** As glibc packs them. */
function major(dev: number): number {
  const value = BigInt(dev);
  return Number(((value >> 8n) & 0xfffn) | ((value >> 32n) & ~0xfffn));
}

function minor(dev: number): number {
  const value = BigInt(dev);
  return Number((value & 0xffn) | ((value >> 12n) & ~0xffn & 0xffffff00n));
}
