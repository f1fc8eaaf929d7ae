/**
 * Random faults and commands against the manager: the checks of the simulated cluster hold after every
 * step, and when the faults stop everything becomes clean again. The seed is in the test's name.
 */
import { expect } from 'chai';
import { attachmentViews } from '../../../scheduler/core/views/attachment-views.ts';
import { jobViews } from '../../../scheduler/core/views/job-views.ts';
import { diskViews, nodeViews } from '../../../scheduler/core/views/node-views.ts';
import { clusterView, pgViews, poolViews } from '../../../scheduler/core/views/views.ts';
import { volumeViews } from '../../../scheduler/core/views/volume-views.ts';
import type { DiskId, NodeId, VolumeId } from '../../../shared/base/ids.ts';
import { Prng } from '../../../shared/base/prng.ts';
import { GiB, MiB } from '../../../shared/base/units.ts';
import { findUnexplained } from './explained.ts';
import { SimulatedCluster } from './simulated-cluster.ts';

const SEEDS = 40;
const STEPS = 60;
const NODES_MAX = 7;

class Walk {
  readonly cluster = new SimulatedCluster({ defaultPgCount: 16, rebuildAfterMs: 15_000 });
  readonly #prng: Prng;
  #volumes = 0;

  constructor(seed: number) {
    this.#prng = new Prng(`manager/${seed}`);
    for (let index = 0; index < 4; index += 1) this.cluster.addNode(2);
    this.cluster.run(3000);
    this.#createVolume();
  }

  act(): void {
    const node = this.#pick([...this.cluster.executors.keys()]);
    const executor = this.cluster.executor(node);
    switch (this.#prng.below(16)) {
      case 0:
      case 1:
        if (executor.isAlive) this.cluster.kill(node);
        // Now and then it was the power of the machine.
        if (this.#prng.chance(0.3)) executor.powerLosses += 1;
        break;
      case 2:
      case 3:
      case 4:
        this.#revive(node);
        break;
      case 5:
        executor.isCutOff = !executor.isCutOff;
        break;
      case 6:
        executor.isIsolated = !executor.isIsolated;
        break;
      case 7:
        this.cluster.restartManager();
        break;
      case 8:
        if (this.cluster.executors.size < NODES_MAX) this.cluster.addNode();
        break;
      case 9:
        this.cluster.send({ kind: 'drain-node', node });
        break;
      case 10:
        this.cluster.send({ kind: 'activate-node', node });
        break;
      case 11:
        this.#createVolume();
        break;
      case 12:
        this.#attachOrDetach(node);
        break;
      case 13:
        this.#deadByMesos(node);
        break;
      case 14:
        this.cluster.send({
          kind: 'delete-volume',
          volume: this.#prng.below(this.#volumes + 1) as VolumeId,
          isForced: this.#prng.below(2) === 0,
        });
        break;
      default:
        this.cluster.send({ kind: 'drain-disk', disk: this.#anyDisk() });
        this.cluster.run(this.#prng.below(4) * 1000);
        this.cluster.send({ kind: 'activate-disk', disk: this.#anyDisk() });
    }
    this.cluster.run(250 * this.#prng.below(60));
    this.#look();
  }

  heal(): void {
    for (const node of this.cluster.executors.keys()) {
      this.#revive(node);
      this.cluster.executor(node).isCutOff = false;
      this.cluster.executor(node).isIsolated = false;
      this.cluster.send({ kind: 'activate-node', node });
    }
    for (const disk of this.cluster.state.facts.disks.values()) {
      if (disk.isDraining) this.cluster.send({ kind: 'activate-disk', disk: disk.id });
    }
  }

  #revive(node: NodeId): void {
    const executor = this.cluster.executor(node);
    if (!executor.isAlive) executor.restart();
  }

  /** Mesos' word comes after the death. */
  #deadByMesos(node: NodeId): void {
    if (this.cluster.executor(node).isAlive) this.cluster.kill(node);
    const observed = this.cluster.state.nodes.get(node);
    if (observed !== undefined) observed.executor = 'dead';
    this.cluster.run(250);
  }

  #createVolume(): void {
    this.#volumes += 1;
    const replicas = 1 + this.#prng.below(3);
    const name = `v${this.#volumes}`;
    const sizeBytes = GiB;
    const command = { kind: 'create-volume', name, sizeBytes, replicas, pool: null } as const;
    const result = this.cluster.replies.get(this.cluster.send(command));
    if (result?.kind === 'done') this.cluster.write((result.id ?? 0) as VolumeId, 64 * MiB);
  }

  #attachOrDetach(node: NodeId): void {
    const volumes = [...this.cluster.state.facts.volumes.keys()];
    if (volumes.length === 0) return;
    const volume = this.#pick(volumes);
    const isForced = this.#prng.below(4) === 0;
    if (this.#prng.below(3) === 0) this.cluster.send({ kind: 'detach-volume', volume, isForced });
    else this.cluster.send({ kind: 'attach-volume', volume, node, isForced });
  }

  #anyDisk(): DiskId {
    return this.#pick([...this.cluster.state.facts.disks.keys()]);
  }

  #pick<T>(items: readonly T[]): T {
    const item = items[this.#prng.below(items.length)];
    if (item === undefined) throw new Error('there is something to pick from');
    return item;
  }

  /** Views of any state can be made, and add up. */
  #look(): void {
    const { state } = this.cluster;
    const now = this.cluster.now();
    const view = clusterView(state, now);
    const { total, clean, degraded, misplaced, unavailable } = view.pgs;
    expect(clean + degraded + misplaced + unavailable).to.equal(total);
    expect(view.capacity.usedBytes + view.capacity.freeBytes).to.equal(view.capacity.rawBytes);
    expect(view.health === 'ok').to.equal(view.reasons.length === 0);
    const states = { clean: 0, degraded: 0, misplaced: 0, unavailable: 0 };
    for (const pg of pgViews(state, {})) states[pg.state] += 1;
    expect(states).to.deep.equal({ clean, degraded, misplaced, unavailable });
    expect(nodeViews(state, now).length).to.equal(state.facts.nodes.size);
    expect(diskViews(state).length).to.equal(state.facts.disks.size);
    expect(poolViews(state).length).to.equal(1);
    expect(volumeViews(state, now).length).to.equal(state.facts.volumes.size);
    expect(attachmentViews(state, now).length).to.equal(view.attachedCount);
    expect(findUnexplained(state, now), 'states without an explanation').to.deep.equal([]);
    for (const job of jobViews(state, now)) {
      expect(job.progressRatio, `progress of ${job.id}`).to.be.within(0, 1);
    }
  }
}

describe('manager: random walks', () => {
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    it(`manager: random faults and commands, all is clean when they stop (seed ${seed})`, () => {
      const walk = new Walk(seed);
      for (let index = 0; index < STEPS; index += 1) walk.act();
      walk.heal();
      walk.cluster.runUntil('everything is clean', () => walk.cluster.isClean(), 600_000);
      walk.cluster.run(60_000);
      expect(walk.cluster.state.work.pending, 'commands that wait').to.deep.equal([]);
      for (const job of walk.cluster.state.facts.jobs.values()) {
        expect(`${job.kind} ${job.subject} ${job.phase}`).to.not.match(/running/);
      }
    }).timeout(60_000);
  }
});
