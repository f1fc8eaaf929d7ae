/** Real servers of one member as the store of a cluster with several schedulers. */
import { EtcdCluster } from '../fixture/etcd-cluster.ts';
import { ZooKeeperEnsemble } from '../fixture/zookeeper-ensemble.ts';
import type { StoreServers } from './ha-cluster.ts';

const PATH = '/cistern/ha';

export const STORES: Readonly<Record<string, () => Promise<StoreServers>>> = {
  zookeeper: async () => storeOn('zk', await ZooKeeperEnsemble.start(1)),
  etcd: async () => storeOn('etcd', await EtcdCluster.start(1)),
};

function storeOn(scheme: string, ensemble: ZooKeeperEnsemble | EtcdCluster): StoreServers {
  return {
    addresses: ensemble.servers,
    setting: (addresses) => `${scheme}://${addresses.join(',')}${PATH}`,
    close: () => ensemble.close(),
  };
}
