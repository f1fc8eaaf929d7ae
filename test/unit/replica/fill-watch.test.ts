import { expect } from 'chai';
import { FillWatch } from '../../../executor/replica/fill-watch.ts';
import type { DiskId } from '../../../shared/base/ids.ts';
import { GiB, MiB } from '../../../shared/base/units.ts';
import { VirtualClock } from '../../simulation/ports/virtual-clock.ts';

function setUp(capacityBytes: number) {
  const clock = new VirtualClock();
  const disk = { usedBytes: 0, urgentCount: 0 };
  const store = { usage: () => ({ usedBytes: disk.usedBytes, capacityBytes }) };
  const watch = new FillWatch({
    clock,
    disks: () => [{ id: 1 as DiskId, store }],
    onUrgent: () => {
      disk.urgentCount += 1;
    },
  });
  return { clock, disk, watch };
}

describe('replica: fill watch', () => {
  it('fill watch: a small disk fills at full speed, the next report is urgent', async () => {
    const { clock, disk, watch } = setUp(4 * GiB);
    watch.noteReported();
    disk.usedBytes = 40 * MiB;
    await clock.runFor(250);
    expect(disk.urgentCount, 'less than a hundredth').to.equal(0);
    disk.usedBytes = 60 * MiB;
    await clock.runFor(200);
    expect(disk.urgentCount).to.equal(1);
    watch.noteReported();
    await clock.runFor(1000);
    expect(disk.urgentCount, 'reported').to.equal(1);
    watch.close();
  });

  it('fill watch: a large disk at the same speed, no report is urgent', async () => {
    const { clock, disk, watch } = setUp(2000 * GiB);
    watch.noteReported();
    disk.usedBytes = 2 * GiB;
    await clock.runFor(1000);
    expect(disk.urgentCount).to.equal(0);
    watch.close();
  });

  it('fill watch: closed, it looks no more', async () => {
    const { clock, disk, watch } = setUp(GiB);
    watch.noteReported();
    watch.close();
    disk.usedBytes = GiB;
    await clock.runFor(1000);
    expect(disk.urgentCount).to.equal(0);
  });
});
