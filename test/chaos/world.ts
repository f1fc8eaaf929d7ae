/** A running cluster as the faults of a chaos run reach it: its processes, links and disks. */
import { join } from 'node:path';
import { type DevState, isAlive } from '../../dev/cluster/layout.ts';
import type { Prng } from '../../shared/base/prng.ts';
import type { AttachmentView } from '../../shared/model/api-views.ts';
import type { TestCluster } from '../integration/cluster/harness.ts';
import { childrenOf, signalQuietly } from '../integration/cluster/processes.ts';
import { type ChaosNetwork, SCHEDULER_PLACE } from './network.ts';

const LOCATE_DEADLINE_MS = 2_000;

export type Direction = 'both' | 'out' | 'in';

export class ChaosWorld {
  readonly cluster: TestCluster;
  readonly network: ChaosNetwork | null;
  readonly agents: readonly string[];
  readonly log: (text: string) => void;
  /** Told when a volume has a new gateway although the old one may live. */
  onMoved: (volume: string) => void = () => undefined;
  readonly #places = new Map<string, string>();

  constructor(
    cluster: TestCluster,
    network: ChaosNetwork | null,
    agents: readonly string[],
    log: (text: string) => void,
  ) {
    this.cluster = cluster;
    this.network = network;
    this.agents = agents;
    this.log = log;
  }

  // ── Processes ──────────────────────────────────────────────────────────────────────────────

  /** Empty while there is none. */
  async executorPids(agent: string): Promise<readonly number[]> {
    const { pid } = await this.cluster.agent(agent);
    return pid === null ? [] : [pid];
  }

  async dataPids(agent: string): Promise<readonly number[]> {
    return (await this.executorPids(agent)).flatMap((pid) => childrenOf(pid));
  }

  async signalExecutor(agent: string, signal: NodeJS.Signals): Promise<void> {
    for (const pid of await this.executorPids(agent)) signalQuietly(pid, signal);
  }

  async signalData(agent: string, signal: NodeJS.Signals): Promise<void> {
    for (const pid of await this.dataPids(agent)) signalQuietly(pid, signal);
  }

  signalScheduler(signal: NodeJS.Signals): void {
    signalQuietly(this.cluster.schedulerPid, signal);
  }

  /** Freezes processes; the result thaws them. */
  async stop(pids: readonly number[]): Promise<() => Promise<void>> {
    for (const pid of pids) {
      signalQuietly(pid, 'SIGSTOP');
    }
    return async () => {
      for (const pid of pids) {
        signalQuietly(pid, 'SIGCONT');
      }
    };
  }

  /** Every process of ours on every machine, at once. */
  async killEverything(): Promise<void> {
    const pids = [this.cluster.schedulerPid];
    for (const agent of this.agents) {
      pids.push(...(await this.executorPids(agent)), ...(await this.dataPids(agent)));
    }
    for (const pid of pids) signalQuietly(pid, 'SIGKILL');
  }

  // ── Links ──────────────────────────────────────────────────────────────────────────────────

  async cut(
    one: string,
    others: readonly string[],
    direction: Direction,
  ): Promise<() => Promise<void>> {
    const { network } = this;
    if (network === null) return async () => undefined;
    const pairs = others.flatMap((other) => [
      ...(direction === 'in' ? [] : [[one, other] as const]),
      ...(direction === 'out' ? [] : [[other, one] as const]),
    ]);
    this.log(
      `  ${direction === 'both' ? 'both ways' : `one way (${direction})`}: ${one} and ${others.join(', ')}`,
    );
    for (const [from, to] of pairs) network.cut(from, to);
    return async () => {
      for (const [from, to] of pairs) network.mend(from, to);
    };
  }

  // ── Disks and volumes ──────────────────────────────────────────────────────────────────────

  diskDirectory(agent: string, number: 1 | 2): string {
    return join(this.cluster.paths.mesos, 'agents', agent, `disk${number}`);
  }

  /** Where a volume is served, or was last when nobody can say. */
  async locate(volume: string): Promise<string | null> {
    try {
      const answer = await Promise.race([
        this.cluster.api.get<readonly AttachmentView[]>('/attachments'),
        new Promise<never>((_, reject) => {
          setTimeout(() => reject(new Error('no answer')), LOCATE_DEADLINE_MS);
        }),
      ]);
      const found = answer.find((attachment) => attachment.volumeName === volume);
      if (found !== undefined && found.unixUri !== null) this.#places.set(volume, found.unixUri);
    } catch {
      // The scheduler is away: gateways go on without it.
    }
    return this.#places.get(volume) ?? null;
  }

  /** An operator attaches the volumes of a dead or silent node to others, without any force. */
  async moveVolumes(from: string, random: Prng): Promise<void> {
    const attachments = await this.cluster.api.get<readonly AttachmentView[]>('/attachments');
    const others = this.agents.filter((agent) => agent !== from);
    for (const { volumeName } of attachments.filter((one) => one.hostname === from)) {
      const begun = Date.now();
      const { hostname } = await this.cluster.attachAgain(volumeName, random.pick(others));
      await this.locate(volumeName);
      this.log(`  ${volumeName} moved to ${hostname} in ${Date.now() - begun} ms`);
      this.onMoved(volumeName);
    }
  }

  /** For messages: which process is which. */
  async describe(): Promise<string> {
    const parts = await Promise.all(
      this.agents.map(async (agent) => {
        const [executor = 0] = await this.executorPids(agent);
        const [data = 0] = await this.dataPids(agent);
        return `${agent} executor ${executor} data ${data}`;
      }),
    );
    const state: DevState = this.cluster.state;
    const scheduler = isAlive(state.schedulerPid) ? state.schedulerPid : 'away';
    return `${SCHEDULER_PLACE} ${scheduler}; ${parts.join('; ')}`;
  }
}
