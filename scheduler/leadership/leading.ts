/**
 * What a process does while it leads: loads the facts, serves executors, subscribes to Mesos. It ends
 * as a whole and at once: afterwards nothing leaves this process any more, whatever is still under way.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { StorageError } from '../../shared/base/errors.ts';
import { JSON_TYPE, PROTOBUF_TYPE } from '../../shared/mesos/codec.ts';
import { systemClock } from '../../shared/node/clock.ts';
import { loadControlCodec } from '../../shared/node/control-codec.ts';
import { systemRandom } from '../../shared/node/random.ts';
import type { Leadership, Log, MetadataStore } from '../../shared/ports.ts';
import type { ManagerPort } from '../api/manager-port.ts';
import { createCapacityHook } from '../capacity-hook.ts';
import type { Config } from '../config.ts';
import { type ControlServer, serveControl } from '../control.ts';
import { createState } from '../core/bootstrap.ts';
import { mesosSubscription, renewFramework } from '../core/mesos/framework.ts';
import { ADOPT_COMMAND, findLostStore } from '../core/mesos/lost-store.ts';
import { whyUninstalled } from '../core/planned/uninstall.ts';
import { managerOptions } from '../manager-options.ts';
import { createManagerPort } from '../manager-view.ts';
import { createMesosScheduler, type MesosScheduler } from '../mesos/client.ts';
import { MasterDetector } from '../mesos/detector.ts';
import { Scheduler } from '../scheduler.ts';
import { scheduleScrub } from '../scrub-schedule.ts';
import { createAnnouncer } from './announcer.ts';

export interface LeadingModules {
  /** With the port on which our API really listens. */
  readonly config: Config;
  readonly log: Log;
  readonly store: MetadataStore;
  readonly leadership: Leadership;
  /** Version of this program, and the folder that holds its `proto/`. */
  readonly version: string;
  readonly root: string;
  /** The leadership is over. `isPermanent`: another one would end in the same way until an operator acts. */
  onOver(reason: string, isPermanent: boolean): void;
}

export interface Leading {
  readonly manager: ManagerPort;
  /** Nothing leaves any more, at once. No TEARDOWN: executors and volumes go on, the next scheduler finds them. */
  close(): void;
}

/** Rejects when the facts cannot be read or the port for executors is taken. */
export async function lead(modules: LeadingModules): Promise<Leading> {
  const { config, log, store, leadership } = modules;
  const snapshot = await store.load();
  // The server comes first: its port goes into the manager's options. Nothing reaches the manager
  // before it exists, because no event loop turn passes in between.
  const control = await listenForExecutors(modules, () => scheduler);
  const options = managerOptions(config, control.address, modules.version);
  const { term } = leadership;
  const setup = { options, entries: snapshot.entries, term, newClusterId: randomUUID() };
  const now = { ms: systemClock.now(), wallMs: systemClock.wall() };
  const detector = detectMasters(modules, (masters) => mesos.follow(masters));
  const mesos: MesosScheduler = createMesosScheduler({
    masters: detector === null ? config.masters : () => detector.find(),
    contentType: config.contentType === 'json' ? JSON_TYPE : PROTOBUF_TYPE,
    authorization: config.access.authorization,
    tls: config.access.tls,
    mayConnect: () => scheduler.confirmLeadership(),
    onEvent: (event) => {
      scheduler.post({ kind: 'mesos', event });
      return undefined;
    },
    onDisconnected: (reason) => scheduler.post({ kind: 'mesos-disconnected', reason }),
    log,
    clock: systemClock,
    random: systemRandom,
  });
  const state = createState(setup, now);
  const uninstalled = whyUninstalled(state);
  if (uninstalled !== null)
    throw new StorageError('conflict', uninstalled, { needsOperator: true });
  const scheduler = new Scheduler(state, snapshot.revision, {
    clock: systemClock,
    log,
    store,
    mesos: { call: (call) => void mesos.call(call) },
    control,
    announcer: createAnnouncer(log),
    ...(config.capacityHook === null
      ? {}
      : { capacityHook: createCapacityHook(config.capacityHook, log) }),
    onAbdicated: (reason, isPermanent) => over(reason, isPermanent),
  });
  if (config.isNewFramework && renewFramework(state)) {
    // The operator's word after Mesos removed the framework: volumes are found by their labels.
    const { removedFrameworkId: old } = state.facts.cluster;
    log('warn', 'Subscribing as a new framework, as asked', { old });
  } else if (config.isNewFramework) {
    log('info', 'The framework id stays: Mesos has not said that it was removed', {});
  }
  const schedule = scheduleScrub(config.scrubSchedule, (order) => scheduler.execute(order), log);
  const close = (): void => {
    scheduler.close();
    mesos.close();
    detector?.close();
    control.close();
    schedule.stop();
  };
  // First silence, then whatever else has to happen.
  const over = (reason: string, isPermanent: boolean): void => {
    close();
    modules.onOver(reason, isPermanent);
  };
  void leadership.lost.then((reason) => over(reason, false));
  tellOfLostStore(scheduler, log);
  scheduler.start();
  const { frameworkInfo, frameworkId, suppressedRoles } = mesosSubscription(scheduler.state);
  mesos.subscribe(frameworkInfo, frameworkId, suppressedRoles);
  log('info', 'Scheduler is leading', {
    cluster: scheduler.state.facts.cluster.clusterId,
    term,
    control: control.address,
  });
  return { manager: createManagerPort(scheduler), close };
}

function listenForExecutors(
  { config, log, root }: LeadingModules,
  leading: () => Scheduler,
): Promise<ControlServer> {
  return serveControl(
    { host: config.host, port: config.controlPort },
    { codec: loadControlCodec(join(root, 'proto')), clock: systemClock, log },
    {
      onMessage(session, message) {
        if (message.kind === 'hello') {
          leading().post({ kind: 'node-hello', session, hello: message.hello });
        } else {
          const { sequence, report } = message;
          leading().post({ kind: 'node-report', session, sequence, report });
        }
      },
      onClose: (session, reason) => leading().onSessionClosed(session, reason),
    },
  );
}

/** The one finding that stops everything and that nobody may miss, also without the API. */
function tellOfLostStore(scheduler: Scheduler, log: Log): void {
  let told: string | null = null;
  scheduler.subscribe(() => {
    const lost = findLostStore(scheduler.state);
    if ((lost?.message ?? null) === told) return;
    told = lost?.message ?? null;
    if (lost === null) log('warn', 'The store knows what Mesos shows: offers are taken again');
    else
      log('error', 'Nothing is touched: is this the right store?', {
        found: lost.message,
        command: ADOPT_COMMAND,
      });
  });
}

/** Null when the masters' addresses are given. */
function detectMasters(
  { config, log }: LeadingModules,
  onChange: (masters: readonly string[]) => void,
): MasterDetector | null {
  const { masterLookup } = config;
  if (masterLookup === null) return null;
  return new MasterDetector(masterLookup.address, masterLookup.scheme, {
    clock: systemClock,
    log,
    onChange,
  });
}
