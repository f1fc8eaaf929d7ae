/**
 * The process behind a development cluster: starts the Mesos stand-in and the scheduler, and
 * starts the scheduler again whenever it ends, as Marathon would. `cistern dev up` runs it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type DevPaths,
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
  readonly api: number;
  readonly control: number;
}

class Supervisor {
  readonly #paths: DevPaths;
  readonly #settings: DevSettings;
  readonly #ports: Ports;
  #mesos: ChildProcess | null = null;
  #scheduler: ChildProcess | null = null;
  #isStopping = false;

  constructor(paths: DevPaths, settings: DevSettings, ports: Ports) {
    this.#paths = paths;
    this.#settings = settings;
    this.#ports = ports;
  }

  start(): void {
    for (const folder of [this.#paths.logs, this.#paths.sockets, this.#paths.mesos]) {
      mkdirSync(folder, { recursive: true });
    }
    this.#startMesos();
    this.#startScheduler();
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => this.#stop());
  }

  #startMesos(): void {
    const { agents, disksPerAgent, diskSizeMb, zones } = this.#settings;
    this.#mesos = this.#spawn('mesos', join(dist, 'dev', 'mesos', 'main.js'), [
      'serve',
      `--dir=${this.#paths.mesos}`,
      `--host=${this.#mesosHost}`,
      `--port=${this.#ports.master}`,
      `--agents=${agents}`,
      `--disks-per-agent=${disksPerAgent}`,
      `--disk-size=${diskSizeMb}`,
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

  #startScheduler(): void {
    if (this.#isStopping) return;
    const child = this.#spawn('scheduler', join(dist, 'scheduler', 'main.js'), [], {
      CISTERN_NAME: 'dev',
      CISTERN_MASTER: `http://${this.#mesosHost}:${this.#ports.master}`,
      CISTERN_STATE_DIR: this.#paths.store,
      CISTERN_HOST_LISTEN: this.#schedulerHost,
      CISTERN_ADVERTISE_HOST: this.#schedulerHost,
      CISTERN_API_PORT: String(this.#ports.api),
      CISTERN_CONTROL_PORT: String(this.#ports.control),
      ...this.#executorSettings(),
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
    this.#scheduler = child;
    child.on('exit', (code, signal) => {
      if (this.#isStopping || this.#scheduler !== child) return;
      console.error(`The scheduler ended (${signal ?? code}); starting it again`);
      setTimeout(() => this.#startScheduler(), SCHEDULER_RESTART_MS);
    });
    this.#writeState();
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

  #spawn(
    part: string,
    module: string,
    argumentsList: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ): ChildProcess {
    const log = openSync(join(this.#paths.logs, `${part}.log`), 'a');
    const wrapper = part === 'scheduler' ? (this.#settings.network?.schedulerWrapper ?? []) : [];
    const [program = '', ...rest] = [...wrapper, process.execPath, module, ...argumentsList];
    return spawn(program, rest, {
      env: { ...process.env, ...environment },
      stdio: ['ignore', log, log],
    });
  }

  #writeState(): void {
    const state: DevState = {
      pid: process.pid,
      api: `http://${this.#schedulerHost}:${this.#ports.api}`,
      master: `http://${this.#mesosHost}:${this.#ports.master}`,
      controlPort: this.#ports.control,
      schedulerPid: this.#scheduler?.pid ?? null,
      mesosPid: this.#mesos?.pid ?? null,
      startedAt: new Date().toISOString(),
    };
    writeJson(this.#paths.state, state);
  }

  /** The scheduler first, so that it does not take the agents' end for a catastrophe. */
  #stop(exitCode = 0): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    setTimeout(() => process.exit(1), STOP_DEADLINE_MS).unref();
    const stopMesos = (): void => {
      const mesos = this.#mesos;
      if (mesos === null || mesos.exitCode !== null || mesos.signalCode !== null) {
        process.exit(exitCode);
      }
      mesos.once('exit', () => process.exit(exitCode));
      mesos.kill('SIGTERM');
    };
    const scheduler = this.#scheduler;
    if (scheduler === null || scheduler.exitCode !== null || scheduler.signalCode !== null) {
      stopMesos();
      return;
    }
    scheduler.once('exit', stopMesos);
    scheduler.kill('SIGTERM');
  }
}

/** The ports of the last run when they are free, else any: addresses in executors' memory stay right. */
async function choosePorts(previous: DevState | null): Promise<Ports> {
  const portOf = (url: string | undefined): number =>
    url === undefined ? 0 : Number(new URL(url).port);
  return {
    master: await freePort(portOf(previous?.master)),
    api: await freePort(portOf(previous?.api)),
    control: await freePort(previous?.controlPort ?? 0),
  };
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
const ports = await choosePorts(readJson<DevState>(paths.state));
new Supervisor(paths, settings, ports).start();
