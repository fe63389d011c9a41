import type { Metadata } from '@grpc/grpc-js';

/** Of W3C Trace Context, as it came; undefined where there is none. */
export function traceparentOf(metadata: Metadata): string | undefined {
  const [first] = metadata.get('traceparent');
  return typeof first === 'string' ? first : undefined;
}
