import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Prng } from '../../../shared/base/prng.ts';
import { GiB } from '../../../shared/base/units.ts';
import type { LinuxCalls } from '../../../shared/node/linux-calls.ts';
import { linuxCalls, PORTABLE_CALLS } from '../../../shared/node/linux-calls.ts';
import { LinuxDisk } from '../../../shared/node/linux-disk.ts';
import { SimulatedDisk } from '../../simulation/ports/simulated-disk.ts';
import { VirtualClock } from '../../simulation/ports/virtual-clock.ts';
import type { DiskUnderTest } from './disk-contract.ts';
import { describeDisk } from './disk-contract.ts';

function onLinux(calls: LinuxCalls): DiskUnderTest {
  const path = mkdtempSync(join(tmpdir(), 'cistern-disk-'));
  return {
    disk: new LinuxDisk(path, calls),
    reopen: () => new LinuxDisk(path, calls),
    wait: (promise) => promise,
    dispose: () => rmSync(path, { recursive: true, force: true }),
  };
}

function simulated(): DiskUnderTest {
  const clock = new VirtualClock();
  const options = { path: '/disk', totalBytes: GiB, latencyMs: 1 };
  const disk = new SimulatedDisk(options, clock, new Prng(1));
  return {
    disk,
    reopen: () => disk,
    wait: async (promise) => {
      await clock.runFor(100);
      return promise;
    },
    dispose: () => undefined,
  };
}

describeDisk('simulated', simulated);
describeDisk('Linux', () => onLinux(linuxCalls()));
describeDisk('Linux without native calls', () => onLinux(PORTABLE_CALLS));
