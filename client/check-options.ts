/** Options that no message can carry, found before anything is sent: one of them would end the session for all. */
import { Failure, type ReasonName } from '../services/core/failure.ts';
import type { DurabilityName, ResolutionName } from '../services/core/namespaces/namespace.ts';
import { checkNamespaceName } from '../services/core/namespaces/settings.ts';
import type { NamespaceSettings } from './namespaces.ts';
import type { GetOptions, OperationOptions, PutOptions } from './types.ts';

const uint32Max = 2 ** 32 - 1;
/** What a timer can be set to. */
const timeoutMsMax = 2 ** 31 - 1;
/** What servers take; one of today's version has 55. */
const traceparentCharactersMax = 128;
const durabilities: readonly unknown[] = ['DURABLE', 'ONE_DURABLE', 'BUFFERED'] satisfies DurabilityName[];
const resolutions: readonly unknown[] = ['SIBLINGS', 'LAST_WRITER_WINS'] satisfies ResolutionName[];

/** Throws Failure that names the option. Whether a number makes sense to the cluster its nodes say. */
export function checkOptions(options: OperationOptions & GetOptions & PutOptions): void {
  const { r, w, maxBytes, attempt, timeoutMs, ttlMs, durability, require, traceparent, namespace, dots } = options;
  integer('QUORUM_INVALID', 'r', r);
  integer('QUORUM_INVALID', 'w', w);
  integer('OPERATION_INVALID', 'maxBytes', maxBytes);
  integer('OPERATION_INVALID', 'attempt', attempt);
  for (const [field, count] of Object.entries(require ?? {})) integer('OPERATION_INVALID', `require.${field}`, count);
  if (timeoutMs !== undefined && !(isNumber(timeoutMs) && timeoutMs > 0 && timeoutMs <= timeoutMsMax))
    throw wrong('OPERATION_INVALID', 'timeoutMs', timeoutMs, `more than 0 and at most ${timeoutMsMax} milliseconds`);
  if (traceparent !== undefined && !(typeof traceparent === 'string' && traceparent.length <= traceparentCharactersMax))
    throw wrong(
      'OPERATION_INVALID',
      'traceparent',
      traceparent,
      `text of at most ${traceparentCharactersMax} characters`,
    );
  milliseconds('ttlMs', ttlMs);
  if (namespace !== undefined && namespace !== '') name('namespace', namespace);
  if (dots !== undefined && !(Array.isArray(dots) && dots.every((dot) => typeof dot === 'string')))
    throw wrong('CONTEXT_INVALID', 'dots', dots, 'an array of dots, as siblings have them');
  oneOf('DURABILITY_INVALID', 'durability', durability, durabilities);
}

/** The same of a namespace. */
export function checkSettings(of: string, settings: NamespaceSettings): void {
  const { r, w, ttlMs, losersKeptMs, readAllProbability = 0, strict = false } = settings;
  name('name', of);
  integer('QUORUM_INVALID', 'r', r);
  integer('QUORUM_INVALID', 'w', w);
  milliseconds('ttlMs', ttlMs);
  milliseconds('losersKeptMs', losersKeptMs);
  oneOf('DURABILITY_INVALID', 'durability', settings.durability, durabilities);
  oneOf('NAMESPACE_INVALID', 'resolution', settings.resolution, resolutions);
  if (!(isNumber(readAllProbability) && readAllProbability >= 0 && readAllProbability <= 1))
    throw wrong('NAMESPACE_INVALID', 'readAllProbability', readAllProbability, 'a number, 0 to 1');
  if (typeof strict !== 'boolean') throw wrong('NAMESPACE_INVALID', 'strict', strict, 'true or false');
}

function name(field: string, value: unknown): void {
  if (typeof value !== 'string') throw wrong('NAMESPACE_INVALID', field, value, 'text');
  checkNamespaceName(value, field);
}

function milliseconds(field: string, value: number | undefined): void {
  if (value === undefined || (isNumber(value) && value >= 0 && value <= Number.MAX_SAFE_INTEGER)) return;
  throw wrong('TTL_INVALID', field, value, 'milliseconds, 0 or more');
}

function oneOf(reason: ReasonName, field: string, value: unknown, names: readonly unknown[]): void {
  if (value === undefined || names.includes(value)) return;
  throw wrong(reason, field, value, `one of ${names.join(', ')}`);
}

/** Text that is a number would be taken for one by some of what it meets, and joined as text by the rest. */
function isNumber(value: unknown): value is number {
  return typeof value === 'number';
}

export function integer(reason: ReasonName, field: string, value: number | undefined): void {
  if (value === undefined || (Number.isInteger(value) && value >= 0 && value <= uint32Max)) return;
  throw wrong(reason, field, value, `a whole number, 0 to ${uint32Max}`);
}

function wrong(reason: ReasonName, field: string, seen: unknown, wanted: string): Failure {
  return new Failure(reason, `${field} is ${String(seen)}, and it has to be ${wanted}`, { field });
}
