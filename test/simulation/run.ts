/**
 * One run of one seed: boot, volumes and clients, faults, then everything is healed and the cluster has
 * to become whole, make progress, and be found consistent to the last byte.
 */
import { describeError } from '../../shared/base/errors.ts';
import { MiB } from '../../shared/base/units.ts';
import { DiskInspection, findResidue } from './checkers/disk-inspection.ts';
import { watchKeptMaps } from './checkers/kept-maps.ts';
import { findUnrest, ManagerWatch } from './checkers/manager-watch.ts';
import { findCrowded } from './checkers/placement-check.ts';
import { compareReplicas, findLeaks } from './checkers/replica-comparison.ts';
import { Cluster } from './cluster.ts';
import { FaultDriver } from './faults/fault-driver.ts';
import { Administrator } from './people/administrator.ts';
import { MaintenanceOperator } from './people/maintenance-operator.ts';
import { ScrubOperator } from './people/scrub-operator.ts';
import type { SwarmOptions } from './swarm.ts';

export interface Verdict {
  /** What was wrong, in order; empty for a good run. */
  readonly violations: readonly string[];
  readonly digest: string;
  readonly eventCount: number;
  readonly virtualMs: number;
  readonly doneCount: number;
  readonly failedCount: number;
  readonly lostCount: number;
  readonly faults: string;
  readonly lastLines: readonly string[];
}

export interface RunHooks {
  /** Sees every line of the trace. */
  readonly onLine?: (line: string) => void;
  /** After the faults, before everything is healed. */
  readonly beforeHealing?: (cluster: Cluster) => Promise<void>;
  /** Called when the faults begin: may bring about some of its own. */
  readonly onFaults?: (cluster: Cluster) => void;
}

const BOOT_MS_MAX = 60_000;
/** After the last fault: leases, relaunches with their waits (up to a minute), rebuild, agents back. */
const HEAL_MS_MAX = 400_000;
/** With a copying budget below this a rebuild and a scrub after it take minutes more. */
const SMALL_BUDGET = 4 * MiB;
const SLOW_HEAL_MS_MAX = 3 * HEAL_MS_MAX;
/** Longer than a lost session, or a delayed word of Mesos, stays unnoticed. */
const CALM_MS = 5_000;
const PROGRESS_MS_MAX = 60_000;
const PROGRESS_OPS = 20;
const DRAIN_MS_MAX = 60_000;
/** Freed extents are given back some time after they left. */
const LEAK_MS_MAX = 120_000;
/** A map is kept within two seconds of its last change; that a disk hangs is noticed within fifty. */
const MAP_MS_MAX = 60_000;
/** Some rounds of looking at extents that are not clean yet. */
const SCRUB_MS_MAX = 300_000;
const DATA_FAULTS = [
  'index-rot',
  'bit-rot',
  'latent-error',
  'lost-write',
  'misdirected-write',
  'disk-error',
  'disk-hang',
] as const;
const SCRUB_FINDINGS = ['extent.healed', 'block.repaired', 'block.lost'];
const VIOLATIONS_MAX = 10;
const LINES_MAX = 100;

export async function runSeed(options: SwarmOptions, hooks: RunHooks = {}): Promise<Verdict> {
  const cluster = new Cluster(options.cluster);
  cluster.trace.onLine = hooks.onLine ?? null;
  const violations: string[] = [];
  const onViolation = (what: string): void => {
    cluster.trace.add('checker', `VIOLATION ${what}`);
    if (violations.length < VIOLATIONS_MAX) violations.push(what);
  };
  const run = new Run(cluster, options, violations, onViolation);
  try {
    await run.play(hooks);
  } catch (error) {
    if (!(error instanceof RunOver)) {
      onViolation(`exception: ${error instanceof Error ? error.stack : describeError(error)}`);
    }
  }
  return { ...run.figures(), violations, lastLines: cluster.trace.last(LINES_MAX) };
}

/** Ends a run early: something is wrong already. */
class RunOver extends Error {}

class Run {
  readonly #cluster: Cluster;
  readonly #options: SwarmOptions;
  readonly #violations: readonly string[];
  readonly #onViolation: (what: string) => void;
  readonly #faults: FaultDriver;
  readonly #administrator: Administrator;
  readonly #scrubs: ScrubOperator;
  readonly #maintenance: MaintenanceOperator;

  constructor(
    cluster: Cluster,
    options: SwarmOptions,
    violations: readonly string[],
    onViolation: (what: string) => void,
  ) {
    this.#cluster = cluster;
    this.#options = options;
    this.#violations = violations;
    this.#onViolation = onViolation;
    const watch = new ManagerWatch(cluster.trace, onViolation);
    this.#faults = new FaultDriver(cluster, options);
    cluster.onBlackout = () => {
      for (const client of this.#administrator.clients.values()) client.onBlackout();
      cluster.watch.replicas.onBlackout();
    };
    cluster.onCommit = (state) => {
      watch.onCommit(state);
      this.#faults.atlas.onCommit(state);
    };
    cluster.onViolation = onViolation;
    this.#administrator = new Administrator(cluster, options, onViolation);
    this.#scrubs = new ScrubOperator(cluster, options.scrubIntervalMs);
    this.#maintenance = new MaintenanceOperator(cluster, options, onViolation);
  }

  async play(hooks: RunHooks): Promise<void> {
    const { clock } = this.#cluster;
    this.#cluster.startScheduler();
    await this.#until('the cluster is up', () => this.#unrestAtBoot(), BOOT_MS_MAX);
    const volumes: Promise<void>[] = [];
    for (let index = 0; index < this.#options.volumeCount; index += 1) {
      volumes.push(this.#administrator.addVolume());
    }
    await this.#settled('volumes are there', Promise.all(volumes), BOOT_MS_MAX);
    const isDead = (disk: number): boolean => this.#faults.atlas.findFlaws().isDead(disk);
    const inspected = { cluster: this.#cluster, isDead, onViolation: this.#onViolation };
    new DiskInspection(inspected).start();
    this.#faults.start();
    this.#administrator.start();
    this.#scrubs.start();
    this.#maintenance.start();
    hooks.onFaults?.(this.#cluster);
    await clock.runWhile(() => this.#violations.length === 0, this.#options.faultPhaseMs);
    this.#endIfWrong();
    await hooks.beforeHealing?.(this.#cluster);
    await this.#heal();
    await this.#judge();
  }

  figures(): Omit<Verdict, 'violations' | 'lastLines'> {
    const clients = [...this.#administrator.clients.values()];
    const sum = (of: (client: (typeof clients)[number]) => number): number =>
      clients.reduce((total, client) => total + of(client), 0);
    return {
      digest: this.#cluster.trace.digest(),
      eventCount: this.#cluster.clock.firedCount,
      virtualMs: this.#cluster.clock.now(),
      doneCount: sum(({ doneCount }) => doneCount),
      failedCount: sum(({ failedCount }) => failedCount),
      lostCount: sum(({ lostCount }) => lostCount),
      faults: [...this.#faults.counts].map(([kind, count]) => `${kind}=${count}`).join(' '),
    };
  }

  async #heal(): Promise<void> {
    this.#faults.healAll();
    this.#scrubs.stop();
    this.#maintenance.stop();
    for (const client of this.#administrator.clients.values()) client.slowDown();
    const { resyncBytesPerSecond } = this.#options.cluster;
    const healMsMax = resyncBytesPerSecond < SMALL_BUDGET ? SLOW_HEAL_MS_MAX : HEAL_MS_MAX;
    await this.#settled('the operator is done', this.#administrator.stop(), healMsMax);
    // A hung disk is noticed after a while only.
    const unrest = (): string =>
      findUnrest(this.#cluster.state) || this.#faults.atlas.findUnnoticed();
    await this.#until('the cluster is whole', this.#lasting(unrest), healMsMax);
    for (const crowded of findCrowded(this.#cluster.watch.facts)) this.#onViolation(crowded);
    const clients = [...this.#administrator.clients.values()];
    const goals = clients.map((client) => client.doneCount + PROGRESS_OPS);
    await this.#until(
      'clients make progress',
      () => {
        const slow = clients.find((client, index) => client.doneCount < (goals[index] ?? 0));
        return slow === undefined ? '' : `v${slow.options.volume} has ${slow.doneCount} answers`;
      },
      PROGRESS_MS_MAX,
    );
  }

  async #judge(): Promise<void> {
    const clients = [...this.#administrator.clients.values()];
    for (const client of clients) client.stop();
    const waiting = (): string => {
      const busy = clients.find((client) => !client.isIdle);
      return busy === undefined ? '' : `v${busy.options.volume} has ${busy.inFlight} under way`;
    };
    await this.#until('requests are answered', waiting, DRAIN_MS_MAX);
    for (const client of clients) {
      const failed = await this.#settled('all is read back', client.readBack(), DRAIN_MS_MAX);
      if (failed > 0) this.#onViolation(`v${client.options.volume}: ${failed} reads failed`);
    }
    await this.#settled('everything is scrubbed', this.#administrator.scrub(), SCRUB_MS_MAX);
    this.#judgeScrubs();
    await this.#until(
      'nobody holds what he should not',
      () => {
        const { state } = this.#cluster;
        return state === null ? 'no scheduler leads' : findLeaks(this.#cluster, state);
      },
      LEAK_MS_MAX,
    );
    await this.#until('the last map is on every disk', watchKeptMaps(this.#cluster), MAP_MS_MAX);
    const { state } = this.#cluster;
    if (state === null) return;
    const comparison = compareReplicas(this.#cluster, state, this.#faults.atlas.findFlaws());
    for (const broken of await this.#settled('replicas are compared', comparison, DRAIN_MS_MAX)) {
      this.#onViolation(broken);
    }
    const flaws = this.#faults.atlas.findFlaws();
    for (const residue of findResidue(this.#cluster, flaws)) this.#onViolation(residue);
    for (const refused of this.#cluster.mesos.refused)
      this.#onViolation(`mesos refused: ${refused}`);
  }

  /** Where no disk has changed data by itself, copies that differ are scrub's mistake, or a worse one. */
  #judgeScrubs(): void {
    const { state } = this.#cluster;
    if (state === null || DATA_FAULTS.some((kind) => this.#faults.counts.has(kind))) return;
    for (const { kind, message } of state.facts.events.values()) {
      if (SCRUB_FINDINGS.includes(kind)) this.#onViolation(`scrub found: ${message}`);
    }
  }

  #unrestAtBoot(): string {
    const { state } = this.#cluster;
    if (state === null) return 'no scheduler leads';
    const { nodeCount, disksPerNode } = this.#options.cluster;
    const serving = [...state.facts.disks.values()].filter(({ phase }) => phase === 'serving');
    return serving.length === nodeCount * disksPerNode ? '' : `${serving.length} disks are serving`;
  }

  /** Nothing is left only when nothing was for a while: what has just died is not known to the manager yet. */
  #lasting(pending: () => string): () => string {
    const { clock } = this.#cluster;
    let calmSinceMs: number | null = null;
    return () => {
      const what = pending();
      if (what !== '') calmSinceMs = null;
      else calmSinceMs ??= clock.now();
      const isCalm = calmSinceMs !== null && clock.now() - calmSinceMs >= CALM_MS;
      return isCalm ? '' : what || 'it has been whole for a moment only';
    };
  }

  /** Lets time pass until nothing is left of what `pending` names. */
  async #until(what: string, pending: () => string, limitMs: number): Promise<void> {
    const isWaiting = (): boolean => this.#violations.length === 0 && pending() !== '';
    const isOver = await this.#cluster.clock.runWhile(isWaiting, limitMs);
    this.#endIfWrong();
    if (!isOver) {
      this.#onViolation(`not within ${limitMs} ms: ${what}: ${pending()}`);
      throw new RunOver();
    }
    this.#cluster.trace.add('run', what);
  }

  async #settled<T>(what: string, promise: Promise<T>, limitMs: number): Promise<T> {
    let isSettled = false;
    const watched = promise.finally(() => {
      isSettled = true;
    });
    watched.catch(() => undefined);
    await this.#until(what, () => (isSettled ? '' : 'it is under way'), limitMs);
    return watched;
  }

  #endIfWrong(): void {
    if (this.#violations.length > 0) throw new RunOver();
  }
}
