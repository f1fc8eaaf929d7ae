/** What `cistern dev …` does: starts and stops the development cluster and its agents. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { request } from 'undici';
import { describeError, StorageError } from '../../shared/base/errors.ts';
import type { ClusterView } from '../../shared/model/api-views.ts';
import {
  DEV_DEFAULTS,
  type DevPaths,
  type DevSettings,
  type DevState,
  devPaths,
  isAlive,
  readJson,
  writeJson,
} from './layout.ts';

/** Generous: a shared machine may take its time to start a dozen processes. */
const UP_DEADLINE_MS = 120_000;
const DOWN_DEADLINE_MS = 30_000;
const POLL_MS = 200;
/** As the stand-in's own agents. */
const AGENT_CPUS = 4;
const AGENT_MEMORY_MB = 4096;

export interface DevPlace {
  readonly directory: string;
  /** Says what happens, or what is being waited for. */
  readonly report: (text: string) => void;
}

export interface DevUpOptions extends DevPlace {
  /** Fields that are absent keep the value of the last time, or the default. */
  readonly settings: Partial<DevSettings>;
  /** false: stays in the foreground until Ctrl-C, then takes everything down. */
  readonly isDetached: boolean;
}

export interface DevAgent {
  readonly name: string;
  readonly state: 'running' | 'stopped' | 'killed';
  readonly pid: number | null;
  readonly zone: string | null;
  readonly disks: readonly string[];
}

export interface DevCluster {
  readonly api: string | null;
  readonly directory: string;
  readonly isRunning: boolean;
  /** Names of processes that should run and do not, or other trouble. */
  readonly problems: readonly string[];
  readonly agents: readonly DevAgent[];
}

export interface DevAgentAddOptions extends DevPlace {
  /** null: as the cluster's other agents. */
  readonly disks: number | null;
  readonly diskSizeMb: number | null;
  readonly zone: string | null;
}

export interface DevAgentOptions extends DevPlace {
  readonly agent: string;
}

/** Starts the cluster and waits until every agent's node is up; resolves with the state. */
export async function devUp(options: DevUpOptions): Promise<DevCluster> {
  const paths = devPaths(options.directory);
  const running = readRunning(paths);
  if (running !== null) {
    throw new StorageError(
      'already-exists',
      `A development cluster runs already in "${paths.root}" (API ${running.api}); stop it with: cistern dev down`,
      { directory: paths.root, api: running.api },
    );
  }
  const kept = readJson<DevSettings>(paths.settings);
  const settings: DevSettings = { ...DEV_DEFAULTS, ...(kept ?? {}), ...options.settings };
  mkdirSync(paths.logs, { recursive: true });
  writeJson(paths.settings, settings);
  const log = openSync(join(paths.logs, 'supervisor.log'), 'a');
  const dist = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
  const child = spawn(process.execPath, [join(dist, 'dev/cluster/supervisor.js'), paths.root], {
    detached: options.isDetached,
    stdio: ['ignore', log, log],
  });
  let exit: string | null = null;
  child.on('exit', (code, signal) => {
    exit = signal ?? `exit code ${code}`;
  });
  const state = await waitUntilUp(paths, child.pid ?? -1, settings, options.report, () => exit);
  if (options.isDetached) {
    child.unref();
    return devStatus(options);
  }
  options.report(`Running; Ctrl-C stops everything. API and dashboard: ${state.api}`);
  await new Promise<void>((resolve) => {
    child.on('exit', () => resolve());
    process.on('SIGINT', () => child.kill('SIGTERM'));
    process.on('SIGTERM', () => child.kill('SIGTERM'));
  });
  return devStatus(options);
}

async function waitUntilUp(
  paths: DevPaths,
  pid: number,
  settings: DevSettings,
  onProgress: (text: string) => void,
  exited: () => string | null,
): Promise<DevState> {
  const deadline = Date.now() + UP_DEADLINE_MS;
  let last = 'the supervisor to start';
  onProgress('Starting the Mesos stand-in and the scheduler');
  while (Date.now() < deadline) {
    const ended = exited();
    if (ended !== null) {
      throw new StorageError(
        'unavailable',
        `The development cluster ended while starting (${ended}); see "${paths.logs}"`,
      );
    }
    const state = readJson<DevState>(paths.state);
    if (state !== null && state.pid === pid) {
      const cluster = await readCluster(state.api);
      if (cluster === null) last = `the scheduler's API at ${state.api}`;
      else if (cluster.nodesUp < settings.agents || cluster.disksServing < settings.agents) {
        const text = `${cluster.nodesUp} of ${settings.agents} nodes up, ${cluster.disksServing} disks serving`;
        if (text !== last) onProgress(text);
        last = text;
      } else {
        onProgress(`${cluster.nodesUp} nodes up, ${cluster.disksServing} disks serving`);
        return state;
      }
    }
    await sleep(POLL_MS);
  }
  throw new StorageError(
    'timeout',
    `The development cluster is not up after ${UP_DEADLINE_MS / 1000} s; waited for: ${last}; logs are in "${paths.logs}"`,
  );
}

/** Ends every process; with `isPurge` the directory goes too, with all data in it. */
export async function devDown(options: DevPlace & { readonly isPurge: boolean }): Promise<void> {
  const paths = devPaths(options.directory);
  const state = readRunning(paths);
  if (state !== null) {
    process.kill(state.pid, 'SIGTERM');
    const deadline = Date.now() + DOWN_DEADLINE_MS;
    while (isAlive(state.pid) && Date.now() < deadline) await sleep(POLL_MS);
    if (isAlive(state.pid)) {
      throw new StorageError(
        'timeout',
        `The supervisor (process ${state.pid}) did not end within ${DOWN_DEADLINE_MS / 1000} s`,
      );
    }
  }
  if (options.isPurge && existsSync(paths.root)) {
    if (!existsSync(paths.settings)) {
      throw new StorageError(
        'foreign-data',
        `Directory "${paths.root}" holds no development cluster; it was not removed`,
      );
    }
    rmSync(paths.root, { recursive: true, force: true });
  }
}

export async function devStatus(place: DevPlace): Promise<DevCluster> {
  const paths = devPaths(place.directory);
  const state = readRunning(paths);
  if (state === null) {
    return { api: null, directory: paths.root, isRunning: false, problems: [], agents: [] };
  }
  const problems = [];
  if (!state.schedulers.every(({ pid }) => isAlive(pid))) {
    problems.push('A scheduler does not run (it is restarted)');
  }
  if (!isAlive(state.mesosPid)) problems.push('The Mesos stand-in does not run');
  return {
    api: state.api,
    directory: paths.root,
    isRunning: true,
    problems,
    // The stand-in knows its agents whether there is a scheduler or not.
    agents: isAlive(state.mesosPid) ? await listAgents(state) : [],
  };
}

export async function devAgentAdd(options: DevAgentAddOptions): Promise<DevAgent> {
  const paths = devPaths(options.directory);
  const state = getRunning(paths);
  const settings = readJson<DevSettings>(paths.settings) ?? DEV_DEFAULTS;
  const name = nextAgentName(await listAgents(state));
  const { diskKind: kind = 'mount' } = settings;
  const disk = { kind, sizeMb: options.diskSizeMb ?? settings.diskSizeMb };
  await standIn(state, 'POST', '/stand-in/agents', {
    name,
    ...(options.zone === null ? {} : { zone: options.zone }),
    cpus: AGENT_CPUS,
    mem: AGENT_MEMORY_MB,
    disks: Array.from({ length: options.disks ?? settings.disksPerAgent }, () => disk),
  });
  return getAgent(state, name);
}

function nextAgentName(agents: readonly DevAgent[]): string {
  let number = agents.length + 1;
  while (agents.some((agent) => agent.name === `agent${number}`)) number += 1;
  return `agent${number}`;
}

/** Like a power cut: the agent and everything on it are gone at once. */
export function devAgentKill(options: DevAgentOptions): Promise<DevAgent> {
  return actOnAgent(options, 'kill');
}

/** The agent process ends, its executors stay. */
export function devAgentStop(options: DevAgentOptions): Promise<DevAgent> {
  return actOnAgent(options, 'stop');
}

export function devAgentStart(options: DevAgentOptions): Promise<DevAgent> {
  return actOnAgent(options, 'start');
}

async function actOnAgent(
  options: DevAgentOptions,
  action: 'kill' | 'stop' | 'start',
): Promise<DevAgent> {
  const state = getRunning(devPaths(options.directory));
  const name = encodeURIComponent(options.agent);
  await standIn(state, 'POST', `/stand-in/agents/${name}/${action}`, {});
  return getAgent(state, options.agent);
}

async function getAgent(state: DevState, name: string): Promise<DevAgent> {
  const agents = await listAgents(state);
  const agent = agents.find((candidate) => candidate.name === name);
  if (agent === undefined) {
    throw new StorageError('not-found', `There is no agent "${name}"`, {
      agents: agents.map((candidate) => candidate.name).join(', '),
    });
  }
  return agent;
}

/** What the stand-in says of an agent, as far as it is of interest here. */
interface StandInAgent {
  readonly name: string;
  readonly isRunning: boolean;
  readonly executorPids: readonly number[];
  readonly spec: {
    readonly zone?: string;
    readonly disks: readonly { readonly path?: string }[];
  };
}

async function listAgents(state: DevState): Promise<readonly DevAgent[]> {
  const answer = await standIn(state, 'GET', '/stand-in/state');
  return (answer as { readonly agents: readonly StandInAgent[] }).agents.map((agent) => ({
    name: agent.name,
    state: agent.isRunning ? 'running' : agent.executorPids.length > 0 ? 'stopped' : 'killed',
    pid: agent.executorPids[0] ?? null,
    zone: agent.spec.zone ?? null,
    disks: agent.spec.disks.map((disk) => disk.path ?? 'root'),
  }));
}

async function standIn(
  state: DevState,
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
): Promise<unknown> {
  const answer = await request(`${state.master}${path}`, {
    method,
    headersTimeout: 30_000,
    ...(body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  }).catch((error: unknown) => {
    throw new StorageError(
      'unavailable',
      `The Mesos stand-in at ${state.master} does not answer: ${describeError(error)}`,
    );
  });
  const text = await answer.body.text();
  if (answer.statusCode >= 300) {
    throw new StorageError('invalid-argument', `The Mesos stand-in refused: ${reasonIn(text)}`);
  }
  return text === '' ? null : JSON.parse(text);
}

/** The stand-in answers `{"error": …}`; whatever else it is, it is shown as it is. */
function reasonIn(text: string): string {
  try {
    const { error } = JSON.parse(text) as { readonly error?: unknown };
    return typeof error === 'string' ? error : text;
  } catch {
    return text;
  }
}

function readRunning(paths: DevPaths): DevState | null {
  const state = readJson<DevState>(paths.state);
  return state !== null && isAlive(state.pid) ? state : null;
}

function getRunning(paths: DevPaths): DevState {
  const state = readRunning(paths);
  if (state === null) {
    throw new StorageError(
      'unavailable',
      `No development cluster runs in "${paths.root}"; start one with: cistern dev up --detach`,
    );
  }
  return state;
}

/** From the first scheduler that has a leader to ask; null: none yet. */
async function readCluster(api: string): Promise<ClusterView | null> {
  for (const address of api.split(',')) {
    try {
      const answer = await request(`${address}/v1/cluster`, { headersTimeout: 5_000 });
      // A standby's own copy says nothing of what is up.
      if (answer.statusCode === 200 && answer.headers['cistern-snapshot-age'] === undefined) {
        return (await answer.body.json()) as ClusterView;
      }
      await answer.body.dump();
    } catch {
      // Not listening yet.
    }
  }
  return null;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
