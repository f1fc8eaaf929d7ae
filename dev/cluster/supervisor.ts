/**
 * The process behind a development cluster: starts the Mesos stand-in and the scheduler (or several), and
 * starts a scheduler again whenever it ends, as Marathon would. `cistern dev up` runs it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type DevPaths,
  type DevScheduler,
  type DevSettings,
  type DevState,
  devPaths,
  readJson,
  writeJson,
} from './layout.ts';

/** Marathon's own back-off begins with a second. */
const SCHEDULER_RESTART_MS = 1_000;
/** Longest wait for children on the way down. */
const STOP_DEADLINE_MS = 15_000;

const HOST = '127.0.0.1';
const dist = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

interface Ports {
  readonly master: number;
  readonly schedulers: readonly SchedulerPorts[];
}

interface SchedulerPorts {
  readonly api: number;
  readonly control: number;
}

/** One of the schedulers: its process may be the third by now. */
interface SchedulerPlace {
  /** From 1. */
  readonly number: number;
  readonly ports: SchedulerPorts;
  /** null: the only one, with a store of its own. */
  readonly settings: DevScheduler | null;
  child: ChildProcess | null;
}

class Supervisor {
  readonly #paths: DevPaths;
  readonly #settings: DevSettings;
  readonly #masterPort: number;
  readonly #schedulers: readonly SchedulerPlace[];
  #mesos: ChildProcess | null = null;
  #isStopping = false;

  constructor(paths: DevPaths, settings: DevSettings, ports: Ports) {
    this.#paths = paths;
    this.#settings = settings;
    this.#masterPort = ports.master;
    this.#schedulers = ports.schedulers.map((own, index) => ({
      number: index + 1,
      ports: own,
      settings: settings.schedulers?.[index] ?? null,
      child: null,
    }));
  }

  start(): void {
    for (const folder of [this.#paths.logs, this.#paths.sockets, this.#paths.mesos]) {
      mkdirSync(folder, { recursive: true });
    }
    this.#startMesos();
    for (const place of this.#schedulers) this.#startScheduler(place);
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => this.#stop());
  }

  #startMesos(): void {
    const { agents, disksPerAgent, diskSizeMb, diskKind = 'mount', zones } = this.#settings;
    this.#mesos = this.#spawn('mesos', join(dist, 'dev', 'mesos', 'main.js'), [
      'serve',
      `--dir=${this.#paths.mesos}`,
      `--host=${this.#mesosHost}`,
      `--port=${this.#masterPort}`,
      `--agents=${agents}`,
      `--disks-per-agent=${disksPerAgent}`,
      `--disk-size=${diskSizeMb}`,
      `--disk-kind=${diskKind}`,
      `--zones=${zones}`,
    ]);
    this.#mesos.on('exit', (code, signal) => {
      if (this.#isStopping) return;
      console.error(
        `The Mesos stand-in ended (${signal ?? code}); see ${this.#paths.logs}/mesos.log`,
      );
      this.#stop(1);
    });
    this.#writeState();
  }

  #startScheduler(place: SchedulerPlace): void {
    if (this.#isStopping) return;
    const { number, ports, settings } = place;
    const part = number === 1 ? 'scheduler' : `scheduler${number}`;
    const child = this.#spawn(part, join(dist, 'scheduler', 'main.js'), [], {
      CISTERN_NAME: 'dev',
      CISTERN_MASTER: settings?.master ?? this.#masterUrl,
      CISTERN_STATE_DIR: this.#paths.store,
      ...(settings === null ? {} : { CISTERN_STORE: settings.store }),
      CISTERN_HOST_LISTEN: this.#schedulerHost,
      CISTERN_ADVERTISE_HOST: this.#schedulerHost,
      CISTERN_API_PORT: String(ports.api),
      CISTERN_CONTROL_PORT: String(ports.control),
      ...this.#executorSettings(),
      ...this.#executorVersion(),
      ...(this.#settings.claimPerNode === null
        ? {}
        : { CISTERN_CLAIM_PER_NODE: String(this.#settings.claimPerNode) }),
      CISTERN_PG_COUNT: String(this.#settings.pgCount),
      CISTERN_REBUILD_AFTER_SECONDS: String(this.#settings.rebuildAfterSeconds),
      CISTERN_BRAKE_WINDOW_SECONDS: String(this.#settings.brakeWindowSeconds),
      CISTERN_EXPAND_AT_PERCENT: String(this.#settings.expandAtPercent),
      CISTERN_FULL_AT_PERCENT: String(this.#settings.fullAtPercent),
      CISTERN_EXPAND_COOLDOWN_SECONDS: String(this.#settings.expandCooldownSeconds),
      CISTERN_RESYNC_MIB_PER_SECOND: String(this.#settings.resyncMibPerSecond),
    });
    place.child = child;
    child.on('exit', (code, signal) => {
      if (this.#isStopping || place.child !== child) return;
      console.error(`The ${part} ended (${signal ?? code}); starting it again`);
      setTimeout(() => this.#startScheduler(place), SCHEDULER_RESTART_MS);
    });
    this.#writeState();
  }

  get #masterUrl(): string {
    return `http://${this.#mesosHost}:${this.#masterPort}`;
  }

  get #mesosHost(): string {
    return this.#settings.network?.mesosHost ?? HOST;
  }

  get #schedulerHost(): string {
    return this.#settings.network?.schedulerHost ?? HOST;
  }

  #executorSettings(): Readonly<Record<string, string>> {
    const { network } = this.#settings;
    const sockets = `CISTERN_SOCKET_DIR=${this.#paths.sockets}`;
    const environment = network === null ? `${sockets},CISTERN_NODE_HOST=${HOST}` : sockets;
    const wrapper = network === null ? '' : `${network.executorWrapper} `;
    return this.#settings.useArtefact
      ? {
          CISTERN_ARTEFACT_DIR: join(dist, 'artefact'),
          CISTERN_EXECUTOR_ENV: `${environment},PATH=${process.env['PATH'] ?? '/usr/bin:/bin'}`,
        }
      : {
          CISTERN_EXECUTOR_COMMAND: `exec ${wrapper}${process.execPath} ${join(dist, 'executor', 'main.js')}`,
          CISTERN_EXECUTOR_ENV: environment,
        };
  }

  /** As the settings are now: a scheduler that starts again may bring another version. */
  #executorVersion(): Readonly<Record<string, string>> {
    const version = readJson<DevSettings>(this.#paths.settings)?.executorVersion ?? null;
    return version === null ? {} : { CISTERN_EXECUTOR_VERSION: version };
  }

  #spawn(
    part: string,
    module: string,
    argumentsList: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ): ChildProcess {
    const log = openSync(join(this.#paths.logs, `${part}.log`), 'a');
    const wrapper = part.startsWith('scheduler')
      ? (this.#settings.network?.schedulerWrapper ?? [])
      : [];
    const [program = '', ...rest] = [...wrapper, process.execPath, module, ...argumentsList];
    return spawn(program, rest, {
      env: { ...process.env, ...environment },
      stdio: ['ignore', log, log],
    });
  }

  #writeState(): void {
    const schedulers = this.#schedulers.map(({ ports, child }) => ({
      pid: child?.pid ?? null,
      api: `http://${this.#schedulerHost}:${ports.api}`,
      controlPort: ports.control,
    }));
    const state: DevState = {
      pid: process.pid,
      api: schedulers.map(({ api }) => api).join(','),
      master: this.#masterUrl,
      schedulers,
      schedulerPid: schedulers[0]?.pid ?? null,
      mesosPid: this.#mesos?.pid ?? null,
      startedAt: new Date().toISOString(),
    };
    writeJson(this.#paths.state, state);
  }

  /** The schedulers first, so that they do not take the agents' end for a catastrophe. */
  #stop(exitCode = 0): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    setTimeout(() => process.exit(1), STOP_DEADLINE_MS).unref();
    const schedulers = this.#schedulers.map(({ child }) => ended(child));
    void Promise.all(schedulers).then(async () => {
      await ended(this.#mesos);
      process.exit(exitCode);
    });
  }
}

/** Asks a process to end; resolves when it has. */
function ended(child: ChildProcess | null): Promise<void> {
  if (child === null || child.exitCode !== null || child.signalCode !== null) {
    return Promise.resolve();
  }
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGTERM');
  });
}

/** The ports of the last run when they are free, else any: addresses in executors' memory stay right. */
async function choosePorts(previous: DevState | null, schedulerCount: number): Promise<Ports> {
  const portOf = (url: string | undefined): number =>
    url === undefined ? 0 : Number(new URL(url).port);
  const schedulers: SchedulerPorts[] = [];
  for (let index = 0; index < schedulerCount; index += 1) {
    const before = previous?.schedulers?.[index];
    schedulers.push({
      api: await freePort(portOf(before?.api)),
      control: await freePort(before?.controlPort ?? 0),
    });
  }
  return { master: await freePort(portOf(previous?.master)), schedulers };
}

function freePort(wanted: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error) => {
      if (wanted === 0) reject(error);
      else freePort(0).then(resolve, reject);
    });
    server.listen(wanted, HOST, () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

const paths = devPaths(process.argv[2] ?? '');
const settings = JSON.parse(readFileSync(paths.settings, 'utf8')) as DevSettings;
const schedulerCount = settings.schedulers?.length ?? 1;
const ports = await choosePorts(readJson<DevState>(paths.state), schedulerCount);
new Supervisor(paths, settings, ports).start();
