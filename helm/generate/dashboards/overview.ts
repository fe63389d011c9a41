/** What clients get, whether the objectives are met, and what an alert is due for. */
import { OpsPerSecond, PercentUnit, Short } from '@grafana/grafana-foundation-sdk/units';
import type { DashboardPlan } from '../frame.ts';
import { above, below, graph, heatMap, latency, objectiveSeconds, type Panel, rateByLabel, stat } from '../panels.ts';
import { cluster, rateBy, series, seriesOfAll } from '../queries.ts';
import {
  alone,
  claimants,
  degraded,
  diskLeft,
  lag,
  ofWorstNode,
  overdue,
  ringsBehind,
  syncedWrites,
} from './shared.ts';

type Objective = 'availability' | 'latency';

/** Recorded by rules.yaml, of the whole cluster. */
const recorded = (name: string, slo: Objective) => `${name}{slo="${slo}",${cluster}}`;
const runbooks = { availability: 'CartwheelAvailability', latency: 'CartwheelLatency' } as const;

const burnWindows = ['5m', '1h', '6h', '3d'];
/** Of an hour, and of three days: when somebody is called, and when there is a ticket. */
const burnLimits = above(14.4, 1);
const burnExplained = {
  what: 'How many times faster than allowed the budget of 30 days is used; at 1 it lasts exactly that long.',
  bad: 'somebody is called at 14.4 over an hour (2 % of the budget gone), and there is a ticket at 1 over three days.',
};

function budgetLeft(slo: Objective): Panel {
  return stat(
    {
      title: `Budget left: ${slo}`,
      what: 'Of the last 30 days. All of the cluster, whatever node is chosen.',
      bad: 'below 0 the objective is missed: no risky change until it has recovered.',
      unit: PercentUnit,
      limits: below(0, 0.25),
      runbook: runbooks[slo],
    },
    recorded('cartwheel:slo_budget_left:ratio30d', slo),
  );
}

function burnNow(slo: Objective): Panel {
  return stat(
    {
      title: `Burn rate of an hour: ${slo}`,
      ...burnExplained,
      unit: Short,
      limits: burnLimits,
      runbook: runbooks[slo],
    },
    recorded('cartwheel:slo_burn:rate1h', slo),
  );
}

function burn(slo: Objective): Panel {
  return graph(
    { title: `Burn rate: ${slo}`, ...burnExplained, unit: Short, limits: burnLimits, runbook: runbooks[slo] },
    burnWindows.map((window) => ({ expr: recorded(`cartwheel:slo_burn:rate${window}`, slo), legend: window })),
  );
}

function objectiveOf(operation: 'get' | 'put'): Panel {
  return latency(
    {
      title: operation === 'get' ? 'Gets' : 'Puts',
      what: `Where clients’ ${operation}s arrive, until the answer.`,
      bad: 'p99.9 above the line misses the objective. `Convergence and hints` says which stage of the quorum it is.',
      limits: above(objectiveSeconds),
      runbook: 'CartwheelLatency',
      see: 'convergence',
    },
    'cartwheel_operation_seconds',
    `operation="${operation}"`,
  );
}

/** These two in the order of docs/slo.md, but for the routers. */
const alertsOfDataAndRouters: readonly Panel[] = [
  ofWorstNode(degraded),
  ofWorstNode(alone),
  stat(
    {
      title: 'Nodes that deliver no hints',
      what: 'They owe records to homes that they reach, and have delivered none for ten minutes.',
      bad: 'the home refuses, or its disk does not sync. Nothing is lost meanwhile.',
      unit: Short,
      limits: above(1),
      runbook: 'CartwheelHandoffStuck',
      see: 'convergence',
    },
    `count(${series('cartwheel_hints_deliverable')} > 0 and increase(${series('cartwheel_hints_delivered_total')}[10m]) == 0) or vector(0)`,
  ),
  ofWorstNode(lag),
  ofWorstNode(overdue),
  ofWorstNode(diskLeft, 'min'),
  ofWorstNode(syncedWrites),
  stat(
    {
      title: 'Records not whole, in an hour',
      what: 'Met by reads and by verification. They are never served, and made whole from other replicas.',
      bad: 'a disk is not to be trusted, or somebody has touched a data directory.',
      unit: Short,
      limits: above(1),
      runbook: 'CartwheelRecordsCorrupt',
      see: 'convergence',
    },
    `ceil(sum(increase(${series('cartwheel_corrupt_records_total')}[1h])) + sum(increase(${series('cartwheel_digests_corrupt_total')}[1h])))`,
  ),
  stat(
    {
      title: 'Routers',
      what: 'That Prometheus reaches.',
      bad: 'none: who asks through the Service gets nothing, and no objective counts that.',
      unit: Short,
      limits: below(1),
      runbook: 'CartwheelRoutersMissing',
      see: 'routers',
    },
    `count(${seriesOfAll('cartwheel_process_info', 'service="router"')}) or vector(0)`,
  ),
];

const alertsOfTheRing: readonly Panel[] = [
  ringsBehind(),
  stat(
    {
      title: 'Conflicting rings, in 15 minutes',
      what: 'Of one version, and with different content: two claimants issued rings at once.',
      bad: 'processes do not agree who owns what. Stop all membership processes but one.',
      unit: Short,
      limits: above(1),
      runbook: 'CartwheelRingConflict',
      see: 'ring',
    },
    `ceil(sum(increase(${series('cartwheel_gossip_ring_conflicts_total')}[15m])))`,
  ),
  stat(
    {
      title: 'Handshakes refused, in 5 minutes',
      what: 'Between processes of two clusters, with a node that was not meant, or of builds that do not do the same.',
      bad: 'again and again: some process is shut out. Its log, and that of whoever refuses it, say why.',
      unit: Short,
      limits: above(1),
      runbook: 'CartwheelHandshakesRefused',
      see: 'ring',
    },
    `ceil(sum(increase(${series('cartwheel_handshakes_refused_total')}[5m])))`,
  ),
  claimants(),
];

export const overview: DashboardPlan = {
  name: 'overview',
  what: 'Begin here: whether clients get what is promised, and which alert is due for what.',
  rows: [
    {
      title: 'Objectives over 30 days: 99.99 % answered, 99.9 % of gets and puts in time',
      panels: [
        budgetLeft('availability'),
        budgetLeft('latency'),
        burnNow('availability'),
        burnNow('latency'),
        stat(
          {
            title: 'Operations of clients',
            what: 'But for those that were wrong, or asked for what is not there.',
            bad: 'a sudden fall: clients do not come through, which no objective counts.',
            unit: OpsPerSecond,
            see: 'routers',
          },
          recorded('cartwheel:slo_all:rate5m', 'availability'),
        ),
        stat(
          {
            title: 'Failed by the service’s fault',
            what: 'Of the last five minutes.',
            bad: 'see `Failures` below for the reason.',
            unit: OpsPerSecond,
            runbook: 'CartwheelAvailability',
          },
          recorded('cartwheel:slo_bad:rate5m', 'availability'),
        ),
        burn('availability'),
        burn('latency'),
        graph(
          {
            title: 'Bad operations',
            what: 'Failed by the service’s fault (availability); late, or failed like that (latency).',
            bad: 'both rise: failures. Latency alone: something is slow.',
            unit: OpsPerSecond,
            runbook: 'CartwheelLatency',
          },
          [{ expr: `cartwheel:slo_bad:rate5m{${cluster}}`, legend: '{{slo}}' }],
        ),
      ],
    },
    {
      title: 'What alerts watch, of data and routers: the runbook is behind the arrow',
      panels: alertsOfDataAndRouters,
    },
    { title: 'What alerts watch, of the ring', panels: alertsOfTheRing },
    {
      title: 'What clients get',
      panels: [
        objectiveOf('get'),
        objectiveOf('put'),
        heatMap(
          {
            title: 'Gets and puts',
            what: 'How many take how long.',
            bad: 'a second hump above the first: some go over a slow node, a retry or a hedge.',
            runbook: 'CartwheelLatency',
            see: 'nodes',
          },
          'cartwheel_operation_seconds',
          'operation=~"get|put"',
        ),
        rateByLabel(
          { title: 'Operations', what: 'Of clients, that were answered.', unit: OpsPerSecond, see: 'routers' },
          'cartwheel_operation_seconds_count',
          'operation',
        ),
        graph(
          {
            title: 'Failures',
            what: 'By reason, and by whose fault: the client’s do not count against the objectives.',
            bad: '`NOT_ENOUGH_REPLICAS`: nodes are away. `DEADLINE`: something is slow. `OVERLOADED`: a cap is reached.',
            unit: OpsPerSecond,
            runbook: 'CartwheelAvailability',
          },
          [
            {
              expr: rateBy('reason, fault', 'cartwheel_failed_operations_total'),
              legend: '{{reason}} ({{fault}}’s fault)',
            },
          ],
        ),
        latency(
          {
            title: 'Waiting for room',
            what: 'From the arrival of an operation until the process that it came to had room to run it.',
            bad: 'above a millisecond or two that process is full: more routers, or less asked of them.',
            runbook: 'CartwheelLatency',
            see: 'routers',
          },
          'cartwheel_operation_wait_seconds',
        ),
      ],
    },
  ],
};
