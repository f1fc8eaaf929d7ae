import { expect } from 'chai';
import type { BlockDevice } from '../../../executor/gateway/block-device.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { EXTENT_BYTES, MiB } from '../../../shared/base/units.ts';
import { contentsOf, pgOf, submit, TestCluster } from './test-cluster.ts';

const BLOCK = 4096;
/** Few blocks in few extents: much happens to each of them. */
const EXTENTS = 3;
const BLOCKS_PER_EXTENT = 6;
const PGS = [
  [0, 1],
  [1, 2],
  [2, 0],
];

/** A join of a whole PG takes a good part of a second. */
const SLOW = { resyncBytesPerSecond: 512 * 1024, concurrentJoins: 3 };

/** What a single disk could hold: the last acked value, or any value that was sent since. */
class BlockModel {
  possible = new Set<number>([0]);
  isWriting = false;
}

/**
 * Clients on whichever node has the volume, and a manager that reacts to reports: process crashes and
 * partitions come and go, members are removed and join again, the volume moves.
 */
class Run {
  readonly cluster: TestCluster;
  readonly random: Prng;
  readonly blocks = Array.from({ length: EXTENTS * BLOCKS_PER_EXTENT }, () => new BlockModel());
  readonly dead = new Set<number>();
  nextValue = 1;
  home = 0;
  acked = 0;
  reads = 0;
  isQuiet = false;
  /** Requests of an earlier life of the gateway are never answered. */
  life = 0;

  constructor(seed: string) {
    this.cluster = new TestCluster(seed);
    this.random = new Prng(`faults ${seed}`);
  }

  async start(): Promise<void> {
    const sizeBytes = 12 * MiB;
    await this.cluster.start({ nodes: 3, pgs: PGS, sizeBytes, attachedTo: this.home });
    // Slow enough that at any moment several requests are on their way, and joins overlap with them.
    this.cluster.network.options = { delayMsMin: 0.1, delayMsMax: 12, connectDeadlineMs: 3_000 };
    for (const node of this.cluster.nodes) node.plane.setLimits(SLOW);
  }

  offsetOf(index: number): number {
    const extent = Math.floor(index / BLOCKS_PER_EXTENT);
    return extent * EXTENT_BYTES + (index % BLOCKS_PER_EXTENT) * BLOCK;
  }

  /** The gateway that clients reach now, if any. */
  get device(): BlockDevice | null {
    if (this.dead.has(this.home)) return null;
    return this.cluster.node(this.home).devices.get(1) ?? null;
  }

  clientStep(): void {
    const { device } = this;
    if (device === null) return;
    const index = this.random.below(this.blocks.length);
    const block = this.blocks[index] as BlockModel;
    if (block.isWriting) return;
    if (this.random.chance(0.5)) this.write(device, index, block);
    else this.read(device, index, block);
  }

  write(device: BlockDevice, index: number, block: BlockModel): void {
    const value = this.nextValue;
    this.nextValue += 1;
    const { life } = this;
    const isZero = this.random.chance(0.1);
    const data = Buffer.alloc(BLOCK);
    for (let at = 0; at < BLOCK; at += 4) data.writeUInt32LE(value, at);
    block.isWriting = true;
    block.possible.add(isZero ? 0 : value);
    const offset = this.offsetOf(index);
    const done = isZero
      ? submit(device, 'zero', offset, BLOCK)
      : submit(device, 'write', offset, BLOCK, { data });
    void done.then((outcome) => {
      if (life !== this.life) return;
      block.isWriting = false;
      if (outcome.error !== null) return;
      this.acked += 1;
      block.possible = new Set([isZero ? 0 : value]);
    });
  }

  read(device: BlockDevice, index: number, block: BlockModel): void {
    const { life } = this;
    block.isWriting = true;
    void submit(device, 'read', this.offsetOf(index), BLOCK).then((outcome) => {
      if (life !== this.life) return;
      block.isWriting = false;
      if (outcome.error !== null || outcome.data === null) return;
      this.reads += 1;
      this.see(index, outcome.data);
    });
  }

  see(index: number, data: Buffer): void {
    const block = this.blocks[index] as BlockModel;
    const value = data.readUInt32LE(0);
    for (let at = 0; at < BLOCK; at += 4) {
      expect(data.readUInt32LE(at), `block ${index} is not torn`).to.equal(value);
    }
    const allowed = [...block.possible].join(', ');
    expect(block.possible.has(value), `block ${index} is ${value}, allowed ${allowed}`).to.equal(
      true,
    );
    // What has been seen once does not go away again.
    block.possible = new Set([value]);
  }

  /** Removes members that are dead, lets living ones join, promotes those that are complete. */
  managerStep(): void {
    for (const pg of this.cluster.map.pgs) {
      const home = PGS[pg.id - 1] as readonly number[];
      const indexOf = (disk: number): number => disk - 1;
      const inSync = pg.inSync.map(indexOf);
      const joining = pg.joining.map(indexOf);
      const living = inSync.filter((index) => !this.dead.has(index));
      if (living.length > 0 && living.length < inSync.length && this.random.chance(0.3)) {
        this.cluster.setPg(
          pg.id,
          living,
          joining.filter((index) => !this.dead.has(index)),
          this.living(),
        );
        return;
      }
      if (joining.some((index) => this.dead.has(index))) {
        this.cluster.setPg(
          pg.id,
          inSync,
          joining.filter((index) => !this.dead.has(index)),
          this.living(),
        );
        return;
      }
      const ready = joining.find((index) =>
        this.cluster
          .node(index)
          .plane.report()
          .joins.some((join) => join.pg === pg.id && join.isComplete && join.epoch === pg.epoch),
      );
      if (ready !== undefined) {
        const rest = joining.filter((index) => index !== ready);
        this.cluster.setPg(pg.id, [...inSync, ready], rest, this.living());
        return;
      }
      const missing = home.find(
        (index) => !this.dead.has(index) && !inSync.includes(index) && !joining.includes(index),
      );
      if (missing !== undefined) {
        this.cluster.setPg(pg.id, inSync, [...joining, missing], this.living());
        return;
      }
    }
    if (this.dead.has(this.home) && this.random.chance(0.5)) this.move();
  }

  living(): number[] {
    return [0, 1, 2].filter((index) => !this.dead.has(index));
  }

  /** The old gateway is dead: the volume goes elsewhere, or to the same node again. */
  move(): void {
    this.home = this.random.pick(this.living());
    const volumes = this.cluster.map.volumes.map((volume) => ({
      ...volume,
      generation: volume.generation + 1,
      attachedTo: this.cluster.node(this.home).id,
    }));
    this.cluster.setMap({ volumes }, this.living());
  }

  async faultStep(): Promise<void> {
    const { cluster, random } = this;
    const roll = random.below(10);
    if (roll < 3 && this.dead.size === 0) {
      const victim = random.chance(0.5) ? this.home : random.below(3);
      this.dead.add(victim);
      if (victim === this.home) this.forgetRequests();
      cluster.crash(victim);
    } else if (roll < 6) {
      for (const index of [...this.dead]) await this.revive(index);
    } else if (roll < 8) {
      const [a, b] = random.shuffle([1, 2, 3]) as [number, number, number];
      cluster.network.block(`host${a}`, `host${b}`);
      if (random.chance(0.5)) cluster.network.block(`host${b}`, `host${a}`);
    } else if (roll < 9) cluster.network.healAll();
    else cluster.network.host(`host${1 + random.below(3)}`).cut(`host${1 + random.below(3)}`);
  }

  async revive(index: number): Promise<void> {
    this.dead.delete(index);
    await this.cluster.startProcess(this.cluster.node(index));
    this.cluster.node(index).plane.setLimits(SLOW);
  }

  forgetRequests(): void {
    this.life += 1;
    for (const block of this.blocks) block.isWriting = false;
  }

  async finish(): Promise<void> {
    const { cluster } = this;
    cluster.network.healAll();
    for (const index of [...this.dead]) await this.revive(index);
    const isHealthy = (): boolean =>
      PGS.every((home, index) => {
        const pg = pgOf(cluster, index + 1);
        return pg.inSync.length === home.length && pg.joining.length === 0;
      });
    for (let step = 0; step < 3000 && !isHealthy(); step += 1) {
      this.managerStep();
      await cluster.clock.runFor(20);
    }
    expect(isHealthy(), 'every PG is whole again').to.equal(true);
    cluster.sendMap();
    await cluster.until('requests are done', () => this.blocks.every((block) => !block.isWriting));
    await cluster.until('the volume is served', () => this.device !== null);
    const device = this.device as BlockDevice;
    for (const [index] of this.blocks.entries()) {
      const outcome = await cluster.run(
        'a read',
        submit(device, 'read', this.offsetOf(index), BLOCK),
      );
      expect(outcome.error).to.equal(null);
      this.see(index, outcome.data as Buffer);
    }
    // Let the reconciler finish what no client has asked for.
    await cluster.clock.runFor(2000);
    for (const [index, home] of PGS.entries()) {
      const copies = await Promise.all(home.map((node) => contentsOf(cluster, node, index)));
      expect((copies[0] as Buffer).equals(copies[1] as Buffer), `extent ${index}`).to.equal(true);
    }
  }
}

async function play(seed: string): Promise<Run> {
  const run = new Run(seed);
  await run.start();
  for (let step = 0; step < 2500; step += 1) {
    for (let count = run.random.below(12); count > 0; count -= 1) run.clientStep();
    if (run.random.chance(0.2)) run.managerStep();
    if (run.random.chance(0.03)) await run.faultStep();
    await run.cluster.clock.runFor(run.random.fraction() * 8);
  }
  await run.finish();
  return run;
}

describe('data plane: random faults', () => {
  const first = Number(process.env['FAULT_SEED'] ?? 1);
  const count = Number(process.env['FAULT_SEEDS'] ?? 3);
  for (let seed = first; seed < first + count; seed += 1) {
    it(`seed ${seed}: reads as from one disk, in the end whole and equal`, async () => {
      const run = await play(`seed ${seed}`);
      expect(run.acked, 'writes went on').to.be.greaterThan(100);
      expect(run.reads, 'reads went on').to.be.greaterThan(100);
    }).timeout(120_000);
  }
});
