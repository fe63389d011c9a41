import { startCartwheel } from './cartwheel.ts';
import { startCassandra } from './cassandra.ts';
import type { Cluster, StoreName } from './cluster.ts';
import { startEtcd } from './etcd.ts';

export function startCluster(store: StoreName, directory: string, signal: AbortSignal): Promise<Cluster> {
  switch (store) {
    case 'cartwheel':
      return startCartwheel(directory, signal);
    case 'etcd':
      return startEtcd(directory, signal);
    case 'cassandra':
      return startCassandra(directory, 'periodic', signal);
    case 'cassandra-batch':
      return startCassandra(directory, 'batch', signal);
  }
}
