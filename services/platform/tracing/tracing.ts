/**
 * Traces: the Tracing port over the OpenTelemetry SDK, sent to a collector by OTLP over HTTP.
 *
 * It decides which operations are traced, once each: where the operation enters, or before that by whoever calls (W3C
 * Trace Context; ParentBased in OpenTelemetry's words). What is not traced makes no span, and nothing of it travels.
 *
 * I1 Without an endpoint nothing of this is made, and the SDK is not even loaded.
 * I2 At most `waitingMax` spans wait for the collector; what would be more is dropped. A collector that is slow or away
 *    costs memory up to that, and no operation waits for it.
 */
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { Failure } from '../../core/failure.ts';
import type { Clock, Log, Metrics, PartOfOperation, Span, Tracing } from '../../core/ports.ts';
import { sparingly } from '../logging.ts';
import { softwareVersion as version } from '../version.ts';

/** A span has about 1 KB: 8 MB. */
const waitingMax = 8_192;
const batchMax = 512;
const sendEveryMs = 2_000;
const sendTimeoutMs = 5_000;
/** For the last spans, when the process stops. */
const closeWithinMs = 2_000;
/** Characters: names of nodes and addresses are shorter. */
const attributeLengthMax = 256;

export interface TracingOptions {
  /** http://collector:4318; undefined: nothing is traced. */
  readonly endpoint: string | undefined;
  /** Of the operations that come without a decision, 0 to 1. */
  readonly ratio: number;
  readonly service: string;
  /** Of this process, among those of its service. */
  readonly instance: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface OpenTracing extends Tracing {
  /** Sends what waits, for a while. */
  close(): Promise<void>;
}

export async function openTracing(options: TracingOptions): Promise<OpenTracing | undefined> {
  const { endpoint, ratio, service, instance, clock, log, metrics } = options;
  if (endpoint === undefined) return undefined;
  const [api, { parseTraceParent }, sdk, { resourceFromAttributes }, { OTLPTraceExporter }] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/core'),
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/exporter-trace-otlp-proto'),
  ]);
  const ended = metrics.counter('cartwheel_spans_total', 'Spans made, where traces are on');
  const sent = metrics.counter('cartwheel_spans_sent_total', 'Spans that the collector took, where traces are on');
  const refused = metrics.counter(
    'cartwheel_spans_lost_total',
    'Spans that the collector did not take, where traces are on; those dropped because too many waited are in neither',
  );
  const troubles = sparingly(log);
  const url = `${endpoint.replace(/\/+$/, '')}/v1/traces`;
  const otlp = new OTLPTraceExporter({ url, timeoutMillis: sendTimeoutMs });
  const exporter = {
    export(spans: ReadableSpan[], done: Parameters<typeof otlp.export>[1]): void {
      otlp.export(spans, (result) => {
        const isSent = result.error === undefined && result.code === 0;
        (isSent ? sent : refused).add(spans.length);
        if (!isSent) troubles.warn({ err: result.error, url, spans: spans.length }, 'the collector took no spans');
        done(result);
      });
    },
    shutdown: () => otlp.shutdown(),
    forceFlush: () => otlp.forceFlush(),
  };
  const provider = new sdk.TracerProvider({
    resource: resourceFromAttributes({
      'service.name': `cartwheel-${service}`,
      'service.namespace': 'cartwheel',
      'service.instance.id': instance,
      'service.version': version,
    }),
    sampler: new sdk.AlwaysOnSampler(), // decided here, before a span is made
    spanLimits: { attributeValueLengthLimit: attributeLengthMax },
    spanProcessors: [
      new sdk.BatchSpanProcessor({
        exporter,
        maxQueueSize: waitingMax,
        maxExportBatchSize: batchMax,
        scheduledDelayMillis: sendEveryMs,
        exportTimeoutMillis: 2 * sendTimeoutMs,
      }),
    ],
  });
  const tracer = provider.getTracer('cartwheel', version);
  log.info({ url, ratio }, 'operations are traced');

  function start({ name, kind, startedAt, attributes }: PartOfOperation, parent: typeof api.ROOT_CONTEXT): Span {
    const startTime = startedAt ?? clock.now();
    const span = tracer.startSpan(
      name,
      { kind: api.SpanKind[kind], startTime, ...(attributes && { attributes }) },
      parent,
    );
    const { traceId, spanId } = span.spanContext();
    ended.add(1);
    return {
      traceparent: `00-${traceId}-${spanId}-01`,
      set: (attribute, value) => void span.setAttribute(attribute, value),
      end(error) {
        if (error !== undefined) {
          // What a bug says of itself stays in the log (errors.ts, I2).
          const [type, message] = error instanceof Failure ? [error.reason, error.message] : [nameOf(error), ''];
          span.setAttribute('error.type', type);
          span.setStatus({ code: api.SpanStatusCode.ERROR, message });
        }
        span.end(clock.now());
      },
    };
  }

  /** False: whoever calls has decided against it; undefined: nobody has decided. */
  function decided(traceparent: string | undefined) {
    const parent = traceparent === undefined ? null : parseTraceParent(traceparent);
    if (parent === null) return undefined;
    if ((parent.traceFlags & api.TraceFlags.SAMPLED) === 0) return false;
    return api.trace.setSpanContext(api.ROOT_CONTEXT, { ...parent, isRemote: true });
  }

  return {
    begin(part, traceparent) {
      if (traceparent === undefined) return undefined;
      const parent = decided(traceparent);
      return parent ? start(part, parent) : undefined;
    },
    beginTrace(part, traceparent) {
      const parent = decided(traceparent);
      if (parent === false || (parent === undefined && Math.random() >= ratio)) return undefined;
      return start(part, parent ?? api.ROOT_CONTEXT);
    },
    async close() {
      const late = new Promise<void>((resolve) => clock.after(closeWithinMs, resolve));
      await Promise.race([provider.shutdown().catch(() => {}), late]);
    },
  };
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error;
}
