/**
 * One chaos run: cluster, volumes, loads, then rounds of faults, healing and checking until the time is over. A
 * round that does not heal within the bound, a byte that is wrong, a request that failed: the run ends there.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from '../../dev/demo/api-client.ts';
import { describeError, StorageError } from '../../shared/base/errors.ts';
import { Prng } from '../../shared/base/prng.ts';
import type { AttachmentView, DiskView, EventView } from '../../shared/model/api-views.ts';
import { TestCluster } from '../integration/cluster/harness.ts';
import {
  availableKinds,
  beginFault,
  drawRound,
  type FaultKind,
  MOVE_KINDS,
  planRound,
  type RoundPlan,
} from './faults.ts';
import { createFilesystemLoad, type FilesystemLoad, findMountObstacle } from './filesystem-load.ts';
import { createFioLoad } from './fio-load.ts';
import { isIsolated } from './isolation.ts';
import type { ChaosJournal } from './journal.ts';
import type { Load } from './load.ts';
import { NbdClient } from './nbd-client.ts';
import { ChaosNetwork } from './network.ts';
import { Relay } from './relay.ts';
import type { ChaosSettings } from './settings.ts';
import { createVerifyingLoad } from './verifying-load.ts';
import { ChaosWorld } from './world.ts';

/**
 * From the end of the last fault until everything is green: two minutes for restarts and resync, and three that
 * a node or disk which fails again and again has to wait at most before it gets new replicas.
 */
export const HEAL_MS = 300_000;
const CLIENT_MB = 48;
const FIO_MB = 96;
const FILES_MB = 192;
const DISK_MB = 1024;
const CLIENT_RATE = 150;
/** Loads run for so long before the first fault of a round. */
const LEAD_MS = 1_500;
/** Every so many rounds the file system's client loses its power as well. */
const CRASH_EVERY = 3;
/** A failed disk's task ends some seconds after the report; only then the word is heard. */
const ACTIVATE_EVERY_MS = 5_000;
const READ_BYTES = 1024 ** 2;

export interface ChaosReport {
  readonly seed: number;
  readonly agents: number;
  readonly rounds: number;
  readonly seconds: number;
  readonly isIsolated: boolean;
  readonly faults: Readonly<Record<string, number>>;
  readonly healMsMax: number;
  readonly clients: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly failure: string | null;
}

export async function runChaos(
  settings: ChaosSettings,
  directory: string,
  journal: ChaosJournal,
): Promise<ChaosReport> {
  const random = new Prng(settings.seed);
  const agents = settings.agents ?? random.between(3, 5);
  const rebuildAfterSeconds = random.pick([3, 20, 600]);
  journal.say(
    `Seed ${settings.seed}: ${agents} nodes, rebuild after ${rebuildAfterSeconds} s, ${isIsolated() ? 'with' : 'WITHOUT'} links and file systems of its own`,
  );
  const root = join(directory, 'cluster');
  mkdirSync(root);
  const network = isIsolated() ? ChaosNetwork.create(directory, agents) : null;
  const names = Array.from({ length: agents }, (_, index) => `agent${index + 1}`);
  if (network !== null) for (const name of names) mountSmallDisk(root, name);
  const cluster = await TestCluster.start(
    {
      agents,
      pgCount: 32,
      diskSizeMb: DISK_MB,
      rebuildAfterSeconds,
      network: network?.settings ?? null,
    },
    root,
  );
  const run = new ChaosRun(settings, directory, journal, random, cluster, network, names);
  try {
    return await run.execute();
  } finally {
    await run.close();
  }
}

/** Disk 2 of every node: a file system that can be full without hurting anybody else. */
function mountSmallDisk(root: string, agent: string): void {
  const path = join(root, 'mesos', 'agents', agent, 'disk2');
  mkdirSync(path, { recursive: true });
  const result = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MB}m`, 'chaos', path]);
  if (result.status !== 0) {
    throw new StorageError('unavailable', `Mounting "${path}" failed: ${String(result.stderr)}`);
  }
}

class ChaosRun {
  readonly #settings: ChaosSettings;
  readonly #directory: string;
  readonly #journal: ChaosJournal;
  readonly #random: Prng;
  readonly #world: ChaosWorld;
  readonly #loads: Load[] = [];
  readonly #relays: Relay[] = [];
  readonly #counts = new Map<FaultKind, number>();
  readonly #volumes: string[] = [];
  /** By volume: has its client go where the volume is now. */
  readonly #movers = new Map<string, () => void>();
  readonly #startMs = Date.now();
  #files: FilesystemLoad | null = null;
  readonly #activatedMs = new Map<string, number>();
  #rounds = 0;
  #healMsMax = 0;

  constructor(
    settings: ChaosSettings,
    directory: string,
    journal: ChaosJournal,
    random: Prng,
    cluster: TestCluster,
    network: ChaosNetwork | null,
    agents: readonly string[],
  ) {
    this.#settings = settings;
    this.#directory = directory;
    this.#journal = journal;
    this.#random = random;
    this.#world = new ChaosWorld(cluster, network, agents, journal.say);
  }

  async execute(): Promise<ChaosReport> {
    let failure: string | null = null;
    try {
      await this.#openLoads();
      const kinds = availableKinds(this.#world).filter((kind) =>
        this.#settings.kinds.includes(kind),
      );
      const { script, seconds } = this.#settings;
      const isOver = (): boolean =>
        script === null
          ? Date.now() - this.#startMs >= seconds * 1000
          : this.#rounds >= script.length;
      while (!isOver()) {
        const scripted = script?.[this.#rounds];
        this.#rounds += 1;
        const random = this.#random.fork(`round ${this.#rounds}`);
        const { agents } = this.#world;
        await this.#round(
          scripted === undefined
            ? drawRound(random, agents, kinds)
            : planRound(random, agents, this.#possibleOf(scripted)),
          random,
        );
      }
      await this.#atTheEnd();
    } catch (error) {
      failure = `round ${this.#rounds}: ${describeError(error)}`;
      this.#journal.say(`FAILED in ${failure}`);
      await this.#describeState();
    }
    return this.#report(failure);
  }

  #possibleOf(kinds: readonly FaultKind[]): readonly FaultKind[] {
    const possible = availableKinds(this.#world);
    for (const kind of kinds.filter((one) => !possible.includes(one))) {
      this.#journal.say(`Not possible here: ${kind}`);
    }
    return kinds.filter((kind) => possible.includes(kind));
  }

  async close(): Promise<void> {
    for (const load of this.#loads) await load.close().catch(() => undefined);
    for (const relay of this.#relays) relay.close();
    await this.#world.cluster.close();
    if (this.#world.network === null) return;
    for (const agent of this.#world.agents) {
      spawnSync('umount', ['-l', this.#world.diskDirectory(agent, 2)]);
    }
  }

  // ── Clients ────────────────────────────────────────────────────────────────────────────────

  async #openLoads(): Promise<void> {
    const { seed } = this.#settings;
    this.#world.onMoved = (volume) => this.#movers.get(volume)?.();
    for (const [index, replicas] of [2, 3].entries()) {
      const volume = `client-r${replicas}`;
      await this.#createVolume(volume, CLIENT_MB, replicas);
      const load = createVerifyingLoad({
        volume,
        sizeBytes: CLIENT_MB * 1024 ** 2,
        depth: 8,
        rate: CLIENT_RATE,
        isReading: true,
        seed: seed + index,
        locate: () => this.#world.locate(volume),
        report: (text) => this.#journal.say(`  client of ${volume}: ${text}`),
      });
      this.#loads.push(load);
      this.#movers.set(volume, () => load.relocate?.());
    }
    const fio = await this.#openRelay('fio-r2', FIO_MB, 2);
    this.#loads.push(
      createFioLoad({ uri: fio.uri, sizeMb: FIO_MB, directory: this.#directory, seed }),
    );
    const obstacle = findMountObstacle();
    if (obstacle === null) {
      const files = await this.#openRelay('files-r3', FILES_MB, 3);
      this.#files = await createFilesystemLoad({ uri: files.uri, directory: this.#directory });
      this.#loads.push(this.#files);
    } else {
      this.#journal.say(`No file system: ${obstacle}`);
    }
  }

  async #createVolume(name: string, sizeMb: number, replicas: number): Promise<void> {
    const { cluster, agents } = this.#world;
    const node = this.#random.pick(agents);
    await cluster.attach(name, { sizeMb, replicas, node });
    this.#volumes.push(name);
    this.#journal.say(`Volume ${name}: ${replicas} replicas, attached to ${node}`);
  }

  async #openRelay(volume: string, sizeMb: number, replicas: number): Promise<Relay> {
    await this.#createVolume(volume, sizeMb, replicas);
    const relay = await Relay.open(volume, this.#directory, () => this.#world.locate(volume));
    this.#relays.push(relay);
    this.#movers.set(volume, () => relay.relocate());
    return relay;
  }

  // ── Rounds ─────────────────────────────────────────────────────────────────────────────────

  async #round(drawn: RoundPlan, random: Prng): Promise<void> {
    const { say } = this.#journal;
    const plan = await this.#aim(drawn, random);
    say(
      `Round ${this.#rounds}: ${plan.victim}: ${plan.faults.map((fault) => `${fault.kind} at ${fault.atMs} ms for ${fault.durationMs} ms`).join(', ')}`,
    );
    for (const load of this.#loads) await load.start();
    await sleep(LEAD_MS);
    await Promise.all(plan.faults.map((fault) => this.#inject(plan.victim, fault, random)));
    const healing = Date.now();
    await this.#heal(plan);
    const healMs = Date.now() - healing;
    this.#healMsMax = Math.max(this.#healMsMax, healMs);
    say(`  healthy after ${healMs} ms`);
    if (this.#files !== null && this.#rounds % CRASH_EVERY === 0) {
      await this.#files.crash();
      say('  the file system lost its device');
    }
    await this.#check();
    if (plan.faults.some((fault) => fault.kind === 'flip-bytes')) {
      await this.#readThrough(plan.victim);
      await this.#heal(plan);
    }
  }

  /** Volumes move away from a node that has some. */
  async #aim(plan: RoundPlan, random: Prng): Promise<RoundPlan> {
    if (!plan.faults.some((fault) => MOVE_KINDS.includes(fault.kind))) return plan;
    const { api } = this.#world.cluster;
    const attachments = await api.get<readonly AttachmentView[]>('/attachments');
    return { ...plan, victim: random.pick(attachments.map((one) => one.hostname).sort()) };
  }

  async #inject(victim: string, fault: RoundPlan['faults'][number], random: Prng): Promise<void> {
    await sleep(fault.atMs);
    this.#counts.set(fault.kind, (this.#counts.get(fault.kind) ?? 0) + 1);
    this.#journal.say(`  ${fault.kind} ${victim} (${await this.#world.describe()})`);
    const end = await beginFault(this.#world, victim, fault, random.fork(`fault ${fault.seed}`));
    await sleep(fault.durationMs);
    await end();
    this.#journal.say(`  ${fault.kind} ${victim} ended`);
  }

  /**
   * Rot that nobody reads is still there when another copy is lost. Gateways read from their own node first, so
   * all volumes go to the victim's and are read from beginning to end there. Nobody writes meanwhile: a client of a
   * volume that is detached is told so, and that would be an error.
   */
  async #readThrough(victim: string): Promise<void> {
    const { cluster } = this.#world;
    for (const volume of this.#volumes) {
      await cluster.api.post(`/volumes/${volume}/detach`);
      const { unixUri } = await cluster.attachAgain(volume, victim);
      const client = await NbdClient.open(unixUri);
      try {
        await readAll(client);
      } finally {
        client.close();
      }
    }
    const events = await cluster.api.get<readonly EventView[]>('/events?limit=1000');
    const repairs = events.filter((event) => event.kind === 'block.repaired');
    this.#journal.say(`  all volumes read through ${victim}; ${repairs.length} events of repairs`);
  }

  /** An operator does what the documentation says, nothing else: tries a failed disk again. */
  async #heal(plan: RoundPlan): Promise<void> {
    const { cluster } = this.#world;
    let last = '';
    await waitFor(
      `the cluster to be healthy after ${plan.faults.map((fault) => fault.kind).join(', ')}`,
      HEAL_MS,
      async () => {
        const view = await cluster.cluster();
        last = view.reasons.map((reason) => `${reason.subject}: ${reason.message}`).join('; ');
        for (const disk of await cluster.disks()) {
          if (disk.state === 'failed') await this.#activate(disk);
        }
        const attachments = await cluster.api.get<readonly AttachmentView[]>('/attachments');
        const isServed = this.#volumes.every((volume) =>
          attachments.some((one) => one.volumeName === volume && one.state === 'serving'),
        );
        const isWhole =
          view.health === 'ok' &&
          view.pgs.clean === view.pgs.total &&
          view.disksServing === view.diskCount &&
          view.nodesUp === this.#world.agents.length;
        return isServed && isWhole ? true : null;
      },
    ).catch((error: unknown) => {
      throw new StorageError('timeout', `${describeError(error)}; health says: ${last}`);
    });
  }

  async #activate(disk: DiskView): Promise<void> {
    if (Date.now() - (this.#activatedMs.get(disk.id) ?? 0) < ACTIVATE_EVERY_MS) return;
    this.#activatedMs.set(disk.id, Date.now());
    this.#journal.say(`  operator: activates ${disk.id} of ${disk.hostname} (${disk.error})`);
    await this.#world.cluster.api.post(`/disks/${disk.id}/activate`);
  }

  async #check(): Promise<void> {
    for (const load of this.#loads)
      await load.stop().catch((error: unknown) => {
        throw new StorageError('disk-failed', `${load.name}: ${describeError(error)}`);
      });
    for (const load of this.#loads) {
      const seen = await load.verify().catch((error: unknown) => {
        throw new StorageError('corrupt', `${load.name}: ${describeError(error)}`);
      });
      this.#journal.say(`  ${load.name}: ${seen}`);
    }
  }

  async #atTheEnd(): Promise<void> {
    const { cluster } = this.#world;
    await cluster.waitUntilHealthy();
    const status = await cluster.cli('status', '--json');
    if (status.code !== 0 || !/"health": "ok"/.test(status.stdout)) {
      throw new StorageError('unavailable', `cistern status: ${status.stdout}${status.stderr}`);
    }
  }

  // ── What it says ───────────────────────────────────────────────────────────────────────────

  async #describeState(): Promise<void> {
    const { cluster } = this.#world;
    for (const args of [
      ['status'],
      ['explain'],
      ['disk', 'list'],
      ['volume', 'list'],
      ['events'],
    ]) {
      const result = await cluster.cli(...args).catch(() => null);
      const text = `${result?.stdout ?? ''}${result?.stderr ?? ''}`.trim().split('\n').slice(-40);
      this.#journal.say(`cistern ${args.join(' ')}\n${text.join('\n')}`);
    }
  }

  #report(failure: string | null): ChaosReport {
    const report: ChaosReport = {
      seed: this.#settings.seed,
      agents: this.#world.agents.length,
      rounds: this.#rounds,
      seconds: Math.round((Date.now() - this.#startMs) / 1000),
      isIsolated: isIsolated(),
      faults: Object.fromEntries([...this.#counts].sort()),
      healMsMax: this.#healMsMax,
      clients: Object.fromEntries(this.#loads.map((load) => [load.name, load.figures])),
      failure,
    };
    this.#journal.say(`Report\n${JSON.stringify(report, null, 2)}`);
    return report;
  }
}

async function readAll(client: NbdClient): Promise<void> {
  for (let offset = 0; offset < client.sizeBytes; offset += READ_BYTES) {
    const length = Math.min(READ_BYTES, client.sizeBytes - offset);
    const { error } = await client.read(offset, length);
    if (error !== 0) {
      throw new StorageError('corrupt', `Reading ${length} bytes at ${offset}: error ${error}`);
    }
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
