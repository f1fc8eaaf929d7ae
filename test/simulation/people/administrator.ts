/**
 * The operator of a run: makes volumes, attaches, moves and deletes them, drains and activates nodes,
 * adds one. Commands may fail while faults are about; what he asked for before that still has to come.
 */

import { isBraked } from '../../../scheduler/core/brake.ts';
import type { Command, CommandResult } from '../../../scheduler/core/contract.ts';
import { memberCount } from '../../../scheduler/core/members/members.ts';
import { findClaim } from '../../../scheduler/core/nodes/adoption.ts';
import type { NodeRecord, VolumeRecord } from '../../../scheduler/core/records.ts';
import type { State } from '../../../scheduler/core/state.ts';
import type { NodeId, VolumeId } from '../../../shared/base/ids.ts';
import type { Prng } from '../../../shared/base/prng.ts';
import type { Cluster } from '../cluster.ts';
import type { SwarmOptions } from '../swarm.ts';
import { PoolPlanner } from './pool-planner.ts';
import { VolumeClient } from './volume-client.ts';

/** Between two attempts of a command that failed. */
const RETRY_MS = 500;
const SWEEP_MS = 1_000;
/** A pool that wants disks always, and one that does when it should. */
const EAGER_RATIO = 0.01;
const USUAL_RATIO = 0.8;
/** Twice the patience for disks of their own, and the growth of one or two. */
const GROW_MS = 40_000;
/** An operator looks now and then. */
const TEND_MS = 5_000;

export class Administrator {
  readonly #cluster: Cluster;
  readonly #options: SwarmOptions;
  readonly #random: Prng;
  readonly #onViolation: (what: string) => void;
  readonly #pools: PoolPlanner;
  readonly clients = new Map<VolumeId, VolumeClient>();
  #isActive = false;
  #isAdding = true;
  #nextName = 1;
  #drained: string | null = null;
  /** Volumes that somebody works on: one command at a time for each. */
  readonly #busy = new Set<VolumeId>();
  runningCommands = 0;

  constructor(cluster: Cluster, options: SwarmOptions, onViolation: (what: string) => void) {
    this.#cluster = cluster;
    this.#options = options;
    this.#random = cluster.random.fork('administrator');
    this.#onViolation = onViolation;
    this.#pools = new PoolPlanner(cluster, (command) => this.#execute(command));
    this.#sweepLater();
  }

  /** A new volume, attached to one of the gateway nodes, with clients at work. */
  async addVolume(): Promise<void> {
    const name = `vol-${this.#nextName}`;
    this.#nextName += 1;
    const { volumeBytes: sizeBytes, replicas } = this.#options;
    let volume = this.#findVolume(name);
    while (volume === null) {
      const pool = this.#pools.pick();
      await this.#execute({ kind: 'create-volume', name, sizeBytes, replicas, pool });
      volume = this.#findVolume(name);
      if (volume === null) await this.#pause(RETRY_MS);
    }
    this.#busy.add(volume.id);
    await this.#attach(volume.id);
    this.#busy.delete(volume.id);
    const { cellBytes, depth, thinkMs } = this.#options;
    const client = new VolumeClient(
      this.#cluster,
      { volume: volume.id, sizeBytes, cellBytes, depth, thinkMs },
      this.#onViolation,
    );
    this.clients.set(volume.id, client);
    client.start();
  }

  start(): void {
    this.#isActive = true;
    this.#pools.startAfter(this.#options.poolsAfterMs);
    if (Number.isFinite(this.#options.commandIntervalMs)) this.#next();
    const { growAfterMs } = this.#options;
    if (!Number.isFinite(growAfterMs)) return;
    this.#cluster.clock.after(growAfterMs, () => {
      this.#cluster.mesos.enlargePaths();
      void this.#setThreshold(EAGER_RATIO);
    });
  }

  /** No new commands; a drained node comes back. From now on he does what only a human may. */
  async stop(): Promise<void> {
    this.#isActive = false;
    this.#tendLater();
    // A volume that is being made may wait for the disks of a node that he drained, or that no pool takes as
    // long as his plan for them is paused.
    const pools = this.#pools.finish();
    await this.#activate();
    while (this.runningCommands > 0) await this.#pause(RETRY_MS);
    await this.#activate();
    await pools;
    if (!Number.isFinite(this.#options.growAfterMs)) return;
    // Quiet at last: some disks grow now, if they did not before.
    await this.#pause(GROW_MS);
    await this.#setThreshold(USUAL_RATIO);
  }

  /** From which fill on the pool wants more. */
  async #setThreshold(expandAtRatio: number): Promise<void> {
    const changes = { expandAtRatio };
    const command = { kind: 'update-pool', pool: 'default', changes } as const;
    while ((await this.#execute(command)).kind !== 'done') await this.#pause(RETRY_MS);
  }

  /**
   * After a mass failure he says that nothing more comes back, so that lost copies are made again; he says
   * so of each machine that was replaced; and he moves volumes from nodes that have lost all their disks, and with them their executor.
   */
  async #tend(): Promise<void> {
    const { state } = this.#cluster;
    if (state === null) return;
    if (isBraked(state)) await this.#execute({ kind: 'release-brake' });
    for (const node of this.#replacedNodes(state)) {
      await this.#execute({ kind: 'forget-node', node });
    }
    for (const volume of this.clients.keys()) {
      const record = state.facts.volumes.find(volume);
      if (record === undefined || record.attachedTo === null || this.#busy.has(volume)) continue;
      const disks = [...state.facts.disks.values()].filter(
        ({ node }) => node === record.attachedTo,
      );
      if (disks.some(({ phase }) => phase !== 'failed' && phase !== 'lost')) continue;
      const node = this.#findNode(this.#random.pick(this.#cluster.nodes).host);
      if (node === null || node.id === record.attachedTo) continue;
      await this.#execute({ kind: 'attach-volume', volume, node: node.id, isForced: false });
    }
  }

  /** Reads and compares everything; resolves when that is over. */
  async scrub(): Promise<void> {
    const running = (): boolean => {
      const jobs = this.#cluster.state?.facts.jobs.values() ?? [];
      return [...jobs].some((job) => job.kind === 'scrub' && job.phase === 'running');
    };
    for (;;) {
      while (running()) await this.#pause(RETRY_MS);
      const scope = { pool: null, volume: null, disk: null };
      const command = { kind: 'start-scrub', scope, isScheduled: false } as const;
      if ((await this.#execute(command)).kind === 'done') break;
      await this.#pause(RETRY_MS);
    }
    while (running()) await this.#pause(RETRY_MS);
  }

  #tendLater(): void {
    this.#cluster.clock.after(TEND_MS, () => {
      void this.#tend().finally(() => this.#tendLater());
    });
  }

  #sweepLater(): void {
    this.#cluster.clock.after(SWEEP_MS, () => {
      for (const client of this.clients.values()) client.sweep();
      this.#sweepLater();
    });
  }

  #next(): void {
    const waitMs = this.#options.commandIntervalMs * 2 * this.#random.fraction();
    this.#cluster.clock.after(waitMs, () => {
      if (!this.#isActive) return;
      this.#next();
      this.runningCommands += 1;
      void this.#act().finally(() => {
        this.runningCommands -= 1;
      });
    });
  }

  async #act(): Promise<void> {
    const dice = this.#random.below(100);
    if (dice < 45) await this.#moveVolume();
    else if (dice < 60) await this.addVolume();
    else if (dice < 75) await this.#deleteVolume();
    else if (dice < 95) await (this.#drained === null ? this.#drain() : this.#activate());
    else if (this.#isAdding) {
      this.#isAdding = false;
      this.#cluster.addNode();
    }
  }

  async #moveVolume(): Promise<void> {
    const volume = this.#pickVolume();
    if (volume === null) return;
    this.#busy.add(volume);
    // The operator's word that the old node is dead, true or not.
    if (this.#random.chance(0.3)) await this.#forceAttach(volume);
    else await this.#detach(volume);
    await this.#attach(volume);
    this.#busy.delete(volume);
  }

  async #forceAttach(volume: VolumeId): Promise<void> {
    const hosts = this.#cluster.nodes.slice(0, this.#options.gatewayNodes);
    const node = this.#findNode(this.#random.pick(hosts).host);
    if (node === null) return;
    await this.#execute({ kind: 'attach-volume', volume, node: node.id, isForced: true });
  }

  async #deleteVolume(): Promise<void> {
    const volume = this.#pickVolume();
    // The last one stays, so that somebody is at work all the time.
    if (volume === null || this.clients.size < 2) return;
    this.#busy.add(volume);
    this.clients.get(volume)?.stop();
    this.clients.delete(volume);
    await this.#detach(volume);
    while (this.#cluster.state?.facts.volumes.find(volume)?.phase !== 'deleting') {
      if (this.#cluster.state !== null && this.#isGone(volume)) return;
      await this.#execute({ kind: 'delete-volume', volume, isForced: false });
      await this.#pause(RETRY_MS);
    }
  }

  async #drain(): Promise<void> {
    const { nodes } = this.#cluster;
    const victims = nodes.slice(this.#options.gatewayNodes);
    if (nodes.length <= this.#options.replicas || victims.length === 0) return;
    const { host } = this.#random.pick(victims);
    const node = this.#findNode(host);
    if (node === null) return;
    this.#drained = host;
    await this.#execute({ kind: 'drain-node', node: node.id });
  }

  async #activate(): Promise<void> {
    const host = this.#drained;
    while (host !== null && this.#drained === host) {
      const node = this.#findNode(host);
      if (node !== null) {
        const result = await this.#execute({ kind: 'activate-node', node: node.id });
        if (result.kind === 'done' || this.#findNode(host)?.admin === 'active') {
          this.#drained = null;
        }
      }
      if (this.#drained !== null) await this.#pause(RETRY_MS);
    }
  }

  async #attach(volume: VolumeId): Promise<void> {
    // To a gateway node if one is up; to any, when that does not go: its only disk may have failed.
    for (let attempt = 0; ; attempt += 1) {
      const record = this.#cluster.state?.facts.volumes.find(volume);
      if (record?.attachedTo !== null && record?.attachedTo !== undefined && !record.isDetaching) {
        return;
      }
      const { nodes } = this.#cluster;
      const hosts = attempt < 5 ? nodes.slice(0, this.#options.gatewayNodes) : nodes;
      const node = this.#findNode(this.#random.pick(hosts).host);
      if (node !== null) {
        await this.#execute({ kind: 'attach-volume', volume, node: node.id, isForced: false });
      }
      await this.#pause(RETRY_MS);
    }
  }

  /** Waits for the clean end: nothing is forced. */
  async #detach(volume: VolumeId): Promise<void> {
    for (;;) {
      const record = this.#cluster.state?.facts.volumes.find(volume);
      if (record?.attachedTo === null) return;
      if (record?.isDetaching === false) {
        await this.#execute({ kind: 'detach-volume', volume, isForced: false });
      }
      await this.#pause(RETRY_MS);
    }
  }

  async #execute(command: Command): Promise<CommandResult> {
    this.#cluster.trace.add('operator', `> ${JSON.stringify(command)}`);
    const result = await this.#cluster.execute(command);
    const outcome =
      result.kind === 'done' ? 'done' : `${result.error.code}: ${result.error.message}`;
    this.#cluster.trace.add('operator', `< ${command.kind} ${outcome}`);
    if (result.kind === 'failed' && result.error.code === 'internal') {
      this.#onViolation(`${command.kind} ended in an internal error: ${result.error.message}`);
    }
    return result;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#cluster.clock.after(ms, resolve);
    });
  }

  #pickVolume(): VolumeId | null {
    const idle = [...this.clients.keys()].filter((volume) => !this.#busy.has(volume));
    return idle.length === 0 ? null : this.#random.pick(idle);
  }

  #isGone(volume: VolumeId): boolean {
    return this.#cluster.state?.facts.volumes.find(volume) === undefined;
  }

  #findVolume(name: string): VolumeRecord | null {
    for (const volume of this.#cluster.state?.facts.volumes.values() ?? []) {
      if (volume.name === name && volume.phase === 'ready') return volume;
    }
    return null;
  }

  #findNode(host: string): NodeRecord | null {
    const nodes = [...(this.#cluster.state?.facts.nodes.values() ?? [])];
    const there = nodes.filter(({ hostname, admin }) => hostname === host && admin !== 'gone');
    return there.at(-1) ?? null;
  }

  /**
   * Nodes out of reach whose machine is another one now; or whose agent was wiped, once nothing on them is
   * anybody's replica that has not been found under the new agent.
   */
  #replacedNodes(state: State): NodeId[] {
    const nodes = [...state.facts.nodes.values()].filter(({ admin }) => admin !== 'gone');
    return nodes
      .filter(({ id, isFenced, registeredAtVersion, hostname, agentId }) => {
        const machine = this.#cluster.node(hostname);
        if (this.#cluster.mesos.agentOf(hostname)?.agentId === agentId) return false;
        // Some are replaced before they ever said hello.
        const isAway = isFenced || registeredAtVersion === null;
        const isFound = [...state.facts.diskIndex.ofNode(id)].every((disk) => {
          const isFree = memberCount(state, disk) === 0;
          return isFree || findClaim(state, state.facts.disks.get(disk)) !== null;
        });
        const isOther = nodes.some((other) => other.id > id && other.hostname === hostname);
        return isAway && isOther && (isFound || machine?.agentIds.has(agentId) !== true);
      })
      .map(({ id }) => id);
  }
}
