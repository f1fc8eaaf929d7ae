/**
 * Command line and environment → a frozen `Config`. Every setting has an environment variable, because
 * Marathon deploys with those; the command line wins. `docs/operations.md` lists them all.
 */
import { join } from 'node:path';
import yargs from 'yargs';
import { invalidField } from '../shared/base/errors.ts';
import type { LogLevel } from '../shared/ports.ts';
import type { CapacityHookSettings } from './capacity-hook.ts';
import { type MasterAccess, readMasterAccess } from './mesos/access.ts';
import { readServiceAddress, type ServiceAddress } from './service-address.ts';
import { readStoreSettings, type StoreSettings } from './store-settings.ts';

export interface Config {
  readonly clusterName: string;
  /** Base URLs of Mesos masters, tried in turn; none when they are looked up in ZooKeeper. */
  readonly masters: readonly string[];
  readonly masterLookup: MasterLookup | null;
  readonly contentType: 'protobuf' | 'json';
  /** Forget the framework id: Mesos has removed that framework, and the operator wants a new one. */
  readonly isNewFramework: boolean;
  /** How the master is convinced of who we are, and TLS to it. */
  readonly access: MasterAccess;
  readonly store: StoreSettings;
  /** Clusters in our role that are none of ours; see core/mesos/lost-store.ts. */
  readonly ignoredClusters: readonly string[];
  readonly role: string;
  readonly principal: string;
  readonly user: string;
  readonly failoverTimeoutSeconds: number;
  readonly host: string;
  /** Host that executors and browsers reach us by. */
  readonly advertisedHost: string;
  readonly apiPort: number;
  readonly controlPort: number;
  readonly artefactDirectory: string | null;
  readonly executorCommand: string | null;
  /** Docker image with the executor, for agents that run images. */
  readonly executorImage: string | null;
  /** null: that of this program. Names what an executor started by a command or image is. */
  readonly executorVersion: string | null;
  readonly executorEnvironment: Readonly<Record<string, string>>;
  readonly executorCpus: number;
  readonly executorMemoryMb: number;
  readonly leaseMs: number;
  readonly rebuildAfterMs: number;
  /** The same for a node that an operator drains in Mesos. */
  readonly plannedOutageMs: number;
  /** null: a disk that was taken out for its errors stays out until an operator readmits it. */
  readonly diskReadmitAfterMs: number | null;
  /** 0: no brake on mass failure. */
  readonly brakeWindowMs: number;
  readonly suspectWaitMs: number;
  readonly resyncBytesPerSecond: number;
  readonly concurrentJoinsPerDisk: number;
  /** A cron expression, or `off`. */
  readonly scrubSchedule: string;
  readonly pgCount: number;
  readonly claimPerNode: number | null;
  readonly claimNodes: number | null;
  readonly expandAtRatio: number;
  readonly fullAtRatio: number;
  readonly expandCooldownMs: number;
  /** 0: no expansion because of a forecast. */
  readonly expandLeadMs: number;
  /** Attaches disks when offers have none; null: there is no hook. */
  readonly capacityHook: CapacityHookSettings | null;
  readonly overcommitRatio: number;
  readonly logLevel: LogLevel;
}

/** Where masters register themselves. */
export interface MasterLookup {
  readonly address: ServiceAddress;
  /** What masters speak: their nodes do not tell. */
  readonly scheme: 'http' | 'https';
}

const LOG_LEVELS: readonly LogLevel[] = ['error', 'warn', 'info', 'debug'];

/** Throws `invalid-argument` naming the setting, what was given and what is allowed. */
export function readConfig(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Config {
  const given = yargs([...argv])
    .scriptName('cistern-scheduler')
    .usage('$0 --master URL [options]')
    .options({
      name: { type: 'string', describe: 'Name of the cluster' },
      master: { type: 'string', describe: 'Mesos masters: http://host:5050,… or zk://…/mesos' },
      store: { type: 'string', describe: 'Metadata store: embedded, zk://…, etcd://…' },
      'content-type': { type: 'string', describe: 'protobuf, or json for debugging' },
      'state-dir': { type: 'string', describe: 'Directory of the embedded store' },
      role: { type: 'string', describe: 'Mesos role that reserves the disks' },
      principal: { type: 'string', describe: 'Mesos principal' },
      'secret-file': { type: 'string', describe: 'File with the secret of the principal' },
      'credential-file': { type: 'string', describe: 'File with principal and secret' },
      'auth-command': { type: 'string', describe: 'Command that prints headers for the master' },
      'auth-module': { type: 'string', describe: 'Module that exports headers() for the master' },
      'master-ca-file': {
        type: 'string',
        describe: 'Authorities (PEM) that masters are signed by',
      },
      'master-cert-file': { type: 'string', describe: 'Our certificate (PEM) for masters' },
      'master-key-file': { type: 'string', describe: 'Its key (PEM)' },
      'master-verify': { type: 'string', describe: 'all (default), authority or none' },
      user: { type: 'string', describe: 'Unix user of the executors' },
      host: { type: 'string', describe: 'Address to listen on' },
      'advertise-host': { type: 'string', describe: 'Host by which executors reach us' },
      'api-port': { type: 'string', describe: 'Port of the operator API (Marathon: PORT0)' },
      'control-port': { type: 'string', describe: 'Port for executors (Marathon: PORT1)' },
      'scrub-schedule': { type: 'string', describe: 'When to scrub: a cron expression, or off' },
      'artefact-dir': { type: 'string', describe: 'Directory with the executor artefact' },
      'executor-command': { type: 'string', describe: 'Start executors from a path instead' },
      'new-framework-id': {
        type: 'boolean',
        default: false,
        describe: 'Subscribe as a new framework after Mesos removed the old one',
      },
      'log-level': { type: 'string', choices: LOG_LEVELS, describe: 'Least level logged' },
    })
    .strict()
    .fail((message, error) => {
      throw error ?? invalidField('command line', message, 'see --help');
    })
    .parseSync();

  const read = new SettingReader(given as Readonly<Record<string, unknown>>, environment);
  const host = read.text('host', 'HOST_LISTEN', '0.0.0.0');
  const access = readMasterAccess(
    (option, variable) => read.optionalText(option, variable),
    environment['CISTERN_SECRET'] ?? null,
  );
  const principal = read.text('principal', 'PRINCIPAL', access.principal ?? 'cistern');
  if (access.principal !== null && access.principal !== principal) {
    // Mesos refuses a framework whose principal is not the authenticated one.
    throw invalidField('principal', principal, `"${access.principal}", as in the credential file`);
  }
  const clusterName = read.text('name', 'NAME', 'cistern');
  const masters = read.text('master', 'MASTER', 'http://127.0.0.1:5050');
  const stateDirectory = read.text('state-dir', 'STATE_DIR', join(process.cwd(), 'cistern-state'));
  return Object.freeze({
    clusterName,
    masters: masters.startsWith('zk://') ? [] : masterUrls(masters),
    masterLookup: masters.startsWith('zk://') ? masterLookup(masters, read) : null,
    contentType: read.word('content-type', 'CONTENT_TYPE', ['protobuf', 'json'] as const),
    isNewFramework: given['new-framework-id'] === true,
    access,
    store: readStoreSettings(read, clusterName, masters, stateDirectory),
    ignoredClusters: (read.optionalText('', 'IGNORE_CLUSTERS') ?? '').split(',').filter(Boolean),
    role: read.text('role', 'ROLE', 'cistern'),
    principal,
    user: read.text('user', 'USER', 'root'),
    failoverTimeoutSeconds: read.number('', 'FAILOVER_TIMEOUT_SECONDS', 28 * 86_400, 60, 3e8),
    host,
    advertisedHost: read.text(
      'advertise-host',
      'ADVERTISE_HOST',
      environment['HOST'] ?? (host === '0.0.0.0' ? '127.0.0.1' : host),
    ),
    apiPort: read.port('api-port', 'API_PORT', environment['PORT0'], 7400),
    controlPort: read.port('control-port', 'CONTROL_PORT', environment['PORT1'], 7401),
    artefactDirectory: read.optionalText('artefact-dir', 'ARTEFACT_DIR'),
    executorCommand: read.optionalText('executor-command', 'EXECUTOR_COMMAND'),
    executorImage: read.optionalText('', 'EXECUTOR_IMAGE'),
    executorVersion: read.optionalText('', 'EXECUTOR_VERSION'),
    executorEnvironment: read.environmentMap('EXECUTOR_ENV'),
    executorCpus: read.number('', 'EXECUTOR_CPUS', 0.5, 0.01, 64),
    // Executor and data process together take some 250 MB under load, and 64 MiB per busy volume.
    executorMemoryMb: read.number('', 'EXECUTOR_MEMORY_MB', 1024, 32, 1_000_000),
    leaseMs: read.number('', 'LEASE_MS', 4_000, 500, 60_000),
    plannedOutageMs: read.number('', 'PLANNED_OUTAGE_SECONDS', 1_800, 0, 1e6) * 1000,
    rebuildAfterMs: read.number('', 'REBUILD_AFTER_SECONDS', 600, 0, 1e6) * 1000,
    suspectWaitMs: read.number('', 'SUSPECT_WAIT_SECONDS', 300, 1, 1e6) * 1000,
    diskReadmitAfterMs:
      read.number('', 'DISK_READMIT_AFTER_HOURS', 0, 0, 10_000) * 3_600_000 || null,
    brakeWindowMs: read.number('', 'BRAKE_WINDOW_SECONDS', 600, 0, 1e6) * 1000,
    resyncBytesPerSecond: read.number('', 'RESYNC_MIB_PER_SECOND', 200, 0, 1e6) * 1024 * 1024,
    concurrentJoinsPerDisk: read.number('', 'JOINS_PER_DISK', 4, 1, 1000),
    scrubSchedule: read.text('scrub-schedule', 'SCRUB_SCHEDULE', '0 3 * * 0'),
    pgCount: read.powerOfTwo('PG_COUNT', 256),
    claimPerNode: read.optionalCount('CLAIM_PER_NODE'),
    claimNodes: read.optionalCount('CLAIM_NODES'),
    expandAtRatio: read.number('', 'EXPAND_AT_PERCENT', 80, 1, 99) / 100,
    fullAtRatio: read.number('', 'FULL_AT_PERCENT', 95, 2, 99) / 100,
    expandCooldownMs: read.number('', 'EXPAND_COOLDOWN_SECONDS', 60, 0, 1e6) * 1000,
    expandLeadMs: read.number('', 'EXPAND_LEAD_HOURS', 24, 0, 10_000) * 3_600_000,
    capacityHook: readCapacityHook(read),
    overcommitRatio: read.number('', 'OVERCOMMIT_RATIO', 10, 0.1, 1000),
    logLevel: read.word('log-level', 'LOG_LEVEL', ['info', 'error', 'warn', 'debug'] as const),
  });
}

function readCapacityHook(read: SettingReader): CapacityHookSettings | null {
  const target = read.optionalText('', 'CAPACITY_HOOK');
  if (target === null) return null;
  if (!/^(\/|https?:\/\/[^/])/.test(target)) {
    throw invalidField('CISTERN_CAPACITY_HOOK', target, 'an absolute path or an http(s) URL');
  }
  return {
    target,
    cooldownMs: read.number('', 'CAPACITY_HOOK_COOLDOWN_SECONDS', 900, 0, 1e6) * 1000,
    disksPerDay: read.number('', 'CAPACITY_HOOK_DISKS_PER_DAY', 10, 1, 10_000),
    deadlineMs: read.number('', 'CAPACITY_HOOK_DEADLINE_SECONDS', 60, 1, 3600) * 1000,
    isDryRun: read.word('', 'CAPACITY_HOOK_DRY_RUN', ['off', 'on'] as const) === 'on',
  };
}

function masterUrls(value: string): readonly string[] {
  return value.split(',').map((entry) => {
    const url = entry.includes('://') ? entry : `http://${entry}`;
    if (!/^https?:\/\/[^/\s]+\/?$/.test(url)) {
      throw invalidField('master', entry, 'http://host:port, https://host:port or zk://…/path');
    }
    return url.replace(/\/$/, '');
  });
}

function masterLookup(value: string, read: SettingReader): MasterLookup {
  const address = readServiceAddress('master', value, ['zk']);
  if (address.path === '') {
    throw invalidField(
      'master',
      address.servers.join(),
      'a path too, such as zk://host:2181/mesos',
    );
  }
  return { address, scheme: read.word('', 'MASTER_SCHEME', ['http', 'https'] as const) };
}

/** Looks a setting up on the command line, then as `CISTERN_…`, then takes the default. */
class SettingReader {
  readonly #given: Readonly<Record<string, unknown>>;
  readonly #environment: Readonly<Record<string, string | undefined>>;

  constructor(
    given: Readonly<Record<string, unknown>>,
    environment: Readonly<Record<string, string | undefined>>,
  ) {
    this.#given = given;
    this.#environment = environment;
  }

  optionalText(option: string, variable: string): string | null {
    const given = option === '' ? undefined : this.#given[option];
    const value = typeof given === 'string' ? given : this.#environment[`CISTERN_${variable}`];
    return value === undefined || value === '' ? null : value;
  }

  text(option: string, variable: string, fallback: string): string {
    return this.optionalText(option, variable) ?? fallback;
  }

  /** The first word is the default. */
  word<T extends string>(option: string, variable: string, words: readonly [T, ...T[]]): T {
    const value = this.optionalText(option, variable) ?? words[0];
    const found = words.find((word) => word === value);
    if (found === undefined) throw invalidField(name(option, variable), value, words.join(', '));
    return found;
  }

  number(option: string, variable: string, fallback: number, low: number, high: number): number {
    const value = this.optionalText(option, variable);
    if (value === null) return fallback;
    const number = Number(value);
    if (!Number.isFinite(number) || number < low || number > high) {
      throw invalidField(name(option, variable), value, `${low} to ${high}`);
    }
    return number;
  }

  port(option: string, variable: string, assigned: string | undefined, fallback: number): number {
    const value = this.optionalText(option, variable) ?? assigned;
    if (value === undefined) return fallback;
    const port = Number(value);
    if (!Number.isInteger(port) || port < 0 || port > 65_535) {
      throw invalidField(name(option, variable), value, '0 to 65535');
    }
    return port;
  }

  optionalCount(variable: string): number | null {
    const value = this.optionalText('', variable);
    if (value === null || value === 'all') return null;
    const count = Number(value);
    if (!Number.isInteger(count) || count < 1) {
      throw invalidField(name('', variable), value, 'a whole number from 1, or all');
    }
    return count;
  }

  powerOfTwo(variable: string, fallback: number): number {
    const value = this.number('', variable, fallback, 1, 1 << 20);
    if (!Number.isInteger(value) || (value & (value - 1)) !== 0) {
      throw invalidField(name('', variable), value, 'a power of two up to 1048576');
    }
    return value;
  }

  environmentMap(variable: string): Readonly<Record<string, string>> {
    const value = this.optionalText('', variable);
    if (value === null) return {};
    const pairs: Record<string, string> = {};
    for (const pair of value.split(',')) {
      const cut = pair.indexOf('=');
      if (cut < 1) throw invalidField(name('', variable), pair, 'NAME=value[,NAME=value…]');
      pairs[pair.slice(0, cut)] = pair.slice(cut + 1);
    }
    return pairs;
  }
}

function name(option: string, variable: string): string {
  return option === '' ? `CISTERN_${variable}` : `--${option} (CISTERN_${variable})`;
}
