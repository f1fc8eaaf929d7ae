/**
 * What an agent tells its executor through the environment, read once and checked: identity, where the
 * agent listens, and how long to wait for it after it went away.
 */
import { readFileSync } from 'node:fs';
import { describeError, invalidField, StorageError } from '../shared/base/errors.ts';
import type { MesosTarget, TlsSettings } from '../shared/node/mesos-connection.ts';

export interface MesosEnvironment {
  readonly frameworkId: string;
  readonly executorId: string;
  readonly agentId: string;
  readonly target: MesosTarget;
  /** Without it an executor has to end when its agent goes away. */
  readonly isCheckpointing: boolean;
  /** How long a checkpointing executor goes on looking for its agent. */
  readonly recoveryTimeoutMs: number;
  /** Be back within this after the agent's restart, or it ends the container. */
  readonly resubscribeWithinMs: number;
  readonly shutdownGraceMs: number;
  /** Secret: proves to the agent who we are. */
  readonly token: string | null;
  /** For an agent that speaks TLS; null: what the system trusts. */
  readonly tls: TlsSettings | null;
  /** The sandbox, where the persistent volumes appear. */
  readonly sandbox: string;
}

/** Not for the processes that the executor starts: they have nothing to say to the agent. */
export const SECRET_VARIABLES: readonly string[] = ['MESOS_EXECUTOR_AUTHENTICATION_TOKEN'];

export type Variables = Readonly<Record<string, string | undefined>>;

const EXECUTOR_PATH = '/api/v1/executor';

/** Throws `invalid-argument`, naming the variable. */
export function readMesosEnvironment(variables: Variables): MesosEnvironment {
  return {
    frameworkId: required(variables, 'MESOS_FRAMEWORK_ID'),
    executorId: required(variables, 'MESOS_EXECUTOR_ID'),
    agentId: required(variables, 'MESOS_SLAVE_ID'),
    target: targetOf(variables),
    // Documented as "true", sent as "1".
    isCheckpointing: ['1', 'true'].includes(variables['MESOS_CHECKPOINT'] ?? ''),
    recoveryTimeoutMs: duration(variables, 'MESOS_RECOVERY_TIMEOUT', 15 * 60_000),
    resubscribeWithinMs: duration(variables, 'MESOS_SUBSCRIPTION_BACKOFF_MAX', 2_000),
    shutdownGraceMs: duration(variables, 'MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD', 5_000),
    token: variables['MESOS_EXECUTOR_AUTHENTICATION_TOKEN'] ?? null,
    tls: tlsOf(variables),
    sandbox: variables['MESOS_SANDBOX'] ?? required(variables, 'MESOS_DIRECTORY'),
  };
}

function targetOf(variables: Variables): MesosTarget {
  // `slave(1)@10.0.0.3:5051`: the part before the @ is the agent's own prefix of all paths.
  const pid = /^([^@\s]+)@(\S+)$/.exec(variables['MESOS_SLAVE_PID'] ?? '');
  const endpoint = variables['MESOS_AGENT_ENDPOINT'] ?? pid?.[2];
  const path = pid === null ? EXECUTOR_PATH : `/${pid[1] ?? ''}${EXECUTOR_PATH}`;
  const socketPath = variables['MESOS_DOMAIN_SOCKET'] ?? null;
  if (socketPath !== null && socketPath !== '') {
    return { origin: 'http://localhost', path, socketPath };
  }
  if (endpoint === undefined || !/^\S+:\d+$/.test(endpoint)) {
    throw new StorageError(
      'invalid-argument',
      `Variable MESOS_AGENT_ENDPOINT is "${endpoint ?? ''}", expected "host:port"`,
      { field: 'MESOS_AGENT_ENDPOINT', given: endpoint },
    );
  }
  return {
    origin: `${isTlsEnabled(variables) ? 'https' : 'http'}://${endpoint}`,
    path,
    socketPath: null,
  };
}

function isTlsEnabled(variables: Variables): boolean {
  return ['1', 'true'].includes(variables['LIBPROCESS_SSL_ENABLED'] ?? '');
}

/** The files that libprocess itself is told of, by the agent or by the operator's settings. */
function tlsOf(variables: Variables): TlsSettings | null {
  if (!isTlsEnabled(variables)) return null;
  const read = (name: string): string | null => {
    const path = variables[name];
    if (path === undefined || path === '') return null;
    try {
      return readFileSync(path, 'utf8');
    } catch (error) {
      throw invalidField(name, path, describeError(error));
    }
  };
  const ca = read('LIBPROCESS_SSL_CA_FILE');
  const cert = read('LIBPROCESS_SSL_CERT_FILE');
  const key = read('LIBPROCESS_SSL_KEY_FILE');
  const isTold = ['LIBPROCESS_SSL_VERIFY_SERVER_CERT', 'LIBPROCESS_SSL_VERIFY_CERT'].some((name) =>
    ['1', 'true'].includes(variables[name] ?? ''),
  );
  // libprocess checks nothing unless told to. We check the authority as soon as one is named; never the name:
  // agents are reached by an address, and certificates mostly name hosts.
  const verify = ca !== null || isTold ? 'authority' : 'none';
  // A certificate without its key is of no use.
  return cert === null || key === null
    ? { ca, cert: null, key: null, verify }
    : { ca, cert, key, verify };
}

function required(variables: Variables, name: string): string {
  const value = variables[name];
  if (value !== undefined && value !== '') return value;
  throw new StorageError(
    'invalid-argument',
    `Variable ${name} is missing: the executor was not started by a Mesos agent`,
    { field: name },
  );
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  ms: 1,
  secs: 1_000,
  mins: 60_000,
  hrs: 3_600_000,
  days: 86_400_000,
  weeks: 604_800_000,
};

/** Reads Mesos' duration text (`15mins`, `2.5secs`) as milliseconds; `null` when it is none. */
export function parseDurationMs(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)(ns|us|ms|secs|mins|hrs|days|weeks)$/.exec(text.trim());
  const unit = match === null ? undefined : UNIT_MS[match[2] ?? ''];
  return match === null || unit === undefined ? null : Number(match[1]) * unit;
}

function duration(variables: Variables, name: string, missing: number): number {
  const text = variables[name];
  if (text === undefined || text === '') return missing;
  const ms = parseDurationMs(text);
  if (ms !== null) return ms;
  throw new StorageError(
    'invalid-argument',
    `Variable ${name} is "${text}", expected a duration like "15mins"`,
    { field: name, given: text },
  );
}
