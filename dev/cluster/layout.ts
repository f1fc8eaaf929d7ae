/**
 * Where a development cluster keeps its things, and the state file by which commands find it.
 *
 * ```
 * ~/.cistern/dev/            (CISTERN_DEV_DIR)
 *   cluster.json             what runs where: read by every command
 *   settings.json            what the cluster was created with: the same on the next `up`
 *   mesos/                   the stand-in: agents' work directories, their disks, sandboxes
 *   state/                   the scheduler's metadata store
 *   sockets/                 unix sockets of attached volumes
 *   logs/                    supervisor.log, mesos.log, scheduler.log (scheduler2.log, … of further ones)
 * ```
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { StorageError } from '../../shared/base/errors.ts';

export interface DevSettings {
  readonly agents: number;
  readonly disksPerAgent: number;
  readonly diskSizeMb: number;
  /** `mount` when missing. */
  readonly diskKind?: 'mount' | 'path';
  /** Disks claimed on a node at once; the rest waits for the pool to expand. null: all. */
  readonly claimPerNode: number | null;
  readonly pgCount: number;
  readonly rebuildAfterSeconds: number;
  /** 0: no brake on mass failure. */
  readonly brakeWindowSeconds: number;
  readonly expandAtPercent: number;
  readonly fullAtPercent: number;
  readonly expandCooldownSeconds: number;
  readonly resyncMibPerSecond: number;
  /** Zones are dealt to agents in turn. */
  readonly zones: number;
  /** What executors are called that run from this tree; null: the program's version. A change is an upgrade. */
  readonly executorVersion?: string | null;
  /** Executors run from the packed artefact that the scheduler serves, as in production. */
  readonly useArtefact: boolean;
  /** Processes in network namespaces, so that links can be cut. null: all on the loopback address. */
  readonly network: DevNetwork | null;
  /** Several, one of which leads. null: one, with a store of its own in the cluster's directory. */
  readonly schedulers: readonly DevScheduler[] | null;
}

export interface DevScheduler {
  /** `CISTERN_STORE`: the metadata store that all of them share, by the way that this one takes to it. */
  readonly store: string;
  /** By which way it reaches the Mesos master; null: straight. */
  readonly master: string | null;
}

/** Who makes the namespaces (`test/chaos/network.ts`) says how processes get into them. */
export interface DevNetwork {
  /** Address of the Mesos stand-in, its agents included; reached from every namespace. */
  readonly mesosHost: string;
  readonly schedulerHost: string;
  /** Stands before the scheduler's command. */
  readonly schedulerWrapper: readonly string[];
  /** A program that runs its arguments in the namespace of the Mesos agent and sets `CISTERN_NODE_HOST`. */
  readonly executorWrapper: string;
}

export interface DevState {
  /** Of the supervisor; its end is the cluster's end. */
  readonly pid: number;
  /** Of all schedulers, with commas between them. */
  readonly api: string;
  readonly master: string;
  readonly schedulers: readonly DevSchedulerState[];
  /** Of the first one. */
  readonly schedulerPid: number | null;
  readonly mesosPid: number | null;
  readonly startedAt: string;
}

export interface DevSchedulerState {
  readonly pid: number | null;
  readonly api: string;
  readonly controlPort: number;
}

export interface DevPaths {
  readonly root: string;
  readonly state: string;
  readonly settings: string;
  readonly mesos: string;
  readonly store: string;
  readonly sockets: string;
  readonly logs: string;
}

export const DEV_DEFAULTS: DevSettings = {
  agents: 3,
  disksPerAgent: 2,
  diskSizeMb: 4096,
  claimPerNode: null,
  pgCount: 128,
  // A person watching should see the rebuild begin; production waits ten minutes.
  rebuildAfterSeconds: 10,
  brakeWindowSeconds: 600,
  expandAtPercent: 80,
  fullAtPercent: 95,
  expandCooldownSeconds: 15,
  resyncMibPerSecond: 200,
  zones: 3,
  useArtefact: false,
  network: null,
  schedulers: null,
};

export function devDirectory(environment: Readonly<Record<string, string | undefined>>): string {
  return resolve(environment['CISTERN_DEV_DIR'] ?? join(homedir(), '.cistern', 'dev'));
}

export function devPaths(root: string): DevPaths {
  return {
    root,
    state: join(root, 'cluster.json'),
    settings: join(root, 'settings.json'),
    mesos: join(root, 'mesos'),
    store: join(root, 'state'),
    sockets: join(root, 'sockets'),
    logs: join(root, 'logs'),
  };
}

/** `null` when no cluster was ever started there. Throws `corrupt` for an unreadable file. */
export function readJson<T>(path: string): T | null {
  if (!existsSync(path)) return null;
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T;
  } catch (error) {
    throw new StorageError(
      'corrupt',
      `File "${path}" is no JSON; remove it to start anew`,
      {},
      error,
    );
  }
}

/** Readers see the old file or the new one. */
export function writeJson(path: string, value: unknown): void {
  mkdirSync(join(path, '..'), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, `${JSON.stringify(value, null, 2)}\n`);
  renameSync(temporary, path);
}

export function isAlive(pid: number | null): boolean {
  if (pid === null) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false; // ESRCH: no such process.
  }
}
