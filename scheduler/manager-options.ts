/** Settings → the manager's options, and the executor that this scheduler starts on agents. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeError, StorageError } from '../shared/base/errors.ts';
import type { Config } from './config.ts';
import type { ExecutorArtefact, ManagerOptions } from './core/contract.ts';
import { earlierExecutors } from './executor-artefact.ts';

/** A silent node is fenced after two missed reports and a half; see DESIGN 5. */
const SILENT_MS = 2_500;
/** Clocks may differ by a hundredth; a lease of 4 s then needs 40 ms. */
const LEASE_MARGIN_MS = 250;
/** A restarted data process is back within a second. */
const MEMBER_FAILURE_MS = 2_000;

/** `controlAddress` is where the control server listens; `version` that of this program. */
export function managerOptions(
  config: Config,
  controlAddress: string,
  version: string,
): ManagerOptions {
  const port = controlAddress.slice(controlAddress.lastIndexOf(':') + 1);
  return {
    clusterName: config.clusterName,
    role: config.role,
    principal: config.principal,
    user: config.user,
    webuiUrl: `http://${config.advertisedHost}:${config.apiPort}/`,
    failoverTimeoutSeconds: config.failoverTimeoutSeconds,
    leaseMs: config.leaseMs,
    silentMs: SILENT_MS,
    leaseMarginMs: LEASE_MARGIN_MS,
    memberFailureMs: MEMBER_FAILURE_MS,
    brakeWindowMs: config.brakeWindowMs,
    diskReadmitAfterMs: config.diskReadmitAfterMs,
    rebuildAfterMs: config.rebuildAfterMs,
    plannedOutageMs: config.plannedOutageMs,
    suspectWaitMs: config.suspectWaitMs,
    resyncBytesPerSecond: config.resyncBytesPerSecond,
    concurrentJoinsPerDisk: config.concurrentJoinsPerDisk,
    defaultPgCount: config.pgCount,
    claimPerNode: config.claimPerNode,
    claimNodes: config.claimNodes,
    expandAtRatio: config.expandAtRatio,
    fullAtRatio: config.fullAtRatio,
    expandCooldownMs: config.expandCooldownMs,
    expandLeadMs: config.expandLeadMs,
    capacityHook: config.capacityHook,
    overcommitRatio: config.overcommitRatio,
    controlAddress: `${config.advertisedHost}:${port}`,
    executor: executorArtefact(config, version),
    earlierExecutors: earlierExecutors(config, `http://${config.advertisedHost}:${config.apiPort}`),
  };
}

/** The packed artefact that this scheduler serves, or in development a command on the agents' own disk. */
function executorArtefact(config: Config, version: string): ExecutorArtefact {
  const resources = {
    cpus: config.executorCpus,
    memoryMb: config.executorMemoryMb,
    // Mesos wants every task to have some of each.
    taskCpus: 0.01,
    taskMemoryMb: 32,
  };
  if (config.executorCommand !== null) {
    return {
      version: config.executorVersion ?? `${version}-path`,
      command: config.executorCommand,
      uris: [],
      environment: config.executorEnvironment,
      ...resources,
    };
  }
  const { artefactDirectory } = config;
  if (artefactDirectory === null) {
    throw new StorageError(
      'invalid-argument',
      'Neither CISTERN_ARTEFACT_DIR (the packed executor) nor CISTERN_EXECUTOR_COMMAND is set',
    );
  }
  const manifest = readManifest(artefactDirectory);
  return {
    version: manifest.version,
    // Mesos' fetcher verifies nothing: the command does, before it unpacks.
    command: `echo '${manifest.sha256}  ${manifest.file}' | sha256sum -c - && tar xzf ${manifest.file} && exec node cistern-executor/executor.mjs`,
    uris: [
      {
        value: `http://${config.advertisedHost}:${config.apiPort}/executor/${manifest.file}`,
        sha256: manifest.sha256,
      },
    ],
    environment: config.executorEnvironment,
    ...resources,
  };
}

interface ArtefactManifest {
  readonly version: string;
  readonly file: string;
  readonly sha256: string;
}

function readManifest(directory: string): ArtefactManifest {
  const path = join(directory, 'manifest.json');
  try {
    const manifest = JSON.parse(readFileSync(path, 'utf8')) as ArtefactManifest;
    if (!/^[0-9a-f]{64}$/.test(manifest.sha256) || !/^[\w.-]+$/.test(manifest.file)) {
      throw new Error('it has no file name and checksum');
    }
    return manifest;
  } catch (error) {
    throw new StorageError(
      'invalid-argument',
      `Artefact manifest "${path}" cannot be read: ${describeError(error)}; build it with: npm run build`,
      { path },
      error,
    );
  }
}
