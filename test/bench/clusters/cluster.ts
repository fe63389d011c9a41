/** The clusters that are measured, all on loopback: started on an empty directory, stopped with all their processes. */
export const storeNames = ['cartwheel', 'etcd', 'cassandra', 'cassandra-batch'] as const;
/** Cassandra's commit log is synced every ten seconds, its default; with `-batch`, before a write is acknowledged. */
export type StoreName = (typeof storeNames)[number];

export interface Cluster {
  /** host:port of the nodes. */
  readonly endpoints: readonly string[];
  /** host:port; empty where there is no such thing. */
  readonly routers: readonly string[];
  /** Process ids of the servers by name: all that the store needs to run. */
  readonly pids: Readonly<Record<string, number>>;
  stop(): Promise<void>;
}

export const loopback = '127.0.0.1';
export const nodes = 3;
