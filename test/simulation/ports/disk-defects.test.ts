/** The faults of a simulated device bite, and the simulator knows for how long a page is damaged. */
import { expect } from 'chai';
import { Prng } from '../../../shared/base/prng.ts';
import type { DiskFailure, DiskFile } from '../../../shared/ports.ts';
import { SimulatedDisk } from './simulated-disk.ts';
import { VirtualClock } from './virtual-clock.ts';

const PAGE = 4096;
const NAME = 'slabs/0000.slab';

function makeDisk(): { clock: VirtualClock; disk: SimulatedDisk; file: DiskFile } {
  const clock = new VirtualClock();
  const options = { path: '/mnt/x', totalBytes: 1 << 20, latencyMs: 1 };
  const disk = new SimulatedDisk(options, clock, new Prng('disk'));
  return { clock, disk, file: disk.open(NAME, { create: true }) };
}

type Answer = DiskFailure | null | 'pending';

async function outcome(
  clock: VirtualClock,
  start: (done: (failure: DiskFailure | null) => void) => void,
  ms = 100,
): Promise<Answer> {
  let answer: Answer = 'pending';
  start((failure) => {
    answer = failure;
  });
  await clock.runFor(ms);
  return answer;
}

const page = (value: number): Uint8Array => new Uint8Array(PAGE).fill(value);

describe('disk defects', () => {
  it('disk defects: a latent error, EIO until the page is written again', async () => {
    const { clock, disk, file } = makeDisk();
    file.writeSync(page(1), 0);
    file.writeSync(page(2), PAGE);
    disk.defects.makeUnreadable(NAME, PAGE, PAGE);
    const target = new Uint8Array(PAGE);
    expect(await outcome(clock, (done) => file.read(target, 0, done))).to.equal(null);
    const failed = await outcome(clock, (done) => file.read(target, PAGE, done));
    expect(failed).to.have.property('code', 'EIO');
    expect(() => file.readSync(target, PAGE + 100)).to.throw('latent');
    expect(disk.defects.isDamaged(NAME, PAGE, 1)).to.equal(true);
    file.writeSync(page(3), PAGE);
    expect(await outcome(clock, (done) => file.read(target, PAGE, done))).to.equal(null);
    expect(target[7]).to.equal(3);
    expect(disk.defects.isDamaged(NAME, 0, 2 * PAGE)).to.equal(false);
  });

  it('disk defects: a lost write, acked and not there', async () => {
    const { clock, disk, file } = makeDisk();
    file.writeSync(page(1), 0);
    disk.defects.judgeWrites(() => ({ kind: 'lost' }));
    expect(await outcome(clock, (done) => file.write(page(2), 0, done))).to.equal(null);
    disk.defects.judgeWrites(null);
    expect(disk.bytesOf(NAME)[0]).to.equal(1);
    expect(disk.defects.isDamaged(NAME, 0, PAGE)).to.equal(true);
  });

  it('disk defects: a misdirected write, both places are damaged', () => {
    const { disk, file } = makeDisk();
    for (let at = 0; at < 4; at += 1) file.writeSync(page(at + 1), at * PAGE);
    disk.defects.judgeWrites(() => ({ kind: 'misdirected', offset: 3 * PAGE }));
    file.writeSync(page(9), PAGE);
    disk.defects.judgeWrites(null);
    const bytes = disk.bytesOf(NAME);
    expect([0, 1, 2, 3].map((at) => bytes[at * PAGE])).to.deep.equal([1, 2, 3, 9]);
    expect(disk.defects.damagedPages).to.equal(2);
    file.writeSync(page(9), PAGE);
    expect(disk.defects.isDamaged(NAME, PAGE, PAGE)).to.equal(false);
    expect(disk.defects.isDamaged(NAME, 3 * PAGE, PAGE)).to.equal(true);
  });

  it('disk defects: power loss before the sync of a repair, the damage may be back', async () => {
    const { clock, disk, file } = makeDisk();
    file.writeSync(page(1), 0);
    disk.flipBit(NAME, 5, 0);
    file.writeSync(page(1), 0);
    expect(disk.defects.isDamaged(NAME, 0, PAGE)).to.equal(false);
    disk.crash('power');
    expect(disk.defects.isDamaged(NAME, 0, PAGE)).to.equal(true);
    const again = disk.open(NAME, { create: false });
    again.writeSync(page(1), 0);
    expect(await outcome(clock, (done) => again.sync(done))).to.equal(null);
    disk.crash('power');
    expect(disk.defects.isDamaged(NAME, 0, PAGE)).to.equal(false);
  });

  it('disk defects: a full file system, ENOSPC until somebody makes room', async () => {
    const { clock, disk, file } = makeDisk();
    file.writeSync(page(1), 0);
    disk.fillUp(PAGE);
    expect(disk.space().freeBytes).to.equal(PAGE);
    file.writeSync(page(2), PAGE);
    const full = await outcome(clock, (done) => file.write(page(3), 2 * PAGE, done));
    expect(full).to.have.property('code', 'ENOSPC');
    file.writeSync(page(4), 0);
    disk.makeRoom();
    file.writeSync(page(3), 2 * PAGE);
  });

  it('disk defects: a hung device, no answer for any process; a slow one, late answers', async () => {
    const { clock, disk, file } = makeDisk();
    file.writeSync(page(1), 0);
    disk.defects.slowness = 50;
    const target = new Uint8Array(PAGE);
    expect(await outcome(clock, (done) => file.read(target, 0, done), 20)).to.equal('pending');
    disk.defects.slowness = 1;
    disk.hang();
    disk.crash('process');
    const next = disk.open(NAME, { create: false });
    disk.resume();
    const hour = 3_600_000;
    expect(await outcome(clock, (done) => next.read(target, 0, done), hour)).to.equal('pending');
  });
});
