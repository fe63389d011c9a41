/** What more than one dashboard shows: of each node beside the others, or of the node where it is worst. */
import { BytesIEC, PercentUnit, Seconds, Short } from '@grafana/grafana-foundation-sdk/units';
import { type About, above, below, exactly, type Panel, perNode, perProcess, stat } from '../panels.ts';
import { quantileOfEach, series, seriesOfAll } from '../queries.ts';

interface Shown {
  readonly about: About;
  /** Of each process. */
  readonly expr: string;
}

export function ofEachNode({ about, expr }: Shown): Panel {
  return perNode(about, expr);
}

export function ofEachProcess({ about, expr }: Shown): Panel {
  return perProcess(about, expr);
}

export function ofWorstNode({ about, expr }: Shown, worst: 'max' | 'min' = 'max'): Panel {
  return stat({ ...about, what: `${about.what} Here of the node where it is worst.` }, `${worst}(${expr})`);
}

export const degraded: Shown = {
  about: {
    title: 'Partitions with a home out of reach',
    what: 'As a node sees it. Writes to them go on, and are kept as hints for that home.',
    bad: 'there are fewer replicas than N. Take no other node down; bring the one back that `cartwheel status` misses.',
    unit: Short,
    limits: above(1),
    runbook: 'CartwheelRedundancyLost',
    see: 'convergence',
  },
  expr: series('cartwheel_partitions_degraded'),
};

export const alone: Shown = {
  about: {
    title: 'Partitions with one home in reach',
    what: 'As a node sees it that has, of what it can reach, the only copy.',
    bad: 'it may be the last copy. Stop every upgrade and drain; bring back any one of the other homes.',
    unit: Short,
    limits: above(1),
    runbook: 'CartwheelLastCopy',
    see: 'convergence',
  },
  expr: series('cartwheel_partitions_alone'),
};

export const lag: Shown = {
  about: {
    title: 'Oldest difference known',
    what: 'For how long a node has known that a replica differs from its own.',
    bad: 'it grows with every home in reach: exchanges fail, or the background has too little.',
    unit: Seconds,
    limits: above(900),
    runbook: 'CartwheelConvergenceLags',
    see: 'convergence',
  },
  expr: series('cartwheel_convergence_lag_seconds'),
};

export const overdue: Shown = {
  about: {
    title: 'Comparison that is most overdue',
    what: 'How long ago the partition and home were compared that have waited longest.',
    bad: 'with every home in reach, differences that nobody reads stay undiscovered.',
    unit: Seconds,
    limits: above(3600),
    runbook: 'CartwheelExchangesLate',
    see: 'convergence',
  },
  expr: series('cartwheel_exchange_age_seconds'),
};

export const diskLeft: Shown = {
  about: {
    title: 'Disk left',
    what: 'Of the file system of the data directory.',
    bad: 'a node whose disk is full stops acknowledging, and ends. Compactions need a few percent to give any back.',
    unit: PercentUnit,
    limits: below(0.05, 0.2),
    runbook: 'CartwheelDiskFills',
    see: 'storage',
  },
  expr: `${series('cartwheel_disk_available_bytes')} / ${series('cartwheel_disk_size_bytes')}`,
};

export const syncedWrites: Shown = {
  about: {
    title: 'Synced writes, p99',
    what: 'From the call of the storage engine until it is on disk.',
    bad: 'W of N hides one slow disk from puts, two it does not hide. All slow: more load than these disks carry.',
    unit: Seconds,
    limits: above(0.1),
    runbook: 'CartwheelDiskSlow',
    see: 'storage',
  },
  expr: quantileOfEach(0.99, 'cartwheel_engine_commit_seconds', 'sync="true"'),
};

export const hints: Shown = {
  about: {
    title: 'Hints owed',
    what: 'Records that the node owes to homes that missed them.',
    bad: 'it grows while a home is away, and has to fall when that is back (`cartwheel hints` says to whom).',
    unit: Short,
    runbook: 'CartwheelHandoffStuck',
    see: 'convergence',
  },
  expr: series('cartwheel_hints'),
};

export const toPull: Shown = {
  about: {
    title: 'Partitions to be pulled',
    what: 'That a change of the ring gives to the node, and that it does not have yet.',
    bad: 'it stands still: look at the governor, at the disk, and at `cartwheel tasks` of the node.',
    unit: Short,
    see: 'ring',
  },
  expr: series('cartwheel_transfer_partitions_waiting'),
};

export const owned: Shown = {
  about: {
    title: 'Partitions owned',
    what: 'That the node is a home of: as many as its weight says, when no change is under way.',
    unit: Short,
    see: 'ring',
  },
  expr: series('cartwheel_partitions_owned'),
};

export const keys: Shown = {
  about: {
    title: 'Keys, estimated',
    what: 'Of records, as RocksDB estimates them.',
    bad: 'one node far above the others has more than its share of partitions, or of their keys.',
    unit: Short,
    see: 'storage',
  },
  expr: series('cartwheel_engine_keys_estimated'),
};

export const backgroundShare: Shown = {
  about: {
    title: 'Share left to the background',
    what: 'Of its ceiling: halved while clients are slow or the disk stands still, never below a floor.',
    bad: 'at the floor for long, repair and rebalance hardly go on: find out why clients are slow.',
    unit: PercentUnit,
    runbook: 'CartwheelConvergenceLags',
    see: 'ring',
  },
  expr: series('cartwheel_background_share'),
};

export const running: Shown = {
  about: {
    title: 'Bytes of operations under way',
    what: 'What they carry and are expected to answer.',
    bad: 'at its cap new operations wait for room, and are then refused (`OVERLOADED`).',
    unit: BytesIEC,
    runbook: 'CartwheelAvailability',
  },
  expr: series('cartwheel_operations_running_bytes'),
};

export const eventLoop: Shown = {
  about: {
    title: 'Event loop delay, p99',
    what: 'How late the process gets to what is due.',
    bad: 'everything it does is late by that. It is short of processor, or collects garbage for long.',
    unit: Seconds,
    limits: above(0.1),
    runbook: 'CartwheelLatency',
    see: 'runtime',
  },
  expr: series('nodejs_eventloop_lag_p99_seconds'),
};

export function claimants(): Panel {
  return stat(
    {
      title: 'Claimants',
      what: 'Membership processes that issue rings.',
      bad: 'none: no node can join or leave, gets and puts go on. Two: stop one at once.',
      unit: Short,
      limits: exactly(1),
      runbook: 'CartwheelClaimantMissing',
      see: 'ring',
    },
    `sum(${seriesOfAll('cartwheel_claimant_active')}) or vector(0)`,
  );
}

export function ringsBehind(): Panel {
  return stat(
    {
      title: 'Rings behind the newest',
      what: 'Of the process that is furthest behind. A change makes many rings; it falls to 0 within seconds after each.',
      bad: 'for minutes: that process hears nobody, or cannot persist what it hears.',
      unit: Short,
      limits: above(1),
      runbook: 'CartwheelRingsDisagree',
      see: 'ring',
    },
    `max(${seriesOfAll('cartwheel_ring_sequence')}) - min(${seriesOfAll('cartwheel_ring_sequence')})`,
  );
}
