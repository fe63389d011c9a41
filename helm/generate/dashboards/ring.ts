/** Changes of the ring, and what moves for them. */
import {
  BytesPerSecondIEC,
  Number as Exact,
  OpsPerSecond,
  PercentUnit,
  RecordsPerSecond,
  Seconds,
  Short,
} from '@grafana/grafana-foundation-sdk/units';
import type { DashboardPlan } from '../frame.ts';
import { graph, perNode, perProcess, rateByLabel, stat } from '../panels.ts';
import { rate, rateBy, rateOfEach, series, seriesOfAll } from '../queries.ts';
import { backgroundShare, claimants, ofEachNode, owned, ringsBehind, toPull } from './shared.ts';

/** 0 where no task of the kind is under way, or none knows. */
const known = (metric: string): string => {
  return `max by (task) (${series(metric)} >= 0 or 0 * ${series('cartwheel_background_tasks')})`;
};

export const ring: DashboardPlan = {
  name: 'ring',
  what: 'While nodes join, leave or are replaced: how far it is, what it costs, and whether all go by one ring.',
  rows: [
    {
      title: 'Ring',
      panels: [
        stat(
          {
            title: 'Nodes in the ring',
            what: 'Storage nodes, those that join or leave among them.',
            bad: 'fewer than the chart’s storage.replicas: one has not joined (`cartwheel status`, `cartwheel ring status`).',
            unit: Short,
          },
          `max(${seriesOfAll('cartwheel_ring_nodes')})`,
        ),
        stat(
          {
            title: 'Storage nodes up',
            what: 'That Prometheus reaches.',
            bad: 'fewer than there are in the ring: bring the others back on their own volumes.',
            unit: Short,
            runbook: 'CartwheelRedundancyLost',
            see: 'nodes',
          },
          `count(${seriesOfAll('cartwheel_process_info', 'service="storage-node"')}) or vector(0)`,
        ),
        claimants(),
        ringsBehind(),
        perProcess(
          {
            title: 'Sequence of the ring',
            what: 'Of the ring that each process goes by. It grows with every ring that is issued.',
            bad: 'a line that stays below the others: look at gossip of that process.',
            unit: Exact,
            runbook: 'CartwheelRingsDisagree',
          },
          series('cartwheel_ring_sequence'),
        ),
        graph(
          {
            title: 'Gossip',
            what: 'Rounds with a peer.',
            bad: 'failures as often as rounds: a process is away, or the network keeps some from the others.',
            unit: OpsPerSecond,
            runbook: 'CartwheelRingsDisagree',
          },
          [
            { expr: `sum(${rate('cartwheel_gossip_rounds_total')})`, legend: 'rounds' },
            { expr: `sum(${rate('cartwheel_gossip_failures_total')})`, legend: 'failures' },
            { expr: `sum(${rate('cartwheel_gossip_persist_failures_total')})`, legend: 'not persisted' },
          ],
        ),
        graph(
          {
            title: 'Rings refused',
            what: 'Older ones are ignored, which is nothing. One of the version known, with other content, is a conflict.',
            bad: 'any conflict: stop all membership processes but one.',
            unit: OpsPerSecond,
            runbook: 'CartwheelRingConflict',
          },
          [
            { expr: `sum(${rate('cartwheel_gossip_rings_older_total')})`, legend: 'older' },
            { expr: `sum(${rate('cartwheel_gossip_ring_conflicts_total')})`, legend: 'conflict' },
          ],
        ),
        perProcess(
          {
            title: 'Handshakes refused',
            what: 'By each process, or by the others it asked: of another cluster, with a node that was not meant, with other settings.',
            bad: 'one line far above the others is the process that is shut out. A few when a node changes its address are nothing.',
            unit: OpsPerSecond,
            runbook: 'CartwheelHandshakesRefused',
          },
          rateOfEach('cartwheel_handshakes_refused_total'),
        ),
      ],
    },
    {
      title: 'Rebalance',
      panels: [
        perProcess(
          {
            title: 'Partitions left of the change',
            what: 'Not yet as the goal wants them, as the claimant says. 0: no change is under way.',
            bad: 'it stands still. The goal cannot be undone; see which node does not pull, and why.',
            unit: Short,
          },
          series('cartwheel_ring_change_partitions_left'),
        ),
        ofEachNode(toPull),
        ofEachNode(owned),
        perNode(
          { title: 'Records pulled', what: 'From former owners.', unit: RecordsPerSecond, see: 'storage' },
          rateOfEach('cartwheel_transfer_records_total'),
        ),
        perNode(
          {
            title: 'Bytes pulled',
            what: 'From former owners. The governor keeps it below its ceiling (`--background-mib`, `--background-operations`).',
            bad: 'nothing, with partitions to be pulled: the former owners are away, or clients are slow.',
            unit: BytesPerSecondIEC,
          },
          rateOfEach('cartwheel_transfer_bytes_total'),
        ),
        graph(
          {
            title: 'Time left, by kind of task',
            what: 'By their pace, of the last one to end; 0 where none is under way, or none knows.',
            unit: Seconds,
          },
          [{ expr: known('cartwheel_background_eta_seconds'), legend: '{{task}}' }],
        ),
        perNode(
          {
            title: 'Partitions of others left here',
            what: 'Given up, and emptied after an exchange with whoever has them now.',
            bad: 'it does not fall though no change is under way: their new homes are not in reach.',
            unit: Short,
            runbook: 'CartwheelExchangesLate',
          },
          series('cartwheel_leftover_partitions'),
        ),
        perNode(
          { title: 'Records given back', what: 'Dropped, because they are others’ now.', unit: RecordsPerSecond },
          rateOfEach('cartwheel_handed_back_records_total'),
        ),
        graph(
          {
            title: 'How far, by kind of task',
            what: 'The one that has come least far; 0 where none is under way, or none knows.',
            unit: PercentUnit,
          },
          [{ expr: known('cartwheel_background_progress'), legend: '{{task}}' }],
        ),
      ],
    },
    {
      title: 'Governor of the background',
      panels: [
        ofEachNode(backgroundShare),
        graph({ title: 'Tasks under way', what: 'On all nodes (`cartwheel tasks`).', unit: Short }, [
          { expr: `sum by (task) (${series('cartwheel_background_tasks')})`, legend: '{{task}}' },
        ]),
        graph(
          {
            title: 'Waiting, part of the time',
            what: 'Of all tasks together: more than 1 where several wait at once.',
            bad: 'with a share at its floor, clients or disks are slow; else it is the ceiling that holds it.',
            unit: PercentUnit,
            runbook: 'CartwheelConvergenceLags',
          },
          [
            {
              expr: rateBy('task, reason', 'cartwheel_background_waited_seconds_total'),
              legend: '{{task}}: {{reason}}',
            },
          ],
        ),
        rateByLabel(
          { title: 'Operations of the background', what: 'That were admitted.', unit: OpsPerSecond },
          'cartwheel_background_operations_total',
          'task',
        ),
        rateByLabel(
          { title: 'Bytes of the background', what: 'Of records that were admitted.', unit: BytesPerSecondIEC },
          'cartwheel_background_bytes_total',
          'task',
        ),
      ],
    },
  ],
};
