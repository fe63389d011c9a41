/** Which node, or which zone, is not like the others. */
import { OpsPerSecond, Seconds, Short } from '@grafana/grafana-foundation-sdk/units';
import type { DashboardPlan } from '../frame.ts';
import { above, graph, objectiveSeconds, perNode } from '../panels.ts';
import { byZone, quantileOfEach, rate, rateOfEach, series } from '../queries.ts';
import {
  backgroundShare,
  degraded,
  diskLeft,
  eventLoop,
  hints,
  keys,
  lag,
  ofEachNode,
  owned,
  running,
  syncedWrites,
  toPull,
} from './shared.ts';

export const nodes: DashboardPlan = {
  name: 'nodes',
  what: 'Which storage node, or which zone, is not like the others. A click on a line leads to what else there is of it.',
  rows: [
    {
      title: 'What each does',
      panels: [
        perNode(
          {
            title: 'Operations coordinated',
            what: 'Run by the node, whoever sent them.',
            bad: 'one far below the others is avoided, or away; one far above has keys that are asked for often.',
            unit: OpsPerSecond,
            see: 'routers',
          },
          rateOfEach('cartwheel_coordination_seconds_count'),
        ),
        perNode(
          {
            title: 'Operations coordinated, p99.9',
            what: 'From the node’s point of view, until the answer.',
            bad: 'one line above the others: that node, or its disk, is slow.',
            unit: Seconds,
            limits: above(objectiveSeconds),
            runbook: 'CartwheelLatency',
            see: 'convergence',
          },
          quantileOfEach(0.999, 'cartwheel_coordination_seconds'),
        ),
        perNode(
          {
            title: 'Operations that failed',
            what: 'Run by the node, and not answered with a success.',
            bad: 'one node alone: it is cut off, or its disk fails. All: R or W nodes are not in reach.',
            unit: OpsPerSecond,
            runbook: 'CartwheelAvailability',
          },
          rateOfEach('cartwheel_coordination_failures_total'),
        ),
        ofEachNode(owned),
        ofEachNode(keys),
        ofEachNode(degraded),
      ],
    },
    {
      title: 'What each has left',
      panels: [
        ofEachNode(syncedWrites),
        ofEachNode(diskLeft),
        perNode(
          {
            title: 'Processor',
            what: 'Cores in use. One runs JavaScript; the rest is RocksDB, the network and garbage collection.',
            bad: 'above 1 for long: operations wait for the event loop, whatever the limit of the pod is.',
            unit: Short,
            runbook: 'CartwheelLatency',
            see: 'runtime',
          },
          rateOfEach('process_cpu_seconds_total'),
        ),
        ofEachNode(eventLoop),
        ofEachNode(running),
        ofEachNode(backgroundShare),
      ],
    },
    { title: 'What each owes and lacks', panels: [ofEachNode(hints), ofEachNode(toPull), ofEachNode(lag)] },
    {
      title: 'Zones beside each other',
      panels: [
        graph(
          {
            title: 'Operations coordinated, by zone',
            what: 'All of its nodes together.',
            bad: 'a zone that falls to nothing is cut off or away; the others take its operations.',
            unit: OpsPerSecond,
            runbook: 'CartwheelRedundancyLost',
          },
          [{ expr: byZone('sum by (zone)', rate('cartwheel_coordination_seconds_count')), legend: '{{zone}}' }],
        ),
        graph(
          {
            title: 'Operations coordinated, p99.9, by zone',
            what: 'Of its slowest node.',
            bad: 'one zone above the others: what its nodes share, a network or a kind of disk, is slow.',
            unit: Seconds,
            limits: above(objectiveSeconds),
            runbook: 'CartwheelLatency',
          },
          [
            {
              expr: byZone('max by (zone)', quantileOfEach(0.999, 'cartwheel_coordination_seconds')),
              legend: '{{zone}}',
            },
          ],
        ),
        graph(
          {
            title: 'Partitions with a home out of reach, by zone',
            what: 'As the node of the zone counts them that misses most.',
            bad: 'one zone counts many and the others few: it is that one that is cut off.',
            unit: Short,
            limits: above(1),
            runbook: 'CartwheelRedundancyLost',
          },
          [{ expr: byZone('max by (zone)', series('cartwheel_partitions_degraded')), legend: '{{zone}}' }],
        ),
      ],
    },
  ],
};
