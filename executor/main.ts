/**
 * Composition root of the executor. Without arguments: the Mesos executor (Mesos, control session,
 * supervision). With `data`: the data process that it forks (disks, replicas, gateways).
 */
import { existsSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describeError, StorageError } from '../shared/base/errors.ts';
import type { NodeId } from '../shared/base/ids.ts';
import { type GrantReply, type GrantRequest, mapMessage } from '../shared/model/control.ts';
import type { NodeMemory } from '../shared/model/recall.ts';
import { systemClock } from '../shared/node/clock.ts';
import { type ControlCodec, loadControlCodec } from '../shared/node/control-codec.ts';
import { createLog } from '../shared/node/log.ts';
import { systemRandom } from '../shared/node/random.ts';
import type { Log } from '../shared/ports.ts';
import { createControlDialer, type GrantServer, serveGrants } from './control-client.ts';
import { runDataProcess } from './data-process-main.ts';
import { DataProcessSupervisor } from './data-process-supervisor.ts';
import { type NodeSettings, readNodeSettings } from './environment.ts';
import { Executor, type NodeParts } from './executor.ts';
import { createMesosExecutor, type MesosExecutor } from './mesos.ts';
import {
  type MesosEnvironment,
  readMesosEnvironment,
  SECRET_VARIABLES,
} from './mesos-environment.ts';
import { NodeAgent } from './node-agent.ts';
import { MapKeeper } from './node-map-keeper.ts';

/** DESIGN 5: leases of 4 s are renewed every second. */
const REPORT_MS = 1_000;
/** A restarted scheduler should find its executors before it takes them for silent. */
const REDIAL_MIN_MS = 100;
const REDIAL_MAX_MS = 1_000;

const NOBODY = 0 as NodeId;

const modulePath = fileURLToPath(import.meta.url);

if (process.argv[2] === 'data') {
  runDataProcess(readNodeSettings(process.env).logLevel);
} else {
  try {
    await runExecutor();
  } catch (error) {
    process.stderr.write(`cistern executor: ${describeError(error)}\n`);
    process.exit(1);
  }
}

async function runExecutor(): Promise<void> {
  const settings = readNodeSettings(process.env);
  const environment = readMesosEnvironment(process.env);
  for (const name of SECRET_VARIABLES) delete process.env[name];
  const log = createLog({ part: 'executor', level: settings.logLevel });
  const codec = loadControlCodec(findProtoDirectory());
  // Peers may ask before this node has a cluster: it grants nothing until it has a map.
  const answerGrant = (request: GrantRequest): GrantReply => {
    const agent = executor.parts?.agent;
    const reason = 'this node has no disks yet';
    return agent?.handleGrant(request) ?? { isGranted: false, reason, mapVersion: 0, node: NOBODY };
  };
  let recall: () => Promise<NodeMemory> = () =>
    Promise.reject(new StorageError('unavailable', 'This executor has no disks yet'));
  const grants = await serveGrants(codec, settings.host, {
    onGrant: answerGrant,
    onRecall: () => recall(),
    onAnnouncement: (announcement) => executor.onAnnouncement(announcement),
  });
  log('info', 'Answering grants and recoveries', { address: grants.address });
  const mesos: MesosExecutor = createMesosExecutor({
    environment,
    log,
    clock: systemClock,
    random: systemRandom,
    onLaunch: (task) => executor.onLaunch(task),
    onKill: (taskId) => executor.onKill(taskId),
    onMessage: (data) => executor.onMessage(data),
    onShutdown: () => void executor.shutdown('the agent asked for it'),
    onGiveUp: (reason) => void executor.shutdown(reason),
  });
  const executor = new Executor({
    clock: systemClock,
    log,
    reporter: mesos,
    createNode: (clusterId, node) => {
      const parts = createNode({ clusterId, node, settings, environment, codec, grants, log }, () =>
        executor.askForManager(),
      );
      recall = () => recallNode(clusterId, node, parts);
      return parts;
    },
    resolveVolume: (containerPath) => resolveVolume(environment.sandbox, containerPath),
    onFinished: (code) => process.exit(code),
  });
  process.on('SIGTERM', () => void executor.shutdown('it got SIGTERM'));
}

interface NodeContext {
  readonly clusterId: string;
  readonly node: NodeId;
  readonly settings: NodeSettings;
  readonly environment: MesosEnvironment;
  readonly codec: ControlCodec;
  readonly grants: GrantServer;
  readonly log: Log;
}

function createNode(
  context: NodeContext,
  onManagerMissing: () => void,
): NodeParts & { readonly keeper: MapKeeper } {
  const { clusterId, node, settings, environment, log } = context;
  const dataPlane = new DataProcessSupervisor(
    {
      start: {
        clusterId,
        node,
        host: settings.host,
        socketDirectory: join(settings.socketBase, `${clusterId.slice(0, 8)}-n${node}`),
        holdMs: settings.holdMs,
      },
      modulePath,
      moduleArguments: ['data'],
    },
    {
      clock: systemClock,
      log,
      currentMap: () => agent.map,
      onListening: () => agent.onDataAddressChanged(),
    },
  );
  const keeper = new MapKeeper({
    clock: systemClock,
    encode: (map, facts) => context.codec.encodeManagerMessage(mapMessage(map, facts)),
    keep: (record) => dataPlane.keepMap(record),
  });
  const agent = new NodeAgent(
    {
      hello: {
        clusterId,
        agentId: environment.agentId,
        executorId: environment.executorId,
        hostname: settings.host,
        incarnation: systemRandom.uuid(),
        version: process.env['CISTERN_VERSION'] ?? 'development',
        grantAddress: context.grants.address,
      },
      reportIntervalMs: REPORT_MS,
      redialMinMs: REDIAL_MIN_MS,
      redialMaxMs: REDIAL_MAX_MS,
    },
    {
      clock: systemClock,
      log,
      dialer: createControlDialer(context.codec),
      dataPlane,
      dataAddress: () => dataPlane.dataAddress,
      onManagerMissing,
      onMap: (map, facts) => keeper.note(map, facts),
    },
  );
  dataPlane.start();
  return { agent, dataPlane, keeper };
}

/** What this node remembers, for a recovery: the map in memory, else the newest on its disks. */
async function recallNode(
  clusterId: string,
  node: NodeId,
  parts: NodeParts & { readonly keeper: MapKeeper },
): Promise<NodeMemory> {
  const memory = await parts.dataPlane.recall();
  if (memory === null) {
    throw new StorageError('unavailable', 'The data process of this executor does not answer now');
  }
  const record = parts.keeper.record() ?? memory.map;
  const map = record === null ? null : Buffer.from(record).toString('base64');
  return { clusterId, node, map, disks: memory.disks };
}

/** Mesos links or mounts the volume into the sandbox before the task arrives; the link goes with the task. */
function resolveVolume(sandbox: string, containerPath: string): string {
  const path = join(sandbox, containerPath);
  if (!existsSync(path)) {
    throw new StorageError('not-found', `Persistent volume "${path}" is not in the sandbox`, {
      path,
    });
  }
  return realpathSync(path);
}

/** `proto/` lies beside the bundle, or some levels above the compiled module. */
function findProtoDirectory(): string {
  for (let folder = dirname(modulePath); folder !== dirname(folder); folder = dirname(folder)) {
    const candidate = join(folder, 'proto');
    if (existsSync(join(candidate, 'cistern', 'control.proto'))) return candidate;
  }
  throw new StorageError('not-found', `No folder "proto" above "${modulePath}"`);
}
