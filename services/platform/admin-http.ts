/**
 * The HTTP port for people, probes and Prometheus: /livez, /readyz, /startupz and /metrics. It serves nothing of
 * the data, changes nothing, and needs no body from anybody.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Server } from 'node:net';
import type { Log } from '../core/ports.ts';
import { splitAddress } from './configuration.ts';
import { METRICS_CONTENT_TYPE, type ProcessMetrics } from './metrics.ts';

/** Probes, a few scrapers and a person; ten times that. */
const MAX_CONNECTIONS = 128;
/** From the first byte to the last of a request, which has no body; slower is no probe. */
const REQUEST_TIMEOUT_MS = 5_000;
const KEEP_ALIVE_MS = 30_000;
const MAX_HEADER_BYTES = 16 * 1_024;

export interface ProbeResult {
  readonly ok: boolean;
  /** In words, why not; shown to whoever asks. */
  readonly reason?: string;
}

export interface Probes {
  readonly startup: () => ProbeResult;
  readonly ready: () => ProbeResult;
  readonly live: () => ProbeResult;
}

export interface AdminServer {
  /** HOST:PORT as it is bound. */
  readonly address: string;
  close(): Promise<void>;
}

/** Rejects with the address in the message when it cannot be bound. */
export async function startAdminServer(options: {
  readonly listen: string;
  readonly metrics: ProcessMetrics;
  readonly probes: Probes;
  readonly log: Log;
}): Promise<AdminServer> {
  const { probes, metrics, log } = options;
  const probe = (check: () => ProbeResult) => async (): Promise<Answer> => {
    const { ok, reason } = check();
    return { status: ok ? 200 : 503, type: 'text/plain; charset=utf-8', body: `${reason ?? (ok ? 'ok' : 'not ok')}\n` };
  };
  const pages: ReadonlyMap<string, () => Promise<Answer>> = new Map([
    ['/livez', probe(probes.live)],
    ['/readyz', probe(probes.ready)],
    ['/startupz', probe(probes.startup)],
    ['/metrics', async () => ({ status: 200, type: METRICS_CONTENT_TYPE, body: await metrics.text() })],
  ]);
  const server = createServer(
    { maxHeaderSize: MAX_HEADER_BYTES, connectionsCheckingInterval: 1_000 },
    (request, response) => {
      answer(pages, request, response).catch((error: unknown) => {
        log.error({ err: error, path: request.url }, 'the admin server could not answer');
        if (!response.headersSent) response.writeHead(500, { 'content-type': 'text/plain' });
        response.end('internal error; the log has it\n');
      });
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  const address = await listen(server, options.listen, '--admin');
  return {
    address,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

async function answer(
  pages: ReadonlyMap<string, () => Promise<Answer>>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  // No body is wanted; what comes is thrown away, within REQUEST_TIMEOUT_MS.
  request.resume();
  const path = (request.url ?? '').split('?', 1)[0] ?? '';
  const page = pages.get(path);
  const { status, type, body } =
    request.method !== 'GET' && request.method !== 'HEAD'
      ? plain(405, `${request.method} is not served here; GET and HEAD are`)
      : page
        ? await page()
        : plain(404, `no such path; there are ${[...pages.keys()].join(' ')}`);
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    ...(status === 405 && { allow: 'GET, HEAD' }),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

function plain(status: number, text: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body: `${text}\n` };
}

/** Binds and gives HOST:PORT; port 0 becomes the one that was found. */
export async function listen(server: Server, at: string, flag: string): Promise<string> {
  const wanted = splitAddress(at);
  if (!wanted) throw new Error(`${flag}: wanted HOST:PORT, saw ${JSON.stringify(at)}`);
  await new Promise<void>((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => {
      const why = error.code === 'EADDRINUSE' ? 'another process listens there' : error.message;
      reject(new Error(`${flag}: cannot listen on ${at}: ${why}`, { cause: error }));
    };
    server.once('error', onError);
    server.listen(wanted.port, wanted.host, () => {
      server.off('error', onError);
      resolve();
    });
  });
  const bound = server.address();
  const port = bound !== null && typeof bound === 'object' ? bound.port : wanted.port;
  return `${wanted.host.includes(':') ? `[${wanted.host}]` : wanted.host}:${port}`;
}
