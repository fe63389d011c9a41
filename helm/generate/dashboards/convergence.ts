/** What makes replicas one again: the quorum of an operation, hints, exchanges, repair, and the letting go of deletes. */
import {
  BytesIEC,
  OpsPerSecond,
  PercentUnit,
  RecordsPerSecond,
  Seconds,
  Short,
} from '@grafana/grafana-foundation-sdk/units';
import type { DashboardPlan } from '../frame.ts';
import { above, graph, latency, perNode, rateByLabel, sizes } from '../panels.ts';
import { quantileBy, rate, series } from '../queries.ts';
import { alone, hints, lag, ofEachNode, overdue } from './shared.ts';

const sum = (metric: string) => `sum(${series(metric)})`;
const perSecond = (metric: string) => `sum(${rate(metric)})`;

export const convergence: DashboardPlan = {
  name: 'convergence',
  what: 'Whether replicas are alike: after a node was away, and when gets or puts wait for a quorum.',
  rows: [
    {
      title: 'Quorum',
      panels: [
        ...(['get', 'put'] as const).map((operation) =>
          latency(
            {
              title: operation === 'get' ? 'Gets coordinated' : 'Puts coordinated',
              what: 'Run by storage nodes, whoever sent them, until the answer.',
              bad: 'the same as clients see (`SLO overview`): it is here. Lower than that: it is before, in the routers.',
              runbook: 'CartwheelLatency',
              see: 'nodes',
            },
            'cartwheel_coordination_seconds',
            `operation="${operation}"`,
          ),
        ),
        graph(
          {
            title: 'Stages, p99.9',
            what: 'The own record, waiting for W or R replicas, making the answer of a get.',
            bad: '`own`: this node’s disk. `write_quorum`, `read_quorum`: the others, or the network between.',
            unit: Seconds,
            runbook: 'CartwheelLatency',
            see: 'storage',
          },
          [{ expr: quantileBy('stage', 0.999, 'cartwheel_coordination_stage_seconds'), legend: '{{stage}}' }],
        ),
        rateByLabel(
          {
            title: 'Failures of replicas',
            what: 'That did not do what was asked of them, by what that was.',
            bad: '`handoff`: a home does not take its hints. Else a replica is slow or away.',
            unit: OpsPerSecond,
            runbook: 'CartwheelHandoffStuck',
          },
          'cartwheel_replica_failures_total',
          'what',
        ),
        graph(
          {
            title: 'Forwarded, hedged, done by fallbacks',
            what: 'Operations that took another way than the shortest one.',
            bad: 'fallbacks: homes are out of reach. Hedged reads: a replica is slow. Forwarded: a ring is old.',
            unit: OpsPerSecond,
            runbook: 'CartwheelRedundancyLost',
          },
          [
            { expr: perSecond('cartwheel_forwarded_operations_total'), legend: 'forwarded' },
            { expr: perSecond('cartwheel_hedged_reads_total'), legend: 'hedged reads' },
            { expr: perSecond('cartwheel_stand_ins_total'), legend: 'stand-ins' },
            { expr: perSecond('cartwheel_coordinated_by_fallback_total'), legend: 'coordinated by a fallback' },
          ],
        ),
        sizes(
          {
            title: 'Siblings of a key',
            what: 'When it was read or written.',
            bad: 'p99 grows: clients put without the context of a get. Each read of such a key is large.',
            unit: Short,
            runbook: 'CartwheelLatency',
          },
          'cartwheel_siblings',
        ),
        sizes(
          {
            title: 'Entries of a clock',
            what: 'Of the version vector of a key, when it was written: coordinators that have written it.',
            bad: 'p99 grows without end: deletes and old entries are not let go (last row).',
            unit: Short,
          },
          'cartwheel_clock_entries',
        ),
        graph(
          {
            title: 'Clocks cut',
            what: 'Entries that were dropped because a clock was at its cap.',
            bad: 'any: an old sibling may show again.',
            unit: OpsPerSecond,
          },
          [{ expr: perSecond('cartwheel_clock_entries_cut_total'), legend: 'entries' }],
        ),
        graph(
          {
            title: 'Writes remembered',
            what: 'Second attempts of clients whose write a replica remembered: they were not applied twice.',
            bad: 'many: first answers get lost or come late.',
            unit: OpsPerSecond,
            runbook: 'CartwheelLatency',
          },
          [{ expr: perSecond('cartwheel_recalled_writes_total'), legend: 'recalled' }],
        ),
      ],
    },
    {
      title: 'Hints',
      panels: [
        ofEachNode(hints),
        perNode(
          {
            title: 'Hints for homes in reach',
            what: 'Of them, those that can be delivered now.',
            bad: 'it does not fall: the home refuses, or its disk does not sync.',
            unit: Short,
            runbook: 'CartwheelHandoffStuck',
          },
          series('cartwheel_hints_deliverable'),
        ),
        graph(
          {
            title: 'Hints added, delivered, not kept',
            what: 'Not kept: more is owed to one node than it may have hints; the partition is marked, and compared as a whole.',
            bad: 'added for minutes: a home is away. Nothing delivered after it came back: handoff is stuck.',
            unit: RecordsPerSecond,
            runbook: 'CartwheelHandoffStuck',
          },
          [
            { expr: perSecond('cartwheel_hints_added_total'), legend: 'added' },
            { expr: perSecond('cartwheel_hints_delivered_total'), legend: 'delivered' },
            { expr: perSecond('cartwheel_hints_beyond_limit_total'), legend: 'not kept' },
          ],
        ),
        perNode(
          {
            title: 'Partitions marked',
            what: 'Of homes that are owed more than hints say: an exchange mends them.',
            bad: 'it does not fall with the home in reach: exchanges do not come to an end.',
            unit: Short,
            runbook: 'CartwheelExchangesLate',
          },
          series('cartwheel_partitions_marked'),
        ),
        ofEachNode(alone),
        graph(
          {
            title: 'Handed over without a hint',
            what: 'Records that a node had and was no home of any more, given to a home.',
            unit: RecordsPerSecond,
          },
          [{ expr: perSecond('cartwheel_handed_over_records_total'), legend: 'handed over' }],
        ),
      ],
    },
    {
      title: 'Convergence',
      panels: [
        ofEachNode(lag),
        perNode(
          {
            title: 'Partitions known to differ',
            what: 'From another home, and not mended yet.',
            bad: 'it stays up with every home in reach.',
            unit: Short,
            runbook: 'CartwheelConvergenceLags',
          },
          series('cartwheel_exchange_pairs_differing'),
        ),
        graph(
          {
            title: 'Partitions that lag longest',
            what: 'For how long the oldest difference of a partition has been known to any of its homes. Shown from a minute on.',
            bad: 'any line that goes on: `cartwheel repair status` says towards whom, and what it waits for.',
            unit: Seconds,
            limits: above(900),
            runbook: 'CartwheelConvergenceLags',
          },
          [
            {
              // No series where none lags: a line at 0 says that, an empty panel would not.
              expr: `topk(10, max by (partition) (${series('cartwheel_partition_lag_seconds')})) or label_replace(vector(0), "partition", "none", "", "")`,
              legend: 'partition {{partition}}',
            },
          ],
        ),
        ofEachNode(overdue),
        rateByLabel(
          {
            title: 'Exchanges',
            what: 'Comparisons of a partition with another home, by result.',
            bad: '`failed` or `unready` for long tell of the other side.',
            unit: OpsPerSecond,
            runbook: 'CartwheelConvergenceLags',
          },
          'cartwheel_exchanges_total',
          'result',
        ),
        graph(
          {
            title: 'Records mended',
            what: 'By exchanges, in which direction; and after reads that found replicas to differ.',
            bad: 'many, with no node away lately: writes do not reach all their homes. Look at failures of replicas.',
            unit: RecordsPerSecond,
            runbook: 'CartwheelConvergenceLags',
          },
          [
            {
              expr: `sum by (direction) (${rate('cartwheel_exchanged_records_total')})`,
              legend: '{{direction}} by exchanges',
            },
            { expr: perSecond('cartwheel_read_repairs_total'), legend: 'after reads' },
            { expr: perSecond('cartwheel_read_repairs_skipped_total'), legend: 'left to the next read' },
          ],
        ),
        perNode(
          {
            title: 'Digests built',
            what: 'How much of them is complete: without them there is no exchange.',
            bad: 'below 100 % for long: the node did not stop cleanly, and builds them; others see `unready`.',
            unit: PercentUnit,
            runbook: 'CartwheelConvergenceLags',
          },
          series('cartwheel_digests_built'),
        ),
      ],
    },
    {
      title: 'Whether what is kept is whole',
      panels: [
        perNode(
          {
            title: 'Verification',
            what: 'How much of the records has been read in this round, to see whether they are what the digests say.',
            bad: 'it stands still for an hour: the background has too little.',
            unit: PercentUnit,
          },
          series('cartwheel_verification_progress'),
        ),
        graph(
          {
            title: 'Not whole, or wrong',
            what: 'Since the processes started: records met by reads, blocks that RocksDB refused, records and leaves met by verification.',
            bad: 'any: a disk is not to be trusted. None of it was served.',
            unit: Short,
            limits: above(1),
            runbook: 'CartwheelRecordsCorrupt',
          },
          [
            { expr: sum('cartwheel_corrupt_records_total'), legend: 'records read' },
            { expr: sum('cartwheel_engine_damaged_reads_total'), legend: 'blocks refused' },
            { expr: sum('cartwheel_digests_corrupt_total'), legend: 'records verified' },
            { expr: sum('cartwheel_verification_failed_total'), legend: 'blocks not read' },
            { expr: sum('cartwheel_digests_wrong_total'), legend: 'leaves of digests' },
          ],
        ),
        graph(
          {
            title: 'Made whole, or lost',
            what: 'From other replicas; lost are those of which no other node had anything.',
            bad: 'anything lost: keep that volume, and find out what W it was written with.',
            unit: Short,
            runbook: 'CartwheelRecordsCorrupt',
          },
          [
            { expr: sum('cartwheel_corrupt_records_repaired_total'), legend: 'made whole' },
            { expr: sum('cartwheel_corrupt_records_lost_total'), legend: 'lost' },
            { expr: sum('cartwheel_corrupt_records'), legend: 'not whole yet' },
          ],
        ),
        perNode(
          {
            title: 'Partitions to be refilled',
            what: 'Not answered for: the disk was damaged, and they are not pulled again yet.',
            bad: 'it does not fall: the other homes are not in reach. Take none of them down.',
            unit: Short,
            limits: above(1),
            runbook: 'CartwheelRecordsCorrupt',
          },
          series('cartwheel_refill_partitions_waiting'),
        ),
        graph({ title: 'Records refilled', what: 'Pulled because the disk was damaged.', unit: RecordsPerSecond }, [
          { expr: perSecond('cartwheel_refilled_records_total'), legend: 'refilled' },
        ]),
        graph({ title: 'Records verified', what: 'Read to see whether they are whole.', unit: RecordsPerSecond }, [
          { expr: perSecond('cartwheel_verified_records_total'), legend: 'verified' },
          { expr: perSecond('cartwheel_verification_skipped_total'), legend: 'changed meanwhile' },
        ]),
      ],
    },
    {
      title: 'What is let go: deletes, what has expired, values that lost',
      panels: [
        perNode(
          {
            title: 'Records to let go of',
            what: 'Of which something may go once it is stable, that is once every node has it.',
            bad: 'it grows for days: one node is away, and holds everything.',
            unit: Short,
            runbook: 'CartwheelDiskFills',
          },
          series('cartwheel_collectable_records'),
        ),
        perNode(
          {
            title: 'Oldest of them',
            what: 'Since the first of those records was found. 24 h are normal (`--collect-after`).',
            bad: 'days: bring back the node that is away.',
            unit: Seconds,
            runbook: 'CartwheelDiskFills',
          },
          series('cartwheel_collectable_age_seconds'),
        ),
        perNode(
          {
            title: 'Collection held',
            what: '1 where something stood against it when it was tried last.',
            bad: 'for days: `cartwheel status`; every node of the ring has to be there.',
            unit: Short,
            runbook: 'CartwheelDiskFills',
          },
          series('cartwheel_collection_held'),
        ),
        graph(
          {
            title: 'Records let go',
            what: 'Or whose clocks were shortened, because all that they covered is gone everywhere.',
            unit: RecordsPerSecond,
          },
          [{ expr: perSecond('cartwheel_collected_records_total'), legend: 'let go' }],
        ),
        graph(
          {
            title: 'Values that lost',
            what: 'In namespaces where the last write wins: beaten by one that had not seen them (`cartwheel losers`).',
            bad: 'many: writers of one key do not read before. Not kept: the ledger is full.',
            unit: RecordsPerSecond,
          },
          [
            { expr: perSecond('cartwheel_losers_total'), legend: 'lost' },
            { expr: perSecond('cartwheel_losers_dropped_total'), legend: 'not kept' },
          ],
        ),
        perNode(
          { title: 'Bytes of values that lost', what: 'And are kept, up to a cap.', unit: BytesIEC },
          series('cartwheel_losers_bytes'),
        ),
      ],
    },
  ],
};
