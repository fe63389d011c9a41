/** Where clients come in: routers, and storage nodes that clients go straight to. */
import { BytesIEC, OpsPerSecond, PercentUnit, Seconds, Short } from '@grafana/grafana-foundation-sdk/units';
import type { DashboardPlan } from '../frame.ts';
import { above, graph, objectiveSeconds, perProcess } from '../panels.ts';
import { quantileOfEach, rate, rateBy, rateOfEach, ratioBy, series } from '../queries.ts';
import { ofEachProcess, running } from './shared.ts';

export const routers: DashboardPlan = {
  name: 'routers',
  what: 'When clients are slow or refused and storage nodes are not: routers, sessions, and keys that are asked for often.',
  rows: [
    {
      title: 'Where clients come in',
      panels: [
        perProcess(
          {
            title: 'Operations, p99.9',
            what: 'Of the process that the client is connected to: a router, or a storage node where clients go there.',
            bad: 'one router above the others: it is short of processor. All: look at the storage nodes.',
            unit: Seconds,
            limits: above(objectiveSeconds),
            runbook: 'CartwheelLatency',
            see: 'nodes',
          },
          quantileOfEach(0.999, 'cartwheel_operation_seconds'),
        ),
        perProcess(
          {
            title: 'Operations',
            what: 'That were answered.',
            bad: 'one router has far more than another: its clients do not connect anew (`router.connectionAge`).',
            unit: OpsPerSecond,
          },
          rateOfEach('cartwheel_operation_seconds_count'),
        ),
        perProcess(
          {
            title: 'Failures by the service’s fault',
            what: 'Answered to clients.',
            bad: 'one process alone: restart it, and keep its log. All: see the reasons on `SLO overview`.',
            unit: OpsPerSecond,
            runbook: 'CartwheelAvailability',
            see: 'overview',
          },
          rateOfEach('cartwheel_failed_operations_total', 'fault="service"'),
        ),
        perProcess(
          {
            title: 'Waiting for room, p99.9',
            what: 'From the arrival of an operation until there was room to run it.',
            bad: 'above a millisecond or two the process is full: more routers, or less asked of them.',
            unit: Seconds,
            runbook: 'CartwheelLatency',
            see: 'runtime',
          },
          quantileOfEach(0.999, 'cartwheel_operation_wait_seconds'),
        ),
        graph(
          {
            title: 'Calls by code',
            what: 'Answered by all processes, those between them too. A stream counts when it ends.',
            bad: '`UNAVAILABLE`, `DEADLINE_EXCEEDED` or `RESOURCE_EXHAUSTED`: the service. `INTERNAL`: a bug.',
            unit: OpsPerSecond,
            runbook: 'CartwheelAvailability',
          },
          [{ expr: rateBy('service, method, code', 'cartwheel_rpc_seconds_count'), legend: '{{method}} {{code}}' }],
        ),
        perProcess(
          {
            title: 'Connections',
            what: 'Open on the gRPC port.',
            bad: 'a router without any while others have many: its clients do not connect anew.',
            unit: Short,
          },
          series('cartwheel_grpc_connections'),
        ),
      ],
    },
    {
      title: 'Keys that are asked for often',
      panels: [
        graph(
          {
            title: 'Share of the hottest keys',
            what: 'Of the operations of the last half minute, by rank. `cartwheel hot` names them.',
            bad: 'one key with a tenth of all of them makes its three homes busy, and no node more helps.',
            unit: PercentUnit,
          },
          [{ expr: `max by (rank) (${series('cartwheel_hot_key_share')})`, legend: '{{rank}}' }],
        ),
        perProcess(
          {
            title: 'Waiting for others of their key',
            what: 'Operations that a router runs one after the other, because they are of one key.',
            bad: 'for long: clients of that key should share what they read, or write less of it.',
            unit: Short,
          },
          series('cartwheel_waiting_for_key'),
        ),
        graph(
          {
            title: 'Answered with others, and refused',
            what: 'Reads that waited and shared the answer of one; operations refused because too many waited.',
            bad: 'any refused: clients see `OVERLOADED`.',
            unit: OpsPerSecond,
            runbook: 'CartwheelAvailability',
          },
          [
            { expr: `sum(${rate('cartwheel_shared_reads_total')})`, legend: 'shared reads' },
            { expr: `sum(${rate('cartwheel_hot_key_refusals_total')})`, legend: 'refused' },
          ],
        ),
      ],
    },
    {
      title: 'Sessions',
      panels: [
        perProcess(
          { title: 'Open sessions', what: 'Open streams of clients.', unit: Short },
          series('cartwheel_sessions'),
        ),
        perProcess(
          {
            title: 'Operations in flight',
            what: 'Of sessions, without an answer.',
            bad: 'it grows at an even load: what is behind is slow.',
            unit: Short,
            runbook: 'CartwheelLatency',
          },
          series('cartwheel_session_operations_in_flight'),
        ),
        graph(
          {
            title: 'Operations per message',
            what: 'How well messages of sessions fill: more of them in one cost less each.',
            unit: Short,
          },
          [
            {
              expr: ratioBy('direction', 'cartwheel_session_operations_total', 'cartwheel_session_frames_total'),
              legend: '{{direction}}',
            },
          ],
        ),
        ofEachProcess(running),
        perProcess(
          {
            title: 'Bytes of answers unread',
            what: 'That wait to be read by clients.',
            bad: 'it grows: a client does not read. It is cut off at the cap.',
            unit: BytesIEC,
          },
          series('cartwheel_session_unread_bytes'),
        ),
        perProcess(
          {
            title: 'Sessions cut off',
            what: 'Because nobody read their answers.',
            bad: 'any: a client hangs, or its network does.',
            unit: OpsPerSecond,
          },
          rateOfEach('cartwheel_sessions_cut_off_total'),
        ),
      ],
    },
  ],
};
