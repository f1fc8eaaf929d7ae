import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { deviceTier, tierOfDevice } from '../../../shared/node/device-tier.ts';

/** Numbers as the kernel packs them for small ones. */
const dev = (major: number, minor: number): number => major * 256 + minor;

describe('disk: kind of the device below', () => {
  let sysfs = '';

  beforeEach(() => {
    sysfs = mkdtempSync(join(tmpdir(), 'cistern-sysfs-'));
    mkdirSync(join(sysfs, 'dev', 'block'), { recursive: true });
  });

  afterEach(() => rmSync(sysfs, { recursive: true }));

  function device(path: string, number: string, rotational: string | null): string {
    const folder = join(sysfs, 'devices', path);
    mkdirSync(join(folder, 'queue'), { recursive: true });
    if (rotational !== null) writeFileSync(join(folder, 'queue', 'rotational'), `${rotational}\n`);
    symlinkSync(folder, join(sysfs, 'dev', 'block', number));
    return folder;
  }

  function partition(path: string, number: string): string {
    const folder = join(sysfs, 'devices', path);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'partition'), '1\n');
    symlinkSync(folder, join(sysfs, 'dev', 'block', number));
    return folder;
  }

  function over(folder: string, parts: readonly string[]): void {
    mkdirSync(join(folder, 'slaves'));
    for (const part of parts)
      symlinkSync(part, join(folder, 'slaves', part.slice(dirname(part).length + 1)));
  }

  it('disks and their partitions: NVMe by name, the rest by whether they turn', () => {
    device('pci/nvme0n1', '259:0', '0');
    partition('pci/nvme0n1/nvme0n1p2', '259:2');
    device('pci/sda', '8:0', '0');
    device('pci/sdb', '8:16', '1');
    partition('pci/sdb/sdb1', '8:17');
    const tiers = [dev(259, 2), dev(8, 0), dev(8, 17)].map((number) => tierOfDevice(number, sysfs));
    expect(tiers).to.deep.equal(['nvme', 'ssd', 'hdd']);
  });

  it('a volume over several devices: what they are when they are alike', () => {
    const nvme = device('pci/nvme0n1', '259:0', '0');
    const more = device('pci/nvme1n1', '259:5', '0');
    const slow = device('pci/sda', '8:0', '1');
    over(device('virtual/dm-0', '253:0', '0'), [nvme, more]);
    over(device('virtual/dm-1', '253:1', '0'), [nvme, slow]);
    expect(tierOfDevice(dev(253, 0), sysfs)).to.equal('nvme');
    expect(tierOfDevice(dev(253, 1), sysfs)).to.equal(null);
  });

  it('no such device, nothing said, no directory: not known', () => {
    device('virtual/loop0', '7:0', null);
    expect(tierOfDevice(dev(7, 0), sysfs)).to.equal(null);
    expect(tierOfDevice(dev(0, 33), sysfs)).to.equal(null);
    expect(deviceTier('/no/such/place', sysfs)).to.equal(null);
  });
});
