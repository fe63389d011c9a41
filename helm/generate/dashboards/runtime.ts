/** Processes as such. */
import type { Dashboard } from '../grafana.ts';
import { each, gauge, of, rate } from '../queries.ts';

export const runtime: Dashboard = {
  name: 'runtime',
  title: 'Processes and runtime',
  rows: [
    {
      title: 'Event loop',
      panels: [
        { title: 'Delay, p99', unit: 's', queries: gauge('nodejs_eventloop_lag_p99_seconds') },
        { title: 'Delay, longest', unit: 's', queries: gauge('nodejs_eventloop_lag_max_seconds') },
        {
          title: 'Processor',
          unit: 'short',
          queries: [{ expr: rate('process_cpu_seconds_total', 'pod, instance'), legend: each }],
        },
      ],
    },
    {
      title: 'Memory',
      panels: [
        { title: 'Resident', unit: 'bytes', queries: gauge('process_resident_memory_bytes') },
        { title: 'Heap used', unit: 'bytes', queries: gauge('nodejs_heap_size_used_bytes') },
        { title: 'Outside of the heap', unit: 'bytes', queries: gauge('nodejs_external_memory_bytes') },
        {
          title: 'Garbage collection, part of the time',
          unit: 'percentunit',
          queries: [{ expr: rate('nodejs_gc_duration_seconds_sum', 'kind'), legend: '{{kind}}' }],
        },
        { title: 'Open files', unit: 'short', queries: gauge('process_open_fds') },
        {
          title: 'Up since',
          unit: 's',
          queries: [{ expr: `time() - process_start_time_seconds{${of}}`, legend: each }],
        },
      ],
    },
  ],
};
