/**
 * Composition root of the scheduler. A process first stands by: its API answers, and it campaigns. Once it
 * leads it goes on until its leadership is over; then it ends, and whoever watches over it (Marathon)
 * starts it again as a standby. The only place here that reads the process's environment and ends the process.
 *
 *   standing by ─▶ leading ─▶ over: exit 75, or 78 when only an operator can help
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describeError, StorageError } from '../shared/base/errors.ts';
import { systemClock } from '../shared/node/clock.ts';
import { createLog } from '../shared/node/log.ts';
import { systemRandom } from '../shared/node/random.ts';
import type { Log, MetadataStore } from '../shared/ports.ts';
import { type ApiServer, startApi } from './api/server.ts';
import { type Config, readConfig } from './config.ts';
import { lead } from './leadership/leading.ts';
import { Standby } from './leadership/standby.ts';
import { managerOptions } from './manager-options.ts';
import { openStore } from './metadata/open-store.ts';
import { createMetrics } from './metrics.ts';

/** Starting again would end in the same way: for a restart policy that tells the two apart. */
const EXIT_NEEDS_OPERATOR = 78;
/** Its leadership is over, or its store is away: starting again is right. */
const EXIT_DEPOSED = 75;
/** Executors are served by whoever leads. */
const STANDBY_CONTROL = 'none:0';
/** Longest wait for connections to close on the way out. */
const STOP_DEADLINE_MS = 3_000;

const root = findRoot();
const VERSION = (
  JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
).version;

try {
  await run();
} catch (error) {
  process.stderr.write(`cistern scheduler: ${describeError(error)}\n`);
  process.exit(exitCodeOf(error));
}

function exitCodeOf(error: unknown): number {
  if (!(error instanceof StorageError)) return 1;
  // An uninstalled cluster stays so until an operator says otherwise.
  if (error.details['needsOperator'] === true) return EXIT_NEEDS_OPERATOR;
  return error.code === 'invalid-argument' ? 2 : 1;
}

async function run(): Promise<void> {
  const given = readConfig(process.argv.slice(2), process.env);
  const log = createLog({ part: 'scheduler', level: given.logLevel });
  const store = openStore(given.store, join(root, 'proto'), {
    clock: systemClock,
    random: systemRandom,
    log,
  });
  const end = endOfProcess(store, log);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => void end.stop(`it got ${signal}`, 0));
  }
  try {
    const { config, standby, api } = await standBy(given, store, log);
    end.add(() => api.close());
    const leadership = await store.campaign({ address: standby.address });
    const leading = await lead({
      config,
      log,
      store,
      leadership,
      version: VERSION,
      root,
      onOver: (reason, isPermanent) =>
        void end.stop(reason, isPermanent ? EXIT_NEEDS_OPERATOR : EXIT_DEPOSED),
    });
    end.addFirst(() => leading.close());
    standby.lead(leading.manager);
  } catch (error) {
    if (end.hasBegun) return;
    // The place of a leader is given back before the process ends, or the others wait for its session.
    await end.close();
    throw error;
  }
}

/** The API comes up first: a process that waits for its turn answers, and says who leads. */
async function standBy(
  config: Config,
  store: MetadataStore,
  log: Log,
): Promise<{ readonly config: Config; readonly standby: Standby; readonly api: ApiServer }> {
  // The port may be any free one, and only the listening server knows it.
  let bound = config;
  // A wrong setting is told at once, not when this process is needed.
  const readOptions = () => managerOptions(bound, STANDBY_CONTROL, VERSION);
  readOptions();
  const standby = new Standby({
    clock: systemClock,
    log,
    store,
    readAddress: () => baseUrl(bound),
    readOptions,
  });
  const api = await startApi(
    {
      host: config.host,
      port: config.apiPort,
      version: VERSION,
      dashboardDirectory: existingFolder(join(root, 'dist', 'dashboard')),
      artefactDirectory: config.artefactDirectory,
    },
    { manager: standby, metrics: createMetrics(standby), log, standby },
  );
  bound = { ...config, apiPort: api.port };
  // For a time without leader and store; an empty store has nothing to show yet.
  standby.followStore().catch(() => undefined);
  log('info', 'Scheduler stands by', { api: api.url, address: standby.address });
  return { config: bound, standby, api };
}

function baseUrl({ advertisedHost: host, apiPort }: Config): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${apiPort}`;
}

interface EndOfProcess {
  readonly hasBegun: boolean;
  /** Closed before everything that was added earlier. */
  addFirst(close: () => void): void;
  add(close: () => Promise<void>): void;
  close(): Promise<void>;
  /** Ends the process. Once. */
  stop(reason: string, exitCode: number): Promise<void>;
}

/** What leads falls silent in this very moment; everything else gets some seconds. */
function endOfProcess(store: MetadataStore, log: Log): EndOfProcess {
  const first: (() => void)[] = [];
  const rest: (() => Promise<void>)[] = [];
  let hasBegun = false;
  const close = async (): Promise<void> => {
    for (const one of first.splice(0)) one();
    await Promise.allSettled([...rest.splice(0).map((one) => one()), store.close()]);
  };
  return {
    get hasBegun() {
      return hasBegun;
    },
    addFirst: (one) => void first.unshift(one),
    add: (one) => void rest.push(one),
    close,
    async stop(reason, exitCode) {
      if (hasBegun) return;
      hasBegun = true;
      log('info', 'Scheduler is stopping', { reason, exitCode });
      setTimeout(() => process.exit(exitCode), STOP_DEADLINE_MS).unref();
      await close();
      process.exit(exitCode);
    },
  };
}

function existingFolder(path: string): string | null {
  return existsSync(path) ? path : null;
}

/** The folder that holds package.json and proto/, some levels above the compiled module. */
function findRoot(): string {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let folder = start; folder !== dirname(folder); folder = dirname(folder)) {
    if (existsSync(join(folder, 'proto', 'cistern', 'control.proto'))) return folder;
  }
  throw new StorageError('not-found', `No folder "proto" above "${start}"`);
}
