/**
 * The data process of one executor and its supervisor, without processes: the production data plane
 * behind the same messages as in production (data-process-supervisor.ts), which take a moment each way.
 * A crash drops the plane without closing anything; the next one gets disks, map and lease again.
 */
import type {
  BackgroundLimits,
  DataMemory,
  DataPlane,
  DiskAssignment,
} from '../../executor/data-plane.ts';
import type { ExtentStore } from '../../executor/disk/extent-store.ts';
import { openExtentStore } from '../../executor/disk/extent-store-open.ts';
import type { StoreTuning } from '../../executor/disk/store-types.ts';
import type { BlockDevice } from '../../executor/gateway/block-device.ts';
import { NodeDataPlane } from '../../executor/node-data-plane.ts';
import type { DiskId, NodeId } from '../../shared/base/ids.ts';
import type { ClusterMap, ClusterMapDelta, MapVolume } from '../../shared/model/cluster-map.ts';
import { type DiskReport, EMPTY_REPORT, type NodeReport } from '../../shared/model/node-report.ts';
import type { ScrubOrder } from '../../shared/model/scrub.ts';
import type { Clock, Disk } from '../../shared/ports.ts';
import type { ClusterWatch } from './checkers/cluster-watch.ts';
import { observeNetwork } from './checkers/observed-ports.ts';
import { ProcessClock } from './ports/process-clock.ts';
import type { SimulatedNetwork } from './ports/simulated-network.ts';
import type { Trace } from './trace.ts';

export interface DataProcessModules {
  /** Of the machine: every process here runs at its pace. */
  readonly clock: Clock;
  readonly tuning: Partial<StoreTuning>;
  readonly network: SimulatedNetwork;
  readonly trace: Trace;
  readonly watch: ClusterWatch;
  findDisk(path: string): Disk;
  /** Of the machine: another one after each power loss. */
  bootId(): string;
  currentMap(): ClusterMap | null;
  onListening(): void;
  /** What happens to the disks' operations when the process dies. */
  onCrash(): void;
  /** Its connections and disks' operations wait while it is stopped. */
  onStopped(isStopped: boolean): void;
}

/** A volume served on this node, as a local client finds it. */
export interface ServedVolume {
  readonly device: BlockDevice;
  readonly generation: number;
}

interface Child {
  readonly plane: NodeDataPlane;
  readonly clock: ProcessClock;
  isListening: boolean;
}

const PORT = 7400;
/** A message between executor and data process. */
const IPC_MS = 0.05;
const REPORT_MS = 500;
const RESTART_MS = 20;
/** Ten minutes in production: too long to wait for the end of every run. */
const FORGET_AFTER_MS = 15_000;

export class SimulatedDataProcess implements DataPlane {
  readonly #host: string;
  readonly #clusterId: string;
  readonly #modules: DataProcessModules;
  /** The executor's own clock: when it dies, nothing is restarted. */
  readonly #executorClock: ProcessClock;
  readonly #disks = new Map<DiskId, DiskAssignment>();
  #startCount = 0;
  #child: Child | null = null;
  #report: NodeReport | null = null;
  #self: NodeId | null = null;
  #leaseUntilMs = Number.NEGATIVE_INFINITY;
  #limits: BackgroundLimits | null = null;
  #urgent: (() => void) | null = null;
  #isClosing = false;
  #record: Uint8Array | null = null;
  #hasListened = false;
  /** By volume; empty while no process runs. */
  readonly served = new Map<number, ServedVolume>();
  /** Who waits for a disk to be closed; a process that dies has closed them all. */
  readonly #leaving = new Set<() => void>();
  readonly stores = new Map<number, ExtentStore>();
  /** When it last went on after a stop. */
  lastStopMs = Number.NEGATIVE_INFINITY;
  /** Counts processes: whoever waits for one that died learns it from here. */
  incarnation = 0;

  constructor(
    host: string,
    clusterId: string,
    executorClock: ProcessClock,
    modules: DataProcessModules,
  ) {
    this.#host = host;
    this.#clusterId = clusterId;
    this.#executorClock = executorClock;
    this.#modules = modules;
  }

  start(): void {
    this.#spawn();
  }

  get dataAddress(): string | null {
    return this.#hasListened ? `${this.#host}:${PORT}` : null;
  }

  get isRunning(): boolean {
    return this.#child?.isListening === true;
  }

  get plane(): NodeDataPlane | null {
    return this.#child?.plane ?? null;
  }

  /** The process dies; its supervisor starts another unless it died itself. */
  crash(): void {
    // Dead already, and about to be started again: there is only ever one.
    if (this.#child === null) return;
    this.#kill();
    if (this.#executorClock.isDead || this.#isClosing) return;
    this.#urgent?.();
    this.#executorClock.after(RESTART_MS, () => this.#spawn());
  }

  /** As by SIGSTOP: what waits for the process waits on, and all of it happens late. */
  stop(): void {
    const child = this.#child;
    if (child === null || child.clock.isStopped) return;
    child.clock.stop();
    this.#modules.onStopped(true);
  }

  goOn(): void {
    const child = this.#child;
    if (child === null || !child.clock.isStopped) return;
    this.lastStopMs = this.#modules.clock.now();
    this.#modules.onStopped(false);
    child.clock.goOn();
  }

  get isStopped(): boolean {
    return this.#child?.clock.isStopped === true;
  }

  /** For local clients: at once, or when the process goes on; never when it dies before. */
  whenRunning(action: () => void): void {
    this.#child?.clock.whenRunning(action);
  }

  /** With its executor, for good. */
  destroy(): void {
    this.#isClosing = true;
    this.#kill();
  }

  // ── What the executor says ─────────────────────────────────────────────────────────────────

  addDisk(disk: DiskAssignment): void {
    this.#disks.set(disk.id, disk);
    this.#send((plane) => plane.addDisk(disk));
  }

  removeDisk(id: DiskId): Promise<void> {
    if (!this.#disks.delete(id) || this.#child === null) return Promise.resolve();
    return new Promise((resolve) => {
      this.#leaving.add(resolve);
      const told = (): void => {
        this.#leaving.delete(resolve);
        resolve();
      };
      this.#send((plane) => {
        void plane.removeDisk(id).then(() => this.#executorClock.after(IPC_MS, told));
      });
    });
  }

  applyMap(map: ClusterMap | ClusterMapDelta, self: NodeId): boolean {
    this.#self = self;
    this.#send((plane) => plane.applyMap(map, self));
    return true;
  }

  extendLease(untilMs: number): void {
    this.#leaseUntilMs = Math.max(untilMs, this.#leaseUntilMs);
    this.#send((plane) => plane.extendLease(untilMs));
  }

  setLimits(limits: BackgroundLimits): void {
    this.#limits = limits;
    this.#send((plane) => plane.setLimits(limits));
  }

  setScrubs(orders: readonly ScrubOrder[]): void {
    this.#send((plane) => plane.setScrubs(orders));
  }

  keepMap(record: Uint8Array): void {
    this.#record = record;
    this.#send((plane) => plane.keepMap(record));
  }

  recall(): Promise<DataMemory | null> {
    return this.#child?.plane.recall() ?? Promise.resolve(null);
  }

  report(): NodeReport {
    if (this.#report !== null) return this.#report;
    return { ...EMPTY_REPORT, disks: [...this.#disks.values()].map(openingReport) };
  }

  onUrgent(listener: () => void): void {
    this.#urgent = listener;
  }

  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    const child = this.#child;
    if (child === null) return;
    await child.plane.close();
    this.#kill();
  }

  // ── The process ────────────────────────────────────────────────────────────────────────────

  #kill(): void {
    const child = this.#child;
    if (child === null) return;
    child.clock.kill();
    this.#child = null;
    this.#report = null;
    this.incarnation += 1;
    this.served.clear();
    this.stores.clear();
    for (const told of this.#leaving) this.#executorClock.after(IPC_MS, told);
    this.#leaving.clear();
    this.#modules.watch.replicas.onCrash(this.#host);
    this.#modules.onCrash();
  }

  #spawn(): void {
    this.#startCount += 1;
    if (this.#isClosing) return;
    const clock = new ProcessClock(this.#modules.clock);
    const child: Child = { plane: this.#createPlane(clock), clock, isListening: false };
    this.#child = child;
    const whenAlive = (): boolean => this.#child === child;
    child.plane.onUrgent(() => this.#copyReport(child, true));
    child.plane
      .listen()
      .then(() => {
        if (!whenAlive()) return;
        child.isListening = true;
        const isFirst = !this.#hasListened;
        this.#hasListened = true;
        if (isFirst) this.#modules.onListening();
        this.#reportLater(child);
      })
      .catch((error: unknown) => this.#modules.trace.add(this.#host, `! listen: ${String(error)}`));
    const map = this.#modules.currentMap();
    const limits = this.#limits;
    const self = this.#self;
    if (limits !== null) this.#send((plane) => plane.setLimits(limits));
    for (const disk of this.#disks.values()) this.#send((plane) => plane.addDisk(disk));
    if (map !== null && self !== null) this.#send((plane) => plane.applyMap(map, self));
    this.#send((plane) => plane.extendLease(this.#leaseUntilMs));
    const record = this.#record;
    if (record !== null) this.#send((plane) => plane.keepMap(record));
  }

  #send(action: (plane: NodeDataPlane) => void): void {
    const child = this.#child;
    if (child === null) return;
    child.clock.after(IPC_MS, () => action(child.plane));
  }

  #reportLater(child: Child): void {
    this.#copyReport(child, false);
    child.clock.after(REPORT_MS, () => this.#reportLater(child));
  }

  #copyReport(child: Child, isUrgent: boolean): void {
    if (!child.isListening) return;
    const report = child.plane.report();
    this.#executorClock.after(IPC_MS, () => {
      if (this.#child !== child) return;
      this.#report = report;
      if (isUrgent) this.#urgent?.();
    });
  }

  #createPlane(clock: ProcessClock): NodeDataPlane {
    const { network, trace, watch, findDisk } = this.#modules;
    const log = trace.log(this.#host);
    return new NodeDataPlane(
      {
        clusterId: this.#clusterId,
        incarnation: `${this.#host}-${this.#startCount}`,
        listenAddress: `${this.#host}:${PORT}`,
        forgetAfterMs: FORGET_AFTER_MS,
      },
      {
        clock,
        log,
        network: observeNetwork(network.host(this.#host), this.#host, (host, peer) =>
          watch.replicas.observe(host, peer),
        ),
        openStore: async (disk) => {
          const store = await openExtentStore(
            {
              clusterId: this.#clusterId,
              diskId: disk.id,
              uuid: disk.uuid,
              capacityBytes: disk.capacityBytes,
              create: true,
              tuning: this.#modules.tuning,
              bootId: this.#modules.bootId(),
            },
            { disk: findDisk(disk.path), clock, log },
          );
          if (!clock.isDead) this.stores.set(disk.id, store);
          return store;
        },
        startExport: (volume, device) => this.#serve(clock, volume, device),
        resources: () => ({ cpuSeconds: 0, memoryBytes: 0 }),
      },
    );
  }

  async #serve(
    clock: ProcessClock,
    volume: MapVolume,
    device: BlockDevice,
  ): Promise<{
    socketPath: string;
    tcpUri: string;
    clientCount: () => number;
    stop: () => Promise<void>;
  }> {
    const served: ServedVolume = { device, generation: volume.generation };
    if (!clock.isDead) this.served.set(volume.id, served);
    this.#modules.trace.add(this.#host, `+ serves v${volume.id} g${volume.generation}`);
    return {
      socketPath: `/run/${volume.name}.sock`,
      tcpUri: '',
      clientCount: () => 0,
      stop: async () => {
        if (this.served.get(volume.id) === served) this.served.delete(volume.id);
        this.#modules.trace.add(this.#host, `- serves v${volume.id} g${volume.generation}`);
      },
    };
  }
}

function openingReport(disk: DiskAssignment): DiskReport {
  return {
    id: disk.id,
    uuid: disk.uuid,
    status: 'opening',
    error: 'the data process is starting',
    capacityBytes: disk.capacityBytes,
    usedBytes: 0,
    path: disk.path,
    extentCount: 0,
    dirtyExtentCount: 0,
    checksumErrorCount: 0,
  };
}
