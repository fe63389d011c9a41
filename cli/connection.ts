/**
 * The way from a command to the store: opens the client, closes it, and turns what goes wrong into one
 * line for a person.
 *
 * I1 An endpoint that is down, or no gRPC port, is said at once, before anything is tried again: a person waits.
 */
import { createConnection } from 'node:net';
import type { CartwheelClient, OperationFailed } from '../client/index.ts';
import { messageOf, Problem, systemCodeOf } from './problem.ts';
import type { Settings } from './settings.ts';
import { version } from './version.ts';

export async function withClient<Answer>(
  settings: Settings,
  run: (client: CartwheelClient) => Promise<Answer>,
  { direct = false, ifUnknown }: { direct?: boolean; ifUnknown?: string } = {},
): Promise<Answer> {
  await requireListener(settings.endpoints);
  // Loaded here and not above: a usage error or --help need not wait for gRPC to load.
  const { connect } = await import('../client/index.ts');
  const client = connect({ endpoints: [...settings.endpoints], name: `cartwheel-cli/${version}`, direct });
  try {
    return await run(client);
  } catch (error) {
    throw problemOf(error, ifUnknown);
  } finally {
    await client.close();
  }
}

/** For what writes: a failure says where the write may have been made, in the words of `ifUnknown`. */
export function withWriter<Answer>(
  settings: Settings,
  run: (client: CartwheelClient) => Promise<Answer>,
  ifUnknown = 'a write may or may not have happened',
): Promise<Answer> {
  return withClient(settings, run, { ifUnknown });
}

export function isOperationFailed(error: unknown): error is OperationFailed {
  return error instanceof Error && error.name === 'OperationFailed';
}

const connectTimeoutMs = 3000;
/** A process that is stopped, or very busy, says nothing for longer: gRPC then finds out. */
const greetingTimeoutMs = 300;

/** Throws a Problem when nothing listens at any of the endpoints. */
async function requireListener(endpoints: readonly string[]): Promise<void> {
  const problems: string[] = [];
  for (const endpoint of endpoints) {
    const problem = await connectProblem(endpoint);
    if (problem === undefined) return;
    problems.push(`${endpoint} (${problem})`);
  }
  throw new Problem(
    `cannot reach ${problems.join(', ')}`,
    problems.some((problem) => problem.includes(servesNoKeys))
      ? otherEndpoint
      : 'is it running? `npm start` starts a cluster; --endpoint or CARTWHEEL_ENDPOINT names another one',
  );
}

function connectProblem(endpoint: string): Promise<string | undefined> {
  const colon = endpoint.lastIndexOf(':');
  const host = endpoint.slice(0, colon).replace(/^\[|\]$/g, '');
  return new Promise((resolve) => {
    const socket = createConnection({ host, port: Number(endpoint.slice(colon + 1)), timeout: connectTimeoutMs });
    const end = (problem: string | undefined) => {
      socket.destroy();
      resolve(problem);
    };
    socket.once('timeout', () => end(`no connection in ${connectTimeoutMs} ms`));
    socket.once('connect', () => {
      socket.removeAllListeners('timeout').setTimeout(greetingTimeoutMs, () => end(undefined));
      socket.write(http2Greeting);
    });
    socket.once('data', (answer) => end(greetingProblem(answer)));
    socket.once('close', () => end(undefined));
    socket.once('error', (error) => end(connectTexts[systemCodeOf(error) ?? ''] ?? messageOf(error)));
  });
}

/** What an HTTP/2 client begins with: the preface and an empty SETTINGS frame. */
const http2Greeting = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', 'latin1');
const settingsFrame = 0x04;

/** A gRPC server begins with SETTINGS too. */
function greetingProblem(answer: Buffer): string | undefined {
  if (answer[3] === settingsFrame) return undefined;
  const isHttp1 = answer.toString('latin1', 0, 5) === 'HTTP/';
  return isHttp1
    ? `${servesNoKeys}: it speaks HTTP/1, as an admin port does`
    : `${servesNoKeys}: it does not speak gRPC`;
}

/** As the client says it; not imported, for gRPC comes with it. */
const servesNoKeys = 'it is not a router or storage node';
const otherEndpoint = '--endpoint or CARTWHEEL_ENDPOINT names one; only `cartwheel status` can ask any gRPC port';

const connectTexts: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'no such host',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
};

/** An address in a list of those that did not answer, with the reason, which may begin with the address itself. */
export function away(address: string, error: unknown): string {
  return `${address} (${messageOf(error).replace(`no answer from ${address}`, 'no answer')})`;
}

/** gRPC's INVALID_ARGUMENT: whatever the cluster is like, this cannot be asked (docs/errors.md). */
const invalidArgument = 3;

/** Failures of the world as a Problem; anything else is a bug and stays what it is. `ifUnknown`: said where the outcome is. */
export function problemOf(error: unknown, ifUnknown?: string): unknown {
  if (!isOperationFailed(error)) return error;
  const message = messageOf(error);
  const hint = message.includes(servesNoKeys) ? otherEndpoint : hintFor(error, ifUnknown);
  return new Problem(`${error.reason}: ${message}`, hint, error.code === invalidArgument ? 2 : 1);
}

function hintFor({ reason, field, outcome }: OperationFailed, ifUnknown: string | undefined): string | undefined {
  if (field === 'dots') return 'cartwheel get shows the dots of siblings';
  const outcomeText = outcome === 'UNKNOWN' ? ifUnknown : undefined;
  const hints = [outcomeText, hintsByReason[reason]].filter((hint) => hint !== undefined);
  return hints.length === 0 ? undefined : hints.join('; ');
}

/** For people: what to do where operations fail for the reason. */
export const hintsByReason: Readonly<Record<string, string>> = {
  KEY_EMPTY: 'a key has 1 to 4,096 bytes',
  KEY_TOO_LARGE: 'a key has 1 to 4,096 bytes',
  VALUE_TOO_LARGE: 'a value has at most 1 MiB by default: split it, or store a reference to it',
  QUORUM_INVALID: 'cartwheel status shows how many replicas there are',
  CONTEXT_INVALID: 'take the context from a fresh `cartwheel get -o json` of the same key',
  CONTEXT_REQUIRED: 'cartwheel get shows the context',
  NAMESPACE_UNKNOWN: 'cartwheel namespace list shows what there is; leave --namespace out for the default one',
  NAMESPACE_EXISTS: 'cartwheel namespace show shows it; cartwheel namespace alter changes it',
  NAMESPACE_CONFLICT: 'look at it with cartwheel namespace show, and try again',
  NOT_ENOUGH_REPLICAS: 'cartwheel status shows which nodes are away',
  DEADLINE: 'a longer --timeout may help; cartwheel status shows what is slow or away',
  OVERLOADED: 'try again a little later',
  DRAINING: 'try again: another node takes over',
  NOT_IMPLEMENTED:
    '--endpoint names another process; the ring is changed by the claimant, in `cartwheel dev` the port of the router + 41',
  CHANGE_CONFLICT: 'cartwheel ring status shows what is under way',
  NO_RING: 'the cluster is still starting: not all storage nodes have joined; see cartwheel status',
};
