/**
 * All decoders under fuzz, by name. Each is loaded when it is asked for: a thread that feeds one needs no
 * other's modules.
 */
import type { FuzzTarget } from './fuzz-target.ts';

type Make = (name: string) => Promise<FuzzTarget>;

const control: Make = async (name) => (await import('./target-control.ts')).controlTarget(name);
const mesos: Make = async (name) => (await import('./target-mesos.ts')).mesosTarget(name);

const MAKERS: Readonly<Record<string, Make>> = {
  nbd: async () => (await import('./target-nbd.ts')).nbdTarget(),
  frame: async () => (await import('./target-data.ts')).frameTarget(),
  resync: async () => (await import('./target-data.ts')).resyncTarget(),
  replica: async () => (await import('./target-replica.ts')).replicaTarget(),
  gateway: async () => (await import('./target-gateway.ts')).gatewayTarget(),
  manager: async () => (await import('./target-manager.ts')).managerTarget(),
  map: async () => (await import('./target-map.ts')).mapTarget(),
  'socket-onread': async () => (await import('./target-socket.ts')).socketTarget('onread'),
  'socket-data': async () => (await import('./target-socket.ts')).socketTarget('data'),
  'control-node': control,
  'control-manager': control,
  'control-grant-request': control,
  'control-grant-reply': control,
  'mesos-scheduler.Event-protobuf': mesos,
  'mesos-scheduler.Event-json': mesos,
  'mesos-executor.Event-protobuf': mesos,
  'mesos-executor.Event-json': mesos,
  'mesos-master.Event-protobuf': mesos,
  'mesos-master.Event-json': mesos,
  'mesos-master.Response-protobuf': mesos,
  'mesos-master.Response-json': mesos,
  recordio: async () => (await import('./target-mesos.ts')).recordTarget(),
  superblock: async () => (await import('./target-disk.ts')).superblockTarget(),
  journal: async () => (await import('./target-disk.ts')).journalTarget(),
  index: async () => (await import('./target-disk.ts')).indexTarget(),
  'map-file': async () => (await import('./target-disk.ts')).mapFileTarget(),
  api: async () => (await import('./target-api.ts')).apiTarget(),
};

export const TARGET_NAMES: readonly string[] = Object.keys(MAKERS);

export async function loadTarget(name: string): Promise<FuzzTarget> {
  const make = MAKERS[name];
  if (make === undefined) {
    throw new Error(`There is no target "${name}"; expected one of ${TARGET_NAMES.join(', ')}`);
  }
  return make(name);
}
