/** A gRPC server with a key/value service whose answers a test chooses, and a client of it. */
import { credentials } from '@grpc/grpc-js';
import {
  type GetRequest,
  type GetResponse,
  KeyValueServiceClient,
  KeyValueServiceService,
  type SessionRequest,
  type SessionResponse,
} from '../../proto/gen/cartwheel/kv/v1/kv.ts';
import { Failure } from '../../services/core/failure.ts';
import { fromServiceError } from '../../services/platform/errors.ts';
import { bidi, type GrpcLimits, serverStream, startGrpcServer, unary } from '../../services/platform/grpc-server.ts';
import { createMetrics } from '../../services/platform/metrics.ts';
import { recordingLog } from './recording-log.ts';

export const EMPTY_GET: GetResponse = { siblings: [], omitted: [], context: Buffer.alloc(0), certificate: undefined };

export async function startKvServer(
  get: (request: GetRequest) => Promise<GetResponse> = async () => EMPTY_GET,
  limits: Partial<GrpcLimits> = {},
) {
  const log = recordingLog();
  const metrics = createMetrics({ service: 'test' });
  const notServed = unary<unknown, never>(log, async () => {
    throw new Failure('NOT_IMPLEMENTED', 'not in this test');
  });
  const server = await startGrpcServer({
    listen: '127.0.0.1:0',
    services: [
      {
        definition: KeyValueServiceService,
        implementation: {
          get: unary(log, get),
          put: notServed,
          delete: notServed,
          explain: notServed,
          session: bidi<SessionRequest, SessionResponse>(log, (call) => {
            call.on('data', () => call.write(EMPTY_SESSION_RESPONSE));
            call.on('end', () => call.end());
          }),
          listKeys: serverStream(log, async () => {
            throw new Error('a bug in a stream');
          }),
          watchRing: serverStream(log, async () => {}),
        },
      },
    ],
    log,
    metrics,
    limits,
  });
  const client = new KeyValueServiceClient(server.address, credentials.createInsecure());
  return {
    server,
    log,
    metrics,
    client,
    port: Number(server.address.split(':').at(-1)),
    /** The response, or the failure that the trailer says. */
    get: (key = Buffer.from('k')): Promise<GetResponse | Failure> =>
      new Promise((resolve) => {
        client.get(
          { namespace: '', key, r: undefined, sessionContext: Buffer.alloc(0), maxBytes: 0, dots: [] },
          (error, response) => resolve(error ? fromServiceError(error, server.address) : response),
        );
      }),
    async close(): Promise<void> {
      client.close();
      await server.drain(0);
    },
  };
}

export const EMPTY_SESSION_RESPONSE: SessionResponse = {
  welcome: undefined,
  results: [],
  newerRing: undefined,
  goAway: undefined,
  clockMs: 0,
};
