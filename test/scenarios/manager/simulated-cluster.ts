/**
 * The manager with simulated executors on a clock of its own: drives `step` as the shell does, commits
 * into a map, delivers maps and leases, and checks after every step the invariants, the epoch rule, and
 * that nobody is left out while it may still serve.
 */
import { expect } from 'chai';
import { createState } from '../../../scheduler/core/bootstrap.ts';
import type {
  Command,
  CommandResult,
  Effect,
  Event,
  ManagerOptions,
} from '../../../scheduler/core/contract.ts';
import { checkEpochRule, checkInvariants } from '../../../scheduler/core/invariants.ts';
import { buildMap, buildMapDelta } from '../../../scheduler/core/map.ts';
import type { DiskRecord, PgRecord } from '../../../scheduler/core/records.ts';
import type { Now, State } from '../../../scheduler/core/state.ts';
import { step } from '../../../scheduler/core/step.ts';
import type { DiskId, NodeId, PgId, VolumeId } from '../../../shared/base/ids.ts';
import { GiB } from '../../../shared/base/units.ts';
import type { SchedulerCall } from '../../../shared/mesos/scheduler-messages.ts';
import type { MemberFailure } from '../../../shared/model/node-report.ts';
import { sortMap } from './map-order.ts';
import { SimulatedExecutor, usedBytes } from './simulated-executor.ts';

export const OPTIONS: ManagerOptions = {
  clusterName: 'test',
  role: 'cistern',
  principal: 'cistern',
  user: 'root',
  webuiUrl: null,
  failoverTimeoutSeconds: 1,
  leaseMs: 4000,
  silentMs: 2500,
  leaseMarginMs: 500,
  memberFailureMs: 2000,
  rebuildAfterMs: 60_000,
  resyncBytesPerSecond: 1,
  concurrentJoinsPerDisk: 4,
  defaultPgCount: 64,
  claimPerNode: null,
  claimNodes: null,
  expandAtRatio: 0.8,
  fullAtRatio: 0.95,
  expandCooldownMs: 30_000,
  overcommitRatio: 10,
  controlAddress: 'manager:1',
  executor: {
    version: '1',
    command: 'run',
    uris: [],
    environment: {},
    cpus: 1,
    memoryMb: 1,
    taskCpus: 1,
    taskMemoryMb: 1,
  },
};

const TICK_MS = 250;
const REPORT_MS = 1000;
/** As the node agent does: a link without a lease for so long is given up. */
const SILENT_LINK_MS = 5000;

export class SimulatedCluster {
  state: State;
  nowMs = 1_000_000;
  term = 1;
  readonly options: ManagerOptions;
  readonly store = new Map<string, string>();
  readonly executors = new Map<NodeId, SimulatedExecutor>();
  readonly replies = new Map<string, CommandResult>();
  /** Calls to Mesos, which nobody answers here. */
  readonly calls: SchedulerCall[] = [];
  isManagerUp = true;
  #nextSession = 1;
  #nextRequest = 1;
  #nextDisk = 1;
  readonly #pgsBefore = new Map<PgId, PgRecord>();

  constructor(options: Partial<ManagerOptions> = {}, store?: ReadonlyMap<string, string>) {
    this.options = { ...OPTIONS, ...options };
    for (const [key, value] of store ?? []) this.store.set(key, value);
    this.state = this.#createState();
    this.#commit([]);
  }

  /** What Mesos' half does when an agent's disks were claimed and launched. */
  addNode(disks = 1, diskBytes = 100 * GiB, zone: string | null = null): NodeId {
    const { facts } = this.state;
    const id = facts.allocate('nextNode') as NodeId;
    const executor = new SimulatedExecutor(id);
    this.executors.set(id, executor);
    facts.nodes.put({
      id,
      agentId: `agent${id}`,
      hostname: executor.hostname,
      zone,
      region: null,
      attributes: {},
      admin: 'active',
      executorId: `executor${id}`,
      dataAddress: null,
      grantAddress: null,
      isFenced: false,
      unavailableFromMs: null,
      unavailableUntilMs: null,
      joinedAtMs: this.nowMs,
      registeredAtVersion: null,
      removedAtVersion: null,
    });
    for (let index = 0; index < disks; index += 1) this.addDisk(id, diskBytes);
    this.#commit([]);
    return id;
  }

  addDisk(node: NodeId, sizeBytes = 100 * GiB): DiskId {
    const { facts } = this.state;
    const id = facts.allocate('nextDisk') as DiskId;
    const uuid = `uuid${this.#nextDisk}`;
    this.#nextDisk += 1;
    const record: DiskRecord = {
      id,
      node,
      pool: 'default',
      uuid,
      kind: 'mount',
      tier: 'ssd',
      sourceRoot: `/mnt/${uuid}`,
      sizeBytes,
      persistenceId: uuid,
      containerPath: uuid,
      phase: 'launched',
      phaseSinceMs: this.nowMs,
      taskId: `task${id}`,
      taskAttempt: 1,
      error: '',
      isDraining: false,
    };
    facts.disks.put(record);
    const store = { id, uuid, capacityBytes: sizeBytes, error: '', stored: new Map() };
    this.executor(node).disks.push({ ...store, status: 'serving' });
    this.#commit([]);
    return id;
  }

  now(): Now {
    return { ms: this.nowMs, wallMs: this.nowMs };
  }

  executor(node: NodeId): SimulatedExecutor {
    const executor = this.executors.get(node);
    if (executor === undefined) throw new Error(`There is no executor on n${node}`);
    return executor;
  }

  /** Lets time pass, a tick at a time. */
  run(ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.nowMs < endMs) {
      this.nowMs += TICK_MS;
      for (const executor of this.executors.values()) this.#drive(executor);
      if (this.isManagerUp) this.step({ kind: 'tick' });
    }
  }

  /** Lets time pass until `isDone`; fails after `limitMs` with what was awaited. */
  runUntil(what: string, isDone: () => boolean, limitMs = 300_000): number {
    const startMs = this.nowMs;
    while (!isDone()) {
      const waited = this.nowMs - startMs;
      expect(waited, `waiting for: ${what}\n${this.describe()}`).to.be.below(limitMs);
      this.run(TICK_MS);
    }
    return this.nowMs - startMs;
  }

  step(event: Event): void {
    const effects = step(this.state, event, { ms: this.nowMs, wallMs: this.nowMs });
    this.#commit(effects);
  }

  /** Sends a command; its answer is in `replies` now or later. */
  send(command: Command): string {
    const requestId = `r${this.#nextRequest}`;
    this.#nextRequest += 1;
    this.step({ kind: 'command', requestId, command });
    return requestId;
  }

  /** Sends a command that is answered at once, and well. */
  must(command: Command): number | null {
    const result = this.replies.get(this.send(command));
    if (result === undefined) throw new Error(`${command.kind} was not answered at once`);
    if (result.kind === 'failed') throw result.error;
    return result.id;
  }

  /** Sends a command that is refused at once; its error code and message. */
  refusal(command: Command): string {
    const result = this.replies.get(this.send(command));
    if (result?.kind !== 'failed') return `not refused: ${JSON.stringify(result)}`;
    return `${result.error.code}: ${result.error.message}`;
  }

  createVolume(name: string, replicas = 2, sizeBytes: number = GiB): VolumeId {
    return this.must({
      kind: 'create-volume',
      name,
      sizeBytes,
      replicas,
      pool: null,
    }) as VolumeId;
  }

  /** Every PG of the volume gets its part of `bytes` on each of its members. */
  write(id: VolumeId, bytes: number): void {
    const volume = this.state.facts.volumes.get(id);
    for (let pg = volume.pgBase; pg < volume.pgBase + volume.pgCount; pg += 1) {
      const record = this.state.facts.pgs.get(pg as PgId);
      for (const disk of record.inSync) {
        const stored = this.disk(disk).stored;
        const volumes = stored.get(record.id) ?? new Map<VolumeId, number>();
        volumes.set(id, (volumes.get(id) ?? 0) + bytes / volume.pgCount);
        stored.set(record.id, volumes);
      }
    }
  }

  disk(id: DiskId): SimulatedExecutor['disks'][number] {
    for (const executor of this.executors.values()) {
      const disk = executor.disks.find((each) => each.id === id);
      if (disk !== undefined) return disk;
    }
    throw new Error(`There is no simulated disk d${id}`);
  }

  usedBytes(id: DiskId): number {
    return usedBytes(this.disk(id));
  }

  kill(node: NodeId): void {
    const executor = this.executor(node);
    const session = executor.session;
    executor.die();
    if (session !== null && this.isManagerUp) {
      this.step({ kind: 'node-closed', session, reason: 'connection reset' });
    }
  }

  /** A new manager on the store of the old one; executors find it when they report next. */
  restartManager(): void {
    const before = JSON.stringify([...this.#records(this.state)]);
    this.term += 1;
    this.state = this.#createState();
    expect(JSON.stringify([...this.#records(this.state)]), 'facts after reload').to.equal(before);
    for (const executor of this.executors.values()) executor.session = null;
    this.#commit([]);
  }

  isClean(): boolean {
    for (const pg of this.state.facts.pgs.values()) {
      if (this.state.work.unsettled.has(pg.id)) return false;
      if (pg.inSync.length < this.#replicas(pg.id)) return false;
    }
    return true;
  }

  events(kind: string): string[] {
    return [...this.state.facts.events.values()]
      .filter((event) => event.kind === kind)
      .map((event) => event.message);
  }

  pgCountOf(disk: DiskId): number {
    return this.state.work.pgsOfDisk.get(disk)?.size ?? 0;
  }

  describe(): string {
    const { facts, work } = this.state;
    const nodes = [...facts.nodes.values()].map(
      (node) => `n${node.id} ${node.admin} fenced=${node.isFenced}`,
    );
    const disks = [...facts.disks.values()].map(
      (disk) => `d${disk.id} ${disk.phase} pgs=${this.pgCountOf(disk.id)}`,
    );
    const jobs = [...facts.jobs.values()].map(
      (job) => `${job.kind} ${job.subject} ${job.phase} ${job.movesDone}/${job.movesTotal}`,
    );
    const events = [...facts.events.values()].slice(-10).map((event) => event.message);
    return [...nodes, ...disks, `unsettled ${work.unsettled.size}`, ...jobs, ...events].join('\n');
  }

  #replicas(id: PgId): number {
    for (const family of this.state.facts.families.values()) {
      if (id >= family.pgBase && id < family.pgBase + family.pgCount) return family.replicas;
    }
    return 0;
  }

  #createState(): State {
    const entries = [...this.store].map(([key, value]) => ({ key, value }));
    const setup = { options: this.options, entries, term: this.term, newClusterId: 'cluster-1' };
    return createState(setup, { ms: this.nowMs, wallMs: this.nowMs });
  }

  *#records(state: State): Generator<unknown> {
    const { facts } = state;
    yield facts.cluster;
    for (const table of [facts.nodes, facts.disks, facts.pools, facts.families, facts.pgs]) {
      yield [...table.values()].map((record) => JSON.stringify(record)).sort();
    }
    for (const table of [facts.volumes, facts.jobs, facts.events]) {
      yield [...table.values()].map((record) => JSON.stringify(record)).sort();
    }
  }

  #commit(effects: readonly Effect[]): void {
    const fromVersion = this.state.facts.cluster.mapVersion;
    const changes = this.state.facts.takeChanges();
    for (const { key, value } of changes.store) {
      if (value === null) this.store.delete(key);
      else this.store.set(key, value);
    }
    expect(checkInvariants(this.state), 'invariants').to.deep.equal([]);
    if (changes.map !== null) {
      this.#checkMembership(changes.map.pgs);
      const delta = buildMapDelta(this.state.facts, this.term, changes.map, fromVersion);
      for (const executor of this.executors.values()) {
        if (this.#isReached(executor) && executor.session !== null) executor.applyMap(delta);
      }
      this.#checkDeltas();
    }
    for (const effect of effects) this.#perform(effect);
  }

  /** Whoever follows the deltas has the map that a new session would get. */
  #checkDeltas(): void {
    const whole = sortMap(buildMap(this.state.facts, this.term));
    for (const executor of this.executors.values()) {
      if (executor.session === null || executor.map?.version !== whole.version) continue;
      expect(sortMap(executor.map), `map of n${executor.node}`).to.deep.equal(whole);
      return;
    }
  }

  /** Nobody is left out while it holds a lease, unless it failed or consented. */
  #checkMembership(changed: readonly PgId[]): void {
    for (const id of changed) {
      const after = this.state.facts.pgs.find(id);
      const before = this.#pgsBefore.get(id);
      if (after !== undefined) this.#pgsBefore.set(id, after);
      if (before === undefined || after === undefined) continue;
      expect(checkEpochRule(before, after)).to.equal(null);
      for (const disk of before.inSync) {
        if (after.inSync.includes(disk)) continue;
        const node = this.state.facts.disks.find(disk)?.node;
        const executor = node === undefined ? undefined : this.executors.get(node);
        if (executor === undefined || !executor.isAlive) continue;
        // It may have been cut off right after a report.
        const cutOffMs = this.nowMs - (executor.cutOffSinceMs ?? this.nowMs);
        const isFenced = this.state.facts.nodes.find(executor.node)?.isFenced === true;
        if (!isFenced && cutOffMs <= 0.6 * this.options.silentMs + TICK_MS) continue;
        if (this.state.facts.disks.find(disk)?.phase === 'failed') continue;
        expect(
          executor.leaseUntilMs,
          `lease of n${executor.node}, left out of pg${id}`,
        ).to.be.at.most(this.nowMs);
      }
    }
  }

  #perform(effect: Effect): void {
    switch (effect.kind) {
      case 'welcome':
        for (const executor of this.executors.values()) {
          if (executor.session !== effect.session) continue;
          executor.applyMap(buildMap(this.state.facts, this.term));
        }
        break;
      case 'refuse':
      case 'close-session':
        for (const executor of this.executors.values()) {
          if (executor.session === effect.session) executor.session = null;
        }
        break;
      case 'lease':
        for (const executor of this.executors.values()) {
          if (executor.session !== effect.session || !this.#isReached(executor)) continue;
          executor.extendLease(effect.sequence, effect.durationMs);
        }
        break;
      case 'scrubs':
        for (const executor of this.executors.values()) {
          if (executor.session === effect.session) executor.setScrubs(effect.orders);
        }
        break;
      case 'mesos-call':
        this.calls.push(effect.call);
        break;
      case 'reply':
        this.replies.set(effect.requestId, effect.result);
        break;
      default:
        break;
    }
  }

  #isReached(executor: SimulatedExecutor): boolean {
    return executor.isAlive && !executor.isCutOff && !executor.isIsolated && this.isManagerUp;
  }

  #drive(executor: SimulatedExecutor): void {
    if (!executor.isAlive) return;
    if (this.#isReached(executor)) executor.cutOffSinceMs = null;
    else executor.cutOffSinceMs ??= this.nowMs;
    if (!this.#isReached(executor)) {
      if (this.nowMs - executor.lastReportAtMs >= SILENT_LINK_MS) executor.session = null;
      if (this.nowMs - executor.lastReportAtMs >= 1.5 * REPORT_MS) this.#askPeers(executor);
      return;
    }
    if (executor.session === null) {
      executor.session = `s${this.#nextSession}`;
      this.#nextSession += 1;
      const hello = executor.hello(this.state.facts.cluster.clusterId);
      this.step({ kind: 'node-hello', session: executor.session, hello });
    }
    const isDue = this.nowMs - executor.lastReportAtMs >= REPORT_MS || executor.isReportDue;
    if (executor.session === null || !isDue) return;
    executor.isReportDue = false;
    executor.lastReportAtMs = this.nowMs;
    executor.sequence += 1;
    executor.sentAtMs.set(executor.sequence, this.nowMs);
    const report = { ...executor.report(this.nowMs), failures: this.#findFailures(executor) };
    this.#copyJoined(executor);
    const { session, sequence } = executor;
    this.step({ kind: 'node-report', session, sequence, report });
  }

  /** Its gateways write all the time, and miss the answers of members that are out of reach. */
  #findFailures(executor: SimulatedExecutor): MemberFailure[] {
    const missed = executor.missedSinceMs;
    for (const peer of this.executors.values()) {
      if (peer.isAlive && !peer.isIsolated) missed.delete(peer.node);
      else missed.set(peer.node, missed.get(peer.node) ?? this.nowMs);
    }
    const failures = [...executor.failures];
    for (const pg of executor.servedPgs()) {
      for (const disk of [...pg.inSync, ...pg.joining]) {
        const node = this.state.facts.disks.find(disk)?.node;
        const since = node === undefined ? undefined : missed.get(node);
        if (since === undefined) continue;
        const sinceMs = this.nowMs - since;
        failures.push({ pg: pg.id, epoch: pg.epoch, disk, reason: 'not connected', sinceMs });
      }
    }
    return failures;
  }

  #askPeers(executor: SimulatedExecutor): void {
    const map = executor.map;
    if (map === null || map.nodes.length < 3 || executor.isIsolated) return;
    if (map.nodes.find((node) => node.id === executor.node)?.isFenced !== false) return;
    let granted = 1;
    for (const node of map.nodes) {
      const peer = this.executors.get(node.id);
      if (node.id === executor.node || peer === undefined) continue;
      if (peer.isAlive && !peer.isIsolated && peer.grants(executor.node, this.nowMs)) granted += 1;
    }
    if (granted < Math.floor(map.nodes.length / 2) + 1) return;
    executor.leaseUntilMs = Math.max(executor.leaseUntilMs, this.nowMs + this.options.leaseMs);
  }

  /** Joining disks have what an in-sync member has. */
  #copyJoined(executor: SimulatedExecutor): void {
    for (const pg of executor.map?.pgs ?? []) {
      for (const id of pg.joining) {
        const disk = executor.disks.find((each) => each.id === id);
        const source = pg.inSync[0];
        if (disk === undefined || source === undefined) continue;
        const stored = this.disk(source).stored.get(pg.id);
        if (stored !== undefined) disk.stored.set(pg.id, new Map(stored));
      }
    }
  }
}
