/**
 * A development cluster with three schedulers on a real metadata store, under verified I/O, and what can
 * befall its leader. Every scheduler takes ways of its own to the store and to Mesos, so that one of them can be
 * cut off alone.
 */
import { join } from 'node:path';
import { request } from 'undici';
import { type DevState, isAlive, readJson } from '../../dev/cluster/layout.ts';
import { waitFor } from '../../dev/demo/api-client.ts';
import { present } from '../../shared/base/assert.ts';
import { StorageError } from '../../shared/base/errors.ts';
import type { ClusterView } from '../../shared/model/api-views.ts';
import type { LeaderRecord } from '../../shared/ports.ts';
import { VerifyingClient } from '../chaos/verifying-client.ts';
import { type AttachedVolume, sleep, TestCluster } from '../integration/cluster/harness.ts';
import { Way } from './way.ts';

/** The servers of a store, as this harness needs them. */
export interface StoreServers {
  /** `host:port` of each. */
  readonly addresses: readonly string[];
  /** `CISTERN_STORE` for schedulers that reach the servers at these addresses instead. */
  setting(addresses: readonly string[]): string;
  close(): Promise<void>;
}

export type LeaderFault = 'kill' | 'pause' | 'cut-off';
export const LEADER_FAULTS: readonly LeaderFault[] = ['kill', 'pause', 'cut-off'];

/** What one fault cost. */
export interface Failover {
  readonly fault: LeaderFault;
  /** From the fault until another scheduler led. */
  readonly leaderMs: number;
  /** From the fault until all nodes had found it, and Mesos was connected. */
  readonly completeMs: number;
  /** Longest time in which the client had asked something and nothing was answered. */
  readonly pauseMs: number;
}

const SCHEDULERS = 3;
const AGENTS = 3;
/** Beyond every session of a store: a leader that comes back after this has been deposed. */
const AWAY_MS = 11_000;
const PATIENCE_MS = 60_000;
const POLL_MS = 50;
/** Some load that costs little: what is measured are pauses. */
const WRITES_PER_SECOND = 150;
const VOLUME = 'live';
const VOLUME_MB = 64;

interface SchedulerPlace {
  readonly storeWays: readonly Way[];
  readonly masterWay: Way;
}

export class HaCluster {
  readonly cluster: TestCluster;
  readonly client: VerifyingClient;
  readonly #places: readonly SchedulerPlace[];
  readonly #servers: StoreServers;
  readonly #volume: AttachedVolume;

  private constructor(
    cluster: TestCluster,
    places: readonly SchedulerPlace[],
    servers: StoreServers,
    volume: AttachedVolume,
  ) {
    this.cluster = cluster;
    this.#places = places;
    this.#servers = servers;
    this.#volume = volume;
    this.client = new VerifyingClient({
      volume: VOLUME,
      sizeBytes: VOLUME_MB * 1024 ** 2,
      depth: 4,
      rate: WRITES_PER_SECOND,
      isReading: true,
      seed: 1,
      locate: async () => this.#volume.unixUri,
      report: () => undefined,
    });
  }

  /** `directory` is empty or absent; whoever named it removes it. The servers are closed with the cluster. */
  static async start(directory: string, servers: StoreServers): Promise<HaCluster> {
    const places: SchedulerPlace[] = [];
    const master = (): string => {
      const state = readJson<DevState>(join(directory, 'cluster.json'));
      return new URL(present(state, 'the supervisor has written its state').master).host;
    };
    for (let index = 0; index < SCHEDULERS; index += 1) {
      const ways = servers.addresses.map((address) => Way.open(() => address));
      places.push({ storeWays: await Promise.all(ways), masterWay: await Way.open(master) });
    }
    const schedulers = places.map(({ storeWays, masterWay }) => ({
      store: servers.setting(storeWays.map((way) => way.address)),
      master: `http://${masterWay.address}`,
    }));
    const settings = {
      agents: AGENTS,
      disksPerAgent: 1,
      diskSizeMb: 1024,
      pgCount: 32,
      schedulers,
    };
    const cluster = await TestCluster.start(settings, directory);
    const volume = await cluster.attach(VOLUME, { sizeMb: VOLUME_MB });
    const whole = new HaCluster(cluster, places, servers, volume);
    await whole.untilAllServe();
    return whole;
  }

  async close(): Promise<void> {
    this.client.close();
    await this.cluster.close();
    for (const { storeWays, masterWay } of this.#places) {
      for (const way of [...storeWays, masterWay]) way.close();
    }
    await this.#servers.close();
  }

  // ── Who leads ──────────────────────────────────────────────────────────────────────────────

  get apis(): readonly string[] {
    return this.cluster.state.schedulers.map(({ api }) => api);
  }

  pid(index: number): number {
    return present(this.cluster.state.schedulers[index]?.pid, `a process of scheduler ${index}`);
  }

  /** Index of the scheduler that says that it leads; null: none of `among`. */
  async findLeader(among: readonly number[]): Promise<number | null> {
    const answers = await Promise.all(
      among.map(async (index) => ((await isReady(this.#api(index))) ? index : null)),
    );
    return answers.find((index) => index !== null) ?? null;
  }

  leader(): Promise<number> {
    return waitFor('a scheduler to lead', PATIENCE_MS, () => this.findLeader(this.#all));
  }

  /** As the schedulers know it from the store. */
  async term(): Promise<number> {
    return await waitFor('a leader to be known', PATIENCE_MS, async () => {
      for (const index of this.#all) {
        const { leader } = await ask<{ leader: LeaderRecord | null }>(
          `${this.#api(index)}/v1/leader`,
        );
        if (leader !== null) return leader.term;
      }
      return null;
    });
  }

  /** All schedulers run: one leads, the others stand by and know it. */
  async untilAllServe(): Promise<void> {
    await waitFor('all schedulers to answer', PATIENCE_MS, async () => {
      const roles = await Promise.all(
        this.apis.map(async (api) => (await ask<{ role: string }>(`${api}/health`)).role),
      );
      return roles.filter((role) => role === 'leader').length === 1 &&
        roles.filter((role) => role === 'standby').length === SCHEDULERS - 1
        ? true
        : null;
    });
    await this.cluster.waitUntilHealthy();
  }

  get #all(): readonly number[] {
    return this.#places.map((_, index) => index);
  }

  #api(index: number): string {
    return present(this.apis[index], `scheduler ${index}`);
  }

  // ── What befalls the leader ────────────────────────────────────────────────────────────────

  /** One fault of the leader, its healing, and the proof that nothing came of it. */
  async failOver(fault: LeaderFault): Promise<Failover> {
    const index = await this.leader();
    const before = await this.#facts();
    this.client.pauses.reset();
    const pid = this.pid(index);
    const faultAtMs = performance.now();
    const heal = this.#inflict(fault, index, pid);
    const others = this.#all.filter((one) => one !== index);
    const next = await this.#poll('another scheduler to lead', () => this.findLeader(others));
    const leaderMs = performance.now() - faultAtMs;
    await this.#poll('all nodes to have found the new leader', () => this.#isComplete(next));
    const completeMs = performance.now() - faultAtMs;
    await sleep(Math.max(0, AWAY_MS - completeMs) * (fault === 'kill' ? 0 : 1));
    heal();
    await this.#afterwards(index, pid, before);
    return { fault, leaderMs, completeMs, pauseMs: this.client.pauses.pauseMsMax };
  }

  /**
   * The store is away for everybody: the leader steps down, and nobody can follow it. Standbys wait, whoever
   * ended is started again once, and when the store is back one leads.
   */
  async loseStore(): Promise<void> {
    const index = await this.leader();
    const before = await this.#facts();
    const restartsBefore = this.#countRestarts();
    const pids = this.#all.filter((one) => one !== index).map((one) => this.pid(one));
    const ways = this.#places.flatMap(({ storeWays }) => storeWays);
    for (const way of ways) way.cut();
    await sleep(AWAY_MS);
    expectEqual('leader while the store is away', await this.findLeader(this.#all), null);
    for (const way of ways) way.mend();
    await this.untilAllServe();
    const after = await this.#facts();
    const now = this.#all.filter((one) => one !== index).map((one) => this.pid(one));
    expectEqual('processes of the standbys', now.join(), pids.join());
    expectEqual('restarts', this.#countRestarts() - restartsBefore, 1);
    this.#expectUntouched(before, after);
  }

  #inflict(fault: LeaderFault, index: number, pid: number): () => void {
    const place = present(this.#places[index], 'a scheduler has its ways');
    const ways = [...place.storeWays, place.masterWay];
    switch (fault) {
      case 'kill':
        process.kill(pid, 'SIGKILL');
        return () => undefined;
      case 'pause':
        process.kill(pid, 'SIGSTOP');
        return () => process.kill(pid, 'SIGCONT');
      case 'cut-off':
        for (const way of ways) way.cut();
        return () => {
          for (const way of ways) way.mend();
        };
    }
  }

  /** How often the supervisor has started a scheduler again. */
  #countRestarts(): number {
    return this.cluster.logTail('supervisor').split('starting it again').length - 1;
  }

  async #isComplete(index: number): Promise<true | null> {
    const view = await ask<ClusterView>(`${this.#api(index)}/v1/cluster`);
    return view.nodesUp === AGENTS && view.isMesosConnected ? true : null;
  }

  async #poll<T>(what: string, check: () => Promise<T | null>): Promise<T> {
    const untilMs = performance.now() + PATIENCE_MS;
    while (performance.now() < untilMs) {
      const found = await check().catch(() => null);
      if (found !== null) return found;
      await sleep(POLL_MS);
    }
    throw new StorageError('timeout', `Waited ${PATIENCE_MS / 1000} s for ${what}`);
  }

  async #facts(): Promise<Facts> {
    const { clusterId, frameworkId } = await this.cluster.cluster();
    const executors = (await this.cluster.agents()).map((agent) => agent.pid ?? 0);
    return { term: await this.term(), clusterId, frameworkId, executors };
  }

  /** The old leader's process is gone or ends by itself, one leads, and all is as it was. */
  async #afterwards(index: number, pid: number, before: Facts): Promise<void> {
    await waitFor(`the deposed process ${pid} to end`, PATIENCE_MS, async () =>
      isAlive(pid) && this.pid(index) === pid ? null : true,
    );
    await this.untilAllServe();
    const after = await this.#facts();
    expectEqual('term', after.term, before.term + 1);
    this.#expectUntouched(before, after);
  }

  #expectUntouched(before: Facts, after: Facts): void {
    expectEqual('cluster', after.clusterId, before.clusterId);
    expectEqual('framework', after.frameworkId, before.frameworkId);
    expectEqual('executors', after.executors.join(), before.executors.join());
    expectEqual('errors of the client', this.client.figures.errors, 0);
    expectEqual('complaints', this.client.complaints.join('; '), '');
  }
}

interface Facts {
  readonly term: number;
  readonly clusterId: string;
  readonly frameworkId: string | null;
  readonly executors: readonly number[];
}

function expectEqual(what: string, actual: number | string | null, expected: typeof actual): void {
  if (actual === expected) return;
  throw new StorageError('internal', `After a failover: ${what} is "${actual}", was "${expected}"`);
}

async function isReady(api: string): Promise<boolean> {
  try {
    const answer = await request(`${api}/ready`, { headersTimeout: 1_000, bodyTimeout: 1_000 });
    await answer.body.dump();
    return answer.statusCode === 200;
  } catch {
    return false; // It does not run, or is stopped.
  }
}

async function ask<T>(url: string): Promise<T> {
  const answer = await request(url, { headersTimeout: 3_000, bodyTimeout: 3_000 });
  const text = await answer.body.text();
  if (answer.statusCode !== 200) throw new StorageError('unavailable', `${url}: ${text}`);
  return JSON.parse(text) as T;
}
