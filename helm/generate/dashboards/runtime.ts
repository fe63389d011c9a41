/** Processes as such. */
import { BytesIEC, DurationSeconds, PercentUnit, Seconds, Short } from '@grafana/grafana-foundation-sdk/units';
import type { DashboardPlan } from '../frame.ts';
import { above, graph, perProcess, rateByLabel } from '../panels.ts';
import { rateOfEach, series } from '../queries.ts';
import { eventLoop, ofEachProcess } from './shared.ts';

export const runtime: DashboardPlan = {
  name: 'runtime',
  what: 'Processes as such, routers and membership too: whether one is short of processor or memory, or starts again and again.',
  rows: [
    {
      title: 'Event loop and processor',
      panels: [
        ofEachProcess(eventLoop),
        perProcess(
          {
            title: 'Event loop delay, longest',
            what: 'Between two scrapes.',
            bad: 'seconds: others take it for dead meanwhile. Look at garbage collection, and at the host.',
            unit: Seconds,
            limits: above(1),
            runbook: 'CartwheelLatency',
          },
          series('nodejs_eventloop_lag_max_seconds'),
        ),
        perProcess(
          {
            title: 'Processor',
            what: 'Cores in use. One runs JavaScript.',
            bad: 'a router at 1: add routers. A storage node: move its neighbours, or add nodes.',
            unit: Short,
            runbook: 'CartwheelLatency',
          },
          rateOfEach('process_cpu_seconds_total'),
        ),
      ],
    },
    {
      title: 'Memory',
      panels: [
        perProcess(
          {
            title: 'Resident memory',
            what: 'All of it: heap, caches of RocksDB, buffers.',
            bad: 'near the limit of the pod (2 GiB of a storage node, 512 MiB of a router) the kernel ends it.',
            unit: BytesIEC,
          },
          series('process_resident_memory_bytes'),
        ),
        perProcess(
          {
            title: 'Heap used',
            what: 'By JavaScript.',
            bad: 'its low points rise for hours: something is kept. The log of the process, and a bug report.',
            unit: BytesIEC,
          },
          series('nodejs_heap_size_used_bytes'),
        ),
        perProcess(
          {
            title: 'Memory outside of the heap',
            what: 'Buffers that JavaScript holds: frames, keys and values.',
            bad: 'it grows with answers that clients do not read (`Routers`: bytes of answers unread).',
            unit: BytesIEC,
            see: 'routers',
          },
          series('nodejs_external_memory_bytes'),
        ),
        rateByLabel(
          {
            title: 'Garbage collection, part of the time',
            what: 'Of all processes together.',
            bad: 'major ones take more than a few percent: a heap is too small for what it keeps.',
            unit: PercentUnit,
            runbook: 'CartwheelLatency',
          },
          'nodejs_gc_duration_seconds_sum',
          'kind',
        ),
        perProcess(
          {
            title: 'File descriptors in use',
            what: 'Of those that the process may have: connections, and table files.',
            bad: 'at 100 % it takes no connection and opens no file.',
            unit: PercentUnit,
            limits: above(0.9, 0.7),
          },
          `${series('process_open_fds')} / ${series('process_max_fds')}`,
        ),
      ],
    },
    {
      title: 'Versions and starts',
      panels: [
        perProcess(
          {
            title: 'Up for',
            what: 'Since the process started. A storage node that starts rebuilds its digests unless it stopped cleanly.',
            bad: 'it falls to 0 again and again: `kubectl describe pod`, and the last lines of its log.',
            unit: DurationSeconds,
          },
          `(time() - ${series('process_start_time_seconds')})`,
        ),
        graph(
          {
            title: 'Processes by version',
            what: 'Of the software.',
            bad: 'two versions outside of an upgrade: one pod was left behind.',
            unit: Short,
          },
          [
            {
              expr: `count by (service, version) (${series('cartwheel_process_info')})`,
              legend: '{{service}} {{version}}',
            },
          ],
        ),
        graph(
          {
            title: 'Processes by version of Node.js',
            what: 'The image brings one.',
            bad: 'more than one outside of an upgrade.',
            unit: Short,
          },
          [{ expr: `count by (version) (${series('nodejs_version_info')})`, legend: '{{version}}' }],
        ),
      ],
    },
  ],
};
