import { share, url } from '../configuration.ts';

/** Of every process that traces operations. */
export const tracingFields = {
  'trace-endpoint': url({
    about: 'collector that gets traces of operations (OTLP over HTTP); without it nothing is traced',
    example: 'http://collector:4318',
  }),
  // 1,000 operations a second make 10 traces, of about six spans each.
  'trace-ratio': share({
    about: 'share of the operations that are traced, beside those whose caller traces them, 0 to 1',
    default: '0.01',
  }),
} as const;
