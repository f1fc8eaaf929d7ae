/**
 * Runs an app definition as Marathon would, as far as ours uses it: instances on hosts of their own, what
 * `fetch` names in a sandbox, the command by /bin/sh with the environment and the ports, health checks
 * with a grace period, and an upgrade that keeps as many instances healthy as its strategy says.
 *
 * Hosts are addresses of this machine. Times of health checks are divided by `timeScale`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { request } from 'undici';
import { present } from '../../../shared/base/assert.ts';
import { StorageError } from '../../../shared/base/errors.ts';
import { freePorts } from '../../fixture/free-ports.ts';

export interface AppDefinition {
  readonly id: string;
  readonly cmd: string;
  readonly instances: number;
  readonly constraints: readonly (readonly string[])[];
  readonly fetch: readonly { readonly uri: string; readonly extract: boolean }[];
  readonly portDefinitions: readonly { readonly name: string }[];
  readonly env: Readonly<Record<string, string>>;
  readonly healthChecks: readonly {
    readonly protocol: string;
    readonly path: string;
    readonly portIndex: number;
    readonly gracePeriodSeconds: number;
    readonly intervalSeconds: number;
    readonly timeoutSeconds: number;
    readonly maxConsecutiveFailures: number;
  }[];
  readonly upgradeStrategy: { readonly minimumHealthCapacity: number };
  readonly taskKillGracePeriodSeconds: number;
}

export interface RunnerOptions {
  readonly directory: string;
  readonly hosts: readonly string[];
  /** Files in the place of what `fetch` names. */
  readonly files: Readonly<Record<string, string>>;
  /** What an operator edits in `env`. */
  readonly environment: Readonly<Record<string, string>>;
  readonly timeScale: number;
}

export interface Instance {
  readonly host: string;
  readonly ports: readonly number[];
  readonly sandbox: string;
  readonly process: ChildProcess;
  isHealthy: boolean;
  /** Health checks have ended it. */
  isCondemned: boolean;
}

export class AppRunner {
  readonly #app: AppDefinition;
  readonly #options: RunnerOptions;
  readonly #instances: Instance[] = [];
  #launched = 0;
  #isClosed = false;
  /** The fewest healthy instances since all were healthy for the first time. */
  leastHealthy = Number.POSITIVE_INFINITY;
  killedByChecks = 0;

  constructor(app: AppDefinition, options: RunnerOptions) {
    this.#app = app;
    this.#options = options;
  }

  get instances(): readonly Instance[] {
    return this.#instances;
  }

  get healthyCount(): number {
    return this.#instances.filter(({ isHealthy }) => isHealthy).length;
  }

  async start(patienceMs: number): Promise<void> {
    while (this.#instances.length < this.#app.instances) await this.#launch();
    await this.#until('all are healthy', patienceMs, () => this.#areAllHealthy());
    this.leastHealthy = this.#instances.length;
  }

  /** Replaces every instance, as a new deployment does. */
  async upgrade(patienceMs: number): Promise<void> {
    const kept = Math.ceil(this.#app.instances * this.#app.upgradeStrategy.minimumHealthCapacity);
    for (const old of [...this.#instances]) {
      await this.#until('one may go', patienceMs, () => this.healthyCount > kept);
      await this.#stop(old);
      await this.#launch();
      await this.#until('all are healthy', patienceMs, () => this.#areAllHealthy());
    }
  }

  /** Kills one as the kernel would; Marathon starts another. */
  async kill(instance: Instance, patienceMs: number): Promise<void> {
    instance.process.kill('SIGKILL');
    await this.#until('it is gone', patienceMs, () => !this.#instances.includes(instance));
    await this.#launch();
    await this.#until('all are healthy', patienceMs, () => this.#areAllHealthy());
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#instances.map((instance) => this.#stop(instance)));
  }

  #areAllHealthy(): boolean {
    return this.healthyCount === this.#app.instances;
  }

  async #launch(): Promise<void> {
    const host = this.#pickHost();
    this.#launched += 1;
    const sandbox = this.#sandboxOf(this.#launched);
    mkdirSync(sandbox, { recursive: true });
    for (const { uri, extract } of this.#app.fetch) {
      if (extract) throw new StorageError('invalid-argument', 'This runner unpacks nothing');
      copyFileSync(present(this.#options.files[uri], uri), join(sandbox, basename(uri)));
    }
    const ports = await freePorts(this.#app.portDefinitions.length);
    const log = openSync(join(sandbox, 'log'), 'a');
    const child = spawn('/bin/sh', ['-c', this.#app.cmd], {
      cwd: sandbox,
      stdio: ['ignore', log, log],
      // Nothing of ours: what the definition says, what Marathon adds, and a bare path.
      env: {
        PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
        HOST: host,
        PORTS: ports.join(','),
        ...Object.fromEntries(ports.map((port, index) => [`PORT${index}`, String(port)])),
        MESOS_SANDBOX: sandbox,
        MESOS_TASK_ID: `cistern.${this.#launched}`,
        MARATHON_APP_ID: this.#app.id,
        ...this.#app.env,
        ...this.#options.environment,
      },
    });
    const instance: Instance = {
      host,
      ports,
      sandbox,
      process: child,
      isHealthy: false,
      isCondemned: false,
    };
    this.#instances.push(instance);
    child.on('exit', () => {
      const index = this.#instances.indexOf(instance);
      if (index >= 0) this.#instances.splice(index, 1);
      this.#noteHealth();
    });
    void this.#check(instance);
  }

  /** `hostname UNIQUE`: each on one that has none. */
  #pickHost(): string {
    const isUnique = this.#app.constraints.some(
      ([field, operator]) => field === 'hostname' && operator === 'UNIQUE',
    );
    const taken = this.#instances.map(({ host }) => host);
    const host = this.#options.hosts.find((one) => !isUnique || !taken.includes(one));
    return present(host, 'a host that satisfies the constraints');
  }

  async #check(instance: Instance): Promise<void> {
    const check = present(this.#app.healthChecks[0], 'a health check');
    const { timeScale } = this.#options;
    const startMs = Date.now();
    let failures = 0;
    while (!this.#isClosed && this.#instances.includes(instance)) {
      const isHealthy = await answers(instance, check);
      const isGraced = Date.now() - startMs < check.gracePeriodSeconds * 1000;
      failures = isHealthy || (isGraced && !instance.isHealthy) ? 0 : failures + 1;
      instance.isHealthy = isHealthy;
      this.#noteHealth();
      if (failures >= check.maxConsecutiveFailures && !instance.isCondemned) {
        instance.isCondemned = true;
        this.killedByChecks += 1;
        instance.process.kill('SIGTERM');
      }
      await sleep((check.intervalSeconds * 1000) / timeScale);
    }
  }

  #noteHealth(): void {
    if (this.#isClosed) return;
    this.leastHealthy = Math.min(this.leastHealthy, this.healthyCount);
  }

  async #stop(instance: Instance): Promise<void> {
    const { process: child } = instance;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    const timer = setTimeout(
      () => child.kill('SIGKILL'),
      this.#app.taskKillGracePeriodSeconds * 1000,
    );
    await ended;
    clearTimeout(timer);
  }

  /** What every instance that was launched said last. */
  #describe(): string {
    const lines: string[] = [];
    for (let number = 1; number <= this.#launched; number += 1) {
      const log = readFileSync(join(this.#sandboxOf(number), 'log'), 'utf8').trimEnd();
      lines.push(`instance ${number}:`, ...log.split('\n').slice(-LINES_SHOWN));
    }
    return lines.join('\n');
  }

  #sandboxOf(number: number): string {
    return join(this.#options.directory, `instance-${number}`);
  }

  async #until(what: string, patienceMs: number, condition: () => boolean): Promise<void> {
    const endMs = Date.now() + patienceMs;
    while (!condition()) {
      if (Date.now() > endMs) {
        throw new StorageError('timeout', `Waited for: ${what}\n${this.#describe()}`);
      }
      await sleep(POLL_MS);
    }
  }
}

const POLL_MS = 50;
const LINES_SHOWN = 8;

async function answers(
  { host, ports }: Instance,
  check: AppDefinition['healthChecks'][number],
): Promise<boolean> {
  try {
    const { statusCode, body } = await request(
      `http://${host}:${ports[check.portIndex]}${check.path}`,
      { signal: AbortSignal.timeout(check.timeoutSeconds * 1000) },
    );
    await body.dump();
    return statusCode >= 200 && statusCode < 400;
  } catch {
    return false;
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
