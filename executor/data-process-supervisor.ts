/**
 * Adapter: the data plane in a process of its own, behind the same interface. It is restarted at once
 * when it dies, with the same ports, disks, map and lease: a crash costs its clients a
 * pause, never the executor (DESIGN 11).
 */
import { type ChildProcess, fork } from 'node:child_process';
import type { DiskId, NodeId } from '../shared/base/ids.ts';
import type { ClusterMap, ClusterMapDelta } from '../shared/model/cluster-map.ts';
import { type DiskReport, EMPTY_REPORT, type NodeReport } from '../shared/model/node-report.ts';
import type { ScrubOrder } from '../shared/model/scrub.ts';
import type { Clock, Log, Timer } from '../shared/ports.ts';
import type { BackgroundLimits, DataMemory, DataPlane, DiskAssignment } from './data-plane.ts';
import type { DataProcessStart, FromDataProcess, ToDataProcess } from './data-process-messages.ts';

export interface SupervisorOptions {
  readonly start: Omit<DataProcessStart, 'kind' | 'dataPort' | 'nbdPort'>;
  /** Module to fork, and its arguments. */
  readonly modulePath: string;
  readonly moduleArguments: readonly string[];
}

export interface SupervisorModules {
  readonly clock: Clock;
  readonly log: Log;
  /** The whole map, for a data process that begins anew. */
  currentMap(): ClusterMap | null;
  onListening(dataAddress: string): void;
}

/** A process that lived this long has earned an immediate restart. */
const STABLE_MS = 10_000;
const RESTART_MIN_MS = 20;
const RESTART_MAX_MS = 5_000;
/** It lists what the disks hold in memory: longer than this, and it does not answer. */
const RECALL_DEADLINE_MS = 10_000;
/** It is closing files and connections: longer than this, and it is killed. */
const CLOSE_DEADLINE_MS = 10_000;

export class DataProcessSupervisor implements DataPlane {
  readonly #options: SupervisorOptions;
  readonly #modules: SupervisorModules;
  readonly #disks = new Map<DiskId, DiskAssignment>();
  #child: ChildProcess | null = null;
  #startedAtMs = 0;
  #restartMs = RESTART_MIN_MS;
  #restartTimer: Timer | null = null;
  #dataPort = 0;
  #nbdPort = 0;
  #isListening = false;
  #report: NodeReport = EMPTY_REPORT;
  #self: NodeId | null = null;
  #leaseUntilMs = Number.NEGATIVE_INFINITY;
  #limits: BackgroundLimits | null = null;
  #urgent: (() => void) | null = null;
  #lastFailure = '';
  #isClosing = false;
  #onClosed: (() => void) | null = null;
  #restartCount = 0;
  #record: Uint8Array | null = null;
  #questions = 0;
  /** Who waits for a disk to be closed. */
  readonly #leaving = new Map<DiskId, readonly (() => void)[]>();
  readonly #answers = new Map<number, (memory: DataMemory) => void>();

  constructor(options: SupervisorOptions, modules: SupervisorModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** Starts the first process; once. */
  start(): void {
    this.#spawn();
  }

  /** Null until the data process listens for the first time; the same ever after. */
  get dataAddress(): string | null {
    return this.#dataPort === 0 ? null : `${this.#options.start.host}:${this.#dataPort}`;
  }

  get restartCount(): number {
    return this.#restartCount;
  }

  addDisk(disk: DiskAssignment): void {
    this.#disks.set(disk.id, disk);
    this.#send({ kind: 'add-disk', disk });
  }

  removeDisk(id: DiskId): Promise<void> {
    if (!this.#disks.delete(id) || this.#child?.connected !== true) return Promise.resolve();
    return new Promise((resolve) => {
      this.#leaving.set(id, [...(this.#leaving.get(id) ?? []), resolve]);
      this.#send({ kind: 'remove-disk', id });
    });
  }

  applyMap(map: ClusterMap | ClusterMapDelta, self: NodeId): boolean {
    this.#self = self;
    this.#send({ kind: 'map', map, self });
    return true;
  }

  extendLease(untilMs: number): void {
    this.#leaseUntilMs = Math.max(untilMs, this.#leaseUntilMs);
    this.#send({ kind: 'lease', untilMs: this.#leaseUntilMs });
  }

  setLimits(limits: BackgroundLimits): void {
    this.#limits = limits;
    this.#send({ kind: 'limits', limits });
  }

  /** A data process that begins anew gets them from the manager, with the position it has reached. */
  setScrubs(orders: readonly ScrubOrder[]): void {
    this.#send({ kind: 'scrubs', orders });
  }

  keepMap(record: Uint8Array): void {
    this.#record = record;
    this.#send({ kind: 'keep-map', record });
  }

  recall(): Promise<DataMemory | null> {
    if (!this.#isListening) return Promise.resolve(null);
    this.#questions += 1;
    const question = this.#questions;
    this.#send({ kind: 'recall', question });
    return new Promise((resolve) => {
      const deadline = this.#modules.clock.after(RECALL_DEADLINE_MS, () => {
        this.#answers.delete(question);
        resolve(null);
      });
      this.#answers.set(question, (memory) => {
        deadline.cancel();
        this.#answers.delete(question);
        resolve(memory);
      });
    });
  }

  report(): NodeReport {
    if (this.#isListening) return this.#report;
    const reason = this.#lastFailure === '' ? 'the data process is starting' : this.#lastFailure;
    return {
      ...EMPTY_REPORT,
      disks: [...this.#disks.values()].map((disk) => opening(disk, reason)),
    };
  }

  onUrgent(listener: () => void): void {
    this.#urgent = listener;
  }

  close(): Promise<void> {
    if (this.#isClosing) return Promise.resolve();
    this.#isClosing = true;
    this.#restartTimer?.cancel();
    const child = this.#child;
    if (child === null) return Promise.resolve();
    return new Promise((resolve) => {
      const deadline = this.#modules.clock.after(CLOSE_DEADLINE_MS, () => child.kill('SIGKILL'));
      this.#onClosed = () => {
        deadline.cancel();
        resolve();
      };
      this.#send({ kind: 'close' });
    });
  }

  // ── The child ──────────────────────────────────────────────────────────────────────────────

  #spawn(): void {
    const { clock } = this.#modules;
    this.#startedAtMs = clock.now();
    this.#isListening = false;
    const child = fork(this.#options.modulePath, [...this.#options.moduleArguments], {
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child = child;
    child.on('message', (message) => this.#onMessage(child, message as FromDataProcess));
    child.on('error', (error) => {
      this.#lastFailure = `the data process failed: ${error.message}`;
    });
    child.on('exit', (code, signal) => this.#onExit(child, code, signal));
    this.#send({
      kind: 'start',
      ...this.#options.start,
      dataPort: this.#dataPort,
      nbdPort: this.#nbdPort,
    });
    if (this.#limits !== null) this.#send({ kind: 'limits', limits: this.#limits });
    for (const disk of this.#disks.values()) this.#send({ kind: 'add-disk', disk });
    const map = this.#modules.currentMap();
    if (map !== null && this.#self !== null) this.#send({ kind: 'map', map, self: this.#self });
    this.#send({ kind: 'lease', untilMs: this.#leaseUntilMs });
    if (this.#record !== null) this.#send({ kind: 'keep-map', record: this.#record });
  }

  #send(message: ToDataProcess): void {
    const child = this.#child;
    if (child?.connected !== true) return;
    // A message that is lost with its process is sent again to the next one.
    child.send(message, (error) => {
      if (error !== null)
        this.#modules.log('debug', 'Data process is gone', { error: error.message });
    });
  }

  #onMessage(child: ChildProcess, message: FromDataProcess): void {
    if (child !== this.#child) return;
    switch (message.kind) {
      case 'listening': {
        const isMoved = this.#dataPort !== message.dataPort;
        this.#dataPort = message.dataPort;
        this.#nbdPort = message.nbdPort;
        this.#isListening = true;
        this.#lastFailure = '';
        if (isMoved) this.#modules.onListening(`${this.#options.start.host}:${message.dataPort}`);
        break;
      }
      case 'report':
        this.#report = message.report;
        if (message.isUrgent) this.#urgent?.();
        break;
      case 'disk-closed':
        this.#onDiskClosed(message.id);
        break;
      case 'memory':
        this.#answers.get(message.question)?.(message.memory);
        break;
      case 'failed':
        this.#lastFailure = message.reason;
        this.#modules.log('error', 'Data process cannot start', { reason: message.reason });
        // The ports may be taken by somebody else now: any will do.
        this.#dataPort = 0;
        this.#nbdPort = 0;
        break;
      case 'closed':
        break;
    }
  }

  #onDiskClosed(id: DiskId): void {
    const waiting = this.#leaving.get(id) ?? [];
    this.#leaving.delete(id);
    for (const resolve of waiting) resolve();
  }

  #onExit(child: ChildProcess, code: number | null, signal: string | null): void {
    if (child !== this.#child) return;
    this.#child = null;
    this.#isListening = false;
    // What it had open is closed now, by the kernel.
    for (const id of [...this.#leaving.keys()]) this.#onDiskClosed(id);
    if (this.#isClosing) {
      this.#onClosed?.();
      return;
    }
    const { clock, log } = this.#modules;
    if (this.#lastFailure === '') {
      this.#lastFailure = `the data process ended (${signal ?? `exit code ${code}`}) and is being restarted`;
    }
    this.#restartCount += 1;
    const livedMs = clock.now() - this.#startedAtMs;
    this.#restartMs =
      livedMs > STABLE_MS ? RESTART_MIN_MS : Math.min(this.#restartMs * 4, RESTART_MAX_MS);
    log('error', 'Data process ended', {
      code,
      signal,
      livedMs: Math.round(livedMs),
      restartMs: this.#restartMs,
    });
    this.#urgent?.();
    this.#restartTimer = clock.after(this.#restartMs, () => this.#spawn());
  }
}

function opening(disk: DiskAssignment, reason: string): DiskReport {
  return {
    id: disk.id,
    uuid: disk.uuid,
    status: 'opening',
    error: reason,
    capacityBytes: disk.capacityBytes,
    usedBytes: 0,
    path: disk.path,
    extentCount: 0,
    dirtyExtentCount: 0,
    checksumErrorCount: 0,
  };
}
