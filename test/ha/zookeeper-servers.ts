/** A ZooKeeper of one server as the store of a cluster with several schedulers. */
import { ZooKeeperEnsemble } from '../fixture/zookeeper-ensemble.ts';
import type { StoreServers } from './ha-cluster.ts';

const PATH = '/cistern/ha';

export async function startZooKeeper(): Promise<StoreServers> {
  const ensemble = await ZooKeeperEnsemble.start(1);
  return {
    addresses: ensemble.servers,
    setting: (addresses) => `zk://${addresses.join(',')}${PATH}`,
    close: () => ensemble.close(),
  };
}
