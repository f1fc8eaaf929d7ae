/**
 * The Mesos stand-in: a master and any number of agents in one process, which speak the real v1
 * HTTP APIs, run real executor processes and keep volumes in real directories. Everything lives in
 * one directory, from which a later process goes on: agents, reservations, volumes, even running
 * executors.
 */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { StorageError } from '../../shared/base/errors.ts';
import type { MaintenanceSchedule, Resource } from '../../shared/mesos/messages.ts';
import { Agent } from './agent.ts';
import { type AgentSpec, prepareDisks, REGION_DEFAULT } from './agent-spec.ts';
import { Announcement } from './announcement.ts';
import { handleControl } from './control-api.ts';
import type { HttpServer } from './http-server.ts';
import { updateSchedule } from './maintenance.ts';
import { Master } from './master.ts';
import { type Misbehaviour, MisbehaviourSwitch } from './misbehaviour.ts';
import { createRedirector } from './redirector.ts';
import { Timing } from './timing.ts';

export type StandInOptions = {
  /** Holds everything; made when it is not there. */
  readonly directory: string;
  /** Address of the master and of all agents. Default 127.0.0.1. */
  readonly host?: string;
  /** 0 takes any free port; default: the port of the last time in this directory, else 0. */
  readonly masterPort?: number;
  /** Mesos' intervals are divided by this. Default 1. */
  readonly timeScale?: number;
  /** Refuse with a clear message what a real Mesos passes over in silence. Default false. */
  readonly lint?: boolean;
  /** Principals and secrets for Basic authentication; missing: nobody is asked. */
  readonly credentials?: Readonly<Record<string, string>>;
  readonly region?: string;
  readonly zone?: string;
  /** Name by which the master calls itself in redirects. Default: its address. */
  readonly hostname?: string;
  /** While a master or an agent starts, each step (404, 503) lasts this long. Default 50 ms. */
  readonly startStepMs?: number;
  /** The master begins as after a restart: 404, then 503, then ready. Default: ready at once. */
  readonly isColdStart?: boolean;
  /** ZooKeeper's session time-out: so long others redirect to a leader that died. Default 8 s. */
  readonly leaderSessionMs?: number;
  /** `zk://host:port,…/path`: masters announce themselves there. Missing: they do not. */
  readonly zookeeper?: string;
};

/** Long enough that a client which asks again and again sees each step of a start. */
const START_STEP_MS = 50;

/** As long as a real one was redirected to. */
const LEADER_SESSION_MS = 8_000;

type SavedCluster = { readonly masterPort: number; readonly agents: readonly AgentSpec[] };

export type AgentState = {
  readonly name: string;
  /** Empty until the agent has registered. */
  readonly agentId: string;
  readonly port: number;
  readonly isRunning: boolean;
  readonly isRegistered: boolean;
  readonly directory: string;
  readonly executorPids: readonly number[];
  readonly spec: AgentSpec;
  readonly resources: readonly Resource[];
};

export type StandInState = {
  readonly masterUrl: string;
  readonly masterId: string;
  readonly isMasterRunning: boolean;
  readonly agents: readonly AgentState[];
  readonly frameworks: readonly {
    readonly id: string;
    readonly name: string;
    readonly isConnected: boolean;
  }[];
  readonly tasks: readonly {
    readonly taskId: string;
    readonly frameworkId: string;
    readonly agentId: string;
    readonly state: string;
  }[];
  readonly misbehaviour: Misbehaviour;
};

export class MesosStandIn {
  readonly #options: StandInOptions;
  readonly #host: string;
  readonly #startStepMs: number;
  readonly #timing: Timing;
  readonly #misbehaviour = new MisbehaviourSwitch();
  readonly #master: Master;
  readonly #agents = new Map<string, { readonly agent: Agent; readonly spec: AgentSpec }>();
  readonly #redirectors = new Map<number, HttpServer>();
  #masterPort = 0;
  /** Real time at which the others stop redirecting to a leader that died. */
  #deadLeaderUntilMs = 0;
  /** Of masters in ZooKeeper, by port. */
  readonly #announcements = new Map<number, Announcement>();

  private constructor(options: StandInOptions) {
    this.#options = options;
    this.#host = options.host ?? '127.0.0.1';
    this.#startStepMs = options.startStepMs ?? START_STEP_MS;
    this.#timing = new Timing(options.timeScale ?? 1);
    this.#master = new Master(
      {
        directory: options.directory,
        host: this.#host,
        hostname: options.hostname ?? this.#host,
        startStepMs: this.#startStepMs,
        region: options.region ?? REGION_DEFAULT,
        zone: options.zone ?? 'zone1',
        timing: this.#timing,
        misbehaviour: this.#misbehaviour,
        lint: options.lint ?? false,
        credentials: options.credentials,
      },
      (request) => handleControl(this, request),
    );
  }

  /** Starts the master, and the agents that the directory has from earlier. */
  static async start(options: StandInOptions): Promise<MesosStandIn> {
    mkdirSync(options.directory, { recursive: true });
    const standIn = new MesosStandIn(options);
    const saved = standIn.#load();
    standIn.#masterPort = await standIn.#master.start(
      options.masterPort ?? saved?.masterPort ?? 0,
      options.isColdStart,
    );
    await standIn.#announce(standIn.#masterPort);
    for (const spec of saved?.agents ?? []) standIn.#create(spec);
    await Promise.all([...standIn.#agents.values()].map(({ agent }) => agent.start()));
    standIn.#save();
    return standIn;
  }

  get masterUrl(): string {
    return `http://${this.#host}:${this.#masterPort}`;
  }

  get agentNames(): string[] {
    return [...this.#agents.keys()];
  }

  #load(): SavedCluster | undefined {
    const path = join(this.#options.directory, 'cluster.json');
    return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as SavedCluster) : undefined;
  }

  #save(): void {
    const agents = [...this.#agents.values()].map(({ spec }) => spec);
    const state: SavedCluster = { masterPort: this.#masterPort, agents };
    writeFileSync(join(this.#options.directory, 'cluster.json'), JSON.stringify(state, null, 2));
  }

  #agentDirectory(name: string): string {
    return join(this.#options.directory, 'agents', name);
  }

  #create(spec: AgentSpec): Agent {
    const agent = new Agent({
      spec,
      directory: this.#agentDirectory(spec.name),
      ip: spec.ip ?? this.#host,
      timeScale: this.#options.timeScale ?? 1,
      startStepMs: this.#startStepMs,
      lint: this.#options.lint ?? false,
      misbehaviour: this.#misbehaviour,
      master: this.#master,
    });
    this.#agents.set(spec.name, { agent, spec });
    return agent;
  }

  #get(name: string): Agent {
    const found = this.#agents.get(name);
    if (found === undefined) {
      const known = this.agentNames.join('", "');
      throw new StorageError('not-found', `Agent "${name}" does not exist, known: "${known}"`);
    }
    return found.agent;
  }

  /** Adds and starts an agent; disks without a path get directories of the stand-in's own. */
  async addAgent(given: AgentSpec): Promise<void> {
    if (this.#agents.has(given.name)) {
      throw new StorageError('already-exists', `Agent "${given.name}" exists already`);
    }
    const spec = prepareDisks(given, this.#agentDirectory(given.name));
    const agent = this.#create(spec);
    this.#save();
    await agent.start();
  }

  /** Power-off: every executor dies, the master hears nothing until its pings time out. */
  async killAgent(name: string): Promise<void> {
    const agent = this.#get(name);
    if (!agent.isRunning) return;
    const { id } = agent;
    await agent.powerOff();
    this.#master.agentWentSilent(id);
  }

  /** The agent's process ends; executors go on, and the master notices at once. */
  async stopAgent(name: string): Promise<void> {
    const agent = this.#get(name);
    if (!agent.isRunning) return;
    const { id } = agent;
    await agent.stop();
    this.#master.agentStopped(id);
  }

  /** The agent's process is stopped (SIGSTOP): the master hears nothing, executors go on. */
  freezeAgent(name: string): void {
    const agent = this.#get(name);
    agent.freeze();
    this.#master.agentWentSilent(agent.id);
  }

  /** The stopped process goes on. */
  thawAgent(name: string): void {
    const agent = this.#get(name);
    agent.thaw();
    this.#master.agentIsHeard(agent.id);
  }

  /** The agent shuts its executors down and unregisters, as a real one does on SIGUSR1. */
  async retireAgent(name: string): Promise<void> {
    const agent = this.#get(name);
    if (agent.isRunning) await agent.retire();
  }

  /** Starts an agent that was stopped or killed. */
  async startAgent(name: string): Promise<void> {
    const agent = this.#get(name);
    if (!agent.isRunning) await agent.start();
  }

  /**
   * Deletes the work directory of a stopped agent: it comes back as a new one, without
   * reservations.
   */
  wipeAgent(name: string): void {
    const agent = this.#get(name);
    if (agent.isRunning)
      throw new StorageError('conflict', `Agent "${name}" is running, expected stopped`);
    agent.wipe();
  }

  /** The master dies and comes back on the same port: frameworks and tasks are forgotten. */
  async restartMaster(): Promise<void> {
    await this.stopMaster();
    await this.startMaster();
  }

  async stopMaster(): Promise<void> {
    await this.#master.stop();
    const sessionMs = this.#options.leaderSessionMs ?? LEADER_SESSION_MS;
    this.#deadLeaderUntilMs = Date.now() + this.#timing.scaled(sessionMs);
    const announcement = this.#announcements.get(this.#masterPort);
    this.#announcements.delete(this.#masterPort);
    if (announcement !== undefined) {
      setTimeout(() => announcement.withdraw(), this.#timing.scaled(sessionMs));
    }
    for (const { agent } of this.#agents.values()) agent.masterLost();
  }

  async startMaster(): Promise<void> {
    if (this.#master.isRunning) return;
    await this.#master.start(this.#masterPort, true);
    await this.#announce(this.#masterPort);
  }

  async #announce(port: number): Promise<void> {
    const { zookeeper, hostname = this.#host } = this.#options;
    if (zookeeper === undefined) return;
    const master = {
      ...this.#master.core.masterInfo(),
      port,
      pid: `master@${this.#host}:${port}`,
      address: { hostname, ip: this.#host, port },
    };
    this.#announcements.set(port, await Announcement.make(zookeeper, master));
  }

  /** A master that does not lead: 307 to the leader. Returns its URL. */
  async addRedirectingMaster(port = 0): Promise<string> {
    const hostname = this.#options.hostname ?? this.#host;
    // A leader that died is named until its ZooKeeper session has ended.
    const isNamed = () => this.#master.isRunning || Date.now() < this.#deadLeaderUntilMs;
    const leader = () => (isNamed() ? `${hostname}:${this.#masterPort}` : undefined);
    const startedAtMs = Date.now();
    const startStepMs = this.#options.isColdStart === true ? this.#startStepMs : 0;
    const isStarting = () => Date.now() - startedAtMs < startStepMs;
    const server = createRedirector(leader, isStarting);
    const actual = await server.listen(this.#host, port);
    this.#redirectors.set(actual, server);
    await this.#announce(actual);
    return `http://${this.#host}:${actual}`;
  }

  /** The leader is dead, or dies now: the master that redirected at `url` leads. */
  async failOverTo(url: string): Promise<void> {
    const port = Number(new URL(url).port);
    const redirector = this.#redirectors.get(port);
    if (redirector === undefined) {
      throw new StorageError('not-found', `No master redirects at "${url}"`);
    }
    if (this.#master.isRunning) await this.stopMaster();
    this.#redirectors.delete(port);
    await redirector.close();
    this.#masterPort = await this.#master.start(port);
  }

  setMaintenance(schedule: MaintenanceSchedule): void {
    updateSchedule(this.#master.core, schedule);
  }

  misbehave(changes: Partial<Misbehaviour>): void {
    this.#misbehaviour.set(changes);
  }

  /** Breaks the event streams of all schedulers once. */
  dropStreams(): void {
    this.#master.dropStreams();
  }

  state(): StandInState {
    const { core } = this.#master;
    return {
      masterUrl: this.masterUrl,
      masterId: core.masterId,
      isMasterRunning: this.#master.isRunning,
      agents: [...this.#agents.values()].map(({ agent, spec }) => ({
        name: spec.name,
        agentId: agent.id,
        port: agent.port,
        isRunning: agent.isRunning,
        isRegistered: core.agents.get(agent.id)?.isConnected === true,
        directory: this.#agentDirectory(spec.name),
        executorPids: agent.executorPids,
        spec,
        resources: agent.total,
      })),
      frameworks: [...core.frameworks.values()].map(({ id, info, subscription }) => ({
        id,
        name: info.name,
        isConnected: subscription !== undefined,
      })),
      tasks: [...core.tasks.values()].map((task) => ({
        taskId: task.info.task_id.value,
        frameworkId: task.frameworkId,
        agentId: task.agentId,
        state: task.isUnreachable ? 'TASK_UNREACHABLE' : task.state,
      })),
      misbehaviour: this.#misbehaviour.current,
    };
  }

  /**
   * Ends everything. With `keepExecutors` they go on, and a later start in this directory finds
   * them.
   */
  async close(options: { readonly keepExecutors?: boolean } = {}): Promise<void> {
    const agents = [...this.#agents.values()].map(({ agent }) => agent);
    const running = agents.filter((agent) => agent.isRunning);
    const end = (agent: Agent) =>
      options.keepExecutors === true ? agent.stop() : agent.powerOff();
    await Promise.all(running.map(end));
    if (options.keepExecutors !== true) for (const agent of agents) agent.killLeftExecutors();
    await this.#master.stop();
    for (const announcement of this.#announcements.values()) announcement.withdraw();
    await Promise.all([...this.#redirectors.values()].map((server) => server.close()));
    this.#timing.close();
  }
}
