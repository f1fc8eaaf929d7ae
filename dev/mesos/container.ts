/**
 * A container of the stand-in: one process group with a sandbox. It is watched until it ends, can
 * be killed whole, and outlives the stand-in: a later one can adopt it by its pid.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { CommandInfo } from '../../shared/mesos/messages.ts';

/** waitpid() status when nobody knows. */
export const STATUS_UNKNOWN = -1;
export const STATUS_KILLED = 9;

/** An adopted process is no child of ours: its death has to be looked for. */
const ADOPTED_POLL_MS = 200;

export type ContainerProcess = {
  readonly pid: number;
  /** Start time in clock ticks since boot: guards against a pid that is in use again. */
  readonly startTicks: string;
};

export class Container {
  readonly process: ContainerProcess;
  readonly #sandbox: string;
  readonly #onExit: (status: number) => void;
  #poll: NodeJS.Timeout | undefined;
  #isWatched = true;
  #wasKilled = false;

  private constructor(
    process: ContainerProcess,
    sandbox: string,
    onExit: (status: number) => void,
  ) {
    this.process = process;
    this.#sandbox = sandbox;
    this.#onExit = onExit;
  }

  /** Undefined when the command cannot be started at all. */
  static start(
    command: CommandInfo,
    environment: Readonly<Record<string, string>>,
    sandbox: string,
    onExit: (status: number) => void,
  ): Container | undefined {
    const child = spawnCommand(command, environment, sandbox);
    child.on('error', () => undefined); // no pid: the caller sees undefined
    if (child.pid === undefined) return undefined;
    const identity = { pid: child.pid, startTicks: readStartTicks(child.pid) ?? '' };
    const container = new Container(identity, sandbox, onExit);
    child.on('exit', (code, signal) => container.#exited(waitStatus(code, signal)));
    child.unref();
    return container;
  }

  /** Undefined when the process is not there any more. */
  static adopt(
    process: ContainerProcess,
    sandbox: string,
    onExit: (status: number) => void,
  ): Container | undefined {
    if (!isAlive(process)) return undefined;
    const container = new Container(process, sandbox, onExit);
    container.#poll = setInterval(() => {
      if (isAlive(process)) return;
      container.#exited(container.#wasKilled ? STATUS_KILLED : STATUS_UNKNOWN);
    }, ADOPTED_POLL_MS);
    container.#poll.unref();
    return container;
  }

  /** Kills everything in the container. The end is reported through `onExit`. */
  kill(): void {
    this.#wasKilled = true;
    killAll(this.process, this.#sandbox);
  }

  /** Leaves the processes alone from now on and reports nothing any more. */
  release(): void {
    this.#isWatched = false;
    clearInterval(this.#poll);
  }

  #exited(status: number): void {
    clearInterval(this.#poll);
    if (!this.#isWatched) return;
    this.#isWatched = false;
    // The executor is dead: whatever it started dies with its container.
    killAll(this.process, this.#sandbox);
    this.#onExit(status);
  }
}

function spawnCommand(
  command: CommandInfo,
  environment: Readonly<Record<string, string>>,
  sandbox: string,
): ChildProcess {
  const output = openSync(join(sandbox, 'stdout'), 'a');
  const errors = openSync(join(sandbox, 'stderr'), 'a');
  try {
    const value = command.value ?? '';
    const isShell = command.shell !== false;
    const [argv0, ...rest] = command.arguments ?? [];
    return spawn(isShell ? '/bin/sh' : value, isShell ? ['-c', value] : rest, {
      cwd: sandbox,
      env: { ...environment },
      detached: true,
      stdio: ['ignore', output, errors],
      ...(isShell || argv0 === undefined ? {} : { argv0 }),
    });
  } finally {
    closeSync(output);
    closeSync(errors);
  }
}

function waitStatus(code: number | null, signal: NodeJS.Signals | null): number {
  if (signal !== null) return constants.signals[signal] ?? STATUS_UNKNOWN;
  return code === null ? STATUS_UNKNOWN : code << 8;
}

/** Field 22 of /proc/<pid>/stat; the second field may hold spaces and parentheses. */
function readStartTicks(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const state = fields[0];
    return state === 'Z' || state === 'X' ? undefined : fields[19];
  } catch {
    return undefined; // no such process
  }
}

export function isAlive(process: ContainerProcess): boolean {
  const ticks = readStartTicks(process.pid);
  return ticks !== undefined && (process.startTicks === '' || ticks === process.startTicks);
}

/** The process group, and whoever left it but still carries the sandbox in its environment. */
function killAll(container: ContainerProcess, sandbox: string): void {
  kill(-container.pid);
  const mark = `MESOS_SANDBOX=${sandbox}\0`;
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    try {
      if (`${readFileSync(`/proc/${pid}/environ`, 'latin1')}\0`.includes(mark)) kill(pid);
    } catch {
      // Ended meanwhile, or of another user: not in this container.
    }
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // No such process (group): already dead, which is what we want.
  }
}
