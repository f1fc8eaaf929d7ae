/**
 * A scheduler's shell in its smallest form (state, subscription, a tick) against the Mesos stand-in over
 * real HTTP, with real executor processes. What the real shell commits is kept in memory here.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AgentSpec } from '../../../dev/mesos/agent-spec.ts';
import { MesosStandIn, type StandInOptions } from '../../../dev/mesos/cluster.ts';
import { createState } from '../../../scheduler/core/bootstrap.ts';
import type { Effect, ManagerOptions } from '../../../scheduler/core/contract.ts';
import {
  mesosSubscription,
  onMesosDisconnected,
  onMesosEvent,
  planMesos,
  renewFramework,
} from '../../../scheduler/core/mesos/framework.ts';
import type { DiskRecord } from '../../../scheduler/core/records.ts';
import type { Now, State } from '../../../scheduler/core/state.ts';
import type { Authorization } from '../../../scheduler/mesos/access.ts';
import {
  createMesosScheduler,
  type MesosScheduler,
  type MesosTiming,
} from '../../../scheduler/mesos/client.ts';
import type { ContentType } from '../../../shared/mesos/codec.ts';
import type { SchedulerCall, SchedulerEvent } from '../../../shared/mesos/scheduler-messages.ts';
import { systemClock } from '../../../shared/node/clock.ts';
import type { TlsSettings } from '../../../shared/node/mesos-connection.ts';
import { systemRandom } from '../../../shared/node/random.ts';
import { CLUSTER_ID, OPTIONS } from '../../unit/offers/scenario.ts';

const EXECUTOR = fileURLToPath(new URL('./tiny-executor.js', import.meta.url));

export interface ShellOptions {
  readonly masters: readonly string[] | (() => Promise<readonly string[]>);
  readonly contentType?: ContentType;
  readonly manager?: Partial<ManagerOptions>;
  readonly store?: Map<string, string>;
  readonly term?: number;
  readonly timing?: Partial<MesosTiming>;
  readonly authorization?: Authorization;
  readonly tls?: TlsSettings;
  /** The process dies (for Mesos) right before its first ACCEPT leaves: facts are committed. */
  readonly diesAtAccept?: boolean;
  /** Right before a call leaves. */
  readonly onCall?: (call: SchedulerCall) => void;
  /** `--new-framework-id`. */
  readonly isNewFramework?: boolean;
}

export class Shell {
  readonly state: State;
  readonly store: Map<string, string>;
  readonly events: SchedulerEvent[] = [];
  readonly calls: SchedulerCall[] = [];
  readonly disconnects: string[] = [];
  readonly abdications: string[] = [];
  readonly #mesos: MesosScheduler;
  readonly #diesAtAccept: boolean;
  readonly #onCall: (call: SchedulerCall) => void;
  readonly #ticker: NodeJS.Timeout;

  constructor(options: ShellOptions) {
    this.store = options.store ?? new Map();
    this.#diesAtAccept = options.diesAtAccept ?? false;
    this.#onCall = options.onCall ?? (() => undefined);
    const entries = [...this.store].map(([key, value]) => ({ key, value }));
    const manager: ManagerOptions = {
      ...OPTIONS,
      user: process.env['USER'] ?? 'root',
      executor: {
        ...OPTIONS.executor,
        command: `exec '${process.execPath}' '${EXECUTOR}'`,
        environment: { TINY_JSON: options.contentType === 'application/json' ? '1' : '0' },
      },
      ...options.manager,
    };
    const setup = {
      options: manager,
      entries,
      term: options.term ?? 1,
      newClusterId: CLUSTER_ID,
    };
    this.state = createState(setup, this.now);
    if (options.isNewFramework === true) renewFramework(this.state);
    this.#commit();
    this.#mesos = createMesosScheduler({
      masters: options.masters,
      contentType: options.contentType ?? 'application/x-protobuf',
      authorization: options.authorization ?? { kind: 'none' },
      tls: options.tls ?? null,
      onEvent: (event) => {
        this.events.push(event);
        this.#perform(onMesosEvent(this.state, event, this.now));
        return undefined;
      },
      onDisconnected: (reason) => {
        this.disconnects.push(reason);
        this.#perform(onMesosDisconnected(this.state, reason, this.now));
      },
      log: (level, message, fields) => {
        if (process.env['MESOS_TEST_LOG'] === '1') console.error(level, message, fields);
      },
      clock: systemClock,
      random: systemRandom,
      timing: { backoffMsBase: 20, backoffMsMax: 200, ...options.timing },
    });
    const { frameworkInfo, frameworkId, suppressedRoles } = mesosSubscription(this.state);
    this.#mesos.subscribe(frameworkInfo, frameworkId, suppressedRoles);
    this.#ticker = setInterval(() => this.#perform(planMesos(this.state, this.now)), 50);
  }

  get now(): Now {
    return { ms: systemClock.now(), wallMs: systemClock.wall() };
  }

  get disks(): DiskRecord[] {
    return [...this.state.facts.disks.values()];
  }

  call(call: SchedulerCall): void {
    this.calls.push(call);
    this.#onCall(call);
    if (this.#diesAtAccept && call.type === 'ACCEPT') this.close();
    this.#mesos.call(call);
  }

  /** What a detector says when another master leads. */
  follow(masters: readonly string[]): void {
    this.#mesos.follow(masters);
  }

  close(): void {
    clearInterval(this.#ticker);
    this.#mesos.close();
  }

  #perform(effects: readonly Effect[]): void {
    this.#commit();
    for (const effect of effects) {
      if (effect.kind === 'mesos-call') this.call(effect.call);
      if (effect.kind === 'abdicate') this.abdications.push(effect.reason);
    }
  }

  #commit(): void {
    for (const { key, value } of this.state.facts.takeChanges().store) {
      if (value === null) this.store.delete(key);
      else this.store.set(key, value);
    }
  }
}

/** A stand-in in a fresh directory, and the shells on it: all closed by `close`. */
export class World {
  readonly mesos: MesosStandIn;
  readonly directory: string;
  readonly #shells: Shell[] = [];

  private constructor(mesos: MesosStandIn, directory: string) {
    this.mesos = mesos;
    this.directory = directory;
  }

  static async start(options: Partial<StandInOptions> = {}): Promise<World> {
    const directory = mkdtempSync(join(tmpdir(), 'mesosclient-'));
    const mesos = await MesosStandIn.start({ directory, lint: true, ...options });
    return new World(mesos, directory);
  }

  async addAgent(name: string, more: Partial<AgentSpec> = {}): Promise<void> {
    await this.mesos.addAgent({
      name,
      cpus: 4,
      mem: 2048,
      zone: 'z1',
      disks: [
        { kind: 'mount', sizeMb: 250 },
        { kind: 'path', sizeMb: 1000 },
        { kind: 'root', sizeMb: 500 },
      ],
      ...more,
    });
  }

  shell(options: Partial<ShellOptions> = {}): Shell {
    const shell = new Shell({ masters: [this.mesos.masterUrl], ...options });
    this.#shells.push(shell);
    return shell;
  }

  async close(): Promise<void> {
    for (const shell of this.#shells) shell.close();
    await this.mesos.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Waits for a condition with a deadline that only a broken test reaches. */
export async function until(
  what: string,
  condition: () => boolean,
  deadlineMs = 30_000,
): Promise<void> {
  const endMs = systemClock.now() + deadlineMs;
  while (!condition()) {
    if (systemClock.now() > endMs) throw new Error(`Waited ${deadlineMs} ms for: ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
}

/** All tasks of the shell's disks are confirmed to run. */
export async function untilRunning(shell: Shell, count: number): Promise<void> {
  await until(`${count} running tasks`, () => {
    const { tasks } = shell.state.mesos;
    return shell.disks.filter(({ id }) => tasks.get(id)?.life === 'alive').length === count;
  });
}

/** What the executors of an agent wrote to standard error, all runs together. */
export function executorOutput(world: World, agent = 0): string {
  const { directory } = world.mesos.state().agents[agent] ?? { directory: '' };
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('/stderr') && !name.includes('/latest/'))
    .map((name) => readFileSync(join(directory, name), 'utf8'))
    .join('');
}
