import type { CounterHandle, HistogramHandle, Metrics } from '../core/ports.ts';

export interface RouterMetrics {
  /** Of whole operations, with every attempt. */
  readonly operation: Readonly<Record<'get' | 'put' | 'delete', HistogramHandle>>;
  readonly failedOperations: CounterHandle;
}

export function createRouterMetrics(metrics: Metrics): RouterMetrics {
  const operation = (name: string) =>
    metrics.histogram('cartwheel_operation_seconds', 'Operations routed, from their arrival to the answer', {
      operation: name,
    });
  return {
    operation: { get: operation('get'), put: operation('put'), delete: operation('delete') },
    failedOperations: metrics.counter('cartwheel_failed_operations_total', 'Operations answered with an error'),
  };
}
