/**
 * Requests as they come from outside, made into values that the rest can trust. Every check throws a
 * Failure that names the field, the limit and what was seen, before anything is touched.
 */
import type {
  DeleteRequest,
  Durability,
  GetRequest,
  Placement,
  PutRequest,
} from '../../../proto/gen/cartwheel/kv/v1/kv.ts';
import type { Duration } from '../../../proto/gen/google/protobuf/duration.ts';
import { Malformed } from '../codec/bytes.ts';
import type { ContextCodec } from '../codec/context.ts';
import { durationMsMax, millisecondsOf } from '../codec/duration.ts';
import { Failure } from '../failure.ts';
import { durabilityOf } from '../namespaces/codec.ts';
import { type DurabilityName, defaultNamespace, type Namespace } from '../namespaces/namespace.ts';
import { checkNamespaceName } from '../namespaces/settings.ts';
import type { Hash64 } from '../ports.ts';
import { majority } from '../quorum/tally.ts';
import { hashOfStorageKey, storageKey } from '../ring/storage-key.ts';
import { type CausalContext, emptyContext, parseDot } from '../versioning/causal-context.ts';
import type { RequestLimits } from './limits.ts';

/** Where the key lives. */
export interface Located {
  readonly storageKey: Uint8Array;
  readonly keyHash: bigint;
}

export interface ValidGet extends Located {
  readonly r: number;
  readonly session: CausalContext;
  readonly bytesMax: number;
  /** Only these siblings; undefined: all. */
  readonly dots: ReadonlySet<string> | undefined;
  /** Of asking all N replicas at once; the namespace's. */
  readonly readAllProbability: number;
  /** Only homes may answer it; the namespace's. */
  readonly strict: boolean;
}

export interface ValidWrite extends Located {
  readonly w: number;
  readonly context: CausalContext;
  readonly requestId: Uint8Array;
  /** 0 for the first. */
  readonly attempt: number;
  readonly durability: DurabilityName;
  /** Only homes may take it; the namespace's. */
  readonly strict: boolean;
  /** The namespace's: see core/versioning/last-writer.ts. */
  readonly lastWriterWins: boolean;
  /** What an acknowledgement has to rest on beside W replicas. */
  readonly require?: Placement | undefined;
}

export interface ValidPut extends ValidWrite {
  readonly value: Uint8Array;
  /** 0: it stays. */
  readonly ttlMs: number;
}

/** What the checks need to know of the process they run in. */
export interface Validation {
  readonly limits: RequestLimits;
  readonly contexts: ContextCodec;
  readonly hash: Hash64;
  /** As this process knows it now; undefined: it knows of none. */
  namespace(name: string): Namespace | undefined;
}

/** Checks what tells where a key lives; enough for a router. */
export function locate(
  namespace: string,
  key: Uint8Array,
  { limits, hash }: Pick<Validation, 'limits' | 'hash'>,
): Located {
  const name = resolvedName(namespace);
  if (key.length === 0) throw new Failure('KEY_EMPTY', 'key is empty; it has at least 1 byte', { field: 'key' });
  if (key.length > limits.keyBytesMax) {
    throw new Failure('KEY_TOO_LARGE', `key has ${key.length} bytes, the limit is ${limits.keyBytesMax}`, {
      field: 'key',
    });
  }
  const stored = storageKey(name, key, hash);
  return { storageKey: stored, keyHash: hashOfStorageKey(stored) };
}

export function validateGet(request: GetRequest, replicas: number, validation: Validation): ValidGet {
  const namespace = namespaceOf(request.namespace, validation);
  const located = locate(request.namespace, request.key, validation);
  return {
    ...located,
    r: checkQuorum('r', request.r, namespace.r, replicas),
    session: checkContext('session_context', request.sessionContext, located, validation.contexts),
    bytesMax: request.maxBytes === 0 ? validation.limits.answerBytesDefault : request.maxBytes,
    dots: request.dots.length === 0 ? undefined : new Set(request.dots.map(checkDot)),
    readAllProbability: namespace.readAllProbability,
    strict: namespace.strict,
  };
}

export function validatePut(request: PutRequest, replicas: number, validation: Validation): ValidPut {
  const namespace = namespaceOf(request.namespace, validation);
  const located = locate(request.namespace, request.key, validation);
  const { valueBytesMax } = validation.limits;
  if (request.value.length > valueBytesMax) {
    const message = `value has ${request.value.length} bytes, the limit is ${valueBytesMax}`;
    throw new Failure('VALUE_TOO_LARGE', message, { field: 'value' });
  }
  const ttlMs = checkTtl(request.ttl) ?? namespace.ttlMs;
  const require = checkPlacement(request.require, replicas);
  return { ...validateWrite(request, namespace, located, replicas, validation), value: request.value, ttlMs, require };
}

export function validateDelete(request: DeleteRequest, replicas: number, validation: Validation): ValidWrite {
  const namespace = namespaceOf(request.namespace, validation);
  const located = locate(request.namespace, request.key, validation);
  if (request.context.length === 0 && namespace.resolution !== 'LAST_WRITER_WINS') {
    const message = 'a delete needs the context of a get: it removes what that get has seen';
    throw new Failure('CONTEXT_REQUIRED', message, { field: 'context' });
  }
  return validateWrite(request, namespace, located, replicas, validation);
}

/** The namespace that a request names. Throws Failure NAMESPACE_INVALID or NAMESPACE_UNKNOWN. */
export function namespaceOf(asked: string, validation: Pick<Validation, 'namespace'>): Namespace {
  const name = resolvedName(asked);
  const namespace = validation.namespace(name);
  if (namespace !== undefined) return namespace;
  throw new Failure('NAMESPACE_UNKNOWN', `there is no namespace ${name}, or it is not known here yet`, {
    field: 'namespace',
  });
}

function resolvedName(asked: string): string {
  if (asked === '') return defaultNamespace;
  checkNamespaceName(asked);
  return asked;
}

function validateWrite(
  request: PutRequest | DeleteRequest,
  namespace: Namespace,
  located: Located,
  replicas: number,
  { limits, contexts }: Validation,
): ValidWrite {
  const { requestId } = request;
  if (requestId.length > limits.requestIdBytesMax) {
    const message = `request_id has ${requestId.length} bytes, the limit is ${limits.requestIdBytesMax}`;
    throw new Failure('REQUEST_ID_TOO_LONG', message, { field: 'request_id' });
  }
  return {
    ...located,
    w: checkQuorum('w', request.w, namespace.w, replicas),
    context: checkContext('context', request.context, located, contexts),
    requestId,
    attempt: request.attempt,
    durability: checkDurability(request.durability) ?? namespace.durability,
    strict: namespace.strict,
    lastWriterWins: namespace.resolution === 'LAST_WRITER_WINS',
  };
}

/** `usual` is the namespace's, 0 for a majority. */
function checkQuorum(field: 'r' | 'w', asked: number | undefined, usual: number, replicas: number): number {
  if (asked === undefined) return usual === 0 ? majority(replicas) : Math.min(usual, replicas);
  if (asked >= 1 && asked <= replicas) return asked;
  throw new Failure('QUORUM_INVALID', `${field} is ${asked}; it can be 1 to ${replicas}`, { field });
}

function checkContext(field: string, bytes: Uint8Array, { keyHash }: Located, contexts: ContextCodec): CausalContext {
  if (bytes.length === 0) return emptyContext;
  try {
    return contexts.decode(bytes, keyHash);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    throw new Failure('CONTEXT_INVALID', `${field} is not a context of this key: ${error.message}`, { field });
  }
}

function checkDot(text: string): string {
  if (parseDot(text) !== undefined) return text;
  const message = `dots has ${JSON.stringify(text.slice(0, 80))}; a dot is 16 hexadecimal digits, a colon and a number`;
  throw new Failure('CONTEXT_INVALID', message, { field: 'dots' });
}

/** Undefined for 0, the namespace's default. */
function checkDurability(durability: Durability): DurabilityName | undefined {
  const name = durabilityOf(durability);
  if (name !== undefined || durability === 0) return name;
  const message = `durability ${durability} is none; 0 to 3 are`;
  throw new Failure('DURABILITY_INVALID', message, { field: 'durability' });
}

function checkTtl(ttl: Duration | undefined): number | undefined {
  if (ttl === undefined) return undefined;
  const ms = millisecondsOf(ttl);
  if (ms > 0 && ms <= durationMsMax) return ms;
  const message = `ttl is ${ttl.seconds} s and ${ttl.nanos} ns; it can be from 1 ns to 10 years`;
  throw new Failure('TTL_INVALID', message, { field: 'ttl' });
}

function checkPlacement(require: Placement | undefined, replicas: number): Placement | undefined {
  if (require === undefined) return undefined;
  for (const [field, wanted] of Object.entries(require)) {
    if (wanted <= replicas) continue;
    const message = `require.${field} is ${wanted}, and a key has ${replicas} replicas`;
    throw new Failure('PLACEMENT_IMPOSSIBLE', message, { field: `require.${field}` });
  }
  return require;
}
