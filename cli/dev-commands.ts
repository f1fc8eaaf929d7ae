/**
 * What the `dev` and `demo` commands need of `dev/`: the development cluster (a Mesos stand-in with real
 * schedulers and executors on this machine) and the demonstration. Loaded only when used, so that a
 * production installation may leave `dev/` out.
 */
import { describeError } from '../shared/base/errors.ts';
import { failure } from './failures.ts';

export interface DevPlace {
  /** Where the cluster keeps its state and data. */
  readonly directory: string;
  /** What happens, for the person watching. */
  readonly report: (line: string) => void;
}

export interface DevUpOptions extends DevPlace {
  readonly agents: number;
  readonly disksPerAgent: number;
  readonly diskSizeBytes: number;
  /** Of the operator API; 0 for any free one. */
  readonly port: number;
}

export interface DevDownOptions extends DevPlace {
  /** Also deletes all data. */
  readonly isPurge: boolean;
}

export interface DevAgentOptions extends DevPlace {
  readonly agent: string;
}

export interface DevAgentAddOptions extends DevPlace {
  readonly disks: number;
  readonly diskSizeBytes: number;
  readonly zone: string | null;
}

export interface DevAgentView {
  readonly name: string;
  readonly state: 'running' | 'stopped' | 'killed';
  readonly pid: number | null;
  readonly zone: string | null;
  readonly disks: readonly string[];
}

export interface DevClusterView {
  readonly api: string | null;
  readonly directory: string;
  readonly isRunning: boolean;
  /** Names of processes that should run and do not, or other trouble. */
  readonly problems: readonly string[];
  readonly agents: readonly DevAgentView[];
}

/** `dev/cluster/commands.ts`. Failures reject with a `StorageError`. */
export interface DevCommands {
  /** Resolves when the API answers and all agents have registered. Idempotent. */
  devUp(options: DevUpOptions): Promise<DevClusterView>;
  devDown(options: DevDownOptions): Promise<void>;
  devStatus(options: DevPlace): Promise<DevClusterView>;
  devAgentAdd(options: DevAgentAddOptions): Promise<DevAgentView>;
  /** Power loss: agent and executor die at once. */
  devAgentKill(options: DevAgentOptions): Promise<DevAgentView>;
  /** Orderly end of agent and executor. */
  devAgentStop(options: DevAgentOptions): Promise<DevAgentView>;
  devAgentStart(options: DevAgentOptions): Promise<DevAgentView>;
}

export interface DemoOptions extends DevPlace {
  /** Leaves the cluster running afterwards. */
  readonly isKept: boolean;
  readonly isQuick: boolean;
}

/** `dev/demo/demo.ts`: resolves with whether everything went as promised. */
export interface DemoCommands {
  runDemo(options: DemoOptions): Promise<boolean>;
}

export async function loadDevCommands(): Promise<DevCommands> {
  return (await load('../dev/cluster/commands.js')) as DevCommands;
}

export async function loadDemo(): Promise<DemoCommands> {
  return (await load('../dev/demo/demo.js')) as DemoCommands;
}

async function load(path: string): Promise<unknown> {
  try {
    return await import(new URL(path, import.meta.url).href);
  } catch (error) {
    throw failure(
      `The development cluster is not part of this installation: ${describeError(error)}`,
      'use a checkout of the sources, where "cistern dev up" works',
    );
  }
}
