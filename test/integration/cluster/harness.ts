/**
 * A development cluster for tests: real processes in a directory of their own, ended for certain
 * afterwards. What tests do to it goes through the same commands that `cistern dev` uses; pids are found
 * in `/proc`, so that a test can kill exactly the process it means.
 *
 * `CISTERN_TEST_KEEP=1` leaves the directory with all logs behind.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { request } from 'undici';
import {
  type DevAgent,
  type DevPlace,
  devAgentAdd,
  devAgentKill,
  devAgentStart,
  devAgentStop,
  devDown,
  devStatus,
  devUp,
} from '../../../dev/cluster/commands.ts';
import {
  type DevPaths,
  type DevSettings,
  type DevState,
  devPaths,
  isAlive,
  readJson,
} from '../../../dev/cluster/layout.ts';
import { ApiClient, waitFor } from '../../../dev/demo/api-client.ts';
import { type FioJob, type FioRun, runFio } from '../../../dev/demo/fio.ts';
import { present } from '../../../shared/base/assert.ts';
import { describeError } from '../../../shared/base/errors.ts';
import type {
  AttachmentView,
  ClusterView,
  DiskView,
  ErrorView,
  JobView,
  NodeView,
  PoolView,
} from '../../../shared/model/api-views.ts';
import { childrenOf, processesOf, signalQuietly } from './processes.ts';

/** For tests that fail, not for slow machines. */
export const PATIENCE_MS = 90_000;
/** Mocha's timeout for a test that waits for the cluster: its own deadlines end it first. */
export const TEST_TIMEOUT_MS = 240_000;

/** The compiled tree that this file runs from. */
export const DIST = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export interface CliRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class TestCluster {
  readonly directory: string;
  readonly paths: DevPaths;
  readonly #place: DevPlace;
  readonly #isOwn: boolean;
  readonly #fios = new Set<FioRun>();
  readonly #onExit: () => void;
  #api: ApiClient | null = null;

  private constructor(directory: string, isOwn: boolean) {
    this.directory = directory;
    this.#isOwn = isOwn;
    this.paths = devPaths(directory);
    this.#place = { directory, report: () => undefined };
    // Mocha may be interrupted: then nothing else runs.
    this.#onExit = () => this.killEverything();
    process.on('exit', this.#onExit);
  }

  /** Whoever names a directory removes it. */
  static async start(
    settings: Partial<DevSettings> = {},
    directory: string | null = null,
  ): Promise<TestCluster> {
    const cluster = new TestCluster(
      directory ?? mkdtempSync(join(tmpdir(), 'cistern-it-')),
      directory === null,
    );
    try {
      await devUp({ ...cluster.#place, settings, isDetached: true });
    } catch (error) {
      const logs = cluster.logTail('scheduler');
      await cluster.close();
      throw new Error(`${describeError(error)}\n${logs}`);
    }
    return cluster;
  }

  /** Everything ends in order, and is started again on the same directory. */
  async restart(): Promise<void> {
    await devDown({ ...this.#place, isPurge: false });
    await devUp({ ...this.#place, settings: {}, isDetached: true });
    this.#api = null;
  }

  /** Idempotent; never leaves a process behind. */
  async close(): Promise<void> {
    for (const run of this.#fios) run.stop();
    await devDown({ ...this.#place, isPurge: false }).catch(() => undefined);
    this.killEverything();
    process.off('exit', this.#onExit);
    if (!this.#isOwn) return;
    if (process.env['CISTERN_TEST_KEEP'] === undefined) {
      rmSync(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    } else {
      console.error(`Kept: ${this.directory}`);
    }
  }

  /** SIGKILL for all: supervisor, Mesos, scheduler, executors, clients. */
  killEverything(): void {
    for (const pid of processesOf(this.directory)) signalQuietly(pid, 'SIGKILL');
  }

  // ── What it says ───────────────────────────────────────────────────────────────────────────

  get api(): ApiClient {
    this.#api ??= new ApiClient(this.state.api);
    return this.#api;
  }

  /** As the supervisor wrote it last. */
  get state(): DevState {
    return present(readJson<DevState>(this.paths.state), 'the cluster was started');
  }

  cluster(): Promise<ClusterView> {
    return this.api.get<ClusterView>('/cluster');
  }

  nodes(): Promise<readonly NodeView[]> {
    return this.api.get<readonly NodeView[]>('/nodes');
  }

  disks(): Promise<readonly DiskView[]> {
    return this.api.get<readonly DiskView[]>('/disks');
  }

  async pool(): Promise<PoolView> {
    const [pool] = await this.api.get<readonly PoolView[]>('/pools');
    return present(pool, 'a pool');
  }

  async jobs(kind: JobView['kind']): Promise<readonly JobView[]> {
    const jobs = await this.api.get<readonly JobView[]>('/jobs');
    return jobs.filter((job) => job.kind === kind);
  }

  /** One request, whatever the answer. */
  async call(
    method: 'GET' | 'POST' | 'DELETE' | 'PATCH',
    path: string,
    body?: unknown,
  ): Promise<Answer> {
    const answer = await request(`${this.state.api}/v1${path}`, {
      method,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    const text = await answer.body.text();
    return { status: answer.statusCode, body: text === '' ? null : JSON.parse(text) };
  }

  /** Runs the command line as an operator would. */
  cli(...args: readonly string[]): Promise<CliRun> {
    return runNode([join(DIST, 'cli', 'main.js'), ...args], { CISTERN_DEV_DIR: this.directory });
  }

  /** Every message of the cluster's log of that part, from the end. */
  logTail(part: 'scheduler' | 'mesos' | 'supervisor'): string {
    try {
      return readFileSync(join(this.paths.logs, `${part}.log`), 'utf8').slice(-LOG_TAIL);
    } catch {
      return ''; // It did not come so far.
    }
  }

  // ── Volumes ────────────────────────────────────────────────────────────────────────────────

  async attach(
    name: string,
    volume: { readonly sizeMb: number; readonly replicas?: number; readonly node?: string },
  ): Promise<AttachedVolume> {
    const { sizeMb, replicas = 2, node } = volume;
    await this.api.post('/volumes', { name, sizeBytes: sizeMb * 1024 ** 2, replicas });
    return this.attachAgain(name, node);
  }

  /** Waits until the attachment serves and names its addresses. */
  async attachAgain(name: string, node?: string): Promise<AttachedVolume> {
    // Refused while the node that has it still counts as up, also when it died a moment ago.
    await waitFor(`volume "${name}" to be attached`, PATIENCE_MS, async () => {
      await this.api.post(`/volumes/${name}/attach`, node === undefined ? {} : { node });
      return true;
    });
    return waitFor(`volume "${name}" to serve`, PATIENCE_MS, async () => {
      const attachments = await this.api.get<readonly AttachmentView[]>('/attachments');
      const found = attachments.find((attachment) => attachment.volumeName === name);
      if (found === undefined || found.state !== 'serving') return null;
      const { unixUri, tcpUri, hostname } = found;
      return unixUri === null || tcpUri === null ? null : { unixUri, tcpUri, hostname, name };
    });
  }

  fio(job: Partial<FioJob> & { readonly uri: string; readonly sizeMb: number }): FioRun {
    const run = runFio({
      blockKb: 4,
      pattern: 'randwrite',
      depth: 16,
      rateIops: null,
      isVerifyOnly: false,
      ...job,
    });
    this.#fios.add(run);
    // Nobody may be waiting yet when it fails; whoever does gets the failure all the same.
    run.done.catch(() => undefined).finally(() => this.#fios.delete(run));
    return run;
  }

  /** Faults should hit work in progress. */
  waitForWrites(volume: AttachedVolume): Promise<true> {
    return waitFor(`writes to "${volume.name}" to flow`, PATIENCE_MS, async () => {
      const attachments = await this.api.get<readonly AttachmentView[]>('/attachments');
      const found = attachments.find((attachment) => attachment.volumeName === volume.name);
      return (found?.io.writeOpsPerSecond ?? 0) > 50 ? true : null;
    });
  }

  // ── Health ─────────────────────────────────────────────────────────────────────────────────

  /** By itself: nobody helps. */
  waitUntilHealthy(patienceMs = PATIENCE_MS): Promise<ClusterView> {
    let last = '';
    return waitFor('health to be ok', patienceMs, async () => {
      const cluster = await this.cluster();
      const isOk = cluster.health === 'ok' && cluster.pgs.clean === cluster.pgs.total;
      last = cluster.reasons.map((reason) => reason.message).join('; ');
      return isOk && cluster.disksServing === cluster.diskCount ? cluster : null;
    }).catch((error: unknown) => {
      throw new Error(`${describeError(error)}: ${last}`);
    });
  }

  waitForJob(kind: JobView['kind'], after: readonly JobView[] = []): Promise<JobView> {
    return waitFor(`a ${kind} job to be done`, PATIENCE_MS, async () => {
      const known = new Set(after.map((job) => job.id));
      const job = (await this.jobs(kind)).filter((one) => !known.has(one.id)).at(-1);
      return job?.state === 'done' ? job : null;
    });
  }

  // ── Agents and processes ───────────────────────────────────────────────────────────────────

  async agents(): Promise<readonly DevAgent[]> {
    return (await devStatus(this.#place)).agents;
  }

  async agent(name: string): Promise<DevAgent> {
    const agents = await this.agents();
    return present(
      agents.find((agent) => agent.name === name),
      `agent "${name}"`,
    );
  }

  /** Names of the agents that do not coordinate the volume. */
  async othersThan(volume: AttachedVolume): Promise<readonly string[]> {
    return (await this.agents())
      .map((agent) => agent.name)
      .filter((name) => name !== volume.hostname);
  }

  /** Waits for one: it may be restarting. */
  executorPid(name: string): Promise<number> {
    return waitFor(`an executor on ${name}`, PATIENCE_MS, async () => {
      return (await this.agent(name)).pid;
    });
  }

  /** The data process is its executor's only child. */
  async dataPid(name: string): Promise<number> {
    return waitFor(`a data process on ${name}`, PATIENCE_MS, async () => {
      return childrenOf(await this.executorPid(name))[0] ?? null;
    });
  }

  /** Killed already is as good: random kills may meet. */
  async kill(pid: number): Promise<void> {
    signalQuietly(pid, 'SIGKILL');
    await waitFor(`process ${pid} to end`, PATIENCE_MS, async () => (isAlive(pid) ? null : true));
  }

  addAgent(disks: number | null = null): Promise<DevAgent> {
    return devAgentAdd({ ...this.#place, disks, diskSizeMb: null, zone: null });
  }

  killAgent(agent: string): Promise<DevAgent> {
    return devAgentKill({ ...this.#place, agent });
  }

  stopAgent(agent: string): Promise<DevAgent> {
    return devAgentStop({ ...this.#place, agent });
  }

  startAgent(agent: string): Promise<DevAgent> {
    return devAgentStart({ ...this.#place, agent });
  }

  get schedulerPid(): number {
    return present(this.state.schedulerPid, 'the scheduler was started');
  }

  /** Waits until a scheduler leads with a higher term than before. */
  waitForScheduler(termBefore: number): Promise<ClusterView> {
    return waitFor('the next scheduler to lead', PATIENCE_MS, async () => {
      const cluster = await this.cluster();
      return cluster.term > termBefore && cluster.isMesosConnected ? cluster : null;
    });
  }

  /** While the supervisor is frozen nothing restarts the scheduler. */
  keepSchedulerAway(ms: number): Promise<void> {
    return this.withoutScheduler(() => sleep(ms));
  }

  /** The scheduler is killed, and started again after `action`. */
  async withoutScheduler<T>(action: () => Promise<T>): Promise<T> {
    const { pid } = this.state;
    process.kill(pid, 'SIGSTOP');
    try {
      // Its frozen parent does not collect it: it is dead, and stays in the process table.
      process.kill(this.schedulerPid, 'SIGKILL');
      return await action();
    } finally {
      process.kill(pid, 'SIGCONT');
    }
  }
}

export interface AttachedVolume {
  readonly name: string;
  readonly unixUri: string;
  readonly tcpUri: string;
  /** Name of the agent whose gateway coordinates it. */
  readonly hostname: string;
}

const LOG_TAIL = 4_000;
/** A command that waits has a shorter deadline of its own. */
const COMMAND_DEADLINE_MS = 120_000;

/** Runs one of our own programs to its end, whatever the end. */
export function runNode(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<CliRun> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const deadline = setTimeout(() => child.kill('SIGKILL'), COMMAND_DEADLINE_MS);
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(deadline);
      resolve({ code, stdout, stderr });
    });
  });
}

/** The message of an error answer, for checks of its text. */
export function messageOf(answer: Answer): string {
  return (answer.body as ErrorView | null)?.message ?? '';
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
