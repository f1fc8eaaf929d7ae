/**
 * How agents start our executor: from the packed artefact that this scheduler serves (with its own
 * Node.js when the release carries one), from a container image, or by a command on the agents' own disk.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeError, StorageError } from '../shared/base/errors.ts';
import type { Config } from './config.ts';
import type { ExecutorArtefact } from './core/contract.ts';

/** Where an image has the program (Dockerfile). */
const IMAGE_COMMAND = 'exec /opt/cistern/bin/cistern executor';

/**
 * `apiUrl`: base URL of our API as agents reach it. Throws `invalid-argument` when there is no artefact, or
 * its manifest cannot be read.
 */
export function executorArtefact(
  config: Config,
  apiUrl: string,
  version: string,
): ExecutorArtefact {
  return withResources(startOfExecutor(config, apiUrl, version), config);
}

/**
 * Versions before, whose manifests (`manifest-*.json`) and files lie beside the present one: for nodes that are
 * not upgraded yet, and for rolling back. Throws `invalid-argument` when one of them cannot be read.
 */
export function earlierExecutors(config: Config, apiUrl: string): readonly ExecutorArtefact[] {
  const { artefactDirectory, executorCommand, executorImage } = config;
  if (artefactDirectory === null || executorCommand !== null || executorImage !== null) return [];
  return readdirSync(artefactDirectory)
    .filter((name) => /^manifest-.+\.json$/.test(name))
    .sort()
    .map((name) => readManifest(artefactDirectory, name))
    .map((manifest) => withResources(packedExecutor(manifest, `${apiUrl}/executor`), config));
}

function withResources(start: Start, config: Config): ExecutorArtefact {
  return {
    ...start,
    environment: config.executorEnvironment,
    cpus: config.executorCpus,
    memoryMb: config.executorMemoryMb,
    // Mesos wants every task to have some of each.
    taskCpus: 0.01,
    taskMemoryMb: 32,
  };
}

type Start = Pick<ExecutorArtefact, 'version' | 'command' | 'uris' | 'image'>;

function startOfExecutor(config: Config, apiUrl: string, version: string): Start {
  const { executorCommand, executorImage, artefactDirectory } = config;
  if (executorCommand !== null && executorImage !== null) {
    throw new StorageError(
      'invalid-argument',
      'CISTERN_EXECUTOR_COMMAND and CISTERN_EXECUTOR_IMAGE are both set; an executor is started in one way',
    );
  }
  if (executorCommand !== null) {
    const named = config.executorVersion ?? `${version}-path`;
    return { version: named, command: executorCommand, uris: [] };
  }
  if (executorImage !== null) {
    const tag = executorImage.replace(/[^A-Za-z0-9.-]+/g, '-').slice(-IMAGE_TAG_MAX);
    return {
      version: `${version}-${tag}`,
      command: IMAGE_COMMAND,
      uris: [],
      image: executorImage,
    };
  }
  if (artefactDirectory === null) {
    throw new StorageError(
      'invalid-argument',
      'None of CISTERN_ARTEFACT_DIR (the packed executor), CISTERN_EXECUTOR_IMAGE and CISTERN_EXECUTOR_COMMAND is set',
    );
  }
  return packedExecutor(readManifest(artefactDirectory), `${apiUrl}/executor`);
}

/** Executor ids become file names on agents: they stay short. */
const IMAGE_TAG_MAX = 60;

interface ArtefactFile {
  readonly file: string;
  readonly sha256: string;
}

/** Written by scripts/build-artefact.mjs. */
interface ArtefactManifest extends ArtefactFile {
  readonly version: string;
  /** The Node.js that runs it, for agents that have none; null: theirs, from the PATH. */
  readonly runtime?: ArtefactFile | null;
}

function packedExecutor(manifest: ArtefactManifest, base: string): Start {
  const runtime = manifest.runtime ?? null;
  const files = runtime === null ? [manifest] : [manifest, runtime];
  const node = runtime === null ? 'node' : 'cistern-node/bin/node';
  // Mesos' fetcher verifies nothing: the command does, before it unpacks anything.
  const verify = files.map(({ file, sha256 }) => `echo '${sha256}  ${file}' | sha256sum -c -`);
  const unpack = files.map(({ file }) => `tar xzf ${file}`);
  const run = `exec ${node} cistern-executor/executor.mjs`;
  return {
    version: manifest.version,
    command: [...verify, ...unpack, run].join(' && '),
    uris: files.map(({ file, sha256 }) => ({ value: `${base}/${file}`, sha256 })),
  };
}

function readManifest(directory: string, name = 'manifest.json'): ArtefactManifest {
  const path = join(directory, name);
  try {
    const manifest = JSON.parse(readFileSync(path, 'utf8')) as ArtefactManifest;
    const files = [manifest, ...(manifest.runtime == null ? [] : [manifest.runtime])];
    if (!files.every(isFile)) throw new Error('a file in it has no name or no checksum');
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

/** Both go into a shell command. */
function isFile({ file, sha256 }: ArtefactFile): boolean {
  return /^[0-9a-f]{64}$/.test(sha256) && /^[\w.-]+$/.test(file);
}
