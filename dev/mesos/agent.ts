/**
 * One agent: its life (start, recover, register, stop, lose power), its link to the master, its
 * state on disk. Executors, resources and updates have files of their own.
 */

import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { FrameworkInfo, KillPolicy } from '../../shared/mesos/messages.ts';
import { AgentExecutors } from './agent-executors.ts';
import { AgentOperations } from './agent-operations.ts';
import {
  type AgentReport,
  type AgentSide,
  type DrainConfig,
  isTerminal,
  Link,
  type MasterSide,
  type OperationReport,
} from './agent-protocol.ts';
import { type AgentSpec, agentInfo, baseResources } from './agent-spec.ts';
import { Checkpoint } from './checkpoint.ts';
import { isCommandExecutor } from './command-task.ts';
import { Container } from './container.ts';
import { type AgentPhase, handleExecutorCall, isExecutorPath } from './executor-api.ts';
import type { SavedExecutor } from './executor-record.ts';
import { answerJson, answerText, HttpRefusal, HttpServer, type Request } from './http-server.ts';
import type { MisbehaviourSwitch } from './misbehaviour.ts';
import { type Resources, withoutAllocation } from './resources.ts';
import { type AgentAddress, REREGISTRATION_MS } from './sandbox.ts';
import { Timing } from './timing.ts';
import { type SavedStream, UpdateStreams } from './update-streams.ts';

type SavedAgent = {
  readonly id: string;
  readonly port: number;
  readonly total: Resources;
  readonly executors: readonly SavedExecutor[];
  readonly streams: readonly SavedStream[];
  readonly operations: readonly OperationReport[];
};

/** A registration that was not answered is tried again. */
const REGISTER_RETRY_MS = 1_000;

/** After its window an executor that did not come back is given up this much later. Real milliseconds. */
const RECOVERY_END_MS = 200;

/** How often an agent that shuts down looks whether its executors are gone. Real milliseconds. */
const EMPTY_POLL_MS = 50;

export type AgentOptions = {
  readonly spec: AgentSpec;
  /** The agent's own directory; the work directory is `work` in it. */
  readonly directory: string;
  readonly ip: string;
  readonly timeScale: number;
  /** While an agent starts, its API answers 404, then 503, for this long each. Real milliseconds. */
  readonly startStepMs: number;
  readonly lint: boolean;
  readonly misbehaviour: MisbehaviourSwitch;
  readonly master: MasterSide;
};

export class Agent implements AgentSide {
  readonly #options: AgentOptions;
  readonly #checkpoint: Checkpoint<SavedAgent>;
  #timing: Timing;
  #executors: AgentExecutors;
  #operations: AgentOperations;
  #streams: UpdateStreams;
  #server: HttpServer | undefined;
  #link: Link | undefined;
  #phase: AgentPhase = 'no-route';
  #id = '';
  #port = 0;
  #isRegistered = false;
  #drain: DrainConfig | undefined;
  /** Resolves when a frozen process goes on. */
  #thawed: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#checkpoint = new Checkpoint(join(options.directory, 'work', 'meta', 'agent.json'));
    this.#timing = new Timing(options.timeScale);
    this.#executors = this.#newExecutors();
    this.#operations = this.#newOperations(baseResources(options.spec));
    this.#streams = this.#newStreams();
  }

  get name(): string {
    return this.#options.spec.name;
  }

  get id(): string {
    return this.#id;
  }

  get port(): number {
    return this.#port;
  }

  get isRunning(): boolean {
    return this.#server !== undefined;
  }

  get total(): Resources {
    return this.#operations.total;
  }

  /** Pids of the executors that run here. */
  get executorPids(): number[] {
    const records = [...this.#executors.records.values()];
    return records.flatMap(({ container }) =>
      container === undefined ? [] : [container.process.pid],
    );
  }

  #newExecutors(): AgentExecutors {
    return new AgentExecutors(this.#timing, {
      address: () => this.#address(),
      agentInfo: () => agentInfo(this.#options.spec, this.#address()),
      pushUpdate: (frameworkId, status) => this.#streams.push(frameworkId, status),
      reportExit: (frameworkId, executorId, status) => {
        const { master } = this.#options;
        this.#tell(() => master.executorExited(this.#id, frameworkId, executorId, status));
      },
      drain: () => this.#drain,
      save: () => this.#save(),
    });
  }

  #newOperations(total: Resources): AgentOperations {
    return new AgentOperations(total, this.#timing, {
      workDirectory: () => this.#address().workDirectory,
      agentId: () => this.#id,
      used: () => this.#used(),
      forward: (report) => {
        const { total } = this.#operations;
        this.#tell(() => this.#options.master.operationUpdate(this.#id, report, total));
      },
      save: () => this.#save(),
    });
  }

  #newStreams(): UpdateStreams {
    return new UpdateStreams(this.#timing, (frameworkId, status, latest) => {
      this.#tell(() => this.#options.master.statusUpdate(this.#id, frameworkId, status, latest));
    });
  }

  #address(): AgentAddress {
    const workDirectory = join(this.#options.directory, 'work');
    return { id: this.#id, ip: this.#options.ip, port: this.#port, workDirectory };
  }

  #used(): Resources {
    return [...this.#executors.records.values()].flatMap((executor) => [
      ...withoutAllocation(executor.info.resources ?? []),
      ...[...executor.tasks.values()]
        .filter((task) => !isTerminal(task.state))
        .flatMap((task) => withoutAllocation(task.info.resources ?? [])),
    ]);
  }

  #tell(action: () => void): void {
    if (this.#isRegistered) this.#link?.send(action);
  }

  #save(): void {
    if (this.#server === undefined) return; // being powered off: the disk keeps what it had
    this.#checkpoint.save({
      id: this.#id,
      port: this.#port,
      total: this.#operations.total,
      executors: this.#executors.save(),
      streams: this.#streams.save(),
      operations: this.#operations.reports(),
    });
  }

  /** Starts the agent process: recovers what was there, then registers with the master. */
  async start(): Promise<void> {
    const { directory, ip, spec, timeScale } = this.#options;
    mkdirSync(join(directory, 'work'), { recursive: true });
    const saved = this.#checkpoint.load();
    this.#timing = new Timing(timeScale);
    this.#executors = this.#newExecutors();
    this.#streams = this.#newStreams();
    this.#operations = this.#newOperations(saved?.total ?? baseResources(spec));
    this.#id = saved?.id ?? '';
    this.#phase = saved === undefined ? 'ready' : 'no-route';
    const server = new HttpServer((request) => this.#handle(request));
    this.#port = await server.listen(ip, saved?.port ?? this.#port);
    this.#server = server;
    if (saved === undefined) {
      this.#register();
      return;
    }
    this.#streams.load(saved.streams);
    this.#operations.load(saved.operations);
    const isAnyAlive = this.#executors.recover(saved.executors);
    const { startStepMs } = this.#options;
    this.#timing.afterReal(startStepMs, () => {
      this.#phase = 'starting';
      this.#timing.afterReal(startStepMs, () => this.#recovered(isAnyAlive));
    });
  }

  /** The API is open; executors of the earlier life have their window to come back. */
  #recovered(isAnyAlive: boolean): void {
    this.#phase = 'recovering';
    this.#timing.afterReal(isAnyAlive ? REREGISTRATION_MS : 0, () => {
      this.#phase = 'ready';
      this.#register();
      // Containers are destroyed after that: their end is news to the master of this registration.
      this.#timing.afterReal(RECOVERY_END_MS, () => this.#executors.endRecovery());
    });
  }

  #register(): void {
    if (this.#server === undefined || this.#thawed !== undefined) return;
    this.#isRegistered = false;
    this.#link?.break();
    const link = new Link();
    this.#link = link;
    link.send(() => this.#options.master.registerAgent(this.#report(), this, link));
    this.#timing.after(REGISTER_RETRY_MS, () => {
      if (!this.#isRegistered && this.#link === link) this.#register();
    });
  }

  #report(): AgentReport {
    const records = [...this.#executors.records.values()];
    return {
      id: this.#id === '' ? undefined : this.#id,
      info: agentInfo(this.#options.spec, this.#address()),
      pid: `slave(1)@${this.#options.ip}:${this.#port}`,
      ip: this.#options.ip,
      total: this.#operations.total,
      frameworks: records.map((executor) => executor.framework),
      executors: records
        .filter(({ info }) => !isCommandExecutor(info))
        .map(({ frameworkId, info }) => ({ frameworkId, info })),
      tasks: this.#executors.reportTasks(),
      operations: this.#operations.reports(),
    };
  }

  /** The master process is gone: register again as soon as it answers. */
  masterLost(): void {
    if (this.#server !== undefined && this.#phase === 'ready') this.#register();
  }

  registered(agentId: string, drain: DrainConfig | undefined): void {
    this.#id = agentId;
    this.#isRegistered = true;
    this.#drain = drain;
    this.#save();
    this.#streams.resend();
    this.#operations.resend();
  }

  /**
   * The agent was removed: its executors are shut down, and it comes back as a new one, or not at
   * all.
   */
  shutDown(_reason: string, isGone: boolean): void {
    this.#isRegistered = false;
    this.#link?.break();
    this.#link = undefined;
    for (const executor of this.#executors.records.values()) this.#executors.shutDown(executor);
    this.#whenEmpty(() => {
      this.#streams.close();
      this.#streams = this.#newStreams();
      // Nobody will acknowledge how its tasks ended: the agent that comes back has never had them.
      this.#executors = this.#newExecutors();
      this.#id = '';
      this.#drain = undefined;
      this.#save();
      if (!isGone) this.#register();
    });
  }

  #whenEmpty(action: () => void): void {
    if (this.#executors.records.size === 0) action();
    else this.#timing.afterReal(EMPTY_POLL_MS, () => this.#whenEmpty(action));
  }

  runTask(...parameters: Parameters<AgentSide['runTask']>): void {
    this.#executors.run(...parameters);
  }

  applyOperation(...parameters: Parameters<AgentSide['applyOperation']>): void {
    this.#operations.apply(...parameters);
  }

  killTask(frameworkId: string, taskId: string, policy: KillPolicy | undefined): void {
    this.#executors.kill(frameworkId, taskId, policy);
  }

  shutDownExecutor(frameworkId: string, executorId: string): void {
    const executor = this.#executors.find(frameworkId, executorId);
    if (executor !== undefined) this.#executors.shutDown(executor);
  }

  shutDownFramework(frameworkId: string): void {
    this.#executors.shutDownFramework(frameworkId);
    this.#executors.forgetFramework(frameworkId);
    this.#streams.drop(frameworkId);
    this.#operations.dropFramework(frameworkId);
  }

  deliverMessage(frameworkId: string, executorId: string, data: Buffer): void {
    const executor = this.#executors.find(frameworkId, executorId);
    executor?.connection?.send({ type: 'MESSAGE', message: { data } });
  }

  acknowledgeUpdate(frameworkId: string, taskId: string, uuid: Buffer): void {
    const status = this.#streams.acknowledge(frameworkId, taskId, uuid);
    if (status === undefined) return;
    if (isTerminal(status.state)) this.#executors.forgetTask(frameworkId, taskId);
    this.#save();
  }

  acknowledgeOperation(statusUuid: Buffer): void {
    this.#operations.acknowledge(statusUuid);
  }

  frameworkChanged(framework: FrameworkInfo): void {
    const frameworkId = framework.id?.value ?? '';
    for (const executor of this.#executors.records.values()) {
      if (executor.frameworkId === frameworkId) executor.framework = framework;
    }
    this.#streams.resend(frameworkId);
  }

  drain(config: DrainConfig | undefined): void {
    this.#drain = config;
    if (config === undefined) return;
    for (const executor of this.#executors.records.values()) {
      for (const task of executor.tasks.values()) {
        const own = Number(task.info.kill_policy?.grace_period?.nanoseconds ?? Number.NaN) / 1e6;
        const limit = config.maxGracePeriodMs;
        // Only a limit below the task's own grace period travels in the KILL event.
        const isShorter = limit !== undefined && limit < own;
        const policy = isShorter ? { grace_period: { nanoseconds: limit * 1e6 } } : undefined;
        this.#executors.kill(executor.frameworkId, task.info.task_id.value, policy);
      }
    }
  }

  /** The process is stopped (SIGSTOP): it answers nobody, and its connections stay open. */
  freeze(): void {
    if (this.#thawed !== undefined || this.#server === undefined) return;
    let resolve: () => void = () => undefined;
    const promise = new Promise<void>((done) => {
      resolve = done;
    });
    this.#thawed = { promise, resolve };
    this.#link?.hold();
  }

  /** The process goes on (SIGCONT), and finds out what became of its registration. */
  thaw(): void {
    const thawed = this.#thawed;
    if (thawed === undefined) return;
    this.#thawed = undefined;
    this.#link?.release();
    if (this.#link?.isUp !== true) this.#register();
    thawed.resolve();
  }

  async #handle(request: Request): Promise<void> {
    await this.#thawed?.promise;
    if (isExecutorPath(request.path)) {
      handleExecutorCall(
        {
          executors: this.#executors,
          misbehaviour: this.#options.misbehaviour,
          phase: () => this.#phase,
          onMessage: (frameworkId, executorId, data) => {
            const { master } = this.#options;
            this.#tell(() => master.executorMessage(this.#id, frameworkId, executorId, data));
          },
          lint: this.#options.lint,
        },
        request,
      );
    } else if (request.path === '/health') answerText(request.response, 200, '');
    else if (request.path === '/state' || request.path === '/slave(1)/state') {
      answerJson(request.response, { id: this.#id, hostname: this.name, total: this.total });
    } else throw new HttpRefusal(404, '404 Not Found.');
  }

  /** The agent process ends (TCP connections break); executors go on. */
  async stop(): Promise<void> {
    this.#save();
    this.#link?.break();
    this.#executors.release();
    await this.#closeDown();
  }

  /**
   * Says goodbye to the master: executors are shut down, and the agent will come back as a new one.
   */
  async retire(): Promise<void> {
    const { id } = this;
    this.#tell(() => this.#options.master.unregisterAgent(id));
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.shutDown('the agent unregistered', true);
    await new Promise<void>((resolve) => this.#whenEmpty(resolve));
    await this.#closeDown();
  }

  /** Power is cut: executors die, and the master hears nothing at all. */
  async powerOff(): Promise<void> {
    this.#save();
    this.#link?.silence();
    const server = this.#server;
    this.#server = undefined;
    this.#executors.powerOff();
    this.#server = server;
    await this.#closeDown();
  }

  /** Kills the executors that a stopped agent has left running. */
  killLeftExecutors(): void {
    for (const { process, sandbox } of this.#checkpoint.load()?.executors ?? []) {
      if (process !== undefined) Container.adopt(process, sandbox, () => undefined)?.kill();
    }
  }

  /**
   * Forgets the work directory, as an operator does who wipes it; disks stay. The agent must be
   * stopped.
   */
  wipe(): void {
    rmSync(join(this.#options.directory, 'work'), { recursive: true, force: true });
  }

  async #closeDown(): Promise<void> {
    this.#thawed?.resolve();
    this.#thawed = undefined;
    this.#streams.close();
    this.#operations.close();
    this.#timing.close();
    this.#isRegistered = false;
    this.#phase = 'no-route';
    const server = this.#server;
    this.#server = undefined;
    await server?.close();
  }
}
