/**
 * Composition root of the scheduler: settings, metadata store, manager, control server, operator API,
 * Mesos. The only place here that reads the process's environment and ends the process.
 */

import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describeError, StorageError } from '../shared/base/errors.ts';
import { JSON_TYPE, PROTOBUF_TYPE } from '../shared/mesos/codec.ts';
import { systemClock } from '../shared/node/clock.ts';
import { loadControlCodec } from '../shared/node/control-codec.ts';
import { createLog } from '../shared/node/log.ts';
import { systemRandom } from '../shared/node/random.ts';
import { startApi } from './api/server.ts';
import { readConfig } from './config.ts';
import { type ControlServer, serveControl } from './control.ts';
import { createState } from './core/bootstrap.ts';
import { mesosSubscription } from './core/mesos/framework.ts';
import { managerOptions } from './manager-options.ts';
import { createManagerPort } from './manager-view.ts';
import { createMesosScheduler, type MesosScheduler } from './mesos.ts';
import { openEmbeddedStore } from './metadata/embedded.ts';
import { createMetrics } from './metrics.ts';
import { Scheduler } from './scheduler.ts';
import { scheduleScrub } from './scrub-schedule.ts';

/** Starting again would end in the same way: for a restart policy that tells the two apart. */
const EXIT_NEEDS_OPERATOR = 78;

const root = findRoot();
const VERSION = (
  JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
).version;

try {
  await run();
} catch (error) {
  process.stderr.write(`cistern scheduler: ${describeError(error)}\n`);
  process.exit(error instanceof StorageError && error.code === 'invalid-argument' ? 2 : 1);
}

async function run(): Promise<void> {
  const config = readConfig(process.argv.slice(2), process.env);
  const log = createLog({ part: 'scheduler', level: config.logLevel });
  const store = openEmbeddedStore(config.stateDirectory);
  const { term, lost } = await store.campaign({
    address: `http://${config.advertisedHost}:${config.apiPort}`,
  });
  const snapshot = await store.load();

  // The servers come first: their ports go into the manager's options. Nothing reaches the manager
  // before it exists, because no event loop turn passes in between.
  const control: ControlServer = await serveControl(
    { host: config.host, port: config.controlPort },
    { codec: loadControlCodec(join(root, 'proto')), clock: systemClock, log },
    {
      onMessage(session, message) {
        if (message.kind === 'hello') {
          scheduler.post({ kind: 'node-hello', session, hello: message.hello });
        } else {
          const { sequence, report } = message;
          scheduler.post({ kind: 'node-report', session, sequence, report });
        }
      },
      onClose: (session, reason) => scheduler.onSessionClosed(session, reason),
    },
  );
  const options = managerOptions(config, control.address, VERSION);
  const setup = { options, entries: snapshot.entries, term, newClusterId: randomUUID() };
  const now = { ms: systemClock.now(), wallMs: systemClock.wall() };
  const mesos: MesosScheduler = createMesosScheduler({
    masters: config.masters,
    contentType: config.contentType === 'json' ? JSON_TYPE : PROTOBUF_TYPE,
    credentials: config.credentials,
    onEvent: (event) => {
      scheduler.post({ kind: 'mesos', event });
      return undefined;
    },
    onDisconnected: (reason) => scheduler.post({ kind: 'mesos-disconnected', reason }),
    log,
    clock: systemClock,
    random: systemRandom,
  });
  const scheduler = new Scheduler(createState(setup, now), snapshot.revision, {
    clock: systemClock,
    log,
    store,
    mesos: { call: (call) => void mesos.call(call) },
    control,
    onAbdicated: (reason, isPermanent) => void stop(reason, isPermanent ? EXIT_NEEDS_OPERATOR : 1),
  });
  const manager = createManagerPort(scheduler);
  const api = await startApi(
    {
      host: config.host,
      port: config.apiPort,
      version: VERSION,
      dashboardDirectory: existingFolder(join(root, 'dist', 'dashboard')),
      artefactDirectory: config.artefactDirectory,
    },
    { manager, metrics: createMetrics(manager), log },
  );
  if (config.isNewFramework && scheduler.state.facts.cluster.frameworkId !== null) {
    // The operator's word after Mesos removed the framework: volumes are found by their labels.
    log('warn', 'Subscribing as a new framework, as asked', {
      old: scheduler.state.facts.cluster.frameworkId,
    });
    scheduler.state.facts.updateCluster({ frameworkId: null });
  }
  scheduler.start();
  const schedule = scheduleScrub(
    config.scrubSchedule,
    (command) => scheduler.execute(command),
    log,
  );
  const { frameworkInfo, frameworkId, suppressedRoles } = mesosSubscription(scheduler.state);
  mesos.subscribe(frameworkInfo, frameworkId, suppressedRoles);
  log('info', 'Scheduler is leading', {
    cluster: scheduler.state.facts.cluster.clusterId,
    term,
    api: api.url,
    control: control.address,
  });

  let isStopping = false;
  async function stop(reason: string, exitCode: number): Promise<void> {
    if (isStopping) return;
    isStopping = true;
    log('info', 'Scheduler is stopping', { reason });
    // No TEARDOWN: executors and volumes go on without us, and the next scheduler finds them.
    schedule.stop();
    scheduler.close();
    mesos.close();
    control.close();
    await api.close();
    await store.close();
    process.exit(exitCode);
  }
  void lost.then((reason) => stop(reason, 1));
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => void stop(`it got ${signal}`, 0));
  }
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
