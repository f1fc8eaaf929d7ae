/** Opens the metadata store that the settings name. Nothing is asked of it yet. */
import type { MetadataStore } from '../../shared/ports.ts';
import type { StoreSettings } from '../store-settings.ts';
import { openEmbeddedStore } from './embedded.ts';
import { EtcdCoordinator } from './etcd-coordinator.ts';
import { loadEtcdWire } from './etcd-wire.ts';
import { JournalStore } from './journal-store.ts';
import { type CoordinatorModules, ZooKeeperCoordinator } from './zookeeper-coordinator.ts';

/** `protoDirectory` holds the definitions of etcd's calls. Throws what the store's own `open` throws. */
export function openStore(
  settings: StoreSettings,
  protoDirectory: string,
  modules: CoordinatorModules,
): MetadataStore {
  const { log, random } = modules;
  switch (settings.kind) {
    case 'embedded':
      return openEmbeddedStore(settings.directory);
    case 'zookeeper': {
      const coordinator = new ZooKeeperCoordinator(settings.address, settings.sessionMs, modules);
      return new JournalStore({ coordinator, random, log });
    }
    case 'etcd': {
      const { address, tls, sessionMs } = settings;
      const wire = loadEtcdWire(protoDirectory);
      const coordinator = new EtcdCoordinator({ ...address, tls }, sessionMs, wire, modules);
      return new JournalStore({ coordinator, random, log });
    }
  }
}

/** For people, without secrets. */
export function storeName(settings: StoreSettings): string {
  if (settings.kind === 'embedded') return settings.directory;
  const { scheme, servers, path } = settings.address;
  return `${scheme}://${servers.join(',')}${path}`;
}
