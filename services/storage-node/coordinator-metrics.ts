import type { CounterHandle, HistogramHandle, Log, Metrics } from '../core/ports.ts';

export type ReplicaWork = 'read' | 'write' | 'repair' | 'handoff' | 'exchange' | 'transfer' | 'collection';

export interface CoordinatorMetrics {
  readonly entriesCut: CounterHandle;
  readonly hedges: CounterHandle;
  readonly repairs: CounterHandle;
  readonly repairsSkipped: CounterHandle;
  repairsUnderWay: number;
  readonly forwarded: CounterHandle;
  /** Of whole operations, as this node answered them. */
  readonly operation: Readonly<Record<'get' | 'put' | 'delete', HistogramHandle>>;
  readonly failedOperations: CounterHandle;
  /** Parts of them, in milliseconds; they do not overlap. */
  readonly stage: Readonly<Record<'own' | 'write_quorum' | 'read_quorum' | 'answer', HistogramHandle>>;
  readonly siblings: HistogramHandle;
  readonly clockEntries: HistogramHandle;
  readonly hintsDelivered: CounterHandle;
  readonly standIns: CounterHandle;
  readonly recalled: CounterHandle;
  readonly collected: CounterHandle;
  readonly coordinatedByFallback: CounterHandle;
  replicaFailed(nodeId: string, what: ReplicaWork, error: unknown): undefined;
}

export function createCoordinatorMetrics(metrics: Metrics, log: Log): CoordinatorMetrics {
  const failed = (what: string) =>
    metrics.counter('cartwheel_replica_failures_total', 'Replicas that did not do what was asked', { what });
  const failures = {
    read: failed('read'),
    write: failed('write'),
    repair: failed('repair'),
    handoff: failed('handoff'),
    exchange: failed('exchange'),
    transfer: failed('transfer'),
    collection: failed('collection'),
  };
  const operation = (name: string) =>
    metrics.histogram('cartwheel_coordination_seconds', 'Operations run here, whoever sent them, until their answer', {
      operation: name,
    });
  const stage = (name: string) =>
    metrics.histogram(
      'cartwheel_coordination_stage_seconds',
      'Parts of operations run here: changing the own record, waiting for W or R replicas, making the answer of a get',
      { stage: name },
    );
  const created: CoordinatorMetrics = {
    entriesCut: metrics.counter(
      'cartwheel_clock_entries_cut_total',
      'Clock entries and detached dots cut; each may show an old sibling again',
    ),
    hedges: metrics.counter('cartwheel_hedged_reads_total', 'Reads that asked one more replica because one was slow'),
    repairs: metrics.counter('cartwheel_read_repairs_total', 'Replicas mended after a read'),
    repairsSkipped: metrics.counter('cartwheel_read_repairs_skipped_total', 'Read repairs left to the next read'),
    hintsDelivered: metrics.counter(
      'cartwheel_hints_delivered_total',
      'Records delivered to the home they were owed to',
    ),
    standIns: metrics.counter('cartwheel_stand_ins_total', 'Writes that a fallback took for a home'),
    recalled: metrics.counter('cartwheel_recalled_writes_total', 'Second attempts whose write a replica remembered'),
    collected: metrics.counter(
      'cartwheel_collected_records_total',
      'Records let go, or clocks of records shortened, because all that they covered is gone everywhere',
    ),
    coordinatedByFallback: metrics.counter(
      'cartwheel_coordinated_by_fallback_total',
      'Writes coordinated here though this node is no home of their key: no home could be reached',
    ),
    repairsUnderWay: 0,
    forwarded: metrics.counter('cartwheel_forwarded_operations_total', 'Operations sent on to a home of their key'),
    operation: { get: operation('get'), put: operation('put'), delete: operation('delete') },
    failedOperations: metrics.counter('cartwheel_coordination_failures_total', 'Operations run here that failed'),
    stage: {
      own: stage('own'),
      write_quorum: stage('write_quorum'),
      read_quorum: stage('read_quorum'),
      answer: stage('answer'),
    },
    siblings: metrics.sizes('cartwheel_siblings', 'Siblings of a key when it was read or written here'),
    clockEntries: metrics.sizes('cartwheel_clock_entries', 'Entries of the clock of a key when it was written here'),
    replicaFailed(nodeId, what, error) {
      failures[what].add(1);
      log.debug({ nodeId, what, err: error }, 'a replica did not do what was asked');
    },
  };
  metrics.gauge('cartwheel_read_repairs_under_way', 'Read repairs under way', () => created.repairsUnderWay);
  return created;
}
