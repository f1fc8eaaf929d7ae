/** Real servers behind one face: ZooKeeper and etcd, single or three, as the suite and the failure tests need them. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Coordinator } from '../../../scheduler/metadata/coordinator.ts';
import { EtcdConnection } from '../../../scheduler/metadata/etcd-connection.ts';
import { EtcdCoordinator } from '../../../scheduler/metadata/etcd-coordinator.ts';
import { loadEtcdWire } from '../../../scheduler/metadata/etcd-wire.ts';
import { JournalStore, type SnapshotPolicy } from '../../../scheduler/metadata/journal-store.ts';
import { ZooKeeperCoordinator } from '../../../scheduler/metadata/zookeeper-coordinator.ts';
import { ZooKeeperSession } from '../../../scheduler/metadata/zookeeper-session.ts';
import { systemClock } from '../../../shared/node/clock.ts';
import { systemRandom } from '../../../shared/node/random.ts';
import { EtcdCluster } from '../../fixture/etcd-cluster.ts';
import type { MemberProcess } from '../../fixture/member-process.ts';
import { ZooKeeperEnsemble } from '../../fixture/zookeeper-ensemble.ts';
import { PROJECT_ROOT } from '../../tidy/source-tree.ts';
import type { Bench } from './store-suite.ts';

export interface Servers {
  readonly members: readonly MemberProcess[];
  readonly servers: readonly string[];
  ready(): Promise<void>;
  leader(): Promise<MemberProcess>;
  close(): Promise<void>;
}

export interface StoreOptions {
  readonly path: string;
  readonly sessionMs: number;
  /** Instead of the members' own addresses. */
  readonly servers?: readonly string[];
  readonly credentials?: string;
  readonly policy?: SnapshotPolicy;
}

export interface Service {
  readonly name: 'zookeeper' | 'etcd';
  start(size: 1 | 3): Promise<Servers>;
  coordinator(servers: Servers, options: StoreOptions): Coordinator;
  /** Writes the record of a leader that nobody is: what another's taking of the seat looks like. */
  usurp(servers: Servers, path: string): Promise<void>;
}

/** Long enough for a machine that is busy with other tests. */
export const SESSION_MS = 3_000;

const modules = { clock: systemClock, random: systemRandom, log: () => undefined };
const etcdWire = loadEtcdWire(join(PROJECT_ROOT, 'proto'));

const USURPER = Buffer.from(JSON.stringify({ term: 1000, address: 'http://x', candidate: 'x' }));

export const SERVICES: readonly Service[] = [
  {
    name: 'zookeeper',
    start: (size) => ZooKeeperEnsemble.start(size),
    coordinator: ({ servers }, options) =>
      new ZooKeeperCoordinator(
        { servers, credentials: null, ...options },
        options.sessionMs,
        modules,
      ),
    async usurp({ servers }, path) {
      const address = { servers, credentials: null };
      const session = new ZooKeeperSession(address, servers, SESSION_MS, modules);
      const write = { path: `${path}/leader`, data: USURPER, version: null };
      await session.multi([{ kind: 'set', ...write }]);
      await session.close();
    },
  },
  {
    name: 'etcd',
    start: (size) => EtcdCluster.start(size),
    coordinator: ({ servers }, options) =>
      new EtcdCoordinator(
        { servers, credentials: null, tls: null, ...options },
        options.sessionMs,
        etcdWire,
        modules,
      ),
    async usurp({ servers }, path) {
      const connection = new EtcdConnection({ servers, credentials: null, tls: null }, etcdWire);
      const requestPut = { key: Buffer.from(`${path}/leader`), value: USURPER };
      await connection.call('txn', { compare: [], success: [{ requestPut }], failure: [] }, 5_000);
      connection.close();
    },
  },
];

export function openStore(service: Service, servers: Servers, options: StoreOptions): JournalStore {
  const coordinator = service.coordinator(servers, options);
  return new JournalStore({ coordinator, ...modules }, options.policy);
}

export function freshPath(): string {
  return `/cistern/${randomUUID()}`;
}

/** `servers` is asked for when a test begins: they are not up before. */
export function benchOf(service: Service, servers: () => Servers): Bench {
  return {
    name: service.name,
    isShared: true,
    create() {
      const path = freshPath();
      const opened: JournalStore[] = [];
      return {
        async open() {
          const store = openStore(service, servers(), { path, sessionMs: SESSION_MS });
          opened.push(store);
          return store;
        },
        run: (work) => work,
        // Its object stays, as a stopped process's would; what it says is refused.
        abandon: async (store) => (store as JournalStore).resign(),
        async dispose() {
          for (const store of opened) await store.close();
        },
      };
    },
  };
}

/** Polls: there is no event for it. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`Waited a minute until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
